"""A virtual room with echo control in it: somebody plays, somebody speaks, and what comes of it is written down."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tests.room import BLOCK, Acoustics, Room
from voiced.core.echo.control import EchoControl
from voiced.core.echo.evidence import Suppressor
from voiced.core.echo.ladder import Policy
from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples
from voiced.edge.aec3 import Aec3
from voiced.edge.vad import Vad

QUIET = np.zeros(BLOCK, np.int16)


@dataclass
class Moment:
    """What is true after a frame."""

    heard: Frame
    cleaned: Frame
    near_speech_s: float
    full_duplex: bool


@dataclass
class Scene:
    """One room, one daemon's ears in it."""

    room: Room = field(default_factory=lambda: Room(Acoustics()))
    policy: Policy = "auto"
    suppressor: Suppressor | None = None
    position: int = 0
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.control = EchoControl(self.policy, lambda: self.suppressor or Aec3(), Vad())
        self._waiting = np.zeros(0, np.int16)

    @property
    def now_s(self) -> float:
        """Seconds of microphone sound so far."""
        return self.position / MICROPHONE_RATE

    def play(self, blocks: Iterable[Samples | None]) -> list[Moment]:
        """Play; ``None`` is 20 ms in which the device is given back and nobody tells the control anything."""
        moments: list[Moment] = []
        for block in blocks:
            self._waiting = np.concatenate((self._waiting, self.room.feed(QUIET if block is None else block)))
            if block is not None:
                self.control.played(block)
            while len(self._waiting) >= FRAME:
                heard = Frame(self.position, self._waiting[:FRAME])
                self._waiting = self._waiting[FRAME:]
                self.position = heard.end
                cleaned = self.control.clean(heard)
                moments.append(Moment(heard, cleaned, self.control.near_speech_s, self.control.full_duplex))
        self.moments += moments
        return moments

    def rest(self, seconds: float, *, parked: bool = False) -> list[Moment]:
        """Play nothing; ``parked``: the device is given back."""
        return self.play([None if parked else QUIET] * round(seconds * 50))

    def say(self, sound: Samples, level_db: float, in_s: float = 0.0) -> None:
        """Have somebody speak."""
        self.room.say(sound, self.position + len(self._waiting) + round(in_s * MICROPHONE_RATE), level_db)


def level_db(moments: Iterable[Moment], *, cleaned: bool = False) -> float:
    """Return the level of what was heard, or of what was left of it, dB below full scale."""
    sound = np.concatenate([(each.cleaned if cleaned else each.heard).samples for each in moments]).astype(np.float64)
    return float(10 * np.log10(np.mean(np.square(sound)) / 32768.0**2 + 1e-12))
