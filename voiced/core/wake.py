"""From scores to a wake: cold window, threshold, patience, refractory time, veto; and what nearly was one."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from voiced.core.frames import MICROPHONE_RATE
from voiced.core.verifier import Refused

COLD_STEPS = 25
"""Rows of scores that mean nothing after the models forgot: 16 embeddings, each of 775 ms of sound.

Models with a longer memory have more; the engine says how many.
"""

_KEPT_MISSES = 32
"""Near misses of a word that wait to be asked for; then the oldest go."""


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
class Rising:
    """A wake word seems to be said: its score rises towards the threshold."""

    word: str


Why: TypeAlias = Literal["score", "voice", "speaker"]
"""What kept an utterance from being a wake: its score, which was too low or not high for long enough; another voice
than the verifier's; or that the speaker said it."""


@dataclass(frozen=True, slots=True)
class NearMiss:
    """An utterance that came near a wake word and was none."""

    word: str
    score: float
    """The highest of it, 0 to 1; above the threshold where patience ran out."""
    threshold: float
    """What the score had to reach."""
    end: int
    """Microphone position behind the step with that score."""
    why: Why = "score"


@dataclass(frozen=True, slots=True)
class WordRule:
    """When a word counts as heard: the newest score and ``patience`` of the last ``window`` reach the threshold."""

    word: str
    threshold: float
    """Score to reach, 0 to 1."""
    patience: int = 1
    """Steps that must reach it, at least 1."""
    window: int | None = None
    """Among so many steps, at least ``patience``. ``None``: as many, so all in a row."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold of {self.word!r} is {self.threshold}, not between 0 and 1")
        if self.patience < 1:
            raise ValueError(f"patience of {self.word!r} is {self.patience}, less than 1")
        if self.window is not None and self.window < self.patience:
            raise ValueError(f"window of {self.word!r} is {self.window}, less than its patience, {self.patience}")

    @property
    def steps(self) -> int:
        """Among how many steps patience counts."""
        return self.patience if self.window is None else self.window


@dataclass(frozen=True, slots=True)
class WakeRules:
    """When the daemon wakes. ``words`` stand in the order of the scores."""

    words: tuple[WordRule, ...]
    refractory_s: float = 2.0
    """Seconds a word is deaf after it was heard: one utterance crosses the threshold in several steps."""
    overlap_s: float = 0.8
    """Seconds the other words are deaf then: one utterance may sound like two words."""
    near_miss: float = 0.5
    """Fraction of the threshold from which a score that leads to no wake is a near miss."""
    cold_steps: int = COLD_STEPS
    """Rows without meaning after a restart."""


def threshold_of(sensitivity: float, usual: float = 0.5) -> float:
    """Map a sensitivity, 0 (wakes seldom) to 1 (wakes easily), to a threshold: higher sensitivity, lower threshold.

    0.5 gives ``usual``. The odds change by the same factor for every word; a usual 0.5 goes in a straight line from
    0.95 to 0.05.

    Args:
        sensitivity: What the user wants.
        usual: The word's own threshold, between 0 and 1.

    """
    if not 0 <= sensitivity <= 1:
        raise ValueError(f"sensitivity is {sensitivity}, not between 0 and 1")
    straight = 0.95 - 0.9 * sensitivity
    odds = straight / (1 - straight) * usual / (1 - usual)
    return odds / (1 + odds)


OVER_SPEAKER = 0.7
"""Share of the threshold that is asked while the speaker sounds: what is left of its echo costs a word some of its
score. Of 100 persons who say "hey jarvis" over narration as loud as they are 96 were heard (94 with 0.78), of 100 who
are 6 dB louder 98, and in an hour of it the daemon never woke at itself (``python -m tests.bench wakes``)."""

_LOWEST_OVER_SPEAKER = 0.5
"""Not below openWakeWord's own threshold, but where the user asked for less."""


_USUAL = {"hey_jarvis": (0.9, 2, 3), "alexa": (0.5, 2, 3), "hey_mycroft": (0.85, 2, 3)}
"""Threshold, patience and window of openWakeWord's own words, from ``python -m tests.bench wakes``."""


def usual_rule(
    word: str,
    *,
    sensitivity: float = 0.5,
    threshold: float | None = None,
) -> WordRule:
    """Return the rule of a word as measured for openWakeWord's own models; for others 0.5 and one step.

    Args:
        word: Name of the model.
        sensitivity: Moves the threshold; see :func:`threshold_of`.
        threshold: Replaces it.

    """
    usual, patience, window = _USUAL.get(word, (0.5, 1, 1))
    return WordRule(word, threshold_of(sensitivity, usual) if threshold is None else threshold, patience, window)


class WakeJudge:
    """Turns rows of scores, one a step, into wakes."""

    def __init__(self, rules: WakeRules) -> None:
        self._rules = rules
        self._rows = 0
        self._words = tuple(_Word(rule, rules) for rule in rules.words)

    def adjust(self, words: tuple[WordRule, ...]) -> None:
        """Judge by other rules from the next row on.

        Raises:
            ValueError: If they are not the words there were, in their order.

        """
        if [rule.word for rule in words] != [rule.word for rule in self._rules.words]:
            raise ValueError("the words must be those that the models score, in their order")
        self._rules = replace(self._rules, words=words)
        for word, rule in zip(self._words, words, strict=True):
            word.adjust(rule, self._rules)

    @property
    def warm(self) -> bool:
        """Whether the last row counted."""
        return self._rows > self._rules.cold_steps

    @property
    def vetoed(self) -> int:
        """Utterances that would have been wakes and were barred."""
        return sum(word.vetoed for word in self._words)

    @property
    def is_curious(self) -> bool:
        """Whether a score came near a wake, and that is not over or not asked for yet."""
        return any(word.is_curious for word in self._words)

    def restart(self) -> None:
        """The models forgot what they heard: the next rows mean nothing. Refractory times run on."""
        self._rows = 0
        for word in self._words:
            word.forget()

    def judge(
        self, scores: Sequence[float], end: int, *, barred: Sequence[bool] | None = None, over_speaker: bool = False
    ) -> Wake | None:
        """Take the scores of the next step, which ends at microphone position ``end``.

        Of several words that are heard in the same step the one with the greatest margin wins. A word that is
        ``barred`` (the daemon says it itself) is not heard, only counted and told as a near miss, and nobody goes deaf
        for it.
        ``over_speaker``: while the speaker sounds a little less is asked, :data:`OVER_SPEAKER`.
        """
        self._rows += 1
        if not self.warm:
            return None
        heard: list[Wake] = []
        for index, (word, score) in enumerate(zip(self._words, scores, strict=True)):
            is_barred = barred is not None and barred[index]
            wake = word.judge(score, end, barred=is_barred, over_speaker=over_speaker)
            if wake is not None:
                heard.append(wake)
        if not heard:
            return None
        first = max(heard, key=lambda each: each.margin)
        for word in self._words:
            word.deafen(end, self._rules.refractory_s if word.rule.word == first.word else self._rules.overlap_s)
        return first

    def near_misses(self, now: int) -> list[NearMiss]:
        """Return near misses that were over by microphone position ``now``, each once, oldest first."""
        return sorted((miss for word in self._words for miss in word.near_misses(now)), key=lambda miss: miss.end)


class _Word:
    """What the judge remembers of one word."""

    def __init__(self, rule: WordRule, rules: WakeRules) -> None:
        self._recent: deque[float] = deque()
        self.adjust(rule, rules)
        self.vetoed = 0
        self._utterance = round(rules.overlap_s * MICROPHONE_RATE)
        self._refractory = round(rules.refractory_s * MICROPHONE_RATE)
        self._deaf_until: int | None = None
        self._vetoed_until: int | None = None
        self._peak: NearMiss | None = None
        self._last_near = 0
        self._misses: deque[NearMiss] = deque(maxlen=_KEPT_MISSES)

    @property
    def is_curious(self) -> bool:
        """Whether there is a near miss, or may be one."""
        return self._peak is not None or bool(self._misses)

    def adjust(self, rule: WordRule, rules: WakeRules) -> None:
        """Judge by another rule; the last scores still count."""
        self.rule = rule
        self._near = rules.near_miss * rule.threshold
        self._recent = deque(self._recent, maxlen=rule.steps)

    def forget(self) -> None:
        """What follows does not follow on what was."""
        self._recent.clear()
        self._settle()

    def judge(self, score: float, end: int, *, barred: bool, over_speaker: bool) -> Wake | None:
        """Take the score of the next step."""
        self._recent.append(score)
        limit = self.rule.threshold
        if over_speaker:
            limit = max(OVER_SPEAKER * limit, min(_LOWEST_OVER_SPEAKER, limit))
        enough = score >= limit and sum(each >= limit for each in self._recent) >= self.rule.patience
        if self._deaf_until is not None and end < self._deaf_until:
            return None
        if barred:
            self._peak = None  # what the daemon says, and that not even well, is no near miss either
            if enough:
                self._veto(NearMiss(self.rule.word, score, limit, end, "speaker"))
            return None
        if not enough:
            self._remember(score, end)
            return None
        return Wake(self.rule.word, score, limit, end)

    def deafen(self, end: int, seconds: float) -> None:
        """Hear nothing for a while: somebody said this word, or one like it."""
        until = end + round(seconds * MICROPHONE_RATE)
        self._deaf_until = max(until, self._deaf_until or until)
        self._peak = None  # it was the same utterance

    def near_misses(self, now: int) -> list[NearMiss]:
        """Return those that are over by ``now``."""
        if now - self._last_near >= self._utterance:
            self._settle()
        misses = list(self._misses)
        self._misses.clear()
        return misses

    def _remember(self, score: float, end: int) -> None:
        if self._peak is not None and end - self._last_near >= self._utterance:
            self._settle()
        said = score.said if isinstance(score, Refused) else score
        if said >= self._near and said > 0:
            self._last_near = end
            if self._peak is None or said > self._peak.score:
                is_refused = said is not score and said >= self.rule.threshold
                self._peak = NearMiss(
                    self.rule.word, said, self.rule.threshold, end, "voice" if is_refused else "score"
                )

    def _settle(self) -> None:
        """The utterance is over and was no wake."""
        if self._peak is not None:
            self._misses.append(self._peak)
            self._peak = None

    def _veto(self, miss: NearMiss) -> None:
        """Count and tell an utterance once."""
        if self._vetoed_until is None or miss.end >= self._vetoed_until:
            self.vetoed += 1
            self._misses.append(miss)
        self._vetoed_until = miss.end + self._refractory
