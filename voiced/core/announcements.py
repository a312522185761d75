"""Announcements that wait for a quiet moment."""

from collections.abc import Iterator

from voiced.core.mqtt.commands import Announce

MOST = 20
"""As many wait; more are refused."""


class Announcements:
    """A queue: those that interrupt, then urgent ones, otherwise in the order in which they came."""

    def __init__(self) -> None:
        self._lanes: tuple[list[Announce], ...] = ([], [], [])

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    def add(self, announcement: Announce) -> bool:
        """Have it wait; return whether there was room."""
        if len(self) >= MOST:
            return False
        self._lanes[0 if announcement.interrupt else 1 if announcement.urgent else 2].append(announcement)
        return True

    def first(self) -> Announce | None:
        """Return the one whose turn it is."""
        return next((lane[0] for lane in self._lanes if lane), None)

    def next(self) -> Announce | None:
        """Take out the one whose turn it is."""
        return next((lane.pop(0) for lane in self._lanes if lane), None)

    def all(self) -> Iterator[Announce]:
        """Take out all of them."""
        while (announcement := self.next()) is not None:
            yield announcement
