"""How well speech is understood, from 0 to 1: the short-time objective intelligibility measure.

Source: C. H. Taal, R. C. Hendriks, R. Heusdens, J. Jensen, "An algorithm for intelligibility prediction of
time-frequency weighted noisy speech", IEEE Trans. Audio, Speech, Lang. Process. 19(7), 2011.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

_RATE = 10_000
_FRAME = 256
_HOP = _FRAME // 2
_SIZE = 512
_BANDS = 15
_LOWEST_HZ = 150
_SEGMENT = 30
"""Frames that are compared at a time: 384 ms."""
_RANGE_DB = 40
"""Frames softer than the loudest by more hold no speech."""
_CLIP = 1 + 10 ** (15 / 20)
"""A degraded sample counts for no worse than -15 dB of distortion."""


def stoi(clean: NDArray[np.float64], degraded: NDArray[np.float64], rate: int) -> float:
    """Return the measure for ``degraded``, of the same length as ``clean`` speech.

    Raises:
        ValueError: If there is less than 0.4 s of speech.

    """
    window = np.hanning(_FRAME + 2)[1:-1]
    both = [_frames(soxr.resample(sound.astype(np.float64), rate, _RATE)) * window for sound in (clean, degraded)]
    level = 20 * np.log10(np.linalg.norm(both[0], axis=1) + 1e-12)
    spoken = level > level.max() - _RANGE_DB
    if np.count_nonzero(spoken) <= _SEGMENT:
        raise ValueError("too short to be measured: it takes 0.4 s of speech")
    x, y = (_bands(_joined(frames[spoken]) * window) for frames in both)
    scores = []
    for end in range(_SEGMENT, x.shape[1] + 1):
        a, b = x[:, end - _SEGMENT : end], y[:, end - _SEGMENT : end]
        scale = np.linalg.norm(a, axis=1, keepdims=True) / (np.linalg.norm(b, axis=1, keepdims=True) + 1e-12)
        b = np.minimum(b * scale, a * _CLIP)
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12
        scores.append(np.mean(np.sum(a * b, axis=1) / norms))
    return float(np.mean(scores))


def _frames(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    count = max(0, (len(sound) - _FRAME) // _HOP)
    return np.array([sound[at * _HOP : at * _HOP + _FRAME] for at in range(count)]).reshape(count, _FRAME)


def _joined(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay windowed frames over one another again, without those that were left out, and cut the sound anew."""
    sound = np.zeros((len(frames) + 1) * _HOP)
    for number, frame in enumerate(frames):
        sound[number * _HOP : number * _HOP + _FRAME] += frame
    return _frames(np.concatenate((sound, np.zeros(_HOP))))


def _bands(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the magnitude in thirds of octaves, one column for each frame."""
    power = np.abs(np.fft.rfft(frames, _SIZE, axis=1)) ** 2
    frequency = np.fft.rfftfreq(_SIZE, 1 / _RATE)
    centres = _LOWEST_HZ * 2 ** (np.arange(_BANDS) / 3)
    low, high = (
        np.array([int(np.argmin((frequency - centre * 2**step) ** 2)) for centre in centres])
        for step in (-1 / 6, 1 / 6)
    )
    magnitudes: NDArray[np.float64] = np.sqrt(
        np.array([power[:, first:last].sum(axis=1) for first, last in zip(low, high, strict=True)])
    )
    return magnitudes
