"""Is there another client with our name? The broker lets only one of them stay, and each throws the other out."""

from collections import deque

LOSSES = 3
QUICK_S = 5.0
"""A connection lost this soon after a good connect was probably taken over."""


class Rivals:
    """Looks at when connections are lost."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=LOSSES)

    def lost(self, now: float, *, connected_s: float, reason: str) -> None:
        """Note that a connection of ``connected_s`` seconds is over."""
        if connected_s < QUICK_S or reason == "Session taken over":
            self._losses.append(now)

    def suspected(self, now: float) -> bool:
        """Return whether somebody seems to use our name."""
        return len(self._losses) == LOSSES and now - self._losses[0] < 10 * QUICK_S

    def settled(self) -> None:
        """Note that the other has let us be."""
        self._losses.clear()
