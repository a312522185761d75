"""The way to a host, made short: names looked up are kept, and TLS goes on where its last connection ended.

A name is kept for some minutes. An older one serves while DNS does not answer, or answers slowly.
"""

import asyncio
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

logger = logging.getLogger(__name__)

FRESH_S = 300.0
"""For so long a name is not looked up again."""

KEPT_S = 86_400.0
"""For so long the old addresses serve where DNS fails."""

DOUBTED_S = 5.0
"""A name looked up so short ago leads to the same place again."""

PATIENCE_S = 0.5
"""How long DNS may take where there are old addresses."""

STAGGER_S = 0.25
"""One address gets so much of a start over the next. Source: RFC 8305, section 8."""

Address: TypeAlias = tuple[socket.AddressFamily, tuple[object, ...]]
"""Family, and what ``socket.connect`` takes."""

LookUp: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Asks DNS; raises OSError."""


async def ask_dns(host: str, port: int) -> list[Address]:
    """Look a name up.

    Raises:
        OSError: If it is not found (``socket.gaierror``).

    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: Sequence[Address]
    at: float


class Names:
    """Where hosts are.

    Args:
        look_up: Asks DNS.
        clock: Monotonic seconds.

    """

    def __init__(self, *, look_up: LookUp = ask_dns, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._known: dict[tuple[str, int], _Known] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Return where ``host`` is.

        Raises:
            OSError: If DNS does not know, or does not answer, and nothing is remembered.

        """
        if _is_address(host):
            return await ask_dns(host, port)
        known = self._known.get((host, port))
        age = float("inf") if known is None else self._clock() - known.at
        if known is not None and age < FRESH_S:
            return known.addresses
        asking = self._asking.get((host, port))
        if asking is None:
            asking = self._asking[host, port] = asyncio.create_task(self._ask(host, port), name=f"look up {host}")
            asking.add_done_callback(_noted)
        if known is None or age > KEPT_S:
            return await asyncio.shield(asking)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(asking)
        except (TimeoutError, OSError):
            logger.info("DNS does not tell where %s is; the addresses of %.0f min ago serve", host, age / 60)
            return known.addresses

    def doubt(self, host: str, port: int) -> bool:
        """Look a name up anew next time, for nobody answered there; return whether it was remembered from before."""
        known = self._known.get((host, port))
        if known is None or self._clock() - known.at < DOUBTED_S:
            return False
        self._known[host, port] = replace(known, at=min(known.at, self._clock() - FRESH_S))
        return True

    async def close(self) -> None:
        """Ask no more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, host: str, port: int) -> Sequence[Address]:
        try:
            found = await self._look_up(host, port)
        finally:
            del self._asking[host, port]
        self._known[host, port] = _Known(found, self._clock())
        return found


def _noted(asking: "asyncio.Task[Sequence[Address]]") -> None:
    """Take note of an error that nobody waits for any more."""
    if not asking.cancelled():
        asking.exception()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


async def reach(addresses: Sequence[Address]) -> socket.socket:
    """Return a socket that is connected to the first address that answers; slower ones are tried beside the others.

    Raises:
        OSError: If none answers: the error of the first.

    """
    waiting = iter(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while True:
            address = next(waiting, None)
            if address is not None:
                running.add(asyncio.create_task(_connected(address), name="connect"))
            elif not running:
                raise failures[0] if failures else OSError("there is no address")
            patience = None if address is None else STAGGER_S
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            reached = []
            for task in done:
                if isinstance(problem := task.exception(), OSError):
                    failures.append(problem)
                else:
                    reached.append(task.result())
            for late in reached[1:]:
                late.close()
            if reached:
                return reached[0]
    finally:
        for task in running:
            task.cancel()
        for left in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(left, socket.socket):
                left.close()


async def _connected(address: Address) -> socket.socket:
    family, where = address
    reaching = socket.socket(family, socket.SOCK_STREAM)
    try:
        reaching.setblocking(False)  # noqa: FBT003 - its only argument
        await asyncio.get_running_loop().sock_connect(reaching, where)
    except BaseException:
        reaching.close()
        raise
    return reaching


class Resuming(ssl.SSLContext):
    """A client's TLS context that goes on where the last connection to a host ended, as far as the server agrees.

    That spares the server's certificate and its check: 2 to 4 KiB and some milliseconds of a small machine; with
    TLS 1.2 a round trip too.
    """

    def __init__(self, *_: object) -> None:
        self._tickets: dict[str, ssl.SSLSession] = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of the standard library
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection; asyncio calls this for each."""
        kept = session or self._tickets.get(str(server_hostname))
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, kept)

    def keep(self, connection: ssl.SSLObject) -> None:
        """Remember how to go on from ``connection``, over which something has been received."""
        if connection.session is not None:
            self._tickets[str(connection.server_hostname)] = connection.session


def trusting(ca_file: str) -> Resuming:
    """Return a context that trusts the certificates in ``ca_file``; empty: the system's. Takes a Pi 0.1 s.

    Raises:
        OSError: If they cannot be read (``ssl.SSLError`` is one).

    """
    context = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a server's own certificate may be the one to trust
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    else:
        context.load_default_certs()
    return context
