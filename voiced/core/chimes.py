"""Short sounds that say "I am listening", "that was all" and "that failed"; made here from sines, 24 kHz."""

from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import SERVICE_RATE, Samples

Chime: TypeAlias = Literal["wake", "end", "error"]

_PARTIALS = ((1.0, 1.0), (2.0, 0.28), (3.01, 0.09))
"""Multiple of the pitch and loudness; the third is a little sharp, as on a struck bar."""

_NOTES: dict[Chime, tuple[tuple[int, int, float], ...]] = {
    "wake": ((0, 100, 784.0), (45, 105, 1174.7)),  # g, then the d above: a question
    "end": ((0, 110, 1174.7), (60, 140, 784.0)),  # the same, answered
    "error": ((0, 150, 311.1), (130, 220, 233.1)),  # low and falling
}
"""Start in ms, length in ms, pitch in Hz."""

_PEAK = 9_000
"""A third of full scale (-11 dBFS): heard over a voice without clipping with it."""


@cache
def chime(kind: Chime) -> Samples:
    """Return the sound, read-only: ``wake`` lasts 150 ms, ``end`` 200 ms, ``error`` 350 ms."""
    notes = _NOTES[kind]
    mix = np.zeros(max(start + length for start, length, _ in notes) * SERVICE_RATE // 1000)
    for start, length, pitch in notes:
        sound = _note(length * SERVICE_RATE // 1000, pitch)
        first = start * SERVICE_RATE // 1000
        mix[first : first + len(sound)] += sound
    samples: Samples = np.rint(mix * (_PEAK / np.abs(mix).max())).astype(np.int16)
    samples.setflags(write=False)
    return samples


def _note(count: int, pitch: float) -> NDArray[np.float64]:
    """Return a struck tone: up in 4 ms, then dying away to nothing."""
    time = np.arange(count) / SERVICE_RATE
    tone = sum(loudness * np.sin(2 * np.pi * pitch * ratio * time) for ratio, loudness in _PARTIALS)
    rise = np.minimum(time / 0.004, 1.0)
    fall = np.exp(-3.0 * np.arange(count) / count) * np.linspace(1.0, 0.0, count)
    return np.asarray(tone * rise * fall)
