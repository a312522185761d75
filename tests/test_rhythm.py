"""When to look for the next piece of sound: seldom in vain, and never much too late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.rhythm import Rhythm

POLL_S = 0.005
PIECE_S = 0.08


class Device:
    """Hands sound on in parts of its own, by a clock of its own."""

    def __init__(self, part_s: float, phase_s: float, ppm: float) -> None:
        self._part_s = part_s
        self._phase_s = phase_s
        self._rate = 1 + ppm / 1e6

    def available_s(self, now: float) -> float:
        """Return the seconds of sound that have arrived by ``now``."""
        return int((now * self._rate + self._phase_s) / self._part_s) * self._part_s

    def arrival(self, end_s: float) -> float:
        """Return when the sound before ``end_s`` is there."""
        parts = -(-(end_s - 1e-9) // self._part_s)
        return (parts * self._part_s - self._phase_s) / self._rate


class Reader:
    """Takes pieces as a microphone's thread does; counts its looks, and how late it took the last piece."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._rhythm = Rhythm(POLL_S)
        self._read_s = 0.0
        self.now = 0.0
        self.looks = 0
        self.late_s = 0.0

    def read(self) -> None:
        self.now += self._rhythm.first(self.now, PIECE_S, self._missing_s)
        self.looks += 1
        while self._missing_s > 1e-9:
            self.now += self._rhythm.again(self.now, self._missing_s)
            self.looks += 1
        self._read_s += PIECE_S
        self.late_s = self.now - self._device.arrival(self._read_s)

    @property
    def _missing_s(self) -> float:
        return self._read_s + PIECE_S - self._device.available_s(self.now)


DEVICES = st.builds(
    Device,
    part_s=st.sampled_from([0.01, 0.02, 0.04]),
    phase_s=st.floats(0, 0.04),
    ppm=st.floats(-200, 200),
)


@given(DEVICES)
def test_hardly_a_look_is_in_vain_and_none_is_late(device: Device) -> None:
    reader = Reader(device)
    for _ in range(250):
        reader.read()
    before = reader.looks
    for _ in range(250):
        reader.read()
        assert reader.late_s < 2 * POLL_S
    assert reader.looks - before < 1.2 * 250


@given(DEVICES, st.floats(0.01, 0.15))
def test_a_reader_that_was_held_up_makes_up_for_it(device: Device, held_up_s: float) -> None:
    reader = Reader(device)
    for _ in range(50):
        reader.read()
    reader.now += held_up_s
    for _ in range(80):
        reader.read()
    assert reader.late_s < 2 * POLL_S


def test_what_is_there_already_is_not_waited_for() -> None:
    rhythm = Rhythm(POLL_S)
    assert rhythm.first(1.0, PIECE_S, -0.01) == 0.0
    assert rhythm.first(1.0, PIECE_S, PIECE_S) == pytest.approx(PIECE_S + POLL_S)
