"""Which turn of the scenario is next."""

import re

from voiced.simulator.scenario import AnswerFault, Scenario, Turn


class Script:
    """Walks through a scenario's turns, and counts how often each went wrong."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._next = 0
        self._faults: dict[int, int] = {}

    def begin(self) -> None:
        """A session begins."""
        if self._scenario.every_session:
            self._next = 0

    def spoken(self) -> Turn:
        """Return the turn for something said: always the next."""
        turns = self._scenario.turns
        if self._next >= len(turns):
            self._next = 0 if self._scenario.when_over == "repeat" else len(turns) - 1
        turn = turns[self._next]
        self._next += 1
        return turn

    def written(self, text: str) -> Turn:
        """Return the turn for something written: the one with these words, else the next."""
        wanted = _plain(text)
        for index, turn in enumerate(self._scenario.turns):
            if wanted and _plain(turn.user) == wanted:
                self._next = index + 1
                return turn
        return self.spoken()

    def fault(self, turn: Turn) -> AnswerFault | None:
        """Return what goes wrong with an answer to ``turn`` this time."""
        if turn.fault is None:
            return None
        # by identity: two turns may be equal
        happened = self._faults.get(id(turn), 0)
        if turn.fault_times is not None and happened >= turn.fault_times:
            return None
        self._faults[id(turn)] = happened + 1
        return turn.fault


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
