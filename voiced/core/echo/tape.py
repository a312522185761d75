"""What was given to the loudspeaker, to be read back at the rate of the microphone's clock, also between samples."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples

Floats: TypeAlias = NDArray[np.float32]

PACE = SERVICE_RATE / MICROPHONE_RATE
"""Samples on the tape for each of the microphone's, where the two clocks agree."""

_KEPT = 60_000
"""Samples that can be read back: 2.5 s."""
_HALF = 24
"""Samples on either side that make up a sample between them."""
_PHASES = 512
_CUT_HZ = 7_360.0
"""What the microphone's own converter lets through."""


class Tape:
    """Played sound by position, full scale being 1; positions count 24 kHz samples since the start, silence too."""

    def __init__(self) -> None:
        self._kernels, self._slopes = _kernels()
        self._sound: Floats = np.zeros(2 * _KEPT, np.float32)
        self._end = _KEPT
        """Place in ``_sound`` behind the last sample; before the first one there was silence."""
        self._ahead = -_KEPT
        """Position minus place."""

    @property
    def end(self) -> int:
        """Position behind the last sample."""
        return self._end + self._ahead

    def add(self, block: Samples) -> None:
        """Take what is played next."""
        if self._end + len(block) > len(self._sound):
            self._sound[:_KEPT] = self._sound[self._end - _KEPT : self._end]
            self._ahead += self._end - _KEPT
            self._end = _KEPT
        np.multiply(block, np.float32(1 / 32_768), out=self._sound[self._end : self._end + len(block)])
        self._end += len(block)

    def last(self, count: int, end: int) -> Floats:
        """Return the ``count`` samples before position ``end``; what is not there is silent."""
        last = end - self._ahead
        first = last - count
        have = self._sound[max(first, 0) : max(min(last, self._end), 0)]
        if len(have) == count:
            return have
        whole = np.zeros(count, np.float32)
        at = max(0, -first)
        whole[at : at + len(have)] = have
        return whole

    def read(self, start: float, pace: float, count: int) -> Floats:
        """Return the sound at the positions ``start``, ``start + pace`` and so on; what is not there is silent.

        Args:
            start: May lie between samples.
            pace: Within one in a thousand of :data:`PACE`.
            count: Of positions, even.

        """
        sound = np.empty(count, np.float32)
        pairs = count // 2
        # Every other position is three samples further, but for the drift: a weighted sum with the same weights for all
        # of them, and one with the weights' slopes for the little by which each is off.
        drift = 2 * pace - 3
        middle = (pairs - 1) / 2
        off = ((np.arange(pairs) - middle) * drift).astype(np.float32)
        for parity in (0, 1):
            place = start + parity * pace + drift * middle
            whole = int(np.floor(place))
            phase = (place - whole) * _PHASES
            row = int(phase)
            part = np.float32(phase - row)
            weights = np.empty((2 * _HALF, 2), np.float32)
            weights[:, 0] = self._kernels[row] + part * (self._kernels[row + 1] - self._kernels[row])
            weights[:, 1] = self._slopes[row]
            span = 3 * (pairs - 1) + 2 * _HALF
            piece = self.last(span, whole - _HALF + 1 + span)
            windows = np.lib.stride_tricks.as_strided(
                piece, (pairs, 2 * _HALF), (3 * piece.strides[0], piece.strides[0]), writeable=False
            )
            made = windows @ weights
            sound[parity::2] = made[:, 0] + off * made[:, 1]
        return sound


def _kernels() -> tuple[Floats, Floats]:
    """Return windowed-sinc weights for positions between samples, a row for each phase; and their slopes."""
    away = np.arange(1 - _HALF, _HALF + 1)[None] - (np.arange(_PHASES + 1) / _PHASES)[:, None]
    cut = 2 * _CUT_HZ / SERVICE_RATE
    window = np.i0(8.0 * np.sqrt(np.maximum(0.0, 1 - np.square(away / _HALF)))) / np.i0(8.0)
    kernels = cut * np.sinc(cut * away) * window
    kernels /= kernels.sum(axis=1, keepdims=True)
    slopes = np.gradient(kernels, 1 / _PHASES, axis=0)
    return kernels.astype(np.float32), slopes.astype(np.float32)
