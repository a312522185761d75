"""A session is replaced before its time is over, or when it has become slow; not for one slow answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.freshness import GROWTH, MARGIN_S, TURNS, Freshness


def opened(*waits: float, lasts_s: float | None = None) -> Freshness:
    fresh = Freshness()
    fresh.begin(100.0, lasts_s)
    for wait in waits:
        fresh.waited(wait)
    return fresh


def test_an_hour_is_nearly_over_two_minutes_before_its_end() -> None:
    fresh = opened(lasts_s=3600.0)
    assert fresh.stale_at == 100.0 + 3600.0 - MARGIN_S
    assert not fresh.is_stale(fresh.stale_at - 1)
    assert fresh.is_stale(fresh.stale_at)


@pytest.mark.parametrize("lasts_s", [None, 0.0, -50.0])
def test_a_service_that_does_not_say_and_a_clock_that_is_wrong_make_nothing_stale(lasts_s: float | None) -> None:
    assert opened(lasts_s=lasts_s).stale_at == math.inf
    assert not opened(lasts_s=lasts_s).is_stale(1e9)


def test_answers_that_take_twice_as_long_as_at_first_make_it_stale() -> None:
    assert opened(*[0.8] * TURNS, *[2.0] * TURNS).is_stale(101.0)
    assert not opened(*[0.8] * TURNS, *[2.0] * (TURNS - 1)).is_stale(101.0)
    assert not opened(*[0.8] * TURNS, *[1.5] * TURNS).is_stale(101.0)  # not twice as long
    assert not opened(*[0.2] * TURNS, *[0.6] * TURNS).is_stale(101.0)  # nobody notices


def test_one_slow_answer_proves_nothing() -> None:
    assert not opened(*[0.8] * TURNS, 9.0, 0.8, 0.8).is_stale(101.0)
    assert not opened(9.0, 0.8, 0.8, 0.8, 9.0, 0.8).is_stale(101.0)


def test_only_the_last_answers_count_against_the_first() -> None:
    assert not opened(*[0.8] * TURNS, *[3.0] * 9, *[0.8] * TURNS).is_stale(101.0)


def test_a_new_session_is_measured_by_itself() -> None:
    fresh = opened(*[0.8] * TURNS, *[3.0] * TURNS)
    fresh.begin(200.0, None)
    assert not fresh.is_stale(201.0)


@given(st.floats(0.1, 10), st.lists(st.floats(1, GROWTH * 0.99), min_size=1, max_size=30))
def test_a_service_that_was_always_slow_is_not_replaced(least: float, factors: list[float]) -> None:
    assert not opened(*(least * factor for factor in factors)).is_stale(101.0)
