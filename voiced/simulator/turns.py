"""Who speaks when: the service's own voice-activity detection, by loudness, in sound time.

It works on clean recordings. A burst of an hour's sound is judged exactly as the same sound in real time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_MS = 10
"""How finely loudness is judged."""

_ONSET = 6
"""Loud windows among the last eight that make speech; fewer are a click."""

_QUIETEST_DB = -60.0
_FLOOR_RISE_DB = 0.02
"""How fast the noise floor follows a louder room: 2 dB a second."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How turns are told apart; ``silence_ms`` of quiet end one."""

    threshold: float = 0.5
    prefix_ms: int = 300
    silence_ms: int = 500


@dataclass(frozen=True, slots=True)
class Started:
    """Speech began; ``sample`` is its start less the padding, counted from the start of the session."""

    sample: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Speech is over; ``sample`` is where the turn ends, the required silence included."""

    sample: int


class TurnDetector:
    """Sound in, starts and ends of speech out."""

    def __init__(self, settings: Settings, rate: int, position: int = 0) -> None:
        """Begin at ``position`` samples into the session."""
        self.settings = settings
        self._window = rate * WINDOW_MS // 1000
        self._rate = rate
        self._begin = position
        self._position = position
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)
        self._floor = _QUIETEST_DB
        self._recent = [False] * 8
        self._quiet_ms = 0
        self.speaking = False

    def feed(self, samples: NDArray[np.int16]) -> list[Started | Stopped]:
        """Take the next sound; return what it brought, in order."""
        sound = np.concatenate((self._rest, samples))
        whole = len(sound) // self._window
        self._rest = sound[whole * self._window :]
        windows = sound[: whole * self._window].reshape(whole, self._window).astype(np.float64)
        # the mean of a window is no sound: cheap cards have an offset
        power = windows.var(axis=1) / 32768.0**2
        found: list[Started | Stopped] = []
        for level in 10 * np.log10(power + 1e-12):
            self._position += self._window
            event = self._judge(float(level))
            if event is not None:
                found.append(event)
        return found

    def _judge(self, level: float) -> Started | Stopped | None:
        loud = level > self._limit()
        self._recent = [*self._recent[1:], loud]
        if not self.speaking:
            self._floor = max(_QUIETEST_DB, min(level, self._floor + _FLOOR_RISE_DB))
            if sum(self._recent) < _ONSET:
                return None
            self.speaking = True
            self._quiet_ms = 0
            onset = self._position - len(self._recent) * self._window
            return Started(max(self._begin, onset - self._samples(self.settings.prefix_ms)))
        self._quiet_ms = 0 if loud else self._quiet_ms + WINDOW_MS
        if self._quiet_ms < max(self.settings.silence_ms, WINDOW_MS):
            return None
        self.speaking = False
        self._recent = [False] * 8
        self._begin = self._position
        return Stopped(self._position)

    def _limit(self) -> float:
        """Return the level that counts as loud: lower within speech, whose ends are soft."""
        threshold = self.settings.threshold
        limit = max(-58.0 + 20.0 * threshold, self._floor + 4.0 + 8.0 * threshold)
        return limit - 4.0 if self.speaking else limit

    def _samples(self, milliseconds: int) -> int:
        return milliseconds * self._rate // 1000
