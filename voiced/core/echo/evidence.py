"""Evidence that a person speaks while the speaker does: sound in which the speaker is silenced, and a voice detector.

The suppressor (WebRTC's AEC3) silences what is played by 40 dB and more, whatever else it does to the sound; what
sounds like a voice behind it is a person's, but for moments in which the suppressor is wrong about the room. Then the
linear canceller, which learns in another way, usually is not: a voice counts only where it leaves the sound loud, too.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from voiced.core.echo.attenuation import Attenuation
from voiced.core.echo.nearspeech import NearSpeech
from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples, seconds
from voiced.errors import MissingPartError

SETTLE_S = 3.0
"""Seconds of played sound in which the suppressor learns the room; its word counts for nothing before."""

_AFTER_FRAMES = 25
"""Frames (0.5 s) the suppressor goes on after the canceller found that nothing sounds any more: the last echoes."""

_BELOW_MICROPHONE_DB = 15.0
"""How much softer than the microphone's sound that of a person may be who speaks over the speaker. In the room of
``tests/room.py`` the canceller leaves 25 dB less of the speaker alone, of two equally loud ones 3 dB less."""

_MEMORY = 0.75
"""Of the powers compared, per frame."""

_FAINT = 32_768.0**2 * 1e-6
"""Mean square (-60 dBFS) below which a frame tells nothing about an echo."""


class Suppressor(Protocol):
    """Silences the speaker at the microphone, whatever that does to other sound."""

    def __call__(self, heard: Samples, played: Samples) -> Samples:
        """Take 320 samples at 16 kHz of each, of the same time; return as many. Called in order."""


class Evidence:
    """Listens for a person, frame by frame.

    Args:
        make: Gives the suppressor; asked from the first sound on until it does. ``None``: not yet; it raises
            :exc:`MissingPartError` if there is none.
        speech: Whether 320 samples may hold speech (:class:`voiced.ports.Speech`).

    """

    def __init__(self, make: Callable[[], Suppressor | None], speech: Callable[[Samples], bool]) -> None:
        self._make = make
        self._speech = speech
        self._suppress: Suppressor | None = None
        self._is_missing = False
        self._near = NearSpeech()
        self._learnt = 0
        self._after = 0
        self._heard_power = self._cleaned_power = 0.0
        self._attenuation = Attenuation(faint=_FAINT, least=1e-3)

    @property
    def is_missing(self) -> bool:
        """Whether there is no suppressor, as was found out."""
        return self._is_missing

    @property
    def is_settled(self) -> bool:
        """Whether the suppressor knows the room."""
        return seconds(self._learnt * FRAME, MICROPHONE_RATE) >= SETTLE_S

    @property
    def near_speech_s(self) -> float:
        """Seconds of a person's speech within the last 0.6 s."""
        return self._near.seconds

    @property
    def attenuation_db(self) -> float | None:
        """By how much the speaker was softened lately in what the voice detector hears; ``None`` until measured."""
        return self._attenuation.decibels

    def hear(self, frame: Frame, cleaned: Frame, played: Samples | None) -> None:
        """Take the next frame.

        Args:
            frame: As the microphone heard it.
            cleaned: As the linear canceller left it.
            played: What was played at that time, at the microphone's rate; ``None`` where nothing was.

        """
        if self._suppress is None and not self._is_missing:
            try:
                self._suppress = self._make()
            except MissingPartError:
                self._is_missing = True
        if self._suppress is None:
            return
        if played is not None:
            self._after = _AFTER_FRAMES
            self._learnt += bool(played.any())
        elif self._after:
            self._after -= 1
            played = np.zeros(FRAME, np.int16)
        suppressed = frame.samples if played is None else self._suppress(frame.samples, played)
        speaks = self._speech(suppressed)
        heard, left = power(frame.samples), power(cleaned.samples)
        self._heard_power = _MEMORY * self._heard_power + heard
        self._cleaned_power = _MEMORY * self._cleaned_power + left
        if played is not None:
            self._attenuation.measure(heard, power(suppressed))
            speaks = speaks and self._cleaned_power > self._heard_power * 10 ** (-_BELOW_MICROPHONE_DB / 10)
        self._near.note(frame, speaks=speaks and (played is None or self.is_settled))

    def forget(self) -> None:
        """Let no speech count that was heard before; the room is kept."""
        self._near.forget()


def power(samples: Samples) -> float:
    """Return the mean square."""
    floats = samples.astype(np.float32)
    return float(floats @ floats) / len(samples)
