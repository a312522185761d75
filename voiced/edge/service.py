"""The line to the Realtime service (websockets): connect, set up, send, receive, and say in a sentence what went wrong.

Before ``open`` is entered nothing is looked up or connected.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConcurrencyError, ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from voiced import __version__
from voiced.core.realtime import refusal
from voiced.core.realtime.codec import CODECS, Codec, minimal, without
from voiced.core.realtime.endpoint import Endpoint, Secret
from voiced.core.realtime.events import (
    ClientEvent,
    ServerEvent,
    ServiceProblem,
    SessionCreated,
    SessionSettings,
    SessionUpdated,
    UpdateSession,
)
from voiced.edge.credentials import Credentials
from voiced.errors import ProtocolError, RefusedError, ServiceError

logger = logging.getLogger(__name__)

MAX_MESSAGE = 16 * 2**20
"""Bytes; an answer holds less than 1 MiB, a retrieved item much more."""
DROPS = 4
"""How many refused settings are left out one by one before all of them are."""
EVENT_ID = "voiced-settings"
UNREADABLE = "protocol"
"""Type of the problems that are of our own making: a message of the service that cannot be read."""

_wire = logging.getLogger(f"{__name__}.wire")
_wire.setLevel(logging.INFO)  # at DEBUG websockets writes headers and frames: keys and everything said


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each step may take, seconds."""

    connect_s: float = 10.0
    """Name lookup, TCP, TLS and upgrade together."""
    created_s: float = 10.0
    """From the upgrade to ``session.created``."""
    updated_s: float = 5.0
    """From our settings to ``session.updated``."""
    close_s: float = 5.0
    """From our close to the end of the connection."""


class _Connect(connect):
    """A connection that never carries the key to another place."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        here = urlsplit(self.uri)[:2]
        try:
            there = super().process_redirect(exc)
        except (InvalidURI, ValueError):  # an https:// one, for example, or none at all
            return exc
        return there if isinstance(there, str) and urlsplit(there)[:2] == here else exc


class RealtimeSession:
    """An open session; fits :class:`voiced.ports.Session`."""

    def __init__(self, endpoint: Endpoint, secret: Secret | None, line: ClientConnection, patience: Patience) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self._line = line
        self._patience = patience
        self._codec: Codec = CODECS[endpoint.dialect]
        self._problem: ServiceProblem | None = None
        self._closing = False
        self.late: list[ServerEvent] = []
        self.session_id = ""
        self.model: str | None = None
        self.expires_at: float | None = None

    async def send(self, event: ClientEvent) -> None:
        """Send one event.

        Raises:
            ServiceError: If the session is over.

        """
        await self._send(self._codec.encode(event))

    async def events(self) -> AsyncIterator[ServerEvent]:
        """Yield what the service says until we close the session.

        A message that cannot be read becomes a problem of type ``protocol``; the session goes on.

        Raises:
            ServiceError: If the service or the network ends it.

        """
        while True:
            try:
                event = await self._receive()
            except ServiceError:
                if self._closing:
                    return
                raise
            yield event

    async def set_up(self, settings: SessionSettings) -> None:
        """Wait for the greeting, and make ``settings`` hold as far as the service takes them.

        Raises:
            ServiceError: If it does not answer in time, or ends the session.
            RefusedError: If not even instructions and output can be set.

        """
        created = await self._greeting()
        self.session_id, self.model, self.expires_at = created.session_id, created.model, created.expires_at
        update = self._codec.encode(UpdateSession(settings, EVENT_ID))
        for attempt in count():  # as asked, without what is refused by name, at last the minimum
            await self._send(update)
            answer = await self._verdict()
            if isinstance(answer, SessionUpdated):
                self.model = answer.model or self.model
                return
            update = self._reduced(update, answer, last=attempt >= DROPS)

    async def close(self) -> None:
        """Close with code 1000; does nothing if the session is over."""
        self._closing = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._line.close(), name="close")
                tasks.create_task(self._drain(), name="drain")
        except asyncio.CancelledError:
            self._line.transport.abort()  # whoever is in a hurry still leaves no socket behind
            raise

    async def _drain(self) -> None:
        """Read on until the end: behind a full queue the service's answer to our close would never be seen."""
        with suppress(ServiceError, ConcurrencyError):  # the latter: somebody else still reads
            while True:
                self.late.append(await self._receive())

    async def _greeting(self) -> SessionCreated:
        problem = ""
        try:
            async with asyncio.timeout(self._patience.created_s):
                while True:
                    event = await self._receive()
                    if isinstance(event, SessionCreated):
                        return event
                    if isinstance(event, ServiceProblem):
                        if event.type == UNREADABLE:
                            raise RefusedError(self._wrong_dialect(event))
                        problem = _shown(event)  # a close that ends the wait follows where it is fatal
        except TimeoutError as exc:
            said = problem or "nothing at all"
            raise ServiceError(
                f"{self._endpoint.host} did not open a session within {self._patience.created_s:g} s; it said {said}.",
                code="timeout",
            ) from exc

    async def _verdict(self) -> SessionUpdated | ServiceProblem:
        """Return what the service says to our settings."""
        try:
            async with asyncio.timeout(self._patience.updated_s):
                while True:
                    event = await self._receive()
                    if isinstance(event, SessionUpdated):
                        return event
                    if isinstance(event, ServiceProblem) and _about_settings(event):
                        return event
        except TimeoutError as exc:
            raise ServiceError(
                f"{self._endpoint.host} did not confirm the settings within {self._patience.updated_s:g} s.",
                code="timeout",
            ) from exc

    def _reduced(self, update: str, problem: ServiceProblem, *, last: bool) -> str:
        """Return an update without what was refused; log it."""
        param = problem.param or {"cannot_update_voice": self._codec.voice}.get(problem.code or "", "")
        less = None if last else without(update, param)
        if less is not None:
            logger.warning(
                "%s refuses the setting %s (%s); the session goes on without it",
                *(self._endpoint.host, param, _shown(problem)),
            )
            return less
        less = minimal(update)
        if less == update:
            raise RefusedError(self._wrong_dialect(problem))
        logger.warning(
            "%s refuses the settings (%s); the session goes on with instructions and output alone",
            *(self._endpoint.host, _shown(problem)),
        )
        return less

    def _wrong_dialect(self, problem: ServiceProblem) -> str:
        return (
            f"{self._endpoint.describe()} does not take the plainest session ({_shown(problem)}); "
            f'check realtime.provider, and whether it speaks the "{self._endpoint.dialect}" dialect.'
        )

    async def _send(self, text: str) -> None:
        try:
            await self._line.send(text)
        except ConnectionClosed as exc:
            raise self._ended(exc) from exc

    async def _receive(self) -> ServerEvent:
        try:
            frame = await self._line.recv()
        except ConnectionClosed as exc:
            raise self._ended(exc) from exc
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        try:
            event = self._codec.decode(text)
        except ProtocolError as exc:
            logger.warning("A message of %s cannot be read: %s", self._endpoint.host, exc)
            return ServiceProblem(UNREADABLE, None, str(exc))
        # Only an error that nothing follows explains a close.
        self._problem = event if isinstance(event, ServiceProblem) else None
        return event

    def _ended(self, exc: ConnectionClosed) -> ServiceError:
        """Say why the line is closed; 1001 counts as an end like any other, though websockets calls it clean."""
        theirs, ours = exc.rcvd, exc.sent
        if ours is not None and ours.code in (1002, 1007, 1009) and not exc.rcvd_then_sent:
            return ServiceError(
                f"{self._endpoint.host} sent what no WebSocket message may be (close {ours.code}: {ours.reason}).",
                code="closed",
            )
        close = theirs or (ours if ours is not None and ours.code == 1011 else None)  # ours: it answers no ping
        code, reason = (None, "") if close is None else (close.code, close.reason)
        return refusal.ended(self._endpoint, self._secret, code, reason, self._problem)


class RealtimeService:
    """The Realtime service; fits :class:`voiced.ports.Service`."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        named: Callable[[str], Endpoint] | None = None,
        ca_file: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Remember where to go; nothing is looked up.

        Args:
            endpoint: From :func:`voiced.core.realtime.endpoint.endpoint`.
            credentials: What signs in; closed by whoever made it.
            named: Returns the endpoint of another deployment or model; ``None``: there is only one.
            ca_file: Certificates to trust instead of the system's, PEM.
            patience: How long each step may take.

        """
        self._patience = patience or Patience()
        self._endpoint = endpoint
        self._named = named
        self._credentials = credentials
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def open(self, settings: SessionSettings, *, model: str = "") -> AsyncIterator[RealtimeSession]:
        """Connect and set up; on entry the session takes sound. Closes with code 1000 on leaving.

        Args:
            settings: What the session is opened with.
            model: Deployment or model instead of the configured one, if not empty.

        Raises:
            RefusedError: On entry, if it said no.
            ServiceError: On entry, if it cannot be reached in time.

        """
        there = self._named(model) if model and self._named is not None else self._endpoint
        session = await self._connected(there)
        try:
            await session.set_up(settings)
            logger.info("Session %s with %s is open", session.session_id, there.describe())
            yield session
        finally:
            await session.close()

    async def warm(self) -> None:
        """Fetch or renew the token where sign-in is keyless; never raises for the network."""
        await self._credentials.warm()

    async def _connected(self, there: Endpoint) -> RealtimeSession:
        refused: Secret | None = None
        while True:
            secret = await self._credentials.secret(refused=refused)
            try:
                line = await self._connect(there, secret)
            except InvalidStatus as exc:
                answer = exc.response
                if answer.status_code == 401 and secret is not None and secret.kind == "token" and refused is None:
                    refused = secret  # revoked, or a role came since: once more with another one
                    continue
                raise refusal.http(
                    there,
                    secret,
                    answer.status_code,
                    bytes(answer.body or b""),
                    answer.headers.get("Retry-After"),
                ) from exc
            return RealtimeSession(there, secret, line, self._patience)

    async def _connect(self, there: Endpoint, secret: Secret | None) -> ClientConnection:
        encryption: dict[str, Any] = {"ssl": await self._trust()} if there.encrypted else {}
        try:
            return await _Connect(
                there.url,
                additional_headers=there.headers(secret),
                user_agent_header=f"voiced/{__version__}",
                compression=None,  # base64 of sound hardly shrinks
                max_size=MAX_MESSAGE,
                max_queue=256,
                open_timeout=self._patience.connect_s,
                close_timeout=self._patience.close_s,
                ping_interval=20,
                ping_timeout=20,
                logger=_wire,
                **encryption,
            )
        except InvalidStatus:
            raise
        except (InvalidHandshake, InvalidURI, OSError, UnicodeError) as exc:
            raise _unreachable(there, exc, self._patience.connect_s) from exc

    async def _trust(self) -> ssl.SSLContext:
        """Return the certificates to trust; read once, in a thread, for it takes a Pi 0.1 s."""
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file or None)
            except OSError as exc:  # ssl.SSLError is one
                raise RefusedError(
                    f"realtime.ca_file: {self._ca_file} holds no certificates that can be read ({exc.strerror or exc})."
                ) from exc
        return self._tls


def _unreachable(endpoint: Endpoint, exc: Exception, waited_s: float) -> ServiceError:
    """Say in one sentence why there is no connection."""
    host = endpoint.host
    match exc:
        case InvalidURI():
            return RefusedError(f"The address of {endpoint.describe()} is not a WebSocket URL; check [realtime].")
        case InvalidHandshake():
            return ServiceError(f"{host} does not speak WebSocket at this address ({exc}); check [realtime].")
        case TimeoutError():
            return ServiceError(
                f"{host} did not answer within {waited_s:g} s; check the network and firewalls.", code="timeout"
            )
        case socket.gaierror() | UnicodeError():
            return ServiceError(f"The name {host} cannot be found; check the network, DNS and realtime.endpoint.")
        case ssl.SSLCertVerificationError():
            return ServiceError(
                f"The certificate of {host} is not trusted ({exc.verify_message}); check this machine's clock, "
                "or name the certificates to trust in realtime.ca_file."
            )
        case ssl.SSLError():
            return ServiceError(
                f"{host} does not speak TLS there ({exc.reason}); check scheme and port of the address."
            )
        case ConnectionRefusedError():
            return ServiceError(f"Nothing listens at {host}; check [realtime] and whether the server runs.")
        case ConnectionError():
            return ServiceError(
                f"{host} hung up while the connection was made; check scheme and port of the address, and the network."
            )
        case OSError():
            return ServiceError(f"{host} cannot be reached ({exc.strerror or exc}); check the network.")
    raise AssertionError(exc)


def _about_settings(problem: ServiceProblem) -> bool:
    """Tell whether it answers our settings; one without an id does, as nothing else is outstanding."""
    return problem.type != UNREADABLE and problem.event_id in (None, EVENT_ID)


def _shown(problem: ServiceProblem) -> str:
    named = problem.code or problem.type
    return f"{named}: {problem.message}" if len(problem.message) <= 200 else f"{named}: {problem.message[:197]}..."
