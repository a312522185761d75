"""A stretch of network that can be slow, silent, cut, or full of rubbish."""

import asyncio
import random
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """A TCP door on a port of its own that leads to another one on this machine.

    Attributes:
        delay_s: How long each piece is held back, each way.
        jitter_s: Up to so much more, at random, now and then: what packet loss looks like from above TCP.

    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.delay_s = self.jitter_s = 0.0
        self._random = random.Random(7)  # noqa: S311 - no secret, but the same loss every time
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._visits: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shut()

    async def open(self) -> None:
        """Let visitors in, always on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._visit, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._server is None:
            return
        self._server.close()
        self.cut()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def cut(self) -> None:
        """Reset all connections."""
        for visit, writers in list(self._visits.items()):
            for writer in writers:
                writer.transport.abort()
            visit.cancel()

    def swallow(self) -> None:
        """Let nothing through any more, and say nothing: no FIN, no RST."""
        self._flowing.clear()

    def flow(self) -> None:
        """Go on, with what was swallowed first."""
        self._flowing.set()

    async def normal(self) -> None:
        """Be a plain way again, without what was swallowed."""
        if not self._flowing.is_set():
            self.cut()
        self.delay_s = self.jitter_s = 0.0
        self.flow()
        await self.open()

    def say(self, rubbish: bytes) -> None:
        """Send this to every visitor, as if the other side had."""
        for writers in self._visits.values():
            writers[0].write(rubbish)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits[task] = [writer]
        task.add_done_callback(self._visits.pop)
        with suppress(OSError, asyncio.CancelledError):
            try:
                to_us, to_them = await asyncio.open_connection("127.0.0.1", self.target)
                self._visits[task].append(to_them)
                await asyncio.gather(self._carry(reader, to_them), self._carry(to_us, writer))
            finally:
                for each in self._visits[task]:
                    each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65_536):
            extra = self.jitter_s * self._random.random() if self._random.random() < 0.1 else 0.0
            if wait_s := self.delay_s + extra:
                await asyncio.sleep(wait_s)
            await self._flowing.wait()
            writer.write(some)
            await writer.drain()
        writer.transport.abort()
