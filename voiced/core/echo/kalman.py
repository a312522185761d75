"""The echo's path, learnt from what is played and what comes back: a Kalman filter for each frequency.

The path's impulse response is cut into parts of 20 ms; the spectra of the parts are the filter's state, their
uncertainty its covariance, everything at the microphone that is not the echo its measurement noise. While somebody
speaks over the echo the noise is high and the filter learns little, so nobody has to decide whether somebody does.

What a Kalman filter that is sure of itself cannot see is another room: a moved microphone, an amplifier turned up. Then
the error rises and falls with the echo's estimate, which nobody else's speech does; that share of the echo which leaks
is measured, and where it is more than the covariance expects, the covariance grows.

Source: F. Kuech, E. Mabande, G. Enzner, "State-space architecture of the partitioned-block-based acoustic echo
controller", ICASSP 2014; for the leakage J.-M. Valin, "On adjusting the learning rate in frequency domain echo
cancellation with double-talk", IEEE Trans. Audio, Speech, Lang. Process. 15(3), 2007.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import FRAME, MICROPHONE_RATE

Floats: TypeAlias = NDArray[np.float32]
Spectra: TypeAlias = NDArray[np.complex64]

PARTS = 15
"""Of the impulse response: 0.3 s."""
BINS = FRAME + 1
"""Frequencies of a spectrum of two frames: multiples of 25 Hz."""

_STEADY = 0.99999
"""How much of the path is left after a frame, where it keeps still."""
_NOISE_MEMORY = 0.7
"""How much of the estimate of everything but the echo is left after a frame."""
_QUIETEST = 1e-6
"""Power of two frames' spectrum that always counts as noise: the microphone's last bit."""
_FIRST_GAIN = 1.0
"""Power of an echo path that nothing is known of, over that of the sound; it dies away by 60 dB in 0.35 s."""

_TREND = 0.1
"""Weight of a frame in the means that the leakage's rise and fall is measured from."""
_LEAK_WEIGHT = 0.02
"""Weight of a loud frame in the leakage."""
_CHANCE = 0.1
"""Share of the error that is like the echo's estimate by chance, while somebody else speaks."""
_DOUBT = 2.0
"""How many times the leakage the covariance expects must be measured, before it grows; and how fast it does."""
_GROWTH = 0.2
_SETTLED = 50
"""Frames before the leakage, and the response's beginning, are looked at."""
_DIRECT = 0.5
"""How strong the direct sound is at least, of the strongest in the response."""


class EchoFilter:
    """Takes the played sound's echo out of the microphone's, frame by frame; full scale is 1."""

    def __init__(self) -> None:
        decay = 10 ** (-6 * np.arange(PARTS) * FRAME / MICROPHONE_RATE / 0.35)
        self._decay: Floats = (decay / decay.sum()).astype(np.float32)[:, None]
        self._prior: Floats = np.repeat(decay.astype(np.float32)[:, None] * np.float32(_FIRST_GAIN), BINS, axis=1)
        self._two = np.zeros(2 * FRAME, np.float32)
        self._padded = np.zeros(2 * FRAME, np.float32)
        self.played: Spectra = np.zeros((PARTS, BINS), np.complex64)
        self.reset()

    def reset(self) -> None:
        """Know nothing of the path; what was played is kept."""
        self.path: Spectra = np.zeros((PARTS, BINS), np.complex64)
        self._doubt = self._prior.copy()
        self.noise: Floats = np.full(BINS, 1e-2, np.float32)
        """Power of everything but the echo, for each frequency."""
        self.error: Spectra = np.zeros(BINS, np.complex64)
        """Spectrum of the last frame without the echo as it was expected."""
        self.expected: Spectra = np.zeros(BINS, np.complex64)
        """Spectrum of that echo."""
        self._error_trend = np.zeros(BINS, np.float32)
        self._echo_trend = np.zeros(BINS, np.float32)
        self._together, self._alone = 0.0, 1e-9
        self._echo_power = self._error_power = self._doubt_power = 0.0
        self._learnt = 0

    @property
    def response(self) -> Floats:
        """The impulse response, as far as it is known."""
        parts = np.fft.irfft(self.path, axis=1)[:, :FRAME]
        return np.asarray(parts.reshape(-1), np.float32)

    @property
    def leakage(self) -> float:
        """Share of the echo's power that is left, as far as the filter knows."""
        return self._doubt_power / (self._echo_power + 1e-9)

    @property
    def onset(self) -> int | None:
        """Sample of the response at which the direct sound comes; ``None`` while too little is learnt."""
        if self._learnt < _SETTLED:
            return None
        size = np.abs(self.response)
        return int(np.argmax(size >= _DIRECT * np.max(size)))

    def fill(self, reference: Floats) -> None:
        """Take what was played before, ``(PARTS + 1) * FRAME`` samples, in place of what :meth:`step` took."""
        frames = reference.reshape(-1, FRAME)
        pairs = np.concatenate((frames[:-1], frames[1:]), axis=1)
        self.played[:] = np.fft.rfft(pairs, axis=1)[::-1]
        self._two[FRAME:] = frames[-1]

    def step(self, reference: Floats, microphone: Floats, *, learn: bool = True) -> Floats:
        """Return a frame without the echo.

        Args:
            reference: What was played at that time.
            microphone: What was heard.
            learn: Whether the frame may teach anything; not while it is unsure that both are of the same time.

        """
        self._two[:FRAME] = self._two[FRAME:]
        self._two[FRAME:] = reference
        self.played[1:] = self.played[:-1]
        self.played[0] = np.fft.rfft(self._two)
        echo = self._echo()
        if not learn:
            return microphone - echo
        self.error = self._spectrum(microphone - echo)
        self.expected = self._spectrum(echo)
        self._learn()
        return microphone - self._echo()

    def _echo(self) -> Floats:
        echo = np.fft.irfft(np.einsum("pf,pf->f", self.played, self.path))[FRAME:]
        return np.asarray(echo, np.float32)

    def _spectrum(self, frame: Floats) -> Spectra:
        self._padded[FRAME:] = frame
        return np.fft.rfft(self._padded).astype(np.complex64, copy=False)

    def _learn(self) -> None:
        error, played = 2 * _power(self.error), _power(self.played)
        self._mistrust(error, 2 * _power(self.expected), played)
        self.noise *= np.float32(_NOISE_MEMORY)
        self.noise += np.float32(1 - _NOISE_MEMORY) * error
        step = self._doubt / (np.einsum("pf,pf->f", played, self._doubt) + self.noise + np.float32(_QUIETEST))
        change = np.fft.irfft(step * self.played.conj() * (2 * self.error), axis=1)
        change[:, FRAME:] = 0  # a part of the response is no longer than a frame
        self.path += np.fft.rfft(change, axis=1)
        step *= played
        step *= np.float32(-0.5)
        step += 1
        self._doubt *= step
        self._doubt *= np.float32(_STEADY**2)
        self._doubt += np.float32(1 - _STEADY**2) * _power(self.path)
        self._learnt += 1

    def _mistrust(self, error: Floats, echo: Floats, played: Floats) -> None:
        """Let the covariance grow where more of the echo leaks than it expects."""
        error_up, echo_up = error - self._error_trend, echo - self._echo_trend
        self._error_trend += np.float32(_TREND) * error_up
        self._echo_trend += np.float32(_TREND) * echo_up
        echo_power, error_power = float(echo.sum()), float(error.sum())
        doubt_power = float(np.einsum("pf,pf->", played, self._doubt))
        scale = 1 / (float(self._echo_trend.sum()) + 1e-6) ** 2
        weight = _LEAK_WEIGHT * min(1.0, echo_power / (error_power + 1e-9))
        self._alone += weight * (float(echo_up @ echo_up) * scale - self._alone)
        self._together += weight * (float(error_up @ echo_up) * scale - self._together)
        self._echo_power += _TREND * (echo_power - self._echo_power)
        self._error_power += _TREND * (error_power - self._error_power)
        self._doubt_power += _TREND * (doubt_power - self._doubt_power)
        leakage = min(1.0, max(0.0, self._together / self._alone))
        leaks = leakage * self._echo_power - _CHANCE * self._error_power
        if leaks <= _DOUBT * self._doubt_power or self._learnt < _SETTLED:
            return
        growth = self._decay * _power(self.path).sum(axis=0)
        expects = float(np.einsum("pf,pf->", played, growth))
        self._doubt += growth * np.float32(_GROWTH * min(1.0, (leaks - self._doubt_power) / (expects + 1e-9)))


def _power(spectra: Spectra) -> Floats:
    power: Floats = np.square(spectra.real) + np.square(spectra.imag)
    return power
