"""What waits to be heard, and what has been heard, counted in samples.

Answers come faster than they can be spoken; they queue here in parts, one part per (item, content index) of the
Realtime conversation. Whoever feeds the loudspeaker calls :meth:`Playout.read` and keeps :attr:`Playout.latency` right;
everything else follows from counting: which part was heard how far, when an answer starts to sound, when all is said.
Chimes are mixed over the voice and never delay it. All sound is 24 kHz (:data:`voiced.core.frames.SERVICE_RATE`).
"""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import SERVICE_RATE, Samples, milliseconds

Part: TypeAlias = tuple[str, int]
"""Item and content index."""

LIMIT = 600 * SERVICE_RATE
"""Samples that may wait: ten minutes of voice, 29 MB."""

FADE = SERVICE_RATE * 40 // 1000
"""Samples in which a cut voice falls silent: 40 ms. A shorter one clicks."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first sound of an answer can be heard now."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Drained:
    """All voice that was queued has been heard. Comes again if more is queued, also of the same answer."""


PlayoutEvent: TypeAlias = Started | Drained


@dataclass(slots=True)
class _Run:
    """Voice of one part given out in one piece; positions count all samples given out, silence too."""

    part: Part
    start: int
    end: int


def gain(percent: int) -> float:
    """Return the factor for a volume of 0 to 100 percent: its square, so that 50 sounds about half as loud."""
    return (min(max(percent, 0), 100) / 100) ** 2


class Playout:
    """The buffer between the answers and the loudspeaker. Not thread-safe: hold a lock around each call.

    Attributes:
        latency: Samples given out by :meth:`read` that are not audible yet; the reader sets it.
        dropped: Samples of voice refused because :data:`LIMIT` were waiting.

    """

    def __init__(self) -> None:
        self.latency = 0
        self.dropped = 0
        self._queue: deque[tuple[Part | None, Samples]] = deque()  # the tail of a cut voice has no part
        self._waiting = 0
        self._chimes: list[Samples] = []
        self._position = 0  # samples given out since the start, silence too
        self._voice_end = 0  # position behind the last voice given out
        self._runs: deque[_Run] = deque()  # voice given out that may not be audible yet
        self._heard: dict[Part, int] = {}  # samples of each part in runs that are over
        self._begun: set[str] = set()  # items of which something was given out
        self._starting: deque[tuple[int, str]] = deque()  # position and item whose start is still to be told
        self._undrained = False
        self._is_cut = False
        self._gain = self._wanted_gain = 1.0

    @property
    def waiting(self) -> int:
        """Samples of voice that :meth:`read` has still to give out."""
        return self._waiting

    @property
    def is_idle(self) -> bool:
        """Whether :meth:`read` would give nothing but silence."""
        return not self._queue and not self._chimes

    @property
    def is_quiet(self) -> bool:
        """Whether no voice waits and all that was given out has been heard."""
        return not self._queue and self._audible >= self._voice_end

    @property
    def _audible(self) -> int:
        return max(0, self._position - self.latency)

    def write(self, item_id: str, content_index: int, samples: Samples) -> None:
        """Queue sound of an answer; what does not fit into :data:`LIMIT` is dropped and counted.

        Args:
            item_id: The item it belongs to.
            content_index: The part of the item.
            samples: 24 kHz; kept, not copied.

        """
        # An answer that goes on after a gap in the network keeps its count; a new one after a silence starts afresh.
        if self._is_cut or (self.is_quiet and all(item_id != known for known, _ in self._heard)):
            self._forget()
        fits = samples[: LIMIT - self._waiting]
        self.dropped += len(samples) - len(fits)
        self._heard.setdefault((item_id, content_index), 0)
        if len(fits):
            self._queue.append(((item_id, content_index), fits))
            self._waiting += len(fits)
            self._undrained = True

    def chime(self, sound: Samples) -> None:
        """Mix ``sound`` (24 kHz) in from the next sample on."""
        if len(sound):
            self._chimes.append(sound)

    def volume(self, percent: int) -> None:
        """Set the loudness of everything, 0 to 100; the next :meth:`read` glides to it."""
        self._wanted_gain = gain(percent)
        if not self._position:
            self._gain = self._wanted_gain

    def read(self, count: int) -> Samples:
        """Give out the next ``count`` samples: voice in order, chimes over it, silence where there is neither."""
        if self.is_idle:
            self._position += count
            self._settle()
            return np.zeros(count, np.int16)
        mix = np.zeros(count, np.int32)
        done = 0
        while done < count and self._queue:
            part, sound = self._queue.popleft()
            taken = sound[: count - done]
            mix[done : done + len(taken)] = taken
            if len(taken) < len(sound):
                self._queue.appendleft((part, sound[len(taken) :]))
            self._note(part, self._position + done, len(taken))
            done += len(taken)
        self._waiting -= done
        for chime in self._chimes:
            taken = chime[:count]
            mix[: len(taken)] += taken
        self._chimes = [chime[count:] for chime in self._chimes if len(chime) > count]
        self._position += count
        self._settle()
        return self._amplify(mix)

    def heard(self) -> dict[Part, int]:
        """Return milliseconds heard of each part, in the order they were queued, those not heard at all too.

        Covers all that was queued since the queue was last empty and heard; a gap within an answer is no end.
        """
        counts = dict(self._heard)
        for run in self._runs:
            counts[run.part] += min(max(self._audible - run.start, 0), run.end - run.start)
        return {part: milliseconds(count, SERVICE_RATE) for part, count in counts.items()}

    def cut(self) -> dict[Part, int]:
        """Drop all that waits but a fade of :data:`FADE` samples, chimes too.

        No :class:`Started` or :class:`Drained` follows for what was cut.

        Returns:
            As :meth:`heard`, at this moment; nothing if it was cut already. The fade is counted when it is heard.

        """
        heard = {} if self._is_cut else self.heard()
        length, done = min(FADE, self._waiting), 0
        kept: deque[tuple[Part | None, Samples]] = deque()
        while done < length:
            part, sound = self._queue.popleft()
            piece = sound[: length - done]
            kept.append((part, _faded(piece, done, length)))
            done += len(piece)
        self._queue, self._waiting = kept, length
        self._chimes = [_faded(chime[:FADE], 0, min(FADE, len(chime))) for chime in self._chimes]
        self._starting.clear()
        self._undrained = False
        self._is_cut = True
        return heard

    def abandon(self) -> int:
        """Drop all at once because nothing can be heard any more; :class:`Drained` follows if voice was lost.

        Returns:
            Samples of voice that nobody will hear.

        """
        lost = self._waiting
        for run in self._runs:
            heard = min(max(self._audible - run.start, 0), run.end - run.start)
            self._heard[run.part] += heard
            lost += run.end - run.start - heard
        self._queue.clear()
        self._waiting = 0
        self._chimes.clear()
        self._runs.clear()
        self._starting.clear()
        self._voice_end = min(self._voice_end, self._audible)
        return lost

    def events(self) -> list[PlayoutEvent]:
        """Return what has become true since the last call, in order."""
        told: list[PlayoutEvent] = []
        while self._starting and self._starting[0][0] < self._audible:
            told.append(Started(self._starting.popleft()[1]))
        if self._undrained and self.is_quiet:
            self._undrained = False
            told.append(Drained())
        return told

    def _note(self, part: Part | None, start: int, count: int) -> None:
        self._voice_end = start + count
        if part is None:
            return
        if self._runs and self._runs[-1].part == part and self._runs[-1].end == start:
            self._runs[-1].end += count
        else:
            self._runs.append(_Run(part, start, start + count))
        if part[0] not in self._begun and not self._is_cut:
            self._begun.add(part[0])
            self._starting.append((start, part[0]))

    def _settle(self) -> None:
        while self._runs and self._runs[0].end <= self._audible:
            run = self._runs.popleft()
            self._heard[run.part] += run.end - run.start

    def _forget(self) -> None:
        self._queue = deque((None, sound) for _, sound in self._queue)
        self._runs.clear()
        self._heard.clear()
        self._begun.clear()
        self._is_cut = False

    def _amplify(self, mix: NDArray[np.int32]) -> Samples:
        if self._gain == self._wanted_gain == 1.0:
            louder = mix
        else:
            glide = np.linspace(self._gain, self._wanted_gain, len(mix), endpoint=False)
            louder = np.rint(mix * glide).astype(np.int32)
            self._gain = self._wanted_gain
        clipped: Samples = np.clip(louder, -32768, 32767).astype(np.int16)
        return clipped


def _faded(sound: Samples, offset: int, length: int) -> Samples:
    """Return ``sound`` under a fall of ``length`` samples (half a cosine) that began ``offset`` samples ago."""
    ramp = 0.5 + 0.5 * np.cos(np.pi * (np.arange(offset, offset + len(sound)) + 1) / length)
    return np.rint(sound * ramp).astype(np.int16)
