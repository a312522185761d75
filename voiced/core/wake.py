"""From scores to a wake: cold window, threshold, refractory time."""

from dataclasses import dataclass


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
