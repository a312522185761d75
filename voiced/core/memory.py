"""What was said, as far as the next session is told of it: the last turns, for a while."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """A turn that is over."""

    over: float
    """When it was over, in seconds."""
    own: str
    """The profile that alone is told of it; empty: all that share."""
    user: str
    """Empty where it was not transcribed."""
    assistant: str
    """As far as it was heard."""


class Memory:
    """The last turns of all profiles that share, and of each that does not.

    Args:
        turns: How many of each are remembered at most.
        keep_s: How long, in seconds.

    """

    def __init__(self, *, turns: int, keep_s: float) -> None:
        self._turns = turns
        self._keep_s = keep_s
        self._said: dict[str, deque[Said]] = {}

    def add(self, said: Said) -> None:
        """Remember a turn; the oldest is forgotten where they are too many."""
        self._said.setdefault(said.own, deque(maxlen=self._turns)).append(said)

    def told(self, own: str) -> tuple[Said, ...]:
        """Return what a session is told, oldest first; see :attr:`Said.own`."""
        return tuple(self._said.get(own, ()))

    def all(self) -> tuple[Said, ...]:
        """Return all that is remembered, oldest first."""
        return tuple(sorted((said for turns in self._said.values() for said in turns), key=lambda said: said.over))

    def pass_time(self, now: float) -> bool:
        """Forget what is too old; return whether anything was."""
        before = self.all()
        for turns in self._said.values():
            while turns and now >= turns[0].over + self._keep_s:
                turns.popleft()
        return self.all() != before

    def due(self) -> float | None:
        """Return when the next turn becomes too old."""
        return min((turns[0].over + self._keep_s for turns in self._said.values() if turns), default=None)

    def forget(self) -> None:
        """Forget all."""
        self._said.clear()
