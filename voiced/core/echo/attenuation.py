"""By how much sound was softened, over the last seconds in which there was some."""

import math
from collections import deque

_WINDOW = 25
"""Frames in a measurement: 0.5 s."""
_KEPT = 16
"""Measurements that count: 8 s of sound."""


class Attenuation:
    """Compares the power of frames before and after something that softens an echo; any unit will do.

    Args:
        faint: Power up to which a frame tells nothing about an echo.
        least: Power that a measurement is taken to have left at least, above 0.

    """

    def __init__(self, *, faint: float, least: float) -> None:
        self._faint = faint
        self._least = least
        self._ratios: deque[float] = deque(maxlen=_KEPT)
        self._before = self._after = 0.0
        self._frames = 0

    @property
    def decibels(self) -> float | None:
        """The upper quarter of what was measured; ``None`` until there is a measurement.

        A person who speaks over the echo makes some of it lower, and nothing makes it higher.
        """
        if not self._ratios:
            return None
        return 10 * math.log10(sorted(self._ratios)[-1 - len(self._ratios) // 4])

    def measure(self, before: float, after: float) -> None:
        """Take the powers of a frame."""
        if before <= self._faint:
            return
        self._before += before
        self._after += after
        self._frames += 1
        if self._frames == _WINDOW:
            self._ratios.append(self._before / max(self._after, self._least))
            self._before = self._after = 0.0
            self._frames = 0
