"""When a session should be replaced: its time is nearly over, or its answers take longer than at first."""

import math
from dataclasses import dataclass, field

from voiced.core.quantile import quantile

MARGIN_S = 120.0
"""From when on before its end a pause is looked for; the service gives no warning."""

TURNS = 3
"""First turns, and last ones, whose median waits are compared: one slow answer proves nothing."""

GROWTH = 2.0
"""How many times longer the last take."""

NOTICEABLE_S = 1.0
"""By how much longer at least."""


@dataclass(slots=True)
class Freshness:
    """Of the session going on; times are seconds of one clock."""

    stale_at: float = math.inf
    """When its time is nearly over."""
    _waits: list[float] = field(default_factory=list)

    def begin(self, opened: float, lasts_s: float | None) -> None:
        """Note a new session: when it was opened, and how long it lasts, where the service says so."""
        self.stale_at = math.inf if lasts_s is None or lasts_s <= 0 else opened + lasts_s - min(MARGIN_S, lasts_s / 2)
        self._waits.clear()

    def waited(self, seconds: float) -> None:
        """Note how long somebody waited for an answer, from the end of what they said to its first sound."""
        if len(self._waits) == 2 * TURNS:
            del self._waits[TURNS]
        self._waits.append(seconds)

    def is_stale(self, now: float) -> bool:
        """Return whether the session should be replaced."""
        return now >= self.stale_at or self._is_slow()

    def _is_slow(self) -> bool:
        if len(self._waits) < 2 * TURNS:
            return False
        first, last = quantile(self._waits[:TURNS], 0.5), quantile(self._waits[TURNS:], 0.5)
        return last >= GROWTH * first and last - first >= NOTICEABLE_S
