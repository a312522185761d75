"""What a few seconds of sound say of a microphone, a clock, and the way from the speaker back to the microphone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import Samples

FULL = 32_768.0
FLOOR_DB = -100.0
"""Quieter than one step of 16-bit sound; also what nothing at all measures."""

_SWEEP_HZ = (200.0, 6_000.0)
_FADE_S = 0.02
_CERTAIN = 8.0
"""How far a peak of the correlation must stand out of its neighbourhood; noise alone reaches 5 in a million lags."""


@dataclass(frozen=True, slots=True)
class Level:
    """How loud a piece of sound is."""

    rms_db: float
    """Below full scale."""
    peak_db: float
    clipped: float
    """Share of samples at either end of the scale."""
    is_flat: bool
    """Whether every sample is the same: no microphone is so quiet."""


def level(samples: Samples) -> Level:
    """Measure at least one sample."""
    values = samples.astype(np.float64)
    values = values - values.mean()
    loudest = int(np.abs(samples.astype(np.int32)).max())
    return Level(
        rms_db=_db(float(np.mean(values**2)) / FULL**2),
        peak_db=_db((loudest / FULL) ** 2),
        clipped=float(np.mean(np.abs(samples.astype(np.int32)) >= 32_767)),
        is_flat=bool((samples == samples[0]).all()),
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast samples really come."""

    rate: float
    """Samples per second of this machine's clock."""
    error: float
    """How far that may be off: three standard errors."""


def pace(positions: Sequence[int], times: Sequence[float]) -> Pace:
    """Return the rate at which ``positions`` (samples so far) grew over ``times`` (seconds); at least three of each."""
    when, where = np.asarray(times) - np.mean(times), np.asarray(positions, np.float64) - np.mean(positions)
    spread = float(np.sum(when**2))
    if not spread:
        return Pace(0.0, math.inf)
    rate = float(np.sum(when * where)) / spread
    left = float(np.sum((where - rate * when) ** 2))
    return Pace(rate, 3 * math.sqrt(left / (len(times) - 2) / spread))


def sweep(rate: int, seconds: float, peak: float) -> Samples:
    """Return a tone that climbs from 200 Hz to 6 kHz, as loud as ``peak`` (0 to 1) at its loudest."""
    low, high = _SWEEP_HZ
    time = np.arange(round(rate * seconds)) / rate
    growth = math.log(high / low)
    tone = np.sin(2 * math.pi * low * seconds / growth * (np.exp(time / seconds * growth) - 1))
    fade = round(rate * _FADE_S)
    tone[:fade] *= np.linspace(0, 1, fade)
    tone[-fade:] *= np.linspace(1, 0, fade)
    samples: Samples = np.rint(tone * peak * 32_767).astype(np.int16)
    return samples


@dataclass(frozen=True, slots=True)
class Found:
    """A sound that was played, in what the microphone heard."""

    start: int
    """Sample of what was heard at which it begins."""
    attenuation_db: float
    """How much quieter it came back than it was sent out."""
    likeness: float
    """Correlation with what was sent, 0 to 1: below 1 come room, loudspeaker and noise."""


def find(played: Samples, heard: Samples) -> Found | None:
    """Look for ``played`` in ``heard``, at the same rate; ``None`` where it cannot be told from noise."""
    wanted, sound = played.astype(np.float64), heard.astype(np.float64)
    if len(sound) < len(wanted):
        return None
    products = _correlation(sound, wanted)
    place = int(np.argmax(np.abs(products)))
    # The room answers for a while, so its neighbourhood says nothing about noise.
    reach = len(wanted) // 4
    elsewhere = np.concatenate((products[: max(0, place - reach)], products[place + reach :]))
    noise = math.sqrt(float(np.mean(elsewhere**2))) if len(elsewhere) else 0.0
    energy = float(np.sum(wanted**2))
    window = sound[place : place + len(wanted)]
    if abs(products[place]) < max(_CERTAIN * noise, 1e-4 * energy):
        return None
    before = sound[: max(0, place - reach)]
    quiet = float(np.mean(before**2)) if len(before) > reach else 0.0
    power = max(float(np.mean(window**2)) - quiet, (float(products[place]) / energy) ** 2 * energy / len(wanted))
    likeness = abs(float(products[place])) / math.sqrt(energy * float(np.sum(window**2)))
    return Found(place, _db(energy / len(wanted) / power), min(1.0, likeness))


def _correlation(sound: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.float64]:
    size = 1 << (len(sound) + len(wanted)).bit_length()
    whole = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return np.asarray(whole[: len(sound) - len(wanted) + 1])


def _db(power: float) -> float:
    return max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB
