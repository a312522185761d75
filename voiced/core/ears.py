"""Frames in, wakes out: gate, wake models and judgement joined. Models and voice detector come from outside."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame, Samples, seconds
from voiced.core.gate import RING_STEPS, Gate, Passage
from voiced.core.wake import Wake, WakeJudge, WakeRules

SILENCE_DB = -96.0
"""Level of a frame of zeros, and the least there is."""


class Ears:
    """The ears of one microphone; fits :class:`voiced.ports.Ears`.

    Args:
        speech: Tells whether a frame may hold speech (:class:`voiced.ports.Speech`).
        score: Takes steps that follow on those before, gives a row of scores each (:class:`voiced.ports.WakeScores`).
        forget: Makes the next call of ``score`` begin anew.
        rules: When a word counts as heard, in the order of the scores.
        gate: ``False`` lets all sound through to the models (``gate = "off"``).

    """

    def __init__(
        self,
        *,
        speech: Callable[[Samples], bool],
        score: Callable[[Samples], Sequence[tuple[float, ...]]],
        forget: Callable[[], None],
        rules: WakeRules,
        gate: bool = True,
    ) -> None:
        self._speech = speech
        self._score = score
        self._forget = forget
        self._gated = gate
        # As many rows as patience asks for must mean something when the gate opens.
        patience = max((rule.patience for rule in rules.words), default=1)
        ring = max(RING_STEPS, rules.cold_steps + patience)
        self._gate = Gate(always_open=not gate, ring_steps=ring)
        self._judge = WakeJudge(rules)
        self._next: int | None = None
        self._last: Frame | None = None
        self._frames = self._open_frames = 0
        self._silent = tuple(0.0 for _ in rules.words)
        self._scores = self._silent

    @property
    def scores(self) -> tuple[float, ...]:
        """The newest row of scores, in the order of the rules; zeros while the gate is shut or the models are cold."""
        return self._scores if self._gate.open and self._judge.warm else self._silent

    @property
    def open(self) -> bool:
        """Whether the gate lets sound through now."""
        return self._gate.open

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

    def feed(self, frame: Frame) -> Wake | None:
        """Take the next frame; return a wake word heard in it. A gap before it makes the ears forget."""
        if frame.start != self._next:
            self.reset()
        self._next = frame.end
        self._last = frame
        voiced = self._speech(frame.samples) if self._gated else True
        passage = self._gate.feed(frame.samples, voiced=voiced)
        self._frames += 1
        self._open_frames += self._gate.open
        return None if passage is None else self._listen(passage, frame.end)

    def reset(self) -> None:
        """Forget everything heard: after un-muting, or a gap in the sound."""
        self._gate.reset()
        self._next = None
        self._scores = self._silent

    def _listen(self, passage: Passage, end: int) -> Wake | None:
        """Score and judge; of several wakes in a catch-up the first counts."""
        if passage.fresh:
            self._forget()
            self._judge.restart()
        rows = self._score(passage.samples)
        first: Wake | None = None
        for row, ahead in zip(rows, range(len(rows) - 1, -1, -1), strict=True):
            wake = self._judge.judge(row, end - ahead * STEP)
            first = first or wake
        self._scores = rows[-1]
        return first
