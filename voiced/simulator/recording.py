"""What one session heard and said, kept for tests, and ways to wait for it."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.simulator.admission import Request
from voiced.simulator.conversation import Item
from voiced.simulator.dialect import Json
from voiced.simulator.prices import TokenPrices

Watch: TypeAlias = Callable[[int, str], None]
"""Hears of each event as it happens: number of the session, and a line like ``< session.created``."""


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """A WebSocket message of the client; ``at`` is in seconds of the event loop's clock."""

    at: float
    text: str | bytes


@dataclass(frozen=True, slots=True)
class ServerFrame:
    """An event that was sent; ``at`` is in seconds of the event loop's clock."""

    at: float
    event: Json


class Recording:
    """One session, from upgrade to close.

    Attributes:
        number: Which session of the simulator, from 0.
        path: Of the upgrade request, without the query.
        query: Its parameters, first values.
        headers: Its headers, by lower-case name.
        client_frames: All messages of the client, with arrival times.
        server_frames: All events sent.
        memory: The items that the session remembers, oldest first; live.
        nano: What it would cost so far, in billionths of a dollar.
        closed: Close code and reason as seen here, once over: the client's if it closed; 1006 for a lost connection.

    """

    def __init__(
        self, number: int, request: Request, prices: TokenPrices, *, keep: bool = True, watch: Watch | None = None
    ) -> None:
        """Begin a recording; without ``keep`` nothing grows, and only ``watch`` hears of what happens."""
        self.number = number
        self.path = request.path
        self.query = dict(request.query)
        self.headers = dict(request.headers)
        self.nano = 0
        self._prices = prices
        self._keep = keep
        self._watch = watch
        self.client_frames: list[ClientFrame] = []
        self.server_frames: list[ServerFrame] = []
        self.closed: tuple[int, str] | None = None
        self.memory: Iterable[Item] = ()
        self._pcm: list[bytes] = []
        self._commits: list[tuple[int, int]] = []
        self._changed = asyncio.Event()

    @property
    def received_pcm(self) -> NDArray[np.int16]:
        """All sound received, in order, as it came: shape ``(n,)``, 24 kHz unless the session says otherwise."""
        return np.frombuffer(b"".join(self._pcm), "<i2").astype(np.int16)

    @property
    def commits(self) -> list[tuple[int, int]]:
        """The turns: first sample and the one behind the last, in :attr:`received_pcm`."""
        return list(self._commits)

    @property
    def client_events(self) -> list[Json]:
        """All JSON objects of the client, in order."""
        return [event for frame in self.client_frames if isinstance(event := _parsed(frame.text), dict)]

    @property
    def server_events(self) -> list[Json]:
        """All events sent, in order."""
        return [frame.event for frame in self.server_frames]

    @property
    def sent_pcm(self) -> NDArray[np.int16]:
        """All sound sent, in order, shape ``(n,)``, 24 kHz."""
        names = {"response.output_audio.delta", "response.audio.delta"}
        pcm = b"".join(base64.b64decode(each["delta"]) for each in self.server_events if each["type"] in names)
        return np.frombuffer(pcm, "<i2").astype(np.int16)

    def sent(self, kind: str) -> list[Json]:
        """Return the events sent of one type, by its name on the wire."""
        return [event for event in self.server_events if event["type"] == kind]

    def received(self, kind: str) -> list[Json]:
        """Return the client's events of one type."""
        return [event for event in self.client_events if event.get("type") == kind]

    async def wait_for(self, kind: str, count: int = 1, *, timeout_s: float = 10.0) -> Json:
        """Wait until ``count`` events of a type were sent; return the last of them.

        Raises:
            TimeoutError: If that takes longer, naming what was sent instead.

        """
        await self.wait_until(lambda: len(self.sent(kind)) >= count, f"{count} x {kind}", timeout_s=timeout_s)
        return self.sent(kind)[count - 1]

    async def wait_for_client(self, kind: str, count: int = 1, *, timeout_s: float = 10.0) -> Json:
        """Wait until the client has sent ``count`` events of a type; return the last of them.

        Raises:
            TimeoutError: If that takes longer.

        """
        await self.wait_until(
            lambda: len(self.received(kind)) >= count, f"{count} x {kind} of the client", timeout_s=timeout_s
        )
        return self.received(kind)[count - 1]

    async def wait_closed(self, *, timeout_s: float = 10.0) -> tuple[int, str]:
        """Wait until the session is over; return the close code and reason.

        Raises:
            TimeoutError: If that takes longer.

        """
        await self.wait_until(lambda: self.closed is not None, "the close", timeout_s=timeout_s)
        return self.closed or (1006, "")

    async def wait_until(self, holds: Callable[[], bool], what: str, *, timeout_s: float = 10.0) -> None:
        """Wait until something holds; it is asked again whenever this recording grows.

        Raises:
            TimeoutError: If that takes longer.

        """
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            kinds = [event["type"] for event in self.server_events][-12:]
            raise TimeoutError(f"no {what} in {timeout_s} s; the last events sent were {kinds}") from None

    # --- for the session ------------------------------------------------------------------------------------------

    def note_client(self, frame: ClientFrame) -> None:
        """Keep a message of the client."""
        if self._keep:
            self.client_frames.append(frame)
        self._tell("" if self._watch is None else f"> {_kind(frame.text)}")

    def note_server(self, frame: ServerFrame) -> None:
        """Keep an event that was sent."""
        if self._keep:
            self.server_frames.append(frame)
        kind, cost = frame.event["type"], self._prices.nano(frame.event)
        self.nano += cost
        self._tell(f"< {kind}  ${cost / 1e9:.4f}, ${self.nano / 1e9:.4f} so far" if cost else f"< {kind}")

    def note_sound(self, pcm: bytes) -> None:
        """Keep sound received."""
        if self._keep:
            self._pcm.append(pcm)

    def note_commit(self, begin: int, end: int) -> None:
        """Keep where a turn was."""
        if self._keep:
            self._commits.append((begin, end))

    def note_close(self, code: int, reason: str) -> None:
        """Keep how it ended."""
        self.closed = (code, reason)
        self._tell(f"closed {code} {reason}".rstrip())

    def _tell(self, line: str) -> None:
        if self._watch is not None:
            self._watch(self.number, line)
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()


def _kind(text: str | bytes) -> str:
    event = _parsed(text)
    return str(event.get("type", "?")) if isinstance(event, dict) else "?"


def _parsed(text: str | bytes) -> Any:
    if isinstance(text, bytes):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
