"""The ladder of echo control: as much of it as is needed, trusted as far as it is measured.

While the speaker sounds, a linear canceller takes its echo out of what wake models and service hear, and a suppressor
with a voice detector behind it tells whether a person speaks (:mod:`voiced.core.echo.evidence`). How well the first
does decides whether the service may hear the microphone meanwhile (:mod:`voiced.core.echo.ladder`). Between answers
nothing is computed, and all that was learnt is kept.
"""

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from voiced.core.echo.canceller import LinearCanceller
from voiced.core.echo.evidence import Evidence, Suppressor, power
from voiced.core.echo.ladder import Measured, Policy, rung
from voiced.core.echo.sounding import Sounding
from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples, seconds
from voiced.core.mqtt.payloads import EchoHealth
from voiced.core.quantile import quantile

_LOOK = 25
"""Frames between two looks at what is measured: 0.5 s."""

_ROOM_FRAMES = 200
"""Frames (4 s) before an answer that tell how loud the quiet room is. A question may fill all of them but half a
second, by which the service knew that it was over."""
_ROOM_LEAST = 50
_ROOM_RISE = 2.0
"""How much more power the room is believed to have than before the last answer."""
_QUIETEST = 0.02
"""Share of them that are quiet for certain."""
_LOUDEST = 0.9

_LEFT_FRAMES = 400
"""Frames of an answer (8 s) that count for what is left of it."""

_SILENCE = 1.0
"""Mean square that counts as digital silence: the last bit."""


class EchoControl:
    """Fits :class:`voiced.ports.Echo`; :meth:`played` is for the speaker's thread, everything else for one other.

    Args:
        policy: Who is trusted.
        suppressor: Gives the suppressor, once something sounds (:class:`voiced.core.echo.evidence.Evidence`).
        speech: Whether 320 samples may hold speech (:class:`voiced.ports.Speech`); a detector of its own.

    """

    def __init__(
        self, policy: Policy, suppressor: Callable[[], Suppressor | None], speech: Callable[[Samples], bool]
    ) -> None:
        self._policy = policy
        self._canceller = LinearCanceller()
        self._evidence = Evidence(suppressor, speech)
        self._sounding = Sounding()
        self._before: deque[Frame] = deque(maxlen=_ROOM_FRAMES)
        self._left: deque[float] = deque(maxlen=_LEFT_FRAMES)
        self._room: float | None = None
        self._frames = 0
        self._sounds = False
        self._rung = rung(policy, Measured())
        self._health = self._state_of_health()

    @property
    def full_duplex(self) -> bool:
        """Whether the service may hear the microphone while an answer plays."""
        return self._rung.full_duplex

    @property
    def near_speech_s(self) -> float:
        """Seconds of a person's speech within the last 0.6 s; none while it may be the speaker's after all."""
        return 0.0 if self._canceller.is_doubtful else self._evidence.near_speech_s

    @property
    def health(self) -> EchoHealth:
        """How it is done, why, and how well; looked at twice a second while something sounds."""
        return self._health

    def played(self, block: Samples) -> None:
        """Take 24 kHz sound that goes to the loudspeaker now, silence too; from any thread, never waits."""
        self._sounding.played(block)
        self._canceller.played(block)

    def slipped(self) -> None:
        """Note that the device lost or repeated sound: what is played is heard at another time; from any thread."""
        self._canceller.slipped()

    def clean(self, frame: Frame) -> Frame:
        """Return ``frame`` without the speaker's sound; the very frame while none plays."""
        slips = self._canceller.slips
        cleaned = self._canceller.clean(frame)
        if self._canceller.slips > slips:
            self._evidence.forget()
        if not self._sounding.at(frame.end):
            if self._sounds:
                self._rest()
            self._before.append(frame)
            return frame
        if not self._sounds:
            self._sounds = True
            self._measure_room()
        if self._policy != "half-duplex":
            self._listen(frame, cleaned)
        if self._canceller.active:
            self._measure(cleaned)
        return frame if self._policy == "device" else cleaned

    def _listen(self, frame: Frame, cleaned: Frame) -> None:
        reference = self._canceller.reference
        if reference is None and self._canceller.active and self._rung.by != "device":
            self._evidence.forget()  # what sounds may be the speaker
        elif reference is None:
            self._evidence.hear(frame, cleaned, None)
        else:
            played = np.clip(np.rint(reference * np.float32(32_768)), -32_768, 32_767).astype(np.int16)
            self._evidence.hear(frame, cleaned, played)
            if cleaned is frame or self._canceller.is_strange:  # the echo comes otherwise than it did
                self._evidence.forget()

    def _rest(self) -> None:
        """Nothing sounds any more."""
        self._sounds = False
        self._before.clear()
        self._evidence.forget()
        self._look()

    # --- what is measured ---------------------------------------------------------------------------------------------

    def _measure_room(self) -> None:
        """Learn from the sound before an answer how loud the quiet room is."""
        if len(self._before) >= _ROOM_LEAST:
            room = quantile((power(frame.samples) for frame in self._before), _QUIETEST)
            self._room = room if self._room is None else min(room, self._room * _ROOM_RISE)
        self._before.clear()

    def _measure(self, cleaned: Frame) -> None:
        self._left.append(power(cleaned.samples))
        self._frames += 1
        if self._frames % _LOOK == 1:
            self._look()

    def _look(self) -> None:
        evidence = self._evidence
        measured = Measured(
            heard_s=seconds(self._frames * FRAME, MICROPHONE_RATE),
            attenuation_db=self._canceller.attenuation_db,
            above_room_db=self._above_room_db(),
            is_found=self._canceller.delay_s is not None and not self._canceller.is_lost,
            is_settled=evidence.is_settled,
            is_missing=evidence.is_missing,
        )
        self._rung = rung(self._policy, measured, self._rung)
        self._health = self._state_of_health()

    def _above_room_db(self) -> float | None:
        if self._room is None or not self._left:
            return None
        loudest = quantile(self._left, _LOUDEST)
        return 10 * math.log10(max(loudest, _SILENCE) / max(self._room, _SILENCE))

    def _state_of_health(self) -> EchoHealth:
        return EchoHealth(
            mode="full-duplex" if self._rung.full_duplex else "half-duplex",
            by=self._rung.by,
            why=self._rung.why,
            attenuation_db=_rounded(self._canceller.attenuation_db),
            evidence_db=_rounded(self._evidence.attenuation_db),
        )


def _rounded(decibels: float | None) -> float | None:
    """Return whole decibels: a change by less is no news."""
    return None if decibels is None else float(round(decibels))
