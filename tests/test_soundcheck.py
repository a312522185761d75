"""Judging sound: levels, clocks, and what comes back of a sweep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiced.core.soundcheck import FLOOR_DB, find, level, pace, sweep

RATE = 16_000
SWEEP = sweep(RATE, 1.0, 0.2)


def test_a_full_scale_sine_is_three_decibels_below_its_peak() -> None:
    sine = (32_767 * np.sin(np.arange(RATE) / 10)).astype(np.int16)
    loud = level(sine)
    assert loud.peak_db == pytest.approx(0, abs=0.1)
    assert loud.rms_db == pytest.approx(-3.01, abs=0.05)
    assert not loud.is_flat


@pytest.mark.parametrize("value", [0, 17, -32_768])
def test_sound_that_never_changes_is_flat_whatever_its_value(value: int) -> None:
    loud = level(np.full(100, value, np.int16))
    assert loud.is_flat
    assert loud.rms_db == FLOOR_DB


@given(st.floats(0, 0.5))
def test_clipping_is_the_share_of_samples_at_the_ends(share: float) -> None:
    sound = np.zeros(1000, np.int16)
    count = round(1000 * share)
    sound[:count:2], sound[1:count:2] = 32_767, -32_768
    assert level(sound).clipped == count / 1000


@given(st.floats(-0.02, 0.02), st.floats(0, 0.003), st.integers(0, 2**32))
def test_the_pace_is_found_within_its_own_error(drift: float, jitter_s: float, seed: int) -> None:
    """Whatever the jitter of the moments at which sound is taken; three standard errors miss one time in 400."""
    late = np.random.default_rng(seed).uniform(0, jitter_s, 200)
    times = np.arange(200) * 0.02
    positions = np.rint(times * RATE * (1 + drift)).astype(int)
    measured = pace([int(one) for one in positions], [float(one) for one in times + late])
    assert abs(measured.rate - RATE * (1 + drift)) <= 1.5 * measured.error + 0.5


def test_a_clock_that_stands_still_says_nothing() -> None:
    assert pace([1, 2, 3], [5.0, 5.0, 5.0]).error == float("inf")


@settings(max_examples=40)
@given(st.integers(4_000, 20_000), st.floats(-40, 0), st.sampled_from((1, -1)), st.floats(0, 30), st.integers(0, 99))
def test_the_sweep_is_found_at_its_place_and_loudness(
    start: int, gain_db: float, sign: int, noise: float, seed: int
) -> None:
    heard = np.random.default_rng(seed).normal(0, noise, 40_000)
    heard[start : start + len(SWEEP)] += sign * SWEEP * 10 ** (gain_db / 20)
    found = find(SWEEP, np.rint(heard).astype(np.int16))
    assert found is not None
    assert abs(found.start - start) <= 1
    assert found.attenuation_db == pytest.approx(-gain_db, abs=1.0)


def test_in_a_room_that_answers_it_is_found_where_it_first_comes() -> None:
    random = np.random.default_rng(3)
    tail = random.normal(0, 1, 3_200) * np.exp(-np.arange(3_200) / 700)
    tail[0] = 6.0
    echo = np.convolve(SWEEP, tail) * 0.02
    heard = random.normal(0, 20, 48_000)
    heard[9_000 : 9_000 + len(echo)] += echo
    found = find(SWEEP, heard.astype(np.int16))
    assert found is not None
    assert abs(found.start - 9_000) < 20
    assert found.likeness < 0.9


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 3_000))
def test_noise_alone_holds_no_sweep(seed: int, rms: float) -> None:
    heard = np.random.default_rng(seed).normal(0, rms, 48_000).clip(-32_768, 32_767).astype(np.int16)
    assert find(SWEEP, heard) is None


def test_speech_is_no_sweep() -> None:
    random = np.random.default_rng(1)
    steps = np.repeat(random.uniform(80, 2_000, 60), 800)
    speech = (3_000 * np.sin(np.cumsum(steps) * 2 * np.pi / RATE)).astype(np.int16)
    assert find(SWEEP, speech) is None


def test_too_little_sound_holds_nothing() -> None:
    assert find(SWEEP, SWEEP[:100]) is None
