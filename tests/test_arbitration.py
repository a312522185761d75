"""Which room answers: units with clocks of their own, on a broker that takes its time, in made-up time."""

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiced.core.arbitration import HOLD_S, SPEAKING_S, Answer, Arbiter, Claim, Silence, Verdict


@dataclass
class Unit:
    """One room: when it hears the word, how well, and by how much its clock is off."""

    name: str
    wakes_at: float
    quality: float
    clock: float = 0.0
    window_s: float = 0.0
    talking: bool = False
    arbiter: Arbiter = field(init=False)
    began: float | None = None
    ended: float | None = None
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        self.arbiter = Arbiter(self.name, self.window_s)

    @property
    def answers(self) -> bool:
        return self.began is not None and self.ended is None


Delays = dict[tuple[int, int], float | None]
"""From one unit to another, in seconds; ``None``: for ever."""


def play(units: list[Unit], delays: Delays) -> None:
    """Let all of it happen; a delay of ``None`` is a claim that never arrives."""
    happenings: list[tuple[float, int, str, int, Claim | None]] = [
        (unit.wakes_at, number, "wake", number, None) for number, unit in enumerate(units)
    ]
    heapq.heapify(happenings)
    count = len(units)
    while happenings:
        now, _, kind, number, claim = heapq.heappop(happenings)
        unit = units[number]
        local = now + unit.clock
        if kind == "wake":
            unit.verdict = unit.arbiter.woken("jarvis", unit.quality, local, talking=unit.talking)
            if isinstance(unit.verdict, Answer):
                count += 1
                heapq.heappush(happenings, (now + unit.verdict.after_s, count, "begin", number, None))
                for other in range(len(units)):
                    delay = delays[number, other]
                    if other != number and delay is not None:
                        count += 1
                        heapq.heappush(happenings, (now + delay, count, "claim", other, unit.verdict.claim))
        elif kind == "begin":
            if unit.ended is None:
                unit.began = now
        elif claim is not None and unit.arbiter.claimed(claim, local):
            unit.ended = now


QUALITIES = st.floats(0.3, 1.0)
SPREADS = st.floats(0, 0.2)


@st.composite
def houses(draw: st.DrawFn, *, most: float = 0.08, windows: float = 0.0) -> tuple[list[Unit], Delays]:
    number = draw(st.integers(1, 6))
    window = draw(st.floats(0, windows)) if windows else 0.0
    units = [
        Unit(f"u{n}", draw(SPREADS), draw(QUALITIES), clock=draw(st.floats(-1e6, 1e6)), window_s=window)
        for n in range(number)
    ]
    delays: Delays = {(a, b): draw(st.floats(0.005, most)) for a in range(number) for b in range(number)}
    return units, delays


@settings(max_examples=300)
@given(houses())
def test_exactly_one_answers_and_nobody_waits(house: tuple[list[Unit], Delays]) -> None:
    units, delays = house
    play(units, delays)
    assert sum(unit.answers for unit in units) == 1
    (winner,) = [unit for unit in units if unit.answers]
    assert winner.began == winner.wakes_at
    first = min(units, key=lambda unit: unit.wakes_at)
    for number, unit in enumerate(units):  # who heard of it in time does not even begin
        arrives = delays[units.index(first), number] or 0
        if unit.wakes_at > first.wakes_at + arrives:
            assert isinstance(unit.verdict, Silence)


@settings(max_examples=300)
@given(houses(windows=0.3))
def test_exactly_one_answers_whatever_the_window(house: tuple[list[Unit], Delays]) -> None:
    units, delays = house
    play(units, delays)
    assert sum(unit.answers for unit in units) == 1


@settings(max_examples=300)
@given(houses(most=3.0), st.data())
def test_a_slow_or_absent_broker_never_silences_all(house: tuple[list[Unit], Delays], data: st.DataObject) -> None:
    units, delays = house
    for pair in delays:
        if data.draw(st.booleans()):
            delays[pair] = None
    play(units, delays)
    assert any(unit.answers for unit in units)
    if all(delay is None for delay in delays.values()):
        assert all(unit.answers for unit in units)


def test_inside_a_window_the_better_ear_wins_and_the_others_never_begin() -> None:
    dice = random.Random(1)  # noqa: S311 - repeatable
    for _ in range(200):
        units = [Unit(f"u{n}", dice.uniform(0, 0.2), dice.randrange(8) / 8 + n / 1000, window_s=0.35) for n in range(8)]
        play(units, {(a, b): dice.uniform(0.005, 0.08) for a in range(8) for b in range(8)})
        assert sum(unit.began is not None for unit in units) == 1
        (winner,) = [unit for unit in units if unit.answers]
        assert winner.quality == max(unit.quality for unit in units)


def test_who_is_in_a_conversation_keeps_the_word() -> None:
    for talking in (0, 1):
        units = [Unit("a", 0.0, 0.9), Unit("b", 0.1, 0.4)]
        units[talking].talking = True
        play(units, {(a, b): 0.02 for a in range(2) for b in range(2)})
        assert [unit.answers for unit in units] == [talking == 0, talking == 1]


def test_another_word_and_a_later_wake_are_another_matter() -> None:
    arbiter = Arbiter("a")
    arbiter.claimed(Claim(unit="b", word="jarvis", quality=1), 0.0)
    assert isinstance(arbiter.woken("alexa", 0.5, 0.1), Answer)
    assert isinstance(arbiter.woken("jarvis", 0.5, 0.1), Silence)
    assert isinstance(arbiter.woken("jarvis", 0.5, HOLD_S + 0.1), Answer)
    assert not arbiter.claimed(Claim(unit="c", word="jarvis", quality=1), 2 * HOLD_S + 0.2)
    assert not arbiter.claimed(Claim(unit="a", word="jarvis", quality=1), HOLD_S + 0.2)


def test_nobody_answers_a_loudspeaker_in_the_next_room() -> None:
    arbiter = Arbiter("b")
    arbiter.spoke("a", 0.0, speaking=True)
    assert arbiter.woken("jarvis", 1, 1.0) == Silence("a is speaking, and perhaps said it")
    assert isinstance(arbiter.woken("jarvis", 1, 1.5, talking=True), Answer)
    arbiter.spoke("a", 2.0, speaking=False)
    assert isinstance(arbiter.woken("jarvis", 1, 5.0), Answer)
    arbiter.spoke("a", 10.0, speaking=True)
    arbiter.spoke("b", 10.0, speaking=True)  # ourselves
    assert isinstance(arbiter.woken("jarvis", 1, 10.0 + SPEAKING_S + 0.1), Answer)


@pytest.mark.parametrize("claims", [(0.9, 0.5), (0.5, 0.9)])
def test_both_ends_see_the_same_order(claims: tuple[float, float]) -> None:
    one, two = (Claim(unit=name, word="w", quality=quality) for name, quality in zip("ab", claims, strict=True))
    assert one.beats(two) != two.beats(one)
    assert not one.beats(one)


def test_words_and_units_that_anybody_may_invent_are_not_kept() -> None:
    arbiter = Arbiter("attic")
    for number in range(100):
        now = 2 * SPEAKING_S * number
        arbiter.claimed(Claim(unit="bath", word=f"word {number}", quality=0.5), now)
        arbiter.spoke(f"unit {number}", now, speaking=True)
    assert len(arbiter._heard) == len(arbiter._speaking) == 1
