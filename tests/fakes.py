"""Parts that behave like the real ones, without their devices: for stories about the whole daemon."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from voiced.core.clips import Clip
from voiced.core.frames import FRAME, SERVICE_RATE, Frame, Samples
from voiced.core.ledger import QUARTER_S, Book, Entry
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.payloads import BrokerHealth, EchoHealth
from voiced.core.playout import Drained, PlayoutEvent, Started
from voiced.core.wake import NearMiss, Wake, WordRule


class ScriptedMicrophone:
    """Gives the frames it is told to hear, as soon as it is told."""

    def __init__(self) -> None:
        self.overruns = 0
        self.silent_s = 0.0
        self.problem: str | None = None
        self.prompt = self.is_calm = False
        self.muted = False
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.end = 0

    def hear(self, samples: Samples) -> None:
        """Hear ``samples``, in whole frames."""
        for start in range(0, len(samples) // FRAME * FRAME, FRAME):
            self._frames.put_nowait(Frame(self.end, samples[start : start + FRAME]))
            self.end += FRAME

    def pace(self, *, prompt: bool) -> None:
        self.prompt = prompt

    def calm(self, *, calm: bool) -> None:
        self.is_calm = calm

    def mute(self, *, muted: bool) -> None:
        self.muted = muted

    def run_out(self) -> None:
        """End, as a recording does."""
        self._frames.put_nowait(None)

    async def frames(self) -> AsyncIterator[Frame]:
        while (frame := await self._frames.get()) is not None:
            yield frame
            self._frames.task_done()

    async def all_heard(self) -> None:
        """Wait until somebody took all that was heard."""
        await self._frames.join()


class ScriptedEcho:
    """Takes out of the microphone's sound what it was told the speaker adds, and hears whom it is told."""

    def __init__(self, *, full_duplex: bool = False) -> None:
        self.full_duplex = full_duplex
        self.near_speech_s = 0.0
        self.health = EchoHealth(mode="full-duplex" if full_duplex else "half-duplex")
        self.echoes: dict[int, Samples] = {}
        self.cleaned: list[Frame] = []

    def clean(self, frame: Frame) -> Frame:
        if (echo := self.echoes.pop(frame.start, None)) is not None:
            frame = Frame(frame.start, frame.samples - echo)
        self.cleaned.append(frame)
        return frame


class ScriptedEars:
    """Hear a word in the frame that ends at a position they were told."""

    def __init__(self) -> None:
        self.wakes_at: dict[int, str] = {}
        self.misses: list[NearMiss] = []
        self.resets = 0
        self.vetoed = 0
        self.open = False
        self.scores: tuple[float, ...] = (0.0,)
        self.words: tuple[WordRule, ...] = ()
        self.fed: list[Frame] = []
        self.skimmed: list[Frame] = []
        self.woken_at: list[float] = []
        self.scored: list[tuple[int, tuple[float, ...]]] = []

    def feed(self, *frames: Frame) -> Wake | None:
        self.fed += frames
        heard = [*self.skimmed, *(frame for frame in frames if frame.end in self.wakes_at)]
        self.skimmed.clear()
        if not heard:
            return None
        self.woken_at.append(time.monotonic())
        return Wake(self.wakes_at[heard[0].end], 0.9, 0.5, heard[0].end)

    @property
    def waiting(self) -> bool:
        return bool(self.skimmed)

    def may_skim(self, frames: Sequence[Frame]) -> bool:
        return len(frames) == 4 and not self.open and not self.misses

    def skim(self, frames: Sequence[Frame]) -> bool:
        """Hear a word only when :meth:`feed` is called."""
        self.fed += frames
        self.skimmed += [frame for frame in frames if frame.end in self.wakes_at]
        return bool(self.skimmed)

    def rows(self) -> list[tuple[int, tuple[float, ...]]]:
        rows, self.scored = self.scored, []
        return rows

    def near_misses(self) -> list[NearMiss]:
        misses, self.misses = self.misses, []
        return misses

    def adjust(self, words: tuple[WordRule, ...]) -> None:
        self.words = words

    def reset(self) -> None:
        self.resets += 1


class KeptClips:
    """Clips kept in memory."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []

    def keep(self, clip: Clip) -> None:
        self.clips.append(clip)


class KeptLedger:
    """A ledger kept in memory."""

    def __init__(self) -> None:
        self.book = Book(since=0.0)
        self.entries: list[Entry] = []
        self.problem: str | None = None

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)

    def redate(self, quarters: int) -> None:
        self.entries = [replace(entry, time=entry.time + quarters * QUARTER_S) for entry in self.entries]


class InstantSpeaker:
    """Plays in no time, or holds what it has until it is let go; a pause holds it in any case."""

    def __init__(self, *, holds: bool = False) -> None:
        self.holds = holds
        self.problem: str | None = None
        self.underruns = 0
        self.notify: Callable[[PlayoutEvent], None] = lambda _: None
        self.played: list[tuple[str, int, bytes]] = []
        self.chimes = 0
        self.cuts = 0
        self.percent = 100
        self.announced = 0
        self.percents: list[int | None] = []
        self.paused = False
        self.pauses = 0
        self.chimed: Samples = np.zeros(0, np.int16)
        self._queue: list[tuple[str, int, bytes]] = []

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    def play(
        self, item_id: str, content_index: int, pcm: bytes, *, announced: bool = False, percent: int | None = None
    ) -> None:
        self.percents.append(percent)
        first = all(item_id != known for known, _, _ in (*self.played, *self._queue))
        self._queue.append((item_id, content_index, pcm))
        self.announced += announced
        if first:
            self.notify(Started(item_id))
        if not self.holds:
            self.let_go()

    def let_go(self) -> None:
        """Let all that is queued be heard, unless it is paused."""
        if self.paused:
            return
        self.played += self._queue
        self._queue.clear()
        self.notify(Drained())

    def chime(self, sound: Samples) -> None:
        self.chimes += 1
        self.chimed = sound

    def cut(self) -> dict[tuple[str, int], int]:
        self.cuts += 1
        self.paused = False
        heard: dict[tuple[str, int], int] = defaultdict(int)
        for item, part, pcm in self._queue:  # half of what waits was heard
            heard[item, part] += len(pcm) // 2 * 1000 // SERVICE_RATE // 2
        self._queue.clear()
        return dict(heard)

    def pause(self) -> None:
        self.pauses += 1
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        if self._queue and not self.holds:
            self.let_go()

    def volume(self, percent: int) -> None:
        self.percent = percent


@dataclass
class Diary:
    """A broker that writes everything down."""

    connected: bool = True
    problem: str | None = None
    disk_problem: str | None = None
    health: BrokerHealth = field(default_factory=BrokerHealth)
    kept: dict[str, str] = field(default_factory=dict)
    shouted: list[tuple[str, str]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    republished: list[tuple[str, ...]] = field(default_factory=list)
    history: list[tuple[str, str]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        self.kept[topic] = payload
        self._note(topic, payload)

    def tell(self, topic: str, payload: str) -> None:
        self.told.append((topic, payload))
        self._note(topic, payload)

    def deliver(self, topic: str, payload: str, *, parcel: str) -> None:
        self.tell(topic, payload)

    def shout(self, topic: str, payload: str) -> bool:
        self.shouted.append((topic, payload))
        self._note(topic, payload)
        return self.connected

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        self.answers.append((topic, payload, correlation))
        self._note(topic, payload)

    def republish(self, names: tuple[str, ...] = ()) -> None:
        self.republished.append(names)

    async def obey(self, post: Callable[[Message], None]) -> None:
        await asyncio.Event().wait()  # nobody asks

    def _note(self, topic: str, payload: str) -> None:
        self.history.append((topic, payload))
        self._changed.set()

    async def until(self, holds: Callable[["Diary"], bool], *, patience_s: float = 20.0) -> None:
        """Wait until what was written makes ``holds`` true."""
        try:
            async with asyncio.timeout(patience_s):
                while not holds(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"did not happen within {patience_s} s; the last were {self.history[-5:]}") from None


class Remembered:
    """Settings kept in memory."""

    def __init__(self, **values: object) -> None:
        self.values = values

    def load(self) -> dict[str, object]:
        return dict(self.values)

    def save(self, values: dict[str, object]) -> None:
        self.values = dict(values)
