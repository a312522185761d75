"""A conversation beside a television, in the virtual room; fifty of them are ``python -m tests.bench dialogues``."""

import pytest

from tests.dialogues import WAYS, Way, ask, tell


@pytest.mark.parametrize(("seed", "way"), [(1, "half-duplex"), (1, "auto"), (3, "device")])
def test_a_television_neither_takes_a_turn_nor_keeps_the_conversation(seed: int, way: Way) -> None:
    told = tell(seed, way)
    assert told.heard == told.said >= 2
    assert told.television <= 1
    assert told.afterwards == 0
    assert told.tail_s < 40


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [1, 2])
def test_who_says_more_while_the_answer_is_awaited(way: Way, seed: int) -> None:
    """A television that begins just then costs no answer; of a person who goes on every word is answered."""
    watched = ask(way, seed, "television")
    assert (len(watched.turns), watched.cuts, len(watched.remembered)) == (1, 0, 1)
    gone_on = ask(way, seed, "person")
    assert (len(gone_on.turns), gone_on.cuts, len(gone_on.remembered)) == (1, 0, 2)
