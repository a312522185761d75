"""What breaks, one function each: break it, see that it is noticed, mend it; the lab looks at what follows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.lab.lab import Act, Lab

Broken = Callable[[Lab], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break something."""

    name: str
    area: str
    act: Act
    quick: bool
    """Whether it is among the few that are tried with every test run."""


FAULTS: list[Fault] = []


def fault(area: str, *, quick: bool = False) -> Callable[[Act], Act]:
    """Enter a function into the list; it returns what was lost and told, in words."""

    def enter(act: Act) -> Act:
        FAULTS.append(Fault(getattr(act, "__name__", "?"), area, act, quick))
        return act

    return enter


def every(area: str, states: tuple[str, ...], make: Callable[[str], Act]) -> None:
    """Enter the same fault for each state that it may happen in."""
    for state in states:
        act = make(state)
        FAULTS.append(Fault(f"{getattr(act, '__name__', '?')}_while_{state.lower()}", area, act, quick=False))
