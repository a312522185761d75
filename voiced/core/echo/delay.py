"""How long played sound takes to come back: where the microphone's sound is most like it, loudness and colour aside."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE

Floats: TypeAlias = NDArray[np.float32]
Spectrum: TypeAlias = NDArray[np.complex64]

HEARD = 8_192
"""Microphone samples that are compared: 0.51 s."""
PLAYED = 49_152
"""Played samples they are compared with: 2.05 s."""
_SIZE = PLAYED * MICROPHONE_RATE // SERVICE_RATE
"""Microphone samples in the time of :data:`PLAYED`; both spectra then have the same frequencies."""
LONGEST = _SIZE - HEARD
"""The longest delay that is found, in microphone samples: 1.54 s."""
_LOWEST_HZ, _HIGHEST_HZ = 150, 5_000
_MEMORY = 0.85
"""How much of what earlier comparisons said is left at the next one."""
_CLEAR = 17.0
"""How far the best delay must stand out, in standard deviations; two voices of one synthesizer reach 16."""
_LIKELY = 11.0
_AGREED = 3
"""How far, if so many comparisons in a row say the same."""
_SAME = MICROPHONE_RATE // 1000
_ECHOES = MICROPHONE_RATE // 25
"""How far the room's echoes may lie behind the direct sound, and yet be stronger."""
_NEARLY = 0.6
"""How strong the direct sound is at least, then."""


class DelayFinder:
    """Compares again and again, and remembers; what was played must keep its place meanwhile."""

    def __init__(self) -> None:
        self._bins = slice(*(round(hertz * _SIZE / MICROPHONE_RATE) for hertz in (_LOWEST_HZ, _HIGHEST_HZ)))
        bins = np.arange(self._bins.start, self._bins.stop)
        # The sound heard stands at the beginning of its window, and belongs at the end.
        self._late: Spectrum = np.exp(2j * np.pi * bins * HEARD / _SIZE).astype(np.complex64)
        self.restart()

    def restart(self) -> None:
        """Forget earlier comparisons."""
        self._likeness: Spectrum = np.zeros(len(self._late), np.complex64)
        self._last = -_ECHOES
        self._agreed = 0

    def look(
        self, played: Floats, heard: Floats, response: Floats | None = None, *, longest: int = LONGEST
    ) -> int | None:
        """Compare once more; return the delay if it is clear by now.

        Args:
            played: The last :data:`PLAYED` samples up to now, 24 kHz.
            heard: The last :data:`HEARD` samples up to now, 16 kHz.
            response: What the echo's path does to sound, if that is known: then its beginning is what is delayed, else
                the first strong sound.
            longest: Samples a delay may have: no more than since the first sound that was played.

        Returns:
            Samples by which ``heard`` comes later than ``played``; ``None`` if nothing stands out yet.

        """
        cross = np.fft.rfft(heard, _SIZE)[self._bins] * np.conj(np.fft.rfft(played)[self._bins]) * self._late
        size = np.abs(cross)
        cross /= size + 0.1 * np.sqrt(np.mean(np.square(size))) + 1e-20
        if response is not None:
            path = np.fft.rfft(response, _SIZE)[self._bins]
            cross *= np.conj(path / (np.abs(path) + 1e-9))
        self._likeness *= np.float32(_MEMORY)
        self._likeness += cross
        return self._best(max(1, min(longest, LONGEST)), early=response is None)

    def _best(self, longest: int, *, early: bool) -> int | None:
        spectrum = np.zeros(_SIZE // 2 + 1, np.complex64)
        spectrum[self._bins] = self._likeness
        likeness = np.abs(np.fft.irfft(spectrum)[:longest])
        best = int(np.argmax(likeness))
        # In standard deviations of all delays; 4 is chance.
        clarity = float(likeness[best]) / (float(np.sqrt(np.mean(np.square(likeness)))) + 1e-20)
        if early:
            before = likeness[max(0, best - _ECHOES) : best + 1]
            best -= len(before) - 1 - int(np.argmax(before >= _NEARLY * likeness[best]))
        self._agreed = self._agreed + 1 if abs(best - self._last) <= _SAME else 1
        self._last = best
        return best if clarity >= (_LIKELY if self._agreed >= _AGREED else _CLEAR) else None
