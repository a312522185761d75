"""From one sample rate to another (soxr), the same to the sample whether in pieces or at once.

soxr's own 16-bit output is dithered with random noise; here it works in floating point and we round, so that equal
sound in is equal sound out, and a test may compare samples.
"""

import numpy as np
import soxr

from voiced.core.frames import Samples


class Resampler:
    """Resample a stream of mono sound.

    What comes out lags some 17 ms behind what went in (30 ms from 8 kHz) until ``last`` brings the rest. In all,
    n samples become n * to_rate / from_rate, rounded.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._stream = None if from_rate == to_rate else soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    def feed(self, samples: Samples, *, last: bool = False) -> Samples:
        """Take the next samples; return those that are ready. Nothing may be fed after ``last``."""
        if self._stream is None:
            return samples
        floats = self._stream.resample_chunk(samples.astype(np.float32), last=last)
        rounded: Samples = np.clip(np.rint(floats), -32768, 32767).astype(np.int16)
        return rounded


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Return mono sound at another rate."""
    return Resampler(from_rate, to_rate).feed(samples, last=True)
