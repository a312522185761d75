"""How long to wait before trying again."""

from collections.abc import Callable
from dataclasses import dataclass

FIRST_S = 0.5
LONGEST_S = 30.0
HEALTHY_S = 30.0
"""A connection that lasted so long was a good one. To greet and hang up proves nothing."""


@dataclass(slots=True)
class Backoff:
    """Waits of half a second, doubled from one to the next, at most 30 s, each shortened by up to a half by chance."""

    chance: Callable[[], float]
    """Returns anything from 0 to 1: machines that lost the same service must not come back at the same time."""
    failures: int = 0

    def failed(self) -> float:
        """Note a failure; return the seconds to wait."""
        longest = min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return longest * (1 - self.chance() / 2)

    def lasted(self, seconds: float) -> None:
        """Note how long a connection lasted."""
        if seconds >= HEALTHY_S:
            self.failures = 0
