"""One WebSocket to the service (websockets): text out, text in, and a sentence for each way of not getting there."""

import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConcurrencyError, ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from voiced import __version__
from voiced.core.realtime.endpoint import Endpoint
from voiced.errors import RefusedError, ServiceError

MAX_MESSAGE = 16 * 2**20
"""Bytes; an answer holds less than 1 MiB, a retrieved item much more."""

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


class RefusedUpgrade(Exception):  # noqa: N818 - an answer, which somebody else judges
    """An HTTP answer other than 101."""

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.retry_after = retry_after


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
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def to(
        cls, there: Endpoint, headers: Mapping[str, str], tls: ssl.SSLContext | None, patience: Patience
    ) -> Self:
        """Connect.

        Raises:
            RefusedUpgrade: If the service answers with anything but 101.
            ServiceError: If it cannot be reached in time.

        """
        encryption: dict[str, Any] = {} if tls is None else {"ssl": tls}
        try:
            connection = await _Connect(
                there.url,
                additional_headers=headers,
                user_agent_header=f"voiced/{__version__}",
                compression=None,  # base64 of sound hardly shrinks
                max_size=MAX_MESSAGE,
                max_queue=256,
                open_timeout=patience.connect_s,
                close_timeout=patience.close_s,
                ping_interval=20,
                ping_timeout=20,
                logger=_wire,
                **encryption,
            )
        except InvalidStatus as exc:
            answer = exc.response
            raise RefusedUpgrade(
                answer.status_code, bytes(answer.body or b""), answer.headers.get("Retry-After")
            ) from exc
        except (InvalidHandshake, InvalidURI, OSError, UnicodeError) as exc:
            raise unreachable(there, exc, patience.connect_s) from exc
        return cls(connection)

    async def send(self, text: str) -> None:
        """Send one message.

        Raises:
            LinkOver: If it is closed.

        """
        try:
            await self._connection.send(text)
        except ConnectionClosed as exc:
            raise _over(exc) from exc

    async def receive(self) -> str:
        """Return the next message.

        Raises:
            LinkOver: If it is closed; by code 1001 too, which websockets calls clean. Also if somebody else reads.

        """
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as exc:
            raise _over(exc) from exc
        except ConcurrencyError as exc:
            raise LinkOver(None, "") from exc
        return frame if isinstance(frame, str) else frame.decode(errors="replace")

    async def close(self) -> None:
        """Close with code 1000, and wait for the answer; does nothing if it is closed."""
        await self._connection.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._connection.transport.abort()


class _Connect(connect):
    """A connection that never carries the key to another place."""

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
