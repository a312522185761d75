"""The service's own turn detection, on real speech: in sound time, however the sound is cut."""

import itertools

import numpy as np

from tests.simulated import RATE, samples, silence, spoken
from voiced.simulator.turns import Settings, Started, Stopped, TurnDetector


def found(pcm: bytes, settings: Settings | None = None, chunk: int = 2_400) -> list[Started | Stopped]:
    detector = TurnDetector(settings or Settings(), RATE)
    sound = samples(pcm)
    pieces = [sound[begin : begin + chunk] for begin in range(0, len(sound), chunk)]
    return list(itertools.chain.from_iterable(detector.feed(each) for each in pieces))


async def test_speech_is_found_where_it_is() -> None:
    question = await spoken()
    pcm = silence(1000) + question + silence(1000)
    started, stopped = found(pcm, Settings(prefix_ms=0, silence_ms=500))
    # espeak-ng's own silence of 50 ms is left at both ends
    assert abs(started.sample - 1.05 * RATE) < 0.08 * RATE
    assert abs(stopped.sample - (1.45 * RATE + len(question) // 2)) < 0.15 * RATE
    earlier = found(pcm, Settings(prefix_ms=300, silence_ms=500))[0]
    assert started.sample - earlier.sample == 0.3 * RATE
    later = found(pcm, Settings(prefix_ms=0, silence_ms=800))[1]
    assert later.sample - stopped.sample == 0.3 * RATE


async def test_it_does_not_matter_how_sound_is_cut() -> None:
    pcm = silence(333) + await spoken() + silence(900) + await spoken("And tomorrow?") + silence(700)
    expected = found(pcm, chunk=len(pcm))
    assert [type(each) for each in expected] == [Started, Stopped] * 2
    for chunk in (7, 160, 1_001, 24_000):
        assert found(pcm, chunk=chunk) == expected


async def test_padding_does_not_reach_into_the_turn_before() -> None:
    pcm = silence(100) + await spoken() + silence(520) + await spoken() + silence(600)
    events = found(pcm, Settings(prefix_ms=2000, silence_ms=500))
    assert events[0] == Started(0)
    assert isinstance(events[1], Stopped)
    assert events[2] == Started(events[1].sample)


async def test_clicks_and_hum_are_no_speech() -> None:
    quiet = np.random.default_rng(1).normal(0, 30, RATE * 3)
    quiet[RATE : RATE + 240] += 20_000
    assert found(quiet.astype("<i2").tobytes()) == []
    loud = np.random.default_rng(1).normal(0, 30, RATE * 3).astype(np.int16)
    question = samples(await spoken())
    loud[RATE : RATE + len(question)] += question
    assert [type(each) for each in found(loud.astype("<i2").tobytes())] == [Started, Stopped]


async def test_a_high_threshold_needs_a_loud_voice() -> None:
    whisper = (samples(await spoken()) // 50).astype("<i2").tobytes()
    pcm = silence(300) + whisper + silence(800)
    assert len(found(pcm, Settings(threshold=0.3))) == 2
    assert found(pcm, Settings(threshold=0.9)) == []
