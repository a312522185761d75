"""The measure of how well speech is understood."""

import numpy as np
import pytest

from tests.recordings import SOUNDS, load
from tests.stoi import stoi
from voiced.core.frames import MICROPHONE_RATE

SPEECH = load(SOUNDS / "negative_1.wav")[36_000:].astype(np.float64)
NOISE = np.random.default_rng(0).normal(size=len(SPEECH)) * np.std(SPEECH)


def test_speech_is_understood_as_well_as_itself_however_loud() -> None:
    assert stoi(SPEECH, SPEECH, MICROPHONE_RATE) == pytest.approx(1.0)
    assert stoi(SPEECH, 0.1 * SPEECH, MICROPHONE_RATE) == pytest.approx(1.0)


def test_the_more_noise_the_worse() -> None:
    measured = [stoi(SPEECH, SPEECH + gain * NOISE, MICROPHONE_RATE) for gain in (0.03, 0.3, 1.0, 3.0)]
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 0.9
    assert measured[-1] < 0.7
    assert stoi(SPEECH, NOISE, MICROPHONE_RATE) < 0.4


def test_too_little_speech_is_no_measure() -> None:
    with pytest.raises(ValueError, match="too short"):
        stoi(SPEECH[:3000], SPEECH[:3000], MICROPHONE_RATE)
