"""What waits to be heard, and what has been heard, counted in samples.

Answers come faster than they can be spoken; they queue here in parts, one part per (item, content index) of the
Realtime conversation. Whoever feeds the loudspeaker calls :meth:`Playout.read` and keeps :attr:`Playout.latency` right;
everything else follows from counting: which part was heard how far, when an answer starts to sound, when all is said.
Only voice is counted: pauses, gaps and chimes move no part on. Chimes are mixed over the voice and never delay it.
All sound is 24 kHz (:data:`voiced.core.frames.SERVICE_RATE`).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.loudness import Fader, gain

Part: TypeAlias = tuple[str, int]
"""Item and content index."""

LIMIT = 600 * SERVICE_RATE
"""Samples that may wait: ten minutes of voice, 29 MB."""

FADE = SERVICE_RATE * 40 // 1000
"""Samples in which a voice that is cut or paused falls silent: 40 ms. A shorter one clicks."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first sound of an answer can be heard now."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Drained:
    """All voice that was queued has been heard. Comes again if more is queued, also of the same answer."""


PlayoutEvent: TypeAlias = Started | Drained


@dataclass(slots=True)
class _Piece:
    """Voice of one part in one piece, as it was queued; ``start`` is its place among all samples given out."""

    part: Part | None
    """``None``: the tail of a cut voice, which counts for nobody."""
    sound: Samples
    gain: float
    start: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.sound)

    def split(self, count: int) -> "tuple[_Piece, _Piece]":
        """Return the first ``count`` samples, and the rest."""
        return (
            _Piece(self.part, self.sound[:count], self.gain, self.start),
            _Piece(self.part, self.sound[count:], self.gain, self.start + count),
        )


class Playout:
    """The buffer between the answers and the loudspeaker. Not thread-safe: hold a lock around each call.

    Attributes:
        latency: Samples given out by :meth:`read` that are not audible yet; the reader sets it.
        dropped: Samples of voice refused because :data:`LIMIT` were waiting.

    """

    def __init__(self) -> None:
        self.latency = 0
        self.dropped = 0
        self._queue: deque[_Piece] = deque()
        self._waiting = 0
        self._chimes: list[tuple[Samples, float]] = []
        self._position = 0  # samples given out since the start, silence too
        self._voice_end = 0  # position behind the last voice given out
        self._given: deque[_Piece] = deque()  # voice given out that may not be audible yet
        self._heard: dict[Part, int] = {}  # samples of each part that are audible for sure
        self._begun: set[str] = set()  # items of which something was given out
        self._starting: deque[tuple[int, str]] = deque()  # position and item whose start is still to be told
        self._undrained = False
        self._is_cut = False
        self._is_paused = False
        self._level = FADE  # where the voice is between silent (0) and full (FADE) as it fades out or in
        self._volume = Fader()

    @property
    def waiting(self) -> int:
        """Samples of voice that :meth:`read` has still to give out."""
        return self._waiting

    @property
    def is_idle(self) -> bool:
        """Whether :meth:`read` would give nothing but silence."""
        is_silent = self._is_paused and not self._level
        return (not self._queue or is_silent) and not self._chimes

    @property
    def is_quiet(self) -> bool:
        """Whether no voice waits and all that was given out has been heard."""
        return not self._queue and self._audible >= self._voice_end

    @property
    def is_undrained(self) -> bool:
        """Whether a :class:`Drained` is to come; one that was told holds, whatever the device finds in it later."""
        return self._undrained

    @property
    def _audible(self) -> int:
        return max(0, self._position - self.latency)

    def write(self, item_id: str, content_index: int, samples: Samples, *, percent: int = 100) -> None:
        """Queue sound of an answer; what does not fit into :data:`LIMIT` is dropped and counted.

        Args:
            item_id: The item it belongs to.
            content_index: The part of the item.
            samples: 24 kHz; kept, not copied.
            percent: How loud, of the volume.

        """
        # An answer that goes on after a gap in the network keeps its count; a new one after a silence starts afresh.
        if self._is_cut or (self.is_quiet and all(item_id != known for known, _ in self._heard)):
            self._forget()
        fits = samples[: max(0, LIMIT - self._waiting)]  # what was taken back may have made it more
        self.dropped += len(samples) - len(fits)
        self._heard.setdefault((item_id, content_index), 0)
        if len(fits):
            self._queue.append(_Piece((item_id, content_index), fits, gain(percent)))
            self._waiting += len(fits)
            self._undrained = True

    def chime(self, sound: Samples, *, percent: int = 100) -> None:
        """Mix ``sound`` (24 kHz) in from the next sample on, at ``percent`` of the volume."""
        if len(sound):
            self._chimes.append((sound, gain(percent)))

    def volume(self, percent: int) -> None:
        """Set the loudness of everything, 0 to 100; the next :meth:`read` glides to it."""
        self._volume.set(gain(percent), at_once=not self._position)

    def pause(self) -> None:
        """Let the voice fall silent within :data:`FADE` samples and keep what waits. Chimes go on."""
        self._is_paused = True
        if not self._queue:
            self._level = 0

    def resume(self) -> None:
        """Let the voice rise again, from the sample at which it fell silent."""
        self._is_paused = False

    def read(self, count: int) -> Samples:
        """Give out the next ``count`` samples: voice in order, chimes over it, silence where there is neither."""
        self._settle()  # with the latency of the last read: that of this one is not known yet
        if self.is_idle:
            self._position += count
            self._volume.glide(count)
            return np.zeros(count, np.int16)
        mix = self._voice(count)
        for sound, loudness in self._chimes:
            taken = sound[:count]
            mix[: len(taken)] += taken * loudness
        self._chimes = [(sound[count:], loudness) for sound, loudness in self._chimes if len(sound) > count]
        self._position += count
        mixed: Samples = np.clip(np.rint(mix * self._volume.glide(count)), -32768, 32767).astype(np.int16)
        return mixed

    def heard(self) -> dict[Part, int]:
        """Return samples heard of each part, in the order they were queued, those not heard at all too.

        Covers all that was queued since the queue was last empty and heard; a gap within an answer is no end.
        """
        return self._counted(self._audible)

    def cut(self) -> dict[Part, int]:
        """Drop all that waits but a fade of :data:`FADE` samples, chimes too; a pause is over with it.

        No :class:`Started` or :class:`Drained` follows for what was cut.

        Returns:
            As :meth:`heard`, once the fade is over: what was given out cannot be taken back, and the fade will be.
            Nothing if it was cut already.

        """
        was_paused, self._is_paused = self._is_paused, False
        if self._is_cut:
            self._level = FADE if was_paused else self._level
            return {}
        length = min(self._level, self._waiting)
        counts = self._counted(self._position)
        done, tail = 0, deque[_Piece]()
        # A pause that had begun to fade goes on from where it is.
        before = _rise(np.array([self._level]))[0]
        while done < length:
            piece, rest = self._queue.popleft().split(length - done)
            if len(rest.sound):
                self._queue.appendleft(rest)
            if piece.part is not None:
                counts[piece.part] += len(piece.sound)
            tail.append(_Piece(None, _faded(piece.sound, done, length, before), piece.gain))
            done += len(piece.sound)
        self._queue, self._waiting = tail, length
        self._chimes = [(_faded(sound[:FADE], 0, min(FADE, len(sound))), level) for sound, level in self._chimes]
        self._starting.clear()
        self._given.clear()
        self._heard = counts
        self._undrained = False
        self._level = FADE
        self._is_cut = True
        return dict(counts)

    def rewind(self) -> None:
        """Take back what is not audible yet: the device lost it. It is given out again; chimes are not."""
        audible = self._audible
        back = [piece if piece.start >= audible else piece.split(audible - piece.start)[1] for piece in self._given]
        self._given = deque(piece.split(audible - piece.start)[0] for piece in self._given if piece.start < audible)
        back = [piece for piece in back if len(piece.sound)]
        self._queue.extendleft(reversed(back))
        self._waiting += sum(len(piece.sound) for piece in back)
        while self._starting and self._starting[-1][0] >= audible:
            self._begun.discard(self._starting.pop()[1])
        self._position, self.latency = audible, 0
        self._voice_end = min(self._voice_end, audible)
        self._settle()

    def abandon(self) -> int:
        """Drop all at once because nothing can be heard any more; :class:`Drained` follows if voice was lost.

        Returns:
            Samples of voice that nobody will hear.

        """
        self.rewind()
        lost = self._waiting
        self._queue.clear()
        self._waiting = 0
        self._chimes.clear()
        self._starting.clear()
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

    def _voice(self, count: int) -> NDArray[np.float64]:
        """Return the next voice, ``count`` samples at most and silence behind them, faded where it has to be."""
        voice = np.zeros(count)
        wanted = min(count, self._level) if self._is_paused else count
        done = 0
        while done < wanted and self._queue:
            piece, rest = self._queue.popleft().split(wanted - done)
            if len(rest.sound):
                self._queue.appendleft(rest)
            piece.start = self._position + done
            voice[done : done + len(piece.sound)] = piece.sound * piece.gain
            done += len(piece.sound)
            self._note(piece)
        self._waiting -= done
        if self._is_paused:
            voice[:done] *= _rise(self._level - 1 - np.arange(done))
            # Where nothing waits any more it is silent already.
            self._level = self._level - done if self._queue else 0
        elif self._level < FADE:
            voice[:done] *= _rise(np.minimum(self._level + np.arange(done), FADE))
            self._level = min(self._level + done, FADE) if self._queue else FADE
        return voice

    def _note(self, piece: _Piece) -> None:
        self._voice_end = piece.end
        if piece.part is None:
            return
        self._given.append(piece)
        item_id = piece.part[0]
        if item_id not in self._begun:
            self._begun.add(item_id)
            self._starting.append((piece.start, item_id))

    def _settle(self) -> None:
        while self._given and self._given[0].end <= self._audible:
            piece = self._given.popleft()
            if piece.part is not None:
                self._heard[piece.part] += len(piece.sound)

    def _counted(self, until: int) -> dict[Part, int]:
        """Return samples of each part up to a position."""
        return _summed(
            self._heard,
            ((piece.part, min(max(until - piece.start, 0), len(piece.sound))) for piece in self._given),
        )

    def _forget(self) -> None:
        for piece in self._queue:
            piece.part = None
        self._given.clear()
        self._heard.clear()
        self._begun.clear()
        self._is_cut = False


def _summed(so_far: dict[Part, int], more: Iterable[tuple[Part | None, int]]) -> dict[Part, int]:
    counts = dict(so_far)
    for part, count in more:
        if part is not None:
            counts[part] += count
    return counts


def _rise(level: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return the factors of a voice at ``level`` between 0 (silent) and :data:`FADE` (full): half a cosine."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * level / FADE))


def _faded(sound: Samples, offset: int, length: int, before: float = 1.0) -> Samples:
    """Return ``sound`` under a fall of ``length`` samples that began ``offset`` samples ago, at ``before``."""
    ramp = before * (0.5 + 0.5 * np.cos(np.pi * (np.arange(offset, offset + len(sound)) + 1) / length))
    return np.rint(sound * ramp).astype(np.int16)
