"""How loud: percents that people set, and the factors that samples are multiplied by."""

from dataclasses import dataclass
from datetime import time

import numpy as np
from numpy.typing import NDArray


def gain(percent: int) -> float:
    """Return the factor for a volume of 0 to 100 percent: its square, so that 50 sounds about half as loud."""
    return (min(max(percent, 0), 100) / 100) ** 2


class Fader:
    """A factor that glides to its next value, because a jump clicks."""

    def __init__(self) -> None:
        self._now = self._wanted = 1.0

    def set(self, factor: float, *, at_once: bool = False) -> None:
        """Set what :meth:`glide` shall reach; ``at_once``: nobody hears the jump."""
        self._wanted = factor
        if at_once:
            self._now = factor

    def glide(self, count: int) -> NDArray[np.float64] | float:
        """Return the factors of the next ``count`` samples, behind which the value set is reached."""
        if self._now == self._wanted:
            return self._now
        factors = np.linspace(self._now, self._wanted, count, endpoint=False)
        self._now = self._wanted
        return factors


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the day in which nothing may be loud."""

    start: time
    end: time
    """The same as ``start``: all day. Earlier: the next morning."""
    percent: int
    """The volume that is the loudest then."""

    def most(self, now: time) -> int:
        """Return the loudest volume at a time of the day, percent."""
        has_begun, is_over = now >= self.start, now >= self.end
        is_quiet = has_begun and not is_over if self.start < self.end else has_begun or not is_over
        return self.percent if is_quiet else 100


def hours(text: str) -> tuple[time, time]:
    """Return start and end of hours written ``22:00-07:00``."""
    start, end = map(time.fromisoformat, text.split("-"))
    return start, end
