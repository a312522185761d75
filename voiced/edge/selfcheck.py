"""Does this machine compute the models rightly? A broken numpy or BLAS would make the daemon deaf without a word.

The expected numbers were taken with openwakeword 0.5.1 on onnxruntime; machines differ by far less than the tolerances.
"""

from collections.abc import Callable

import numpy as np

from voiced.core.frames import MICROPHONE_RATE, STEP, Samples
from voiced.edge.features import EMBEDDING, Floats
from voiced.errors import ModelError

STEPS = 12
"""Steps of the test signal: the ninth embedding is the first without the silence before."""

_EXPECTED_EMBEDDING = (
    *(1.49, 15.18, 19.03, -4.05, 0.68, -23.05, 39.26, 32.97),
    *(38.42, -7.37, 3.39, 4.71, 5.24, -14.86, 3.55, 15.23),
)
"""Every sixth number of the last embedding of the test signal."""

_EXPECTED_SCORES = {
    "hey_jarvis": (41, 25, 0.39998),
    "alexa": (24, 15, 0.49946),
    "hey_mycroft": (86, 5, 0.99537),
    "hey_rhasspy": (36, 5, 0.50509),
    "timer": (80, 20, 0.50035),
    "weather": (34, 10, 0.50131),
}
"""What a pattern scores: two parameters of the pattern, and the score."""

_EMBEDDING_TOLERANCE = 0.1
_SCORE_TOLERANCE = 0.01
_REMEDY = (
    "this machine's numpy does not compute as it should; install it again: pip install --force-reinstall numpy, or try "
    "another version"
)


def check_features(embed: Callable[[Samples], Floats]) -> None:
    """Hold embeddings against the expected ones.

    Args:
        embed: From a step to its embedding; forgets nothing between calls, and has just been reset.

    Raises:
        ModelError: If they are others.

    """
    sound = sung_vowel()
    for at in range(0, len(sound), STEP):
        embedding = embed(sound[at : at + STEP])
    off = float(np.abs(embedding[::6] - np.array(_EXPECTED_EMBEDDING)).max())
    if not off <= _EMBEDDING_TOLERANCE:  # also if it is not a number
        raise ModelError(f"the wake models' features are off by {off:.2g} on the test signal: {_REMEDY}")


def check_word(name: str, window: int, score: Callable[[Floats], float]) -> None:
    """Hold the score of one of openWakeWord's own words against the expected one; other words pass.

    Raises:
        ModelError: If it is another.

    """
    if name not in _EXPECTED_SCORES:
        return
    step, height, expected = _EXPECTED_SCORES[name]
    index = np.arange(34 * EMBEDDING).reshape(34, EMBEDDING)[-window:]
    found = score((height * np.sin(step * index)).astype(np.float32))
    if not abs(found - expected) <= _SCORE_TOLERANCE:
        raise ModelError(f'wake model "{name}" scores {found:.4f} on the test pattern, not {expected:.4f}: {_REMEDY}')


def sung_vowel() -> Samples:
    """Return something like a sung vowel: harmonics of a gliding pitch under a moving formant."""
    time = np.arange(STEPS * STEP) / MICROPHONE_RATE
    phase = 2 * np.pi * 110 * time + 8 * np.sin(2 * np.pi * time)
    formant = 700 + 400 * np.sin(2 * np.pi * 1.3 * time)
    sound = np.zeros(len(time))
    for harmonic in range(1, 25):
        sound += np.sin(harmonic * phase) / (1 + ((harmonic * 110 - formant) / 300) ** 2)
    samples: Samples = np.rint(3000 * (0.6 + 0.4 * np.sin(2 * np.pi * 3.1 * time)) * sound).astype(np.int16)
    return samples
