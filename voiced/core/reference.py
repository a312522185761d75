"""What the speaker plays, scored by the wake models: the daemon must not wake at its own voice.

Sound given to a loudspeaker comes back through the microphone a little later. Whatever scores high here bars the same
word at the microphone for a while; somebody else may say it at any other moment, and at that one too where an echo
canceller knows that what is heard is not the speaker.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, STEP, Frame, Samples

_BLOCKS = 1_000
"""Blocks of 10 ms that wait at most; then the oldest go."""

_TAIL_S = 0.5
"""Seconds of silence scored after the last sound: a score peaks up to 205 ms after its word."""

_FRACTION = 0.3
"""Of the threshold, from which a word counts as said by the daemon: an echo may score higher than its original."""

_HOLD = round(1.5 * MICROPHONE_RATE)
"""Samples for which a word is barred after it was given to the loudspeaker: what device, room and microphone take, and
what the peak of a score lasts."""

_WORD_S = 0.8
"""Seconds of sound that a word's score is about."""

_LITTLE = 0.1
"""Share of that sound's power that may be the speaker's, if somebody else said the word."""

_HUSH = 2
"""Loudest sample of the noise that stands for the silence before; digital silence is no sound a model knows."""


@dataclass(frozen=True, slots=True)
class ReferenceModels:
    """The wake models once more, with a memory of their own."""

    score: Callable[[Samples], Sequence[tuple[float, ...]]]
    """As :class:`voiced.ports.WakeScores`."""
    forget: Callable[[], None]


class Reference:
    """The other ear, at the loudspeaker.

    Costs nothing, not even its models, before anything is played.

    Args:
        make: Makes the models, in the same order of words as the microphone's; called with the first sound.
        resample: From 24 to 16 kHz, a stream.
        thresholds: Of the words, as at the microphone.
        cold_steps: Rows of scores that mean nothing after ``forget``.

    """

    def __init__(
        self,
        *,
        make: Callable[[], ReferenceModels],
        resample: Callable[[Samples], Samples],
        thresholds: Sequence[float],
        cold_steps: int = 25,
    ) -> None:
        self._make = make
        self._resample = resample
        self.adjust(thresholds)
        self._before = _hush((cold_steps + 1) * STEP)
        self._blocks: deque[Samples] = deque(maxlen=_BLOCKS)
        self._models: ReferenceModels | None = None
        self._waiting: deque[Samples] = deque()
        self._rest = np.zeros(0, np.int16)
        self._tail = 0
        self._scores = tuple(0.0 for _ in thresholds)
        self._barred_until = [-1] * len(self._limits)
        self._heard: deque[tuple[int, float, float]] = deque(maxlen=round(2 * _WORD_S * MICROPHONE_RATE / FRAME))
        """Of the newest frames the end, the power, and how much of it may be the speaker's."""

    def adjust(self, thresholds: Sequence[float]) -> None:
        """Let other thresholds hold from the next step on."""
        self._limits = tuple(_FRACTION * threshold for threshold in thresholds)

    @property
    def scores(self) -> tuple[float, ...]:
        """The newest row of scores; zeros while nothing is played."""
        return self._scores

    @property
    def active(self) -> bool:
        """Whether something is, or was a moment ago, played."""
        return bool(self._tail or self._blocks or self._waiting)

    def played(self, block: Samples) -> None:
        """Take 24 kHz sound that goes to the loudspeaker now, silence too; from any thread, never waits."""
        self._blocks.append(block)

    def notice(self, frames: Sequence[Frame]) -> None:
        """Take what the microphone heard next, to know whose sound it may be."""
        if self.active or frames[0].start <= max(self._barred_until, default=-1):
            for frame in frames:
                power = float(np.mean(np.square(frame.samples, dtype=np.float32)))
                self._heard.append((frame.end, power, frame.own * power))

    def listen(self, now: int, steps: int) -> None:
        """Score what was played since the last call, at most so many steps; ``now`` is the microphone position."""
        for _ in range(len(self._blocks)):
            self._take(self._blocks.popleft())
        for _ in range(min(steps, len(self._waiting))):
            self._score(self._waiting.popleft(), now)

    def barred(self, end: int) -> tuple[bool, ...]:
        """Return which words do not count in a microphone step that ends at ``end``."""
        barred = tuple(end <= until for until in self._barred_until)
        return tuple(False for _ in barred) if any(barred) and self._is_someone_else(end) else barred

    def reset(self) -> None:
        """Forget what is not scored yet: nobody listened meanwhile."""
        self._blocks.clear()
        self._waiting.clear()
        self._tail = 0
        self._scores = tuple(0.0 for _ in self._scores)

    def _is_someone_else(self, end: int) -> bool:
        """Whether the speaker is but a small part of the sound before ``end``."""
        begin = end - _WORD_S * MICROPHONE_RATE
        word = [(power, own) for at, power, own in self._heard if begin < at <= end]
        return sum(own for _, own in word) < _LITTLE * sum(power for power, _ in word)

    def _take(self, block: Samples) -> None:
        if block.any():
            if not self._tail:
                self._begin()
            self._tail = round(_TAIL_S * SERVICE_RATE)
        elif not self._tail:
            return
        else:
            self._tail = max(0, self._tail - len(block))
        sound = np.concatenate((self._rest, self._resample(block)))
        whole = len(sound) // STEP * STEP
        self._waiting.extend(sound[at : at + STEP] for at in range(0, whole, STEP))
        self._rest = sound[whole:]

    def _begin(self) -> None:
        """Sound after silence: the models hear silence first, so that the first word counts."""
        if self._models is None:
            self._models = self._make()
        self._waiting.clear()
        self._rest = np.zeros(0, np.int16)
        self._models.forget()
        self._waiting.extend(self._before.reshape(-1, STEP))

    def _score(self, step: Samples, now: int) -> None:
        assert self._models is not None  # noqa: S101 - steps wait only after _begin
        (row,) = self._models.score(step)
        for index, (score, limit) in enumerate(zip(row, self._limits, strict=True)):
            if score >= limit > 0:
                self._barred_until[index] = now + _HOLD
        self._scores = row if self._tail or self._waiting else tuple(0.0 for _ in row)


def _hush(samples: int) -> Samples:
    """Return noise as soft as can be, always the same: an integer hash of the index (numpy.random costs 3 MB)."""
    value = np.arange(1, samples + 1, dtype=np.uint32) * np.uint32(2_654_435_761)
    value ^= value >> np.uint32(15)
    value *= np.uint32(2_246_822_519)
    value ^= value >> np.uint32(13)
    noise: Samples = (value % np.uint32(2 * _HUSH + 1)).astype(np.int16) - np.int16(_HUSH)
    return noise
