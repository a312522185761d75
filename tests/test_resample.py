from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.frames import Samples
from voiced.core.resample import Resampler, resample

RATES = [(16_000, 24_000), (24_000, 16_000), (48_000, 16_000), (44_100, 16_000), (24_000, 44_100), (8_000, 16_000)]


def noise(count: int, seed: int = 1) -> Samples:
    return (np.random.default_rng(seed).standard_normal(count) * 9_000).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_in_pieces_or_at_once_is_the_same_to_the_sample(source: int, target: int) -> None:
    sound = noise(2 * source)
    whole = resample(sound, source, target)
    assert len(whole) == 2 * target
    for step in (source // 50, source // 100, 777):
        stream = Resampler(source, target)
        pieces = [stream.feed(sound[start : start + step]) for start in range(0, len(sound), step)]
        pieces.append(stream.feed(sound[:0], last=True))
        assert np.array_equal(np.concatenate(pieces), whole)


@given(st.lists(st.integers(0, 900), max_size=12), st.sampled_from(RATES))
def test_any_pieces(lengths: list[int], rates: tuple[int, int]) -> None:
    sound = noise(sum(lengths))
    stream = Resampler(*rates)
    ends = np.cumsum([0, *lengths])
    pieces = [stream.feed(sound[start:end]) for start, end in pairwise(ends)]
    pieces.append(stream.feed(sound[:0], last=True))
    assert np.array_equal(np.concatenate(pieces), resample(sound, *rates))


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_tone_stays_where_it_is(source: int, target: int) -> None:
    def tone(rate: int) -> Samples:
        sound: Samples = np.rint(10_000 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)).astype(np.int16)
        return sound

    made = resample(tone(source), source, target)
    middle = slice(target // 4, -target // 4)
    assert np.abs(made[middle].astype(int) - tone(target)[middle]).max() <= 2


def test_loud_sound_is_clipped_and_does_not_wrap() -> None:
    square = np.repeat(np.array([32767, -32768] * 40, np.int16), 20)
    made = resample(square, 16_000, 24_000).astype(int)
    wanted = np.repeat(np.array([1, -1] * 40), 30)
    assert np.all((np.sign(made) == wanted) | (np.abs(made) < 31_000))


def test_the_same_rate_is_the_same_sound() -> None:
    sound = noise(500)
    assert np.array_equal(resample(sound, 16_000, 16_000), sound)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_it_is_what_a_library_makes_of_it(source: int, target: int) -> None:
    lower = min(source, target)
    spectrum = np.fft.rfft(noise(source) / 3)
    spectrum[round(0.44 * lower) :] = 0  # what is higher may get softer
    sound: Samples = np.rint(np.fft.irfft(spectrum)).astype(np.int16)
    theirs = soxr.resample(sound.astype(np.float64), source, target, quality="VHQ")
    ours = resample(sound, source, target)
    middle = slice(target // 10, -target // 10)
    assert np.abs(ours - theirs)[middle].max() < 3


@pytest.mark.parametrize(("source", "target"), [rates for rates in RATES if rates[0] > rates[1]])
def test_what_is_too_high_is_gone(source: int, target: int) -> None:
    tone = np.rint(10_000 * np.sin(2 * np.pi * 0.58 * target * np.arange(source) / source)).astype(np.int16)
    assert np.abs(resample(tone, source, target)[target // 10 : -target // 10]).max() <= 2


@pytest.mark.parametrize(("source", "target"), RATES)
def test_little_is_held_back(source: int, target: int) -> None:
    stream = Resampler(source, target)
    fed = given = 0
    for length in (source // 50, 1, 77, source // 100, 500):
        fed += length
        given += len(stream.feed(noise(length)))
        assert fed / source - given / target <= 33 / min(source, target)


def test_a_strange_rate_is_nearly_right_and_costs_no_more() -> None:
    made = resample(
        np.rint(10_000 * np.sin(2 * np.pi * 100 * np.arange(767_999) / 767_999)).astype(np.int16), 767_999, 16_000
    )
    assert abs(len(made) - 16_000) <= 1
    assert np.count_nonzero(np.diff(np.signbit(made))) == pytest.approx(200, abs=1)
