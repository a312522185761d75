from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.frames import FRAME, STEP, Samples
from voiced.core.gate import FRAMES_PER_STEP, RING_STEPS, Gate

HANG_OVER = 50  # frames in a second

stretches = st.lists(st.tuples(st.booleans(), st.integers(1, 130)), max_size=8)
"""Speech and silence by turns, each so many frames long."""


@dataclass
class Out:
    """What a passage held: numbers of the first and last step, counted since the reset."""

    first: int
    last: int
    fresh: bool


def frame(number: int) -> Samples:
    """Return a frame whose samples all are its number, so that it can be recognised."""
    return np.full(FRAME, number, np.int16)


def run(gate: Gate, voiced: list[bool]) -> dict[int, Out]:
    """Feed frames 0, 1, 2...; return what came out, by the number of the frame it came with."""
    found: dict[int, Out] = {}
    for number, speech in enumerate(voiced):
        passage = gate.feed(frame(number), voiced=speech)
        if passage is not None:
            numbers = passage.samples[::FRAME].astype(int)
            assert len(passage.samples) == passage.steps * STEP
            assert np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers)))
            assert np.array_equal(passage.samples, np.repeat(passage.samples[::FRAME], FRAME))
            assert numbers[0] % FRAMES_PER_STEP == 0
            found[number] = Out(numbers[0] // FRAMES_PER_STEP, numbers[-1] // FRAMES_PER_STEP, passage.fresh)
    return found


def flat(spans: list[tuple[bool, int]]) -> list[bool]:
    return [speech for speech, length in spans for _ in range(length)]


@given(stretches)
def test_it_opens_with_speech_and_closes_a_second_after(spans: list[tuple[bool, int]]) -> None:
    voiced = flat(spans)
    found = run(Gate(), voiced)
    for number in range(FRAMES_PER_STEP - 1, len(voiced), FRAMES_PER_STEP):
        heard = any(voiced[max(0, number - HANG_OVER) : number + 1])
        assert (number in found) == heard
        if heard:
            assert found[number].last == number // FRAMES_PER_STEP  # the newest step is always there, at once


@given(stretches)
def test_passages_follow_without_gap_or_overlap_unless_fresh(spans: list[tuple[bool, int]]) -> None:
    before: Out | None = None
    for out in run(Gate(), flat(spans)).values():
        if out.fresh:
            length = out.last - out.first + 1
            assert length == min(RING_STEPS, out.last + 1)  # all there is, up to the ring
            assert before is None or before.last < out.first - 1 or length == RING_STEPS
        else:
            assert before is not None
            assert out.first == before.last + 1
        before = out


@given(stretches, st.integers(RING_STEPS, 40))
def test_an_open_gate_lets_every_step_through_once(spans: list[tuple[bool, int]], ring: int) -> None:
    voiced = flat(spans)
    found = list(run(Gate(always_open=True, ring_steps=ring), voiced).values())
    assert [(out.first, out.last) for out in found] == [(step, step) for step in range(len(voiced) // FRAMES_PER_STEP)]
    assert [out.fresh for out in found] == [step == 0 for step in range(len(found))]


@pytest.mark.parametrize(("closed", "fresh"), [(1, False), (25, False), (26, True), (100, True)])
def test_after_a_pause_the_missed_steps_come_or_the_ring(closed: int, fresh: bool) -> None:
    gate = Gate()
    talk = [True] * FRAMES_PER_STEP
    hang_over = [False] * (HANG_OVER // FRAMES_PER_STEP * FRAMES_PER_STEP)
    pause = [False] * (closed * FRAMES_PER_STEP)
    found = run(gate, talk + hang_over + pause + talk)
    *_, before, after = found.values()
    assert after.last - before.last == closed + 1
    assert after.fresh == fresh
    assert after.first == (after.last - RING_STEPS + 1 if fresh else before.last + 1)


def test_reset_forgets_the_sound_and_the_half_step() -> None:
    gate = Gate()
    run(gate, [True] * (5 * FRAMES_PER_STEP + 2))
    assert gate.open
    gate.reset()
    assert not gate.open
    found = run(gate, [True] * FRAMES_PER_STEP)
    assert list(found.values()) == [Out(0, 0, fresh=True)]


def test_a_ring_too_short_for_the_models_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 26"):
        Gate(ring_steps=25)
