"""What stands out of the room's noise may be speech, too soft for a detector that knows how loud voices are.

WebRTC's detector has levels built in: of words that people said 6 to 8 dB above the noise it missed one in four at a
microphone that is turned down (-62 dBFS). The wake models hear those, so the gate must open.
"""

import math

import numpy as np

from voiced.core.frames import FRAME, Samples

QUIETEST = 2.0**2 * FRAME
"""No noise counts as softer than 2 units of 16 bits: digital silence in which a bit flips is no room."""

RISE_DB = 0.04
"""How fast the noise floor, the softest of the last seconds, follows a louder room each frame: 2 dB a second."""

RISE = 10 ** (RISE_DB / 10)

ABOVE = 10 ** (6 / 10)
"""What stands out is 6 dB above the floor, which lies some 2 dB below the mean of steady noise."""

NEWEST, ENOUGH = 5, 3
"""Of so many newest frames so many must stand out; one alone is chance."""

_ALL = (1 << NEWEST) - 1


class EnergyDetector:
    """Compares the energy of frames with the least of the last seconds.

    Rumble, which comes and goes, is kept out of it: what is compared are the differences of neighbouring samples.
    """

    def __init__(self) -> None:
        self._floor = math.inf
        self._newest = 0
        """A bit for each, whether it stood out; the last is the newest."""

    def __call__(self, samples: Samples) -> list[bool]:
        """Take frames of 320 samples at 16 kHz that follow on those before; tell whether each may hold speech."""
        values = samples.astype(np.float32).reshape(-1, FRAME)
        steep = values[:, 1:] - values[:, :-1]
        floor, newest, told = self._floor, self._newest, []
        for energy in np.einsum("ij,ij->i", steep, steep).tolist():
            out = energy > floor * ABOVE
            newest = (newest << 1 | out) & _ALL
            floor = max(QUIETEST, min(energy, floor * RISE))
            told.append(out and newest.bit_count() >= ENOUGH)
        self._floor, self._newest = floor, newest
        return told
