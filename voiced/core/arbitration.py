"""Several units hear the same wake word: which of them answers.

Each unit that hears the word and has not heard of another one answers, and claims it at once; nobody waits for a vote.
Who hears a claim before the word stays silent. Where two have claimed, because their claims crossed, one order decides
that all see in the same way, and the lesser gives way: so of all that claimed exactly one goes on, the greatest, if the
claims arrive in time. What does not arrive in time is not waited for: rather two answers than none. No claim holds a
time of day, so clocks may differ as they like.

With a window of more than nothing a unit waits so long before it answers, and the better ear wins inside it.
"""

from dataclasses import dataclass
from typing import TypeAlias

HOLD_S = 1.0
"""How long after the word, or before it, a claim belongs to it."""
SPEAKING_S = 15.0
"""How long it is believed that a unit speaks that has said so."""
RENEW_S = 5.0
"""How often a unit that goes on speaking says so again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A unit has heard a word and answers."""

    unit: str
    word: str
    quality: float
    """How well, 0 to 1."""
    talking: bool = False
    """Whether it is in a conversation already: then the word is for it."""

    def beats(self, other: "Claim") -> bool:
        """Return whether this one goes on and the other gives way."""
        return self.rank > other.rank

    @property
    def rank(self) -> tuple[bool, float, str]:
        """What decides between claims, the same for all who see it; no two are equal."""
        return (self.talking, round(self.quality, 3), self.unit)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer, after so many seconds unless told otherwise; tell the others first."""

    claim: Claim
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Silence:
    """Do not answer."""

    because: str
    """For the log."""


Verdict: TypeAlias = Answer | Silence


class Arbiter:
    """One unit's view. ``now`` is monotonic seconds of this unit.

    Args:
        unit: Who we are.
        window_s: How long to wait for better ears; 0: not at all.

    """

    def __init__(self, unit: str, window_s: float = 0.0) -> None:
        self._unit = unit
        self._window_s = window_s
        self._heard: dict[str, tuple[Claim, float]] = {}  # of each word, the best claim of others, and when
        self._own: dict[str, tuple[Claim, float]] = {}
        self._speaking: dict[str, float] = {}

    def woken(self, word: str, quality: float, now: float, *, talking: bool = False) -> Verdict:
        """Decide what to do about a word that was heard here."""
        speaker = self._who_speaks(now)
        if speaker is not None and not talking:
            return Silence(f"{speaker} is speaking, and perhaps said it")
        claim = Claim(unit=self._unit, word=word, quality=quality, talking=talking)
        other, when = self._heard.get(word, (None, 0.0))
        if other is not None and now - when <= HOLD_S:
            # inside its window the other has not begun either
            may_still_win = now - when < self._window_s or (talking and not other.talking)
            if not (may_still_win and claim.beats(other)):
                return Silence(f"{other.unit} answers")
        self._own[word] = (claim, now)
        return Answer(claim, 0.0 if talking else self._window_s)

    def claimed(self, claim: Claim, now: float) -> bool:
        """Note that another unit answers; return whether we give way."""
        if claim.unit == self._unit:
            return False
        self._heard = {word: (best, when) for word, (best, when) in self._heard.items() if now - when <= HOLD_S}
        if claim.word not in self._heard or claim.beats(self._heard[claim.word][0]):
            self._heard[claim.word] = (claim, now)
        own, since = self._own.get(claim.word, (None, 0.0))
        if own is None or now - since > HOLD_S or own.beats(claim):
            return False
        del self._own[claim.word]
        return True

    def spoke(self, unit: str, now: float, *, speaking: bool) -> None:
        """Note that another unit speaks, or does so no more."""
        if unit == self._unit:
            return
        self._forget_speakers(now)
        if speaking:
            self._speaking[unit] = now
        else:
            self._speaking.pop(unit, None)

    def _who_speaks(self, now: float) -> str | None:
        self._forget_speakers(now)
        return min(self._speaking, default=None)

    def _forget_speakers(self, now: float) -> None:
        """Forget those who said so too long ago: anybody can send any name."""
        self._speaking = {unit: when for unit, when in self._speaking.items() if now - when <= SPEAKING_S}
