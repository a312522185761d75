"""``voiced wake tune``: thresholds from recordings of the very room, person and microphone.

``DIR/positive/WORD/*.wav`` hold the wake word, ``DIR/negative/*.wav`` anything but. Where one word is configured, its
recordings may lie in ``DIR/positive`` itself; with more words there, each belongs to the word its name begins with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from voiced.config import EVERY_WORD, Config
from voiced.core.chart import Line, chart
from voiced.core.frames import STEP
from voiced.core.tuning import ALLOWED_PER_HOUR, PATIENCE, Point, Scores, proposed, sweep
from voiced.core.wake import WordRule
from voiced.core.words import word_rules
from voiced.edge.models import find_models
from voiced.edge.soundfile import read_wav
from voiced.edge.wakemodel import WakeModels
from voiced.errors import SoundFileError, VoicedError
from voiced.recordings import positives, with_room

ENOUGH_HOURS = 0.5
"""Sound without the word from which false accepts per hour mean something."""

_SHOWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came out for one word."""

    word: str
    points: Sequence[Point]
    now: Point
    """With the rule that the configuration gives."""
    best: Point


@dataclass(frozen=True, slots=True)
class Report:
    """What came out for all of them."""

    words: Sequence[Tuned]
    hours: float
    bad: dict[str, str] = field(default_factory=dict)
    """Files that were left out, and why."""

    def as_json(self) -> dict[str, Any]:
        """Return the document of ``--json``."""
        return {
            "words": [
                {
                    "word": tuned.word,
                    "now": _as_json(tuned.now),
                    "proposed": _as_json(tuned.best),
                    "points": [_as_json(point) for point in tuned.points],
                }
                for tuned in self.words
            ],
            "hours": round(self.hours, 4),
            "bad": self.bad,
        }

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        for name, why in self.bad.items():
            yield f"left out: {name}: {why}"
        for tuned in self.words:
            yield ""
            yield f"{tuned.word}: {tuned.now.tried} recordings with it, {self.hours:.2f} hours without"
            yield "threshold   " + "".join(f"{f'{steps} of {window}':>16}" for steps, window in PATIENCE)
            for threshold in _SHOWN:
                cells = [point for point in tuned.points if point.rule.threshold == threshold]
                yield f"{threshold:<12}" + "".join(f"{point.missed:>6} / {point.per_hour:5.1f}/h" for point in cells)
            yield f"now:       {_said(tuned.now)}"
            yield f"proposed:  {_said(tuned.best)}"
            rule = tuned.best.rule
            yield "to use it, put this below the word's [[wake.words]]:"
            yield from (f"threshold = {rule.threshold:g}", f"patience = {rule.patience}", f"window = {rule.steps}")
        if self.words:
            yield ""
            if self.hours < ENOUGH_HOURS:
                yield f"{60 * self.hours:.0f} minutes without the word say little: record an hour of the room's own day"
            yield "cells: recordings missed / false accepts per hour"

    def write_svg(self, path: Path) -> None:
        """Write the plot.

        Raises:
            VoicedError: If it cannot be written.

        """
        try:
            path.write_text(self.svg(), encoding="utf-8")
        except OSError as exc:
            raise VoicedError(f"{path} cannot be written: {exc.strerror}") from exc

    def svg(self) -> str:
        """Return the plot: misses against false accepts per hour."""
        lines = []
        for tuned in self.words:
            best = (tuned.best.per_hour, 100 * tuned.best.missed / max(1, tuned.best.tried))
            for steps, window in PATIENCE:
                points = [point for point in tuned.points if (point.rule.patience, point.rule.steps) == (steps, window)]
                mine = (tuned.best.rule.patience, tuned.best.rule.steps) == (steps, window)
                marked = [(*best, f"proposed: {tuned.best.rule.threshold:g}")] if mine else []
                path = [(point.per_hour, 100 * point.missed / max(1, point.tried)) for point in points]
                lines.append(Line(f"{tuned.word} {steps} of {window}", path, marked))
        return chart("Wake words: misses against false accepts", "false accepts per hour", "missed, percent", lines)


def tune(config: Config, directory: Path, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Score all recordings and sweep the rules.

    Args:
        config: Says which words, and their rules now.
        directory: See above.
        say: Gets a line for each file as it is scored.

    Raises:
        VoicedError: If there is nothing to tune with, or a model is missing. Bad files are only named in the report.

    """
    words = [word.model for word in config.wake.words]
    bad: dict[str, str] = {}
    with_it_by_word = positives(directory / "positive", words, bad)
    negatives = sorted((directory / "negative").rglob("*.wav"))
    if not any(with_it_by_word.values()) and not negatives:
        raise VoicedError(
            f"{directory}: there are no recordings; put WAV files with the wake word into {directory}/positive/"
            f"{words[0]}, and others, the longer the better, into {directory}/negative"
        )
    models = WakeModels(find_models(config.wake.models_dir), words)
    without = [scores for _, scores in _scored(models, negatives, bad, say)]
    tuned = []
    rules = word_rules(config.wake, config.wake.sensitivity, EVERY_WORD)
    for index, rule in enumerate(rules):
        with_it = [scores[:, index] for _, scores in _scored(models, with_it_by_word[rule.word], bad, say)]
        if not with_it:
            bad.setdefault(str(directory / "positive" / rule.word), "there is no recording to tune the word with")
            continue
        tuned.append(_tuned(rule, with_it, [scores[:, index] for scores in without]))
    return Report(tuned, sum(map(len, without)) * STEP / 16_000 / 3600, bad)


def _tuned(rule: WordRule, positives: Sequence[Scores], negatives: Sequence[Scores]) -> Tuned:
    points = sweep(rule.word, positives, negatives)
    (now,) = sweep(rule.word, positives, negatives, thresholds=[rule.threshold], patience=[(rule.patience, rule.steps)])
    return Tuned(rule.word, points, now, proposed(points))


def _scored(
    models: WakeModels, paths: Sequence[Path], bad: dict[str, str], say: Callable[[str], None]
) -> Iterator[tuple[Path, Scores]]:
    """Yield the scores of each recording that can be read, without those that mean nothing."""
    before = models.cold_steps
    for path in paths:
        try:
            sound = read_wav(path)
        except SoundFileError as exc:
            bad[str(path)] = str(exc).removeprefix(f"{path}: ")
            continue
        models.reset()
        rows = np.array(models(with_room(sound, before)))
        say(f"{path}: {len(sound) / 16_000:.1f} s, highest {rows[before:].max():.2f}")
        yield path, rows[before:]


def _as_json(point: Point) -> dict[str, Any]:
    return {
        "threshold": point.rule.threshold,
        "patience": point.rule.patience,
        "window": point.rule.steps,
        "missed": point.missed,
        "tried": point.tried,
        "false_accepts": point.false_accepts,
        "false_accepts_per_hour": round(point.per_hour, 2),
    }


def _said(point: Point) -> str:
    rule = point.rule
    words = (
        f"threshold {rule.threshold:.2f}, {rule.patience} of {rule.steps} steps: missed {point.missed} of "
        f"{point.tried}, {point.per_hour:.1f} false accepts per hour"
    )
    return words if point.per_hour <= ALLOWED_PER_HOUR else f"{words} (more than {ALLOWED_PER_HOUR:g})"
