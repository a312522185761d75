"""Whether one sound is in another: what the demo and the tests go by."""

import numpy as np

from voiced.core.frames import Samples


def best_match(recorded: Samples, reference: Samples) -> tuple[float, int]:
    """Return the best correlation of ``reference`` anywhere in ``recorded`` (1: the same up to loudness), and where."""
    if len(recorded) < len(reference):
        return 0.0, 0
    size = 1 << (len(recorded) + len(reference)).bit_length()
    sound, wanted = recorded.astype(np.float64), reference.astype(np.float64)
    products = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(wanted, size)), size)
    lags = len(recorded) - len(reference) + 1
    energy = np.concatenate(([0.0], np.cumsum(sound**2)))
    windows = energy[len(reference) :] - energy[:lags]
    scores = products[:lags] / np.sqrt(np.maximum(windows, 1.0) * np.sum(wanted**2))
    place = int(np.argmax(scores))
    return float(scores[place]), place
