"""A machine that computes wrongly is found out before it is deaf."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.recordings import steps
from voiced.core.frames import STEP, Samples
from voiced.edge import selfcheck
from voiced.edge.features import Embedding, Floats, Mel
from voiced.edge.models import EMBEDDING, MEL, Models, find_models
from voiced.edge.onnxfile import read
from voiced.edge.wakemodel import WakeModels
from voiced.errors import ModelError


@pytest.fixture(scope="module")
def installed() -> Models:
    return find_models()


def features(models: Models) -> Callable[[Samples], Floats]:
    mel, embedding = Mel(read(models.feature(MEL).path)), Embedding(read(models.feature(EMBEDDING).path))
    return lambda step: embedding(mel(step))[0]


def test_all_models_of_openwakeword_pass(installed: Models) -> None:
    assert WakeModels(installed, [*installed.words]).words == tuple(installed.words)


def test_the_test_signal_is_whole_steps_of_real_sound() -> None:
    sound = selfcheck.sung_vowel()
    assert len(steps(sound)) == len(sound) == selfcheck.STEPS * STEP
    assert 5_000 < np.abs(sound).max() < 32_000


@pytest.mark.parametrize("fault", [lambda x: x * 1.02, lambda x: x[::-1], lambda x: x * np.nan, np.zeros_like])
def test_wrong_features_are_found_out(installed: Models, fault: Callable[[Floats], Floats]) -> None:
    right = features(installed)
    selfcheck.check_features(features(installed))
    with pytest.raises(ModelError, match="pip install --force-reinstall numpy"):
        selfcheck.check_features(lambda step: fault(right(step)))


@pytest.mark.parametrize("wrong", [0.0, 0.42, float("nan")])
def test_a_wrong_score_is_found_out(wrong: float) -> None:
    with pytest.raises(ModelError, match="hey_jarvis"):
        selfcheck.check_word("hey_jarvis", 16, lambda _: wrong)
    selfcheck.check_word("a model of one's own", 16, lambda _: wrong)
