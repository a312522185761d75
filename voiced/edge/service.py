"""The Realtime service: sign in, connect, set a session up, and say in a sentence what went wrong.

Before ``open`` is entered nothing is looked up or connected.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime import refusal
from voiced.core.realtime.codec import CODECS, Codec, input_rate, minimal, named_in, pieces, without
from voiced.core.realtime.endpoint import Endpoint, Secret
from voiced.core.realtime.events import (
    ClientEvent,
    ServerEvent,
    ServiceProblem,
    SessionCreated,
    SessionUpdated,
    UpdateSession,
)
from voiced.core.realtime.mending import Limits
from voiced.core.realtime.settings import SessionSettings
from voiced.edge.credentials import Credentials
from voiced.edge.dialing import Names
from voiced.edge.link import Connector, Link, LinkOver, Patience, RefusedUpgrade
from voiced.errors import NotAllowedError, ProtocolError, RefusedError, ServiceError

logger = logging.getLogger(__name__)

DROPS = 4
"""How many refused settings are left out one after the other; after them each is tried alone, all at once."""
EVENT_ID = "voiced-settings"
UNREADABLE = "protocol"
"""Type of the problems that are of our own making: a message of the service that cannot be read."""


class RealtimeSession:
    """An open session; fits :class:`voiced.ports.Session`."""

    def __init__(self, endpoint: Endpoint, secret: Secret | None, link: Link, patience: Patience) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self._link = link
        self._patience = patience
        self._codec: Codec = CODECS[endpoint.dialect]
        self._problem: ServiceProblem | None = None
        self._closing = False
        self._largest = 0
        self.late: list[ServerEvent] = []
        self.session_id = ""
        self.model: str | None = None
        self.expires_at: float | None = None
        self.input_rate = SERVICE_RATE

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

    async def set_up(self, settings: SessionSettings, refused: dict[str, str]) -> None:
        """Wait for the greeting, and make ``settings`` hold as far as the service takes them.

        Args:
            settings: What is wanted.
            refused: Settings that are left out from the start, and why; what is refused now is added.

        Raises:
            ServiceError: If it does not answer in time, or ends the session.
            RefusedError: If not even instructions and output can be set.

        """
        created = await self._greeting()
        self.session_id, self.model, self.expires_at = created.session_id, created.model, created.expires_at
        update = self._codec.encode(UpdateSession(settings, EVENT_ID))
        for param in refused:
            update = without(update, param) or update
        for _ in range(DROPS + 1):
            await self._send(update)
            answer = await self._verdict()
            if isinstance(answer, SessionUpdated):
                self._holds(answer, update)
                return
            named = named_in(update, answer, voice=self._codec.voice)
            less = without(update, named) if named is not None else None
            if named is None or less is None:
                break
            self._refuse(refused, named, answer)
            update = less
        await self._set_up_piecemeal(update, refused)

    async def _set_up_piecemeal(self, update: str, refused: dict[str, str]) -> None:
        """Set what no session can do without, and each other setting alone; one round trip for all of them."""
        least, others = minimal(update), pieces(update)
        for text in (least, *(text for _, text in others)):
            await self._send(text)
        first = await self._verdict()
        if isinstance(first, ServiceProblem):
            raise RefusedError(self._wrong_dialect(first))
        self._holds(first, least)
        for param, text in others:  # answered in their order, which alone correlates them: ids may be missing
            answer = await self._verdict()
            if isinstance(answer, SessionUpdated):
                self._holds(answer, text)
            else:
                self._refuse(refused, param, answer)

    def _holds(self, updated: SessionUpdated, update: str) -> None:
        self.model = updated.model or self.model
        self.input_rate = input_rate(update) or self.input_rate

    def _refuse(self, refused: dict[str, str], param: str, problem: ServiceProblem) -> None:
        refused[param] = _shown(problem)
        logger.info(
            "%s refuses the setting %s (%s); the session goes on without it", self._endpoint.host, param, refused[param]
        )

    async def close(self) -> None:
        """Close with code 1000; does nothing if the session is over."""
        self._closing = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._link.close(), name="close")
                tasks.create_task(self._drain(), name="drain")
        except asyncio.CancelledError:
            self._link.abort()  # whoever is in a hurry still leaves no socket behind
            raise

    async def _drain(self) -> None:
        """Read on until the end: behind a full queue the service's answer to our close would never be seen."""
        with suppress(ServiceError):
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

    def _wrong_dialect(self, problem: ServiceProblem) -> str:
        return (
            f"{self._endpoint.describe()} does not take the plainest session ({_shown(problem)}); "
            f'check realtime.provider, and whether it speaks the "{self._endpoint.dialect}" dialect.'
        )

    async def _send(self, text: str) -> None:
        self._largest = max(self._largest, len(text))
        try:
            await self._link.send(text)
        except LinkOver as over:
            raise self._ended(over) from over

    async def _receive(self) -> ServerEvent:
        try:
            text = await self._link.receive()
        except LinkOver as over:
            raise self._ended(over) from over
        try:
            event = self._codec.decode(text)
        except ProtocolError as exc:
            logger.warning("A message of %s cannot be read: %s", self._endpoint.host, exc)
            return ServiceProblem(UNREADABLE, None, str(exc))
        # Only an error that nothing follows explains a close.
        self._problem = event if isinstance(event, ServiceProblem) else None
        return event

    def _ended(self, over: LinkOver) -> ServiceError:
        if over.unreadable:
            return ServiceError(
                f"{self._endpoint.host} sent what no WebSocket message may be (close {over.code}: {over.reason}).",
                code="closed",
            )
        if over.code in (1008, 1009):
            over.reason = f"{over.reason}; the largest message sent had {self._largest} bytes".lstrip("; ")
        return refusal.ended(self._endpoint, self._secret, over.code, over.reason, self._problem)


class RealtimeService:
    """The Realtime service; fits :class:`voiced.ports.Service`."""

    def __init__(  # noqa: PLR0913 - each is a decision of its own, named where it is made
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        named: Callable[[str], Endpoint] | None = None,
        ca_file: str = "",
        patience: Patience | None = None,
        names: Names | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Remember where to go; nothing is looked up.

        Args:
            endpoint: From :func:`voiced.core.realtime.endpoint.endpoint`.
            credentials: What signs in; closed by whoever made it.
            named: Returns the endpoint of another deployment or model; ``None``: there is only one.
            ca_file: Certificates to trust instead of the system's, PEM.
            patience: How long each step may take.
            names: Where hosts are.
            limits: How long the service may take with what it is asked.

        """
        self.limits = limits or Limits()
        self._patience = patience or Patience()
        self._endpoint = endpoint
        self._named = named
        self._credentials = credentials
        self._connector = Connector(ca_file=ca_file, patience=self._patience, names=names)
        self._refused: dict[str, dict[str, str]] = {}

    @property
    def refusals(self) -> str | None:
        """Which settings the service refuses, as a sentence; ``None`` while it takes them all."""
        told = [f"{param} ({why})" for refused in self._refused.values() for param, why in sorted(refused.items())]
        if not told:
            return None
        return (
            f"{self._endpoint.host} refuses {'; '.join(dict.fromkeys(told))}. Sessions go on without; "
            "take the setting out of the profile, or choose another model."
        )

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
        there = self._there(model)
        session = await self._opened(there, settings)
        try:
            logger.info("Session %s with %s is open", session.session_id, there.describe())
            yield session
        finally:
            await session.close()

    async def warm(self) -> None:
        """Read certificates, and fetch or renew the token where sign-in is keyless; never raises for the network."""
        if self._endpoint.encrypted:
            with suppress(RefusedError):  # said by the first session that needs them
                await self._connector.trust()
        await self._credentials.warm()

    async def prepare(self, *, model: str = "") -> None:
        """Connect as far as TCP and TLS, as somebody seems to say a wake word; does nothing if that fails."""
        try:
            await self._connector.prepare(self._there(model))
        except ServiceError as exc:
            logger.debug("nothing is made beforehand: %s", exc)

    async def close(self) -> None:
        """Drop what was made beforehand."""
        await self._connector.close()

    def _there(self, model: str) -> Endpoint:
        return self._named(model) if model and self._named is not None else self._endpoint

    async def _opened(self, there: Endpoint, settings: SessionSettings) -> RealtimeSession:
        refused: Secret | None = None
        while True:
            secret = await self._credentials.secret(refused=refused)
            try:
                return await self._tried(there, secret, settings)
            except NotAllowedError:
                if secret is None or secret.kind != "token" or refused is not None:
                    raise
                refused = secret  # revoked, or a role came since: once more with another one

    async def _tried(self, there: Endpoint, secret: Secret | None, settings: SessionSettings) -> RealtimeSession:
        try:
            link = await self._connector.to(there, there.headers(secret))
        except RefusedUpgrade as no:
            raise refusal.http(there, secret, no.status, no.body, no.retry_after_s) from no
        session = RealtimeSession(there, secret, link, self._patience)
        try:
            await session.set_up(settings, self._refused.setdefault(there.url, {}))
        except BaseException:
            await session.close()
            raise
        return session


def _about_settings(problem: ServiceProblem) -> bool:
    """Tell whether it answers our settings; one without an id does, as nothing else is outstanding."""
    return problem.type != UNREADABLE and problem.event_id in (None, EVENT_ID)


def _shown(problem: ServiceProblem) -> str:
    named = problem.code or problem.type
    return f"{named}: {problem.message}" if len(problem.message) <= 200 else f"{named}: {problem.message[:197]}..."
