"""A conversation beside a television, in the virtual room; fifty of them are ``python -m tests.bench dialogues``."""

import pytest

from tests.dialogues import tell


@pytest.mark.parametrize(("seed", "cancels"), [(2, False), (7, True)])
def test_a_television_neither_takes_a_turn_nor_keeps_the_conversation(seed: int, cancels: bool) -> None:
    told = tell(seed, cancels=cancels)
    assert told.heard == told.said >= 2
    assert told.television == 0
    assert told.tail_s < 30
