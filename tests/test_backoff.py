"""Waiting before trying again: longer each time, never in step with others, short again after a good connection."""

from hypothesis import given
from hypothesis import strategies as st

from voiced.core.backoff import FIRST_S, HEALTHY_S, LONGEST_S, Backoff


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_waits_double_up_to_a_limit_and_vary_by_half(chances: list[float]) -> None:
    drawn = iter(chances)
    backoff = Backoff(lambda: next(drawn))
    for number in range(len(chances)):
        longest = min(LONGEST_S, FIRST_S * 2**number)
        assert longest / 2 <= backoff.failed() <= longest


@given(st.lists(st.floats(0, 3600) | st.none(), max_size=30))
def test_only_a_connection_that_lasted_makes_it_short_again(history: list[float | None]) -> None:
    backoff = Backoff(lambda: 0.0)
    expected = 0
    for lasted in history:
        if lasted is None:
            assert backoff.failed() == min(LONGEST_S, FIRST_S * 2**expected)
            expected += 1
        else:
            backoff.lasted(lasted)
            expected = 0 if lasted >= HEALTHY_S else expected
