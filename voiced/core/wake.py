"""From scores to a wake: cold window, threshold, patience, refractory time."""

from collections.abc import Sequence
from dataclasses import dataclass

from voiced.core.frames import MICROPHONE_RATE

COLD_STEPS = 25
"""Rows of scores that mean nothing after the models forgot: 16 embeddings, each of 775 ms of sound.

Models with a longer memory have more; the engine says how many.
"""


@dataclass(frozen=True, slots=True)
class Wake:
    """An accepted wake word."""

    word: str
    score: float
    """0 to 1."""
    threshold: float
    """What the score had to reach."""
    end: int
    """Microphone position (:class:`voiced.core.frames.Frame`) behind the step that decided it.

    The word itself ended between 205 ms before and 140 ms after this point (measured over real clips).
    """

    @property
    def margin(self) -> float:
        """How far the score is on the way from the threshold to certainty, 0 to 1."""
        room = 1 - self.threshold
        return (self.score - self.threshold) / room if room > 0 else 0.0


@dataclass(frozen=True, slots=True)
class WordRule:
    """When a word counts as heard."""

    word: str
    threshold: float
    """Score to reach, 0 to 1."""
    patience: int = 1
    """Steps in a row that must reach it, at least 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold of {self.word!r} is {self.threshold}, not between 0 and 1")
        if self.patience < 1:
            raise ValueError(f"patience of {self.word!r} is {self.patience}, less than 1")


@dataclass(frozen=True, slots=True)
class WakeRules:
    """When the daemon wakes. ``words`` stand in the order of the scores."""

    words: tuple[WordRule, ...]
    refractory_s: float = 2.0
    """Seconds a word is deaf after it was heard: one utterance crosses the threshold in several steps."""
    overlap_s: float = 0.8
    """Seconds the other words are deaf then: one utterance may sound like two words."""
    cold_steps: int = COLD_STEPS
    """Rows without meaning after a restart."""


def threshold_of(sensitivity: float) -> float:
    """Map a sensitivity, 0 (wakes seldom) to 1 (wakes easily), to a threshold: 0.95 to 0.05 in a straight line.

    0.5 gives 0.5. Higher sensitivity, lower threshold.
    """
    if not 0 <= sensitivity <= 1:
        raise ValueError(f"sensitivity is {sensitivity}, not between 0 and 1")
    return 0.95 - 0.9 * sensitivity


class WakeJudge:
    """Turns rows of scores, one a step, into wakes."""

    def __init__(self, rules: WakeRules) -> None:
        self._rules = rules
        self._rows = 0
        self._above = [0] * len(rules.words)
        self._deaf_until: list[int | None] = [None] * len(rules.words)

    @property
    def warm(self) -> bool:
        """Whether the last row counted."""
        return self._rows > self._rules.cold_steps

    def restart(self) -> None:
        """The models forgot what they heard: the next rows mean nothing. Refractory times run on."""
        self._rows = 0
        self._above = [0] * len(self._above)

    def judge(self, scores: Sequence[float], end: int) -> Wake | None:
        """Take the scores of the next step, which ends at microphone position ``end``.

        Of several words that are heard in the same step the one with the greatest margin wins.
        """
        self._rows += 1
        if not self.warm:
            return None
        heard: list[Wake] = []
        for index, (rule, score) in enumerate(zip(self._rules.words, scores, strict=True)):
            self._above[index] = self._above[index] + 1 if score >= rule.threshold else 0
            until = self._deaf_until[index]
            if self._above[index] >= rule.patience and (until is None or end >= until):
                heard.append(Wake(rule.word, float(score), rule.threshold, end))
        if not heard:
            return None
        wake = max(heard, key=lambda each: each.margin)
        self._mute(wake)
        return wake

    def _mute(self, wake: Wake) -> None:
        for index, rule in enumerate(self._rules.words):
            own = rule.word == wake.word
            seconds = self._rules.refractory_s if own else self._rules.overlap_s
            until = wake.end + round(seconds * MICROPHONE_RATE)
            self._deaf_until[index] = max(until, self._deaf_until[index] or until)
