"""What the tests of the simulator share: spoken questions, a plain client, and what was said when."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from tests.wire import Dialect, check_client_frame, check_server_frame
from voiced.simulator import Recording, Simulator
from voiced.simulator.speech import synthesised

Json = dict[str, Any]
RATE = 24_000
_spoken: dict[str, bytes] = {}


async def spoken(text: str = "What time is it?") -> bytes:
    """Return a question as PCM16 at 24 kHz, spoken by espeak-ng."""
    if text not in _spoken:
        sound = await synthesised(text, "en-gb")
        assert sound is not None, "espeak-ng is missing; install it with: apt install espeak-ng"
        _spoken[text] = sound.astype("<i2").tobytes()
    return _spoken[text]


def silence(milliseconds: int) -> bytes:
    return bytes(RATE * milliseconds // 1000 * 2)


def chunks(pcm: bytes, milliseconds: int = 100) -> list[str]:
    size = RATE * milliseconds // 1000 * 2
    return [base64.b64encode(pcm[begin : begin + size]).decode() for begin in range(0, len(pcm), size)]


def samples(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm, "<i2").astype(np.int16)


class Client:
    """A client without ideas of its own: sends what it is told, keeps what it hears."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[Json] = []
        self._new = asyncio.Event()
        self.over = False

    async def listen(self) -> None:
        try:
            async for message in self.socket:
                self.events.append(json.loads(message))
                self._new.set()
        finally:
            self.over = True
            self._new.set()

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def say(self, pcm: bytes) -> None:
        for chunk in chunks(pcm):
            await self.send("input_audio_buffer.append", audio=chunk)

    async def event(self, kind: str, count: int = 1) -> Json:
        """Wait for the ``count``-th event of a type."""
        async with asyncio.timeout(10):
            while len(found := [each for each in self.events if each["type"] == kind]) < count:
                assert not self.over, f"closed before {kind}; got {self.kinds}"
                self._new.clear()
                await self._new.wait()
        return found[count - 1]

    async def error(self, count: int = 1) -> Json:
        """Wait for the ``count``-th error and return what it says."""
        error: Json = (await self.event("error", count))["error"]
        return error

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the end; return close code and reason."""
        async with asyncio.timeout(10):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    @property
    def kinds(self) -> list[str]:
        return [each["type"] for each in self.events]


@asynccontextmanager
async def client(simulator: Simulator, url: str | None = None) -> AsyncIterator[Client]:
    """Connect, and hang up at the end."""
    address = url or simulator.url_for("azure")
    async with connect(address, compression=None, max_size=None) as socket:
        talker = Client(socket)
        listening = asyncio.create_task(talker.listen())
        try:
            yield talker
        finally:
            await socket.close()
            await asyncio.wait([listening])
            if not listening.cancelled():
                listening.exception()


def folded(kinds: Sequence[str]) -> list[str]:
    """Return event types with runs of deltas folded into one."""
    deltas = [each for each in kinds if each.endswith(".delta")]
    seen: set[str] = set()
    result = []
    for each in kinds:
        if each in deltas:
            if each in seen:
                continue
            seen.add(each)
        result.append(each)
    return result


def check_frames(dialect: Dialect, recording: Recording) -> None:
    """Check all frames of a session, both ways."""
    for event in recording.server_events:
        check_server_frame(dialect, event)
    for event in recording.client_events:
        check_client_frame(dialect, event)
