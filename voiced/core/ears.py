"""Frames in, wakes out: gate, wake models and judgement joined. Models and voice detector come from outside."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from voiced.core.energy import EnergyDetector
from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame, Samples, seconds
from voiced.core.gate import FRAMES_PER_STEP, RING_STEPS, Gate, Passage
from voiced.core.reference import Reference
from voiced.core.wake import NearMiss, Wake, WakeJudge, WakeRules, WordRule

SILENCE_DB = -96.0
"""Level of a frame of zeros, and the least there is."""

BITE = 2
"""Steps scored in one call at most: eight times real time. When the gate opens, two seconds wait; all at once they
would hold up everything else for 60 ms on a small machine."""


class Ears:
    """The ears of one microphone; fits :class:`voiced.ports.Ears`.

    Args:
        speech: Tells whether a frame may hold speech (:class:`voiced.ports.Speech`).
        score: Takes steps that follow on those before, gives a row of scores each (:class:`voiced.ports.WakeScores`).
        forget: Makes the next call of ``score`` begin anew.
        rules: When a word counts as heard, in the order of the scores.
        gate: ``False`` lets all sound through to the models (``gate = "off"``).
        reference: What the speaker plays; a word it says does not count at the microphone.
        bite: Steps scored in one call at most, above 0.

    """

    def __init__(  # noqa: PLR0913 - all by name, and each a part or a rule
        self,
        *,
        speech: Callable[[Samples], bool],
        score: Callable[[Samples], Sequence[tuple[float, ...]]],
        forget: Callable[[], None],
        rules: WakeRules,
        gate: bool = True,
        reference: Reference | None = None,
        bite: int = BITE,
    ) -> None:
        self._speech = speech
        self._score = score
        self._forget = forget
        self._energy = EnergyDetector()
        self._gated = gate
        # As many rows as patience asks for must mean something when the gate opens.
        patience = max((rule.steps for rule in rules.words), default=1)
        ring = max(RING_STEPS, rules.cold_steps + patience)
        self._gate = Gate(always_open=not gate, ring_steps=ring)
        self._judge = WakeJudge(rules)
        self._reference = reference
        self._bite = bite
        self._waiting: deque[_Step] = deque()
        self._next: int | None = None
        self._last: Frame | None = None
        self._frames = self._open_frames = 0
        self._silent = tuple(0.0 for _ in rules.words)
        self._scores = self._silent
        self._rows: deque[tuple[int, tuple[float, ...]]] = deque(maxlen=ring)

    @property
    def scores(self) -> tuple[float, ...]:
        """The newest row of scores, in the order of the rules; zeros while the gate is shut or the models are cold."""
        return self._scores if self._gate.open and self._judge.warm else self._silent

    @property
    def open(self) -> bool:
        """Whether the gate lets sound through now."""
        return self._gate.open

    @property
    def waiting(self) -> bool:
        """Whether there is sound that is not scored yet; :meth:`feed` does, without a frame too."""
        return bool(self._waiting)

    @property
    def level_db(self) -> float:
        """Loudness of the last frame, in dB below full scale."""
        if self._last is None:
            return SILENCE_DB
        power = float(np.mean(np.square(self._last.samples, dtype=np.float64))) / 32768.0**2
        return max(SILENCE_DB, 10 * math.log10(power)) if power > 0 else SILENCE_DB

    @property
    def heard_s(self) -> float:
        """Seconds of sound heard since the start."""
        return seconds(self._frames * FRAME, MICROPHONE_RATE)

    @property
    def open_s(self) -> float:
        """Seconds of those with the gate open."""
        return seconds(self._open_frames * FRAME, MICROPHONE_RATE)

    @property
    def vetoed(self) -> int:
        """Wakes that did not count because the speaker said the word."""
        return self._judge.vetoed

    def near_misses(self) -> list[NearMiss]:
        """Return what came near a wake since the last call and is over, oldest first."""
        return self._judge.near_misses(self._next or 0)

    def rows(self) -> list[tuple[int, tuple[float, ...]]]:
        """Return the rows that counted since the last call, each with the microphone position behind its step."""
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def feed(self, *frames: Frame) -> Wake | None:
        """Take the next frame, or some that follow on each other; return a wake word heard in them or shortly before.

        Never scores more than a bite for each, and one if there is none: what :meth:`skim` left. A gap before the first
        makes the ears forget. A whole step at once costs least while the gate is shut.
        """
        if not frames or self.may_skim(frames):
            if frames:
                self.skim(frames)
            return self._listen() if self._waiting else None
        first: Wake | None = None
        for frame in frames:  # two wakes cannot come so close: the first makes all words deaf for longer
            first = self._feed(frame) or first
        return first

    def _feed(self, frame: Frame) -> Wake | None:
        if frame.start != self._next:
            self.reset()
        (voiced,) = self._may_be_speech((frame,), frame.samples) if self._gated else (True,)
        passage = self._gate.feed(frame.samples, voiced=voiced)
        self._open_frames += self._gate.open
        self._hear(passage, (frame,))
        if self._reference is not None:
            self._reference.listen(frame.end, self._bite)
        return self._listen() if self._waiting else None

    def may_skim(self, frames: Sequence[Frame]) -> bool:
        """Whether all is quiet, nothing is left to be told, and ``frames`` are the next step: see :meth:`skim`."""
        return (
            len(frames) == FRAMES_PER_STEP
            and not self._gate.open
            and self._gate.between_steps
            and frames[0].start == self._next
            and not self._waiting
            and not self._judge.is_curious
            and not (self._reference is not None and self._reference.active)
        )

    def skim(self, frames: Sequence[Frame]) -> bool:
        """Do what :meth:`feed` would with such a step, but score nothing; return whether something waits to be scored.

        Takes microseconds: a look at whether it may hold speech.
        """
        step = np.concatenate([frame.samples for frame in frames])
        voiced = self._may_be_speech(frames, step)
        passage = self._gate.feed_step(step, voiced=voiced)
        if passage is not None:
            self._open_frames += FRAMES_PER_STEP - voiced.index(True)
        self._hear(passage, frames)
        return bool(self._waiting)

    def _may_be_speech(self, frames: Sequence[Frame], samples: Samples) -> list[bool]:
        """Tell it of each frame; ``samples`` are all of them. Both detectors hear all, as both get used to the room."""
        return [self._speech(frame.samples) or loud for frame, loud in zip(frames, self._energy(samples), strict=True)]

    def _hear(self, passage: Passage | None, frames: Sequence[Frame]) -> None:
        self._last = frames[-1]
        self._next = end = self._last.end
        self._frames += len(frames)
        if self._reference is not None:
            self._reference.notice(frames)
        if passage is not None:
            self._queue(passage, end)

    def adjust(self, words: tuple[WordRule, ...]) -> None:
        """Let the words count by other rules from the next step on.

        Raises:
            ValueError: If they are not the words there were, in their order.

        """
        self._judge.adjust(words)
        if self._reference is not None:
            self._reference.adjust([rule.threshold for rule in words])

    def reset(self) -> None:
        """Forget everything heard: after un-muting, or a gap in the sound."""
        self._gate.reset()
        self._waiting.clear()
        self._judge.restart()
        if self._reference is not None:
            self._reference.reset()
        self._next = None
        self._scores = self._silent
        self._rows.clear()

    def _queue(self, passage: Passage, end: int) -> None:
        steps = passage.samples.reshape(-1, STEP)
        begin = end - len(passage.samples)
        for number, samples in enumerate(steps):
            self._waiting.append(_Step(samples, begin + (number + 1) * STEP, fresh=passage.fresh and not number))

    def _listen(self) -> Wake | None:
        """Score and judge a bite; of several wakes the first counts."""
        if self._waiting[0].fresh:
            self._forget()
            self._judge.restart()
        bite = [self._waiting.popleft()]
        while self._waiting and len(bite) < self._bite and not self._waiting[0].fresh:
            bite.append(self._waiting.popleft())
        rows = self._score(bite[0].samples if len(bite) == 1 else np.concatenate([step.samples for step in bite]))
        first: Wake | None = None
        for step, row in zip(bite, rows, strict=True):
            if self._reference is None:
                wake = self._judge.judge(row, step.end)
            else:
                barred, sounds = self._reference.barred(step.end), self._reference.active
                wake = self._judge.judge(row, step.end, barred=barred, over_speaker=sounds)
            first = first or wake
            if self._judge.warm:
                self._rows.append((step.end, row))
        self._scores = rows[-1]
        return first


@dataclass(frozen=True, slots=True)
class _Step:
    """Sound that waits to be scored."""

    samples: Samples
    end: int
    """Microphone position."""
    fresh: bool
    """It does not follow on the step before."""
