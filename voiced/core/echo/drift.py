"""How much faster the microphone's clock runs than the speaker's: two crystals, perhaps 100 millionths apart.

At that rate the echo comes 1.6 samples later each second, and a filter that learnt its path is soon wrong. The error
shows it: where the echo comes later than expected by a part of a sample, the error's spectrum is the expected one's
turned by an angle that grows with the frequency. Fractions of a hundredth of a sample are seen within a second,
while counting the samples of streams that come in blocks, on a busy machine, takes minutes to say as much.
"""

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import FRAME

EVERY = 4
"""Frames looked at before the clocks are adjusted."""
MOST = 5e-4
"""The largest drift that is believed: five times that of a bad crystal."""

_FOLLOW = 0.5
"""Part of the lateness that is made good at once."""
_LEARN = 0.1
"""Part of it that counts as drift."""
_SEEN = 0.05
"""Lateness in samples that must be told from noise to be followed halfway."""
_MOST_LATE = 0.5


class Drift:
    """Follows the echo's lateness."""

    def __init__(self) -> None:
        radians = 2 * np.pi * np.arange(FRAME + 1) / (2 * FRAME)
        self._radians = radians.astype(np.float32)
        self._squares = np.square(self._radians)
        self.rate = 0.0
        """How much faster the microphone's clock is: 1e-4 is 100 ppm."""
        self.pause()

    @property
    def ppm(self) -> float:
        """The rate in millionths."""
        return self.rate * 1e6

    def pause(self) -> None:
        """What follows does not follow on what was; the rate is kept."""
        self._late = self._weight = 0.0
        self._frames = 0

    def follow(
        self, error: NDArray[np.complex64], expected: NDArray[np.complex64], noise: NDArray[np.float32]
    ) -> float:
        """Take a frame's spectra; return by how many samples the echo is to be expected later from now on.

        Args:
            error: Of the sound without the echo that was expected.
            expected: Of that echo.
            noise: Power of everything but the echo.

        """
        trust = 1 / (noise + np.float32(1e-7))
        turned = error.imag * expected.real - error.real * expected.imag
        power = np.square(expected.real) + np.square(expected.imag)
        self._late -= float((self._radians * trust) @ turned)
        self._weight += float((self._squares * trust) @ power)
        self._frames += 1
        if self._frames < EVERY:
            return 0.0
        late = max(-_MOST_LATE, min(_MOST_LATE, self._late / (self._weight + 1e-9)))
        late *= self._weight / (self._weight + 1 / _SEEN**2)
        self.pause()
        self.rate = max(-MOST, min(MOST, self.rate + _LEARN * late / (EVERY * FRAME)))
        return _FOLLOW * late
