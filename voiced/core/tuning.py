"""From scores of recordings to thresholds: false accepts per hour against misses, for every rule in question."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import MICROPHONE_RATE, STEP
from voiced.core.wake import WordRule

Scores: TypeAlias = NDArray[np.float64]
"""One score a step, the first 25 of them already left out."""

STEPS_PER_HOUR = 3600 * MICROPHONE_RATE / STEP

THRESHOLDS = tuple(round(0.05 * number, 2) for number in range(1, 20))
PATIENCE = ((1, 1), (2, 2), (2, 3), (3, 4), (4, 5))
"""Patience and window."""

ALLOWED_PER_HOUR = 0.5
"""False accepts that a proposal may cost; recordings of what the room really hears are the measure."""

_REFRACTORY = 2 * MICROPHONE_RATE // STEP


@dataclass(frozen=True, slots=True)
class Point:
    """What a rule did on the recordings."""

    rule: WordRule
    heard: int
    tried: int
    """Recordings with the word."""
    false_accepts: int
    hours: float
    """Of sound without it."""

    @property
    def missed(self) -> int:
        """Recordings with the word in which it was not heard."""
        return self.tried - self.heard

    @property
    def per_hour(self) -> float:
        """False accepts per hour; 0 without any sound to have them in."""
        return self.false_accepts / self.hours if self.hours else 0.0


def wakes(scores: Scores, rule: WordRule) -> list[int]:
    """Return the steps at which :class:`voiced.core.wake.WakeJudge` would wake, for a word alone."""
    reached = scores >= rule.threshold
    sums: NDArray[np.int64] = np.zeros(rule.steps + len(reached), np.int64)
    sums[rule.steps :] = np.cumsum(reached)
    enough = reached & (sums[rule.steps :] - sums[: len(reached)] >= rule.patience)
    found: list[int] = []
    for step in np.flatnonzero(enough):
        if not found or step - found[-1] >= _REFRACTORY:
            found.append(int(step))
    return found


def sweep(
    word: str,
    positives: Sequence[Scores],
    negatives: Sequence[Scores],
    *,
    thresholds: Iterable[float] = THRESHOLDS,
    patience: Sequence[tuple[int, int]] = PATIENCE,
) -> list[Point]:
    """Return a point for every threshold with every patience, patience by patience."""
    hours = sum(len(scores) for scores in negatives) / STEPS_PER_HOUR
    thresholds = tuple(thresholds)
    points: list[Point] = []
    for steps, window in patience:
        for threshold in thresholds:
            rule = WordRule(word, threshold, steps, window)
            points.append(
                Point(
                    rule,
                    heard=sum(bool(wakes(scores, rule)) for scores in positives),
                    tried=len(positives),
                    false_accepts=sum(len(wakes(scores, rule)) for scores in negatives),
                    hours=hours,
                )
            )
    return points


def proposed(points: Sequence[Point], *, per_hour: float = ALLOWED_PER_HOUR) -> Point:
    """Return the best point: the fewest misses among those that wake wrongly seldom enough, else the fewest wrong.

    Of several as good ones the fewest false accepts count, then the least patience, then the middle threshold: it has
    the most room on both sides.
    """
    allowed = [point for point in points if point.per_hour <= per_hour]
    pool = allowed or [point for point in points if point.per_hour == min(each.per_hour for each in points)]
    best = min((point.missed, point.false_accepts, point.rule.steps) for point in pool)
    equals = [point for point in pool if (point.missed, point.false_accepts, point.rule.steps) == best]
    equals.sort(key=lambda point: (point.rule.patience, point.rule.threshold))
    return equals[(len(equals) - 1) // 2]
