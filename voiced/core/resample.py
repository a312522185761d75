"""From one sample rate to another, the same to the sample whether in pieces or at once, and with little delay.

A windowed sinc, evaluated where it is needed. Libraries work on long blocks: soxr 1.1.0 holds back 7 to 37 ms, and who
awaits an answer waits for them, too; here it is 2 ms at 16 kHz. The filter's factors are whole numbers, small enough
that no sum of theirs and 16-bit samples is ever rounded: equal sound in is equal sound out, in whatever order a
processor adds, and a test may compare samples.
"""

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from voiced.core.frames import Samples

_REACH = 32
"""Samples of the lower rate on either side that make up a sample: the delay."""

_BETA = 8.0
"""Of the Kaiser window: what does not belong there is 80 dB softer, from a tenth above the highest tone on."""

_ONE = 1 << 18

_FINEST = 1_000
"""Rates in a ratio of larger numbers, which no device has, count as the nearest that are not."""


class Resampler:
    """Resample a stream of mono sound.

    What comes out lags behind what went in, by 32 samples of the lower rate (2 ms where that is 16 kHz), until ``last``
    brings the rest. In all, n samples become n * to_rate / from_rate, rounded.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        ratio = Fraction(min(from_rate, to_rate), max(from_rate, to_rate)).limit_denominator(_FINEST)
        self._up, self._down = sorted(ratio.as_integer_ratio(), reverse=to_rate > from_rate)
        if self._up == self._down:
            return
        # Samples in on either side of one out.
        self._side = -(-_REACH * max(self._up, self._down) // self._up)
        self._factors = _factors(self._up, self._down, self._side)
        self._kept: NDArray[np.float64] = np.zeros(self._side - 1)
        self._fed = self._given = 0

    def feed(self, samples: Samples, *, last: bool = False) -> Samples:
        """Take the next samples; return those that are ready. Nothing may be fed after ``last``."""
        if self._up == self._down:
            return samples
        self._fed += len(samples)
        rest = np.zeros(self._side if last else 0)
        self._kept = np.concatenate((self._kept, samples, rest))
        if last:
            end = round(self._fed * self._up / self._down)
        else:  # the last one whose side is all there
            end = max(self._given, -(-(self._fed - self._side) * self._up // self._down))
        made = self._made(end)
        self._given = end
        return made

    def _made(self, end: int) -> Samples:
        """Return samples up to number ``end``, and forget what no later one needs."""
        numbers = np.arange(self._given, end) * self._down
        places, phases = numbers // self._up, numbers % self._up
        begins = self._given * self._down // self._up
        sums = np.empty(len(numbers))
        if len(numbers):
            around = sliding_window_view(self._kept, 2 * self._side)
            if self._up > len(numbers):
                np.einsum("ij,ij->i", around[places - begins], self._factors[phases], out=sums)
            else:
                for first in range(self._up):
                    count = len(sums[first :: self._up])
                    here = around[places[first] - begins :: self._down][:count]
                    np.matmul(here, self._factors[phases[first]], out=sums[first :: self._up])
        self._kept = self._kept[end * self._down // self._up - begins :]
        made: Samples = np.clip(np.rint(sums / _ONE), -32768, 32767).astype(np.int16)
        return made


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Return mono sound at another rate."""
    return Resampler(from_rate, to_rate).feed(samples, last=True)


def _factors(up: int, down: int, side: int) -> NDArray[np.float64]:
    """Return by what to multiply the samples around each of ``up`` places between two of them; shape (up, 2 * side)."""
    slower = max(up, down)
    apart = (np.arange(1 - side, side + 1) * up - np.arange(up)[:, None]) / slower  # in samples of the lower rate
    window = np.i0(_BETA * np.sqrt(np.maximum(1 - (apart / _REACH) ** 2, 0))) * (np.abs(apart) <= _REACH)
    weights = np.sinc(apart) * window
    factors: NDArray[np.float64] = np.rint(weights * (_ONE / weights.sum(axis=1, keepdims=True)))
    # All places are equally loud, or a steady tone would get another one beside it.
    factors[:, side - 1] += _ONE - factors.sum(axis=1)
    return factors
