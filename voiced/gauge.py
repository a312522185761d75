"""Tells others what the ears hear, a few times a second, while somebody watches."""

import math
from dataclasses import dataclass, field

from voiced.core.frames import Frame
from voiced.core.nearness import level_db
from voiced.ports import Clock, Ears
from voiced.reports import Reports

EVERY = 10
"""Frames between two messages: five a second."""


@dataclass(slots=True, kw_only=True)
class Gauge:
    """Belongs to the event loop, and costs nothing while nobody watches."""

    ears: Ears
    """Asked for gate and scores, which are single values."""
    words: tuple[str, ...]
    """Names of the scores."""
    reports: Reports
    clock: Clock
    _until: float = -math.inf
    _frames: int = 0
    _level_db: float = -math.inf
    _peaks: list[float] = field(default_factory=list)

    def watch(self, for_s: float) -> None:
        """Go on telling for so many seconds."""
        now = self.clock()
        if self._until < now:
            self._begin()
        self._until = max(self._until, now + for_s)

    def hear(self, frame: Frame) -> None:
        """Take the next frame."""
        if self._until < self.clock():
            return
        self._frames += 1
        self._level_db = max(self._level_db, level_db(frame.samples))
        scores = self.ears.scores
        self._peaks = [max(pair) for pair in zip(self._peaks or scores, scores, strict=True)]
        if self._frames >= EVERY:
            self.reports.hearing(
                self._level_db, gate=self.ears.open, scores=dict(zip(self.words, self._peaks, strict=True))
            )
            self._begin()

    def _begin(self) -> None:
        self._frames, self._level_db, self._peaks = 0, -math.inf, []
