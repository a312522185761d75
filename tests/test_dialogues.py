"""A conversation beside a television, in the virtual room; fifty of them are ``python -m tests.bench dialogues``."""

import pytest

from tests.dialogues import Way, tell


@pytest.mark.parametrize(("seed", "way"), [(1, "half-duplex"), (1, "auto"), (3, "device")])
def test_a_television_neither_takes_a_turn_nor_keeps_the_conversation(seed: int, way: Way) -> None:
    told = tell(seed, way)
    assert told.heard == told.said >= 2
    assert told.television <= 1
    assert told.afterwards == 0
    assert told.tail_s < 40
