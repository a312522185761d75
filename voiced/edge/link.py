"""One WebSocket to the service (websockets): text out, text in, and a sentence for each way of not getting there."""

import asyncio
import logging
import os
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import ConcurrencyError, ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.protocol import State
from websockets.proxy import get_proxy

from voiced import __version__
from voiced.core.realtime.endpoint import Endpoint
from voiced.edge.dialing import Names, Resuming, reach, trusting
from voiced.errors import RefusedError, ServiceError

MAX_MESSAGE = 16 * 2**20
"""Bytes; an answer holds less than 1 MiB, a retrieved item much more."""

logger = logging.getLogger(__name__)

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
    ready_s: float = 10.0
    """For so long a connection made beforehand waits to be used."""
    made_s: float = 3.0
    """For the upgrade over it; then it is taken to be dead, and another one is made."""
    quiet_s: float = 1.0
    """Without a byte for so long, the other side is asked whether it is there."""
    silent_s: float = 5.0
    """Without a byte for so long after that, it is not."""


class RefusedUpgrade(Exception):  # noqa: N818 - an answer, which somebody else judges
    """An HTTP answer other than 101."""

    def __init__(self, status: int, body: bytes, retry_after_s: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s


class LinkOver(Exception):  # noqa: N818 - an end, which somebody else judges
    """The WebSocket is closed.

    Attributes:
        code: Close code; ``None`` where the connection broke.
        reason: What came with it.
        unreadable: Whether we closed it, because what came was no WebSocket message or too long.

    """

    def __init__(self, code: int | None, reason: str, *, unreadable: bool = False) -> None:
        super().__init__(f"close {code}")
        self.code = code
        self.reason = reason
        self.unreadable = unreadable


class Link:
    """An open WebSocket, which notices by itself that the other side is gone without a word."""

    def __init__(self, connection: "_Connection", tls: Resuming | None, patience: Patience) -> None:
        self._connection = connection
        self._tls = tls
        self._patience = patience
        self._is_silent = False
        self._watching = asyncio.create_task(self._watch(), name="watch the link")

    async def send(self, text: str) -> None:
        """Send one message.

        Raises:
            LinkOver: If it is closed.

        """
        try:
            await self._connection.send(text)
        except ConnectionClosed as exc:
            raise self._over(exc) from exc

    async def receive(self) -> str:
        """Return the next message.

        Raises:
            LinkOver: If it is closed; by code 1001 too, which websockets calls clean. Also if somebody else reads.

        """
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as exc:
            raise self._over(exc) from exc
        except ConcurrencyError as exc:
            raise LinkOver(None, "") from exc
        if self._tls is not None:  # what goes on from here has come by now
            self._tls.keep(self._connection.transport.get_extra_info("ssl_object"))
            self._tls = None
        return frame if isinstance(frame, str) else frame.decode(errors="replace")

    async def close(self) -> None:
        """Close with code 1000, and wait for the answer; does nothing if it is closed."""
        self._watching.cancel()
        await self._connection.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._watching.cancel()
        self._connection.transport.abort()

    async def _watch(self) -> None:
        """Drop the connection once the other side is gone.

        Whatever comes counts as a sign of life, since behind a long answer that a slow network brings a pong is late.
        """
        while self._connection.state is State.OPEN:
            pieces = self._connection.pieces
            await asyncio.sleep(self._patience.quiet_s)
            if self._connection.pieces != pieces:
                continue
            asking = asyncio.create_task(self._ask(), name="ping")  # it may wait behind sound that cannot leave
            await asyncio.sleep(self._patience.silent_s)
            asking.cancel()
            if self._connection.pieces == pieces and self._connection.state is State.OPEN:
                self._is_silent = True
                self._connection.transport.abort()

    async def _ask(self) -> None:
        with suppress(ConnectionClosed):
            await self._connection.ping()

    def _over(self, exc: ConnectionClosed) -> LinkOver:
        return LinkOver(1011, "keepalive ping timeout") if self._is_silent else _over(exc)


class Connector:
    """Opens links, and keeps what makes the next one quicker: names, certificates, TLS tickets, a connection made.

    Args:
        ca_file: Certificates to trust instead of the system's, PEM.
        patience: How long each step may take.
        names: Where hosts are.

    """

    def __init__(self, *, ca_file: str = "", patience: Patience, names: Names | None = None) -> None:
        self._ca_file = ca_file
        self._patience = patience
        self._names = names or Names()
        self._trusting: asyncio.Task[Resuming] | None = None
        self._made: _Made | None = None
        self._making = asyncio.Lock()

    async def to(self, there: Endpoint, headers: Mapping[str, str]) -> Link:
        """Connect.

        Raises:
            RefusedUpgrade: If the service answers with anything but 101.
            RefusedError: If the certificates to trust cannot be read.
            ServiceError: If it cannot be reached in time.

        """
        tls = await self.trust() if there.encrypted else None
        async with self._making:  # one that is being made is nearly there
            made, self._made = self._made, None
        if made is not None and made.serves(there):
            try:
                return await self._opened(there, headers, tls, made.taken())
            except ServiceError:
                logger.info("The connection made beforehand is gone; another one is made")
        elif made is not None:
            made.drop()
        return await self._opened(there, headers, tls)

    async def prepare(self, there: Endpoint) -> None:
        """Connect as far as TCP and TLS: nobody signs in, nothing is sent; dropped if it is not used soon.

        Raises:
            ServiceError: If it cannot be reached in time.

        """
        async with self._making:
            if self._made is not None and self._made.serves(there):
                return
            tls = await self.trust() if there.encrypted else None
            try:
                async with asyncio.timeout(self._patience.connect_s):
                    connection = await self._connect(there, {}, tls).open_tcp_connection()
            except (InvalidHandshake, InvalidURI, OSError, UnicodeError) as exc:
                raise unreachable(there, exc, self._patience.connect_s) from exc
            if self._made is not None:
                self._made.drop()
            self._made = _Made(there.url, connection, self._patience.ready_s)

    async def trust(self) -> Resuming:
        """Read the certificates, once, in a thread: it takes a Pi 0.1 s.

        Raises:
            RefusedError: If they cannot be read.

        """
        if self._trusting is None:
            self._trusting = asyncio.create_task(asyncio.to_thread(trusting, self._ca_file), name="certificates")
        try:
            return await asyncio.shield(self._trusting)
        except OSError as exc:  # ssl.SSLError is one
            self._trusting = None
            raise RefusedError(
                f"realtime.ca_file: {self._ca_file} holds no certificates that can be read ({exc.strerror or exc})."
            ) from exc

    async def close(self) -> None:
        """Drop what was made beforehand."""
        made, self._made = self._made, None
        if made is not None:
            made.drop()
        await self._names.close()

    async def _opened(
        self, there: Endpoint, headers: Mapping[str, str], tls: Resuming | None, made: ClientConnection | None = None
    ) -> Link:
        try:
            connection = await self._connect(there, headers, tls, made)
            return Link(cast("_Connection", connection), tls, self._patience)
        except InvalidStatus as exc:
            answer = exc.response
            raise RefusedUpgrade(answer.status_code, bytes(answer.body or b""), retry_after_s(answer.headers)) from exc
        except (InvalidHandshake, InvalidURI, OSError, UnicodeError) as exc:
            raise unreachable(there, exc, self._patience.connect_s) from exc

    def _connect(
        self, there: Endpoint, headers: Mapping[str, str], tls: Resuming | None, made: ClientConnection | None = None
    ) -> "_Connect":
        encryption: dict[str, Any] = {} if tls is None else {"ssl": tls}
        connecting = _Connect(
            there.url,
            additional_headers=headers,
            user_agent_header=f"voiced/{__version__}",
            compression=None,  # base64 of sound hardly shrinks
            max_size=MAX_MESSAGE,
            max_queue=256,
            open_timeout=self._patience.connect_s if made is None else self._patience.made_s,
            close_timeout=self._patience.close_s,
            ping_interval=None,  # the link asks sooner
            create_connection=_Connection,
            logger=_wire,
            **encryption,
        )
        connecting.names, connecting.made = self._names, made
        return connecting


class _Made:
    """A connection made beforehand."""

    def __init__(self, url: str, connection: ClientConnection, ready_s: float) -> None:
        self._url = url
        self._connection = connection
        self._end = asyncio.get_running_loop().call_later(ready_s, self.drop)

    def serves(self, there: Endpoint) -> bool:
        return there.url == self._url and not self._connection.transport.is_closing()

    def taken(self) -> ClientConnection:
        self._end.cancel()
        return self._connection

    def drop(self) -> None:
        self._end.cancel()
        self._connection.transport.abort()


class _Connection(ClientConnection):
    """A connection that counts what comes."""

    pieces = 0

    def data_received(self, data: bytes) -> None:
        self.pieces += 1
        super().data_received(data)


class _Connect(connect):
    """A connection by names that are kept, or one made beforehand; it never carries the key to another place."""

    names: Names
    made: ClientConnection | None

    async def open_tcp_connection(self) -> ClientConnection:
        made, self.made = self.made, None
        if made is not None:
            return made
        if get_proxy(self.ws_uri) is not None:  # which looks the name up
            return await super().open_tcp_connection()
        host, port = self.ws_uri.host, self.ws_uri.port
        try:
            reached = await reach(await self.names.addresses(host, port))
        except OSError:
            if not self.names.doubt(host, port):
                raise
            reached = await reach(await self.names.addresses(host, port))  # it may have moved
        self.create_connection_kwargs["sock"] = reached
        try:
            return await super().open_tcp_connection()
        finally:
            del self.create_connection_kwargs["sock"]  # it would forbid to follow a redirect

    def process_redirect(self, exc: Exception) -> Exception | str:
        here = urlsplit(self.uri)[:2]
        try:
            there = super().process_redirect(exc)
        except (InvalidURI, ValueError):  # an https:// one, for example, or none at all
            return exc
        return there if isinstance(there, str) and urlsplit(there)[:2] == here else exc


def _over(exc: ConnectionClosed) -> LinkOver:
    theirs, ours = exc.rcvd, exc.sent
    if ours is not None and ours.code in (1002, 1007, 1009) and not exc.rcvd_then_sent:
        return LinkOver(ours.code, ours.reason, unreadable=True)
    close = theirs or (ours if ours is not None and ours.code == 1011 else None)  # ours: it answers no ping
    return LinkOver(None, "") if close is None else LinkOver(close.code, close.reason)


def retry_after_s(headers: Headers) -> float | None:
    """Return in how many seconds an answer allows another attempt; ``None`` where it does not say, or not clearly.

    Source: RFC 9110, section 10.2.3; Azure also sends milliseconds, in a header of its own.
    """
    values = {name: headers.get_all(name) for name in ("retry-after-ms", "Retry-After", "Date")}
    milliseconds, seconds, sent = (each[0] if len(each) == 1 else "" for each in values.values())
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", milliseconds):
        return float(milliseconds) / 1000
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", seconds):
        return float(seconds)
    try:
        return max(0.0, (parsedate_to_datetime(seconds) - parsedate_to_datetime(sent)).total_seconds())
    except (ValueError, TypeError):
        return None


def unreachable(endpoint: Endpoint, exc: Exception, waited_s: float) -> ServiceError:
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
            return RefusedError(
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
            # asyncio puts the address where the reason was
            why = os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else exc.strerror or exc
            return ServiceError(f"{host} cannot be reached ({why}); check the network.")
    raise AssertionError(exc)
