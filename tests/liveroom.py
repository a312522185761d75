"""The virtual room in real time: what the virtual speaker plays is fed, through the room, to the virtual microphone.

A recorder of PulseAudio takes what the speaker's server plays, by the server's clock and without a gap. What the room
makes of it goes into a pipe that *is* the microphone: its server hands on what comes, when it comes. So nothing between
the two can run dry or pile up; counted in samples, the way from the speaker to the microphone is as long as it was at
first, and the microphone's clock is the room's, with its drift. What slips on a busy machine slips in the program under
test or between it and a server, as with real devices; :meth:`LiveRoom.pace` tells whether the room kept its promise.
"""

import os
import select
import subprocess
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from tests.room import BLOCK, Room
from tests.soundbed import SoundBed, eventually
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples

_FLOOR_BLOCKS = 100
"""Blocks (2 s) of which at least one is as early as can be."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How well the room kept time."""

    late_ms: float
    """How late it was at most: the machine had no time for it. Nothing is lost by that."""
    slipped_ms: float
    """Sound that it lost or heard twice, all in all: by so much the echo comes at another time than at first."""


class LiveRoom:
    """A context: as long as it lasts, the devices of a :class:`SoundBed` stand in one room.

    Enter it before the program under test opens the microphone, which is taken out for another one of the same name.

    Args:
        bed: With a speaker at 24 kHz.
        room: What lies between them; touched by a thread of its own from now on.

    """

    def __init__(self, bed: SoundBed, room: Room) -> None:
        assert bed.speaker_rate == SERVICE_RATE
        self._bed = bed
        self._room = room
        self._pipe = bed.directory / "microphone"
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._behind: list[float] = []
        self._floors: list[float] = []
        self._latest = 0.0
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="room")

    def __enter__(self) -> Self:
        raw = ("--raw", "--format=s16le", "--channels=1")
        listens = ("parec", "--device=speaker.monitor", *raw, f"--rate={SERVICE_RATE}", "--latency-msec=20")
        pipe = (f"file={self._pipe}", "format=s16le", f"rate={MICROPHONE_RATE}", "channels=1")
        self._bed.microphone.ask("pactl", "unload-module", "module-remap-source")
        self._bed.microphone.ask("pactl", "load-module", "module-pipe-source", "source_name=mic", *pipe)
        self._ear = subprocess.Popen(
            self._bed.speaker.command(*listens), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._thread.start()
        eventually(lambda: self._room.position > 0 or self.failed is not None, what="the first sound in the room")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ear.terminate()
        self._thread.join()
        self._ear.wait()
        if self._ear.stdout is not None:
            self._ear.stdout.close()
        if self.failed is not None and error is None:
            raise self.failed

    def say(self, sound: Samples, level_db: float, *, in_s: float = 0.1) -> None:
        """Have somebody say ``sound`` (16 kHz) in a moment, so loud at the microphone."""
        with self._turn:
            self._room.say(sound, self._room.position + round(in_s * MICROPHONE_RATE), level_db)

    def pace(self) -> Pace:
        """Tell how well it kept time so far."""
        floors = self._floors or [0.0]
        return Pace(round(1000 * (self._latest - floors[0]), 1), round(1000 * (floors[-1] - floors[0]), 1))

    def _live(self) -> None:
        assert self._ear.stdout is not None
        began, blocks = time.monotonic(), 0
        try:
            with os.fdopen(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as mouth:
                while not self._ended.is_set():
                    played = self._ear.stdout.read(2 * BLOCK)
                    if len(played) < 2 * BLOCK:
                        return
                    blocks += 1
                    self._note(time.monotonic() - began - blocks * BLOCK / SERVICE_RATE)
                    with self._turn:
                        heard = self._room.feed(np.frombuffer(played, "<i2"))
                    # As long as nobody listens the pipe is full. What comes is less than it takes at once.
                    while mouth.write(heard.astype("<i2").tobytes()) is None and not self._ended.is_set():
                        select.select((), (mouth,), (), 0.1)
        except BaseException as exc:  # noqa: BLE001 - raised again on leaving
            self.failed = exc

    def _note(self, behind_s: float) -> None:
        """Note how far the sound heard is behind the clock: a block in time is so by the same all the while."""
        self._latest = max(self._latest, behind_s)
        self._behind.append(behind_s)
        if len(self._behind) == _FLOOR_BLOCKS:
            self._floors.append(min(self._behind))
            self._behind.clear()
