"""A virtual room, exact to the sample: what the speaker plays comes back to the microphone, and people speak in it.

Played sound (24 kHz, as given to the device) goes through the loudspeaker (saturating, band-limited), the room (direct
sound, then echoes that die away), the way from the program's hands back into them (delay), and the microphone's own
clock, into microphone sound (16 kHz). People and noise are added there. Time is the microphone's; the two clocks may
differ. Nothing longer than the delay and the room's echo is kept, so an hour costs no more memory than a second, and
:meth:`Room.feed` fits a real stream as well: it gives out the sound of the very time it was fed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Samples

Floats: TypeAlias = NDArray[np.float64]

BLOCK = SERVICE_RATE * FRAME // MICROPHONE_RATE
"""Played samples in 20 ms: what a frame of microphone sound takes where the clocks agree."""

NEAR_SPEAKER_DB = 6.0
"""Direct sound over echoes, where the microphone stands beside the speaker."""
ACROSS_ROOM_DB = -6.0
"""The same where it stands across the room."""

USUAL_SPEECH_DB = -20.0
"""Level of played speech, by which :attr:`Acoustics.echo_db` is meant."""

_FULL = 32_768.0
_HALF = 24
"""Samples on either side that make up a sample between them."""
_PHASES = 512
_CUT = 0.46 * MICROPHONE_RATE
"""Highest tone in hertz that the microphone's converter passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acoustics:
    """What lies between a speaker and a microphone."""

    delay_s: float = 0.06
    """From handing a sample to the device until its direct sound is read from the microphone; at least 2 ms."""
    direct_db: float = NEAR_SPEAKER_DB
    """Direct sound over echoes."""
    rt60_s: float = 0.3
    """Time in which the room's echoes lose 60 dB."""
    seed: int = 4
    """Which room of this kind."""
    echo_db: float = -26.0
    """Level at the microphone (dB below full scale) of speech that is played at -20 dBFS."""
    drive: float = 0.7
    """How hard the loudspeaker is driven: it gives tanh(drive * x) / drive, full scale being 1; 0 is a linear one."""
    drift_ppm: float = 0.0
    """How much faster the microphone's clock is than the speaker's, in millionths."""
    noise_db: float = -65.0
    """Level of the room's noise, dB below full scale."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Microphone sound, and what it is made of; all of one length."""

    sound: Samples
    echo: Floats
    near: Floats
    """What people said."""

    @property
    def quiet(self) -> Samples:
        """What it would be if nothing was played."""
        return _rounded(self.sound - self.echo)


class Room:
    """One room with a speaker, a microphone and people; a stream from its first sample on."""

    def __init__(self, acoustics: Acoustics | None = None, *, noise_seed: int = 9) -> None:
        self._random = np.random.default_rng(noise_seed)
        self._last_noise = self._random.normal(size=_DULL - 1)
        self._speech: list[tuple[int, Floats]] = []
        self._fed = self._given = 0
        self._past: Floats = np.zeros(0)
        self._air: Floats = np.zeros(0)
        self._origin = self._position = 0.0
        self.change(acoustics or Acoustics())

    @property
    def position(self) -> int:
        """How many microphone samples were given out so far."""
        return self._given

    def change(self, acoustics: Acoustics) -> None:
        """Be another room from now on: somebody moved the microphone, closed a door, turned the amplifier's knob.

        Another drift holds from now on as well; what the clocks lost on one another until now stays lost.
        """
        self.acoustics = acoustics
        self._response = _response(acoustics)
        self._pace = SERVICE_RATE / MICROPHONE_RATE / (1 + acoustics.drift_ppm * 1e-6)
        self._origin = self._position - self._given * self._pace
        self._lag = acoustics.delay_s * SERVICE_RATE
        if self._lag < _HALF:
            raise ValueError(f"delay_s is {acoustics.delay_s}: sound cannot be back before it is played")

    def say(self, sound: Samples | Floats, at: int, level_db: float | None = None) -> None:
        """Have somebody say ``sound`` (16 kHz) from microphone position ``at`` on.

        Args:
            sound: Speech as the microphone hears it.
            at: Not before :attr:`position`.
            level_db: Made so loud, dB below full scale, over its loud parts (:func:`loudness`); ``None``: as it is.

        Raises:
            ValueError: If that moment is over.

        """
        if at < self._given:
            raise ValueError(f"microphone position {at} is over: {self._given} samples were given out")
        speech = sound.astype(np.float64)
        if level_db is not None:
            speech *= 10 ** ((level_db - loudness(sound)) / 20)
        self._speech.append((at, speech))

    def feed(self, played: Samples) -> Samples:
        """Play 24 kHz sound, any length; return what the microphone heard during that time."""
        return self.hear(played).sound

    def hear(self, played: Samples) -> Heard:
        """As :meth:`feed`, told apart into echo and people."""
        self._reverberate(played)
        end = self._fed
        count = max(0, int(np.ceil((end - self._position) / self._pace - 1e-9)))
        positions = self._origin + (self._given + np.arange(count, dtype=np.float64)) * self._pace
        echo = self._at(positions - self._lag)
        near = self._people(count)
        sound = _rounded(echo + near + self._noise(count))
        self._given += count
        self._position = self._origin + self._given * self._pace
        return Heard(sound, echo, near)

    def _reverberate(self, played: Samples) -> None:
        """Put what the loudspeaker does to the air into ``_air``, which ends at played position ``_fed``."""
        drive = self.acoustics.drive
        sound = played.astype(np.float64) / _FULL
        if drive:
            sound = np.tanh(drive * sound) / drive
        keep = len(self._response) - 1
        sound = np.concatenate((np.zeros(max(0, keep - len(self._past))), self._past[-keep:], sound))
        size = 1 << (len(sound) + len(self._response) - 2).bit_length()
        spectrum = np.fft.rfft(sound, size) * np.fft.rfft(self._response, size)
        air = np.fft.irfft(spectrum, size)[keep : keep + len(played)]
        self._past = sound[-max(keep, SERVICE_RATE) :]
        self._air = np.concatenate((self._air[-SERVICE_RATE:], air))
        self._fed += len(played)

    def _at(self, positions: NDArray[np.floating[Any]]) -> Floats:
        """Return the sound of the air at played positions, those between samples too."""
        whole = np.floor(positions).astype(np.int64)
        phase = (positions - whole) * _PHASES
        row = phase.astype(np.int64)
        part = (phase - row)[:, None]
        kernel = _KERNELS[row] * (1 - part) + _KERNELS[row + 1] * part
        first = self._fed - len(self._air)
        index = whole[:, None] + np.arange(1 - _HALF, _HALF + 1) - first
        # Before anything was played there was silence.
        samples = np.where(index < 0, 0.0, self._air[np.maximum(index, 0)])
        sound: Floats = np.einsum("ij,ij->i", kernel, samples)
        return sound

    def _people(self, count: int) -> Floats:
        sound = np.zeros(count)
        begin, end = self._given, self._given + count
        for at, speech in self._speech:
            first, last = max(at, begin), min(at + len(speech), end)
            if first < last:
                sound[first - begin : last - begin] += speech[first - at : last - at]
        self._speech = [(at, speech) for at, speech in self._speech if at + len(speech) > end]
        return sound

    def _noise(self, count: int) -> Floats:
        """Return the noise of a quiet room: white, with the treble taken off."""
        if not count:
            return np.zeros(0)
        white = np.concatenate((self._last_noise, self._random.normal(size=count)))
        self._last_noise = white[-(_DULL - 1) :]
        level = _FULL * 10 ** (self.acoustics.noise_db / 20) / np.sqrt(_DULL)
        noise: Floats = np.convolve(white, np.full(_DULL, level), "valid")
        return noise


def together(room: Room, played: Iterable[Samples]) -> Iterator[tuple[Samples, list[Samples]]]:
    """Run a room as a daemon lives in it: frame by frame, each with what the device took since the frame before.

    Args:
        room: Fed with ``played``.
        played: 24 kHz sound in blocks as the speaker gives them out.

    Yields:
        320 samples of microphone sound, and the blocks: one as a rule, none or two now and then if the clocks differ.

    """
    waiting = np.zeros(0, np.int16)
    blocks: list[Samples] = []
    for block in played:
        blocks.append(block)
        waiting = np.concatenate((waiting, room.feed(block)))
        while len(waiting) >= FRAME:
            yield waiting[:FRAME], blocks
            waiting, blocks = waiting[FRAME:], []


def cut(played: Samples) -> Iterator[Samples]:
    """Yield 24 kHz sound in blocks of 20 ms."""
    for at in range(0, len(played) - BLOCK + 1, BLOCK):
        yield played[at : at + BLOCK]


def loudness(sound: Samples | Floats) -> float:
    """Return the level of the loud parts, in dB below full scale: what is above a sixteenth of the peak."""
    size = np.abs(sound.astype(np.float64))
    loud = size[size > np.max(size, initial=0.0) / 16]
    return float(20 * np.log10(np.sqrt(np.mean(np.square(loud))) / _FULL)) if len(loud) else -np.inf


_DULL = 8


def _response(acoustics: Acoustics) -> Floats:
    """Return what the air at the microphone does after one sample at the loudspeaker, at 24 kHz."""
    random = np.random.default_rng(acoustics.seed)
    length = round(acoustics.rt60_s * SERVICE_RATE) + 1
    room = np.zeros(length)
    room[0] = 1.0
    since = np.arange(length)
    tail = random.normal(size=length) * 10 ** (-3 * since / max(1, length - 1))
    tail[: SERVICE_RATE // 500] = 0  # the nearest wall takes 2 ms
    tail *= 10 ** (-acoustics.direct_db / 20) / np.sqrt(np.sum(np.square(tail)))
    response = np.convolve(room + tail, _loudspeaker())[:length]
    # Made as loud as asked for sound like speech: most of it below 1 kHz, less and less above.
    frequency = np.fft.rfftfreq(2 * length, 1 / SERVICE_RATE)
    speech = 1 / (1 + (150 / np.maximum(frequency, 1)) ** 4) / (1 + (frequency / 600) ** 2)
    gain = np.sqrt(np.sum(speech * np.abs(np.fft.rfft(response, 2 * length)) ** 2) / np.sum(speech))
    level: Floats = response * (_FULL * 10 ** ((acoustics.echo_db - USUAL_SPEECH_DB) / 20) / gain)
    return level


def _loudspeaker() -> Floats:
    """Return the impulse response of a small loudspeaker: second-order roll-off below 200 Hz and above 6 kHz."""
    size = 2048
    frequency = np.fft.rfftfreq(size, 1 / SERVICE_RATE)
    low, high = 1j * frequency / 200, 1j * frequency / 6000
    root = np.sqrt(2)
    response = low**2 / (1 + root * low + low**2) / (1 + root * high + high**2)
    impulse: Floats = np.fft.irfft(response, size)[: size // 2]
    return impulse


def _kernels() -> Floats:
    """Return windowed-sinc weights for positions between samples, one row for each phase and one more."""
    away = np.arange(1 - _HALF, _HALF + 1)[None] - (np.arange(_PHASES + 1) / _PHASES)[:, None]
    cut_off = 2 * _CUT / SERVICE_RATE
    window = np.i0(9.0 * np.sqrt(np.maximum(0.0, 1 - np.square(away / _HALF)))) / np.i0(9.0)
    kernels: Floats = cut_off * np.sinc(cut_off * away) * window
    kernels /= kernels.sum(axis=1, keepdims=True)
    return kernels


_KERNELS = _kernels()


def _rounded(sound: Floats) -> Samples:
    samples: Samples = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    return samples


def across(acoustics: Acoustics) -> Acoustics:
    """Return the same with the microphone across the room."""
    return replace(acoustics, direct_db=ACROSS_ROOM_DB)
