"""How much of the echo is taken out, and whether a frame is better off as it came."""

import numpy as np

from voiced.core.echo.attenuation import Attenuation
from voiced.core.echo.tape import Floats

_MEMORY = 0.75
_FAINT = 1e-6
"""Power (-60 dBFS) below which a frame tells nothing about an echo."""
_POOR = 0.4
"""Share of the power that is left where most of the echo is."""
_WORSE = 1.05
_FAR_WORSE = 3.0
"""How much more power one frame may be left with than it came with: the average is slow to see that."""
_FADING = 0.6
"""How much power of the echo is left 20 ms later, in the room and in the speaker."""
_MARGIN = 2.0
_FIT_MEMORY = 0.9
_FIT = 0.9
"""Share of the echo's power by which taking it out must lower the sound's. In 99 of 100 frames it is 0.96 or more, even
under somebody twice as loud; soon after the echo began to come 20 ms later it is below 0.9."""
_AUDIBLE = 0.05
"""Share of the sound's power that the echo has at least, where that tells anything."""


class Loss:
    """Compares the microphone's sound with what is left of it, frame by frame."""

    def __init__(self) -> None:
        self._attenuation = Attenuation(faint=_FAINT, least=1e-12)
        self._power = self._left = 0.0
        self._share = 1.0
        self._taken = 0.0
        self._lowered = self._echo = self._whole = 0.0

    @property
    def attenuation_db(self) -> float | None:
        """By how much the sound was softened; people who speak over it are left out as well as can be."""
        return self._attenuation.decibels

    @property
    def is_poor(self) -> bool:
        """Whether most of the sound is left."""
        return self._power > _FAINT and self._left > _POOR * self._power

    @property
    def is_astray(self) -> bool:
        """Whether what was taken out is not all in the sound: the echo comes by another path than was learnt.

        Sound that is there takes its own power along when it is taken out, whoever speaks besides; what is not there
        adds its own.
        """
        return self._echo > max(_FAINT, _AUDIBLE * self._whole) and self._lowered < _FIT * self._echo

    def compare_anew(self) -> None:
        """Expect the echo elsewhere from now on."""
        self._lowered = self._echo = self._whole = 0.0

    def forget(self) -> None:
        """Measure anew what is taken out."""
        self._attenuation = Attenuation(faint=_FAINT, least=1e-12)

    def own_share(self, microphone: Floats, cleaned: Floats, leakage: float) -> float:
        """Return which share of what is left of a frame may be the echo still, 0 to 1.

        Args:
            microphone: What was heard.
            cleaned: What is left of it.
            leakage: Share of the echo that is left as far as the filter knows; there may be more, as much as usual, or
                all that is like the echo taken out.

        """
        echo = microphone - cleaned
        taken, left = float(echo @ echo), float(cleaned @ cleaned) + 1e-12
        self._taken = max(taken, _FADING * self._taken)
        attenuation = self.attenuation_db
        if attenuation is None:
            return 1.0
        usual = self._taken * _MARGIN * max(leakage, 10 ** (-attenuation / 10))
        alike = float(echo @ cleaned) ** 2 / (taken + 1e-12)
        return min(1.0, max(usual, alike) / left)

    def choose(self, microphone: Floats, cleaned: Floats) -> Floats:
        """Return what is left of the microphone's sound, or what it was where the canceller made it louder."""
        before, after = float(microphone @ microphone) / len(microphone), float(cleaned @ cleaned) / len(cleaned)
        self._power += (1 - _MEMORY) * (before - self._power)
        self._left += (1 - _MEMORY) * (after - self._left)
        self._attenuation.measure(before, after)
        self._compare(before, after, microphone - cleaned)
        if after > _FAR_WORSE * before:
            self._share = 0.0
            return microphone
        share = 0.0 if self._left > _WORSE * self._power else 1.0
        if share == self._share:
            return cleaned if share else microphone
        ramp = np.linspace(self._share, share, len(microphone), dtype=np.float32)
        self._share = share
        return microphone + ramp * (cleaned - microphone)

    def _compare(self, before: float, after: float, echo: Floats) -> None:
        self._lowered = _FIT_MEMORY * self._lowered + before - after
        self._echo = _FIT_MEMORY * self._echo + float(echo @ echo) / len(echo)
        self._whole = _FIT_MEMORY * self._whole + before
