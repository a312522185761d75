"""Announcements that wait for a quiet moment."""

from collections.abc import Iterator

from voiced.core.mqtt.commands import Announce

MOST = 20
"""As many wait; more are refused."""


class Announcements:
    """A queue: urgent ones first, otherwise in the order in which they came."""

    def __init__(self) -> None:
        self._urgent: list[Announce] = []
        self._others: list[Announce] = []

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def add(self, announcement: Announce) -> bool:
        """Have it wait; return whether there was room."""
        if len(self) >= MOST:
            return False
        (self._urgent if announcement.urgent else self._others).append(announcement)
        return True

    def next(self) -> Announce | None:
        """Take out the one whose turn it is."""
        waiting = self._urgent or self._others
        return waiting.pop(0) if waiting else None

    def all(self) -> Iterator[Announce]:
        """Take out all of them."""
        while (announcement := self.next()) is not None:
            yield announcement
