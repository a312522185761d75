"""The virtual room in real time: what the virtual speaker plays is fed, through the room, to the virtual microphone.

Between them lie a recorder and a player of PulseAudio with their own buffers, so the delay is the room's and some
150 ms more, and differs from one run to the next, as with real devices.
"""

import subprocess
import threading
from types import TracebackType
from typing import Self

import numpy as np

from tests.room import BLOCK, Room
from tests.soundbed import SoundBed, eventually
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples


class LiveRoom:
    """A context: as long as it lasts, the devices of a :class:`SoundBed` stand in one room.

    Args:
        bed: With a speaker at 24 kHz.
        room: What lies between them; touched by a thread of its own from now on.

    """

    def __init__(self, bed: SoundBed, room: Room) -> None:
        assert bed.speaker_rate == SERVICE_RATE
        self._bed = bed
        self._room = room
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="room")

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        raw = ("--raw", "--format=s16le", "--channels=1")
        listens = ("parec", "--device=speaker.monitor", *raw, f"--rate={SERVICE_RATE}", "--latency-msec=20")
        speaks = ("pacat", "--device=micfeed", *raw, f"--rate={MICROPHONE_RATE}", "--latency-msec=120")
        self._ear = subprocess.Popen(self._bed.speaker.command(*listens), stdin=subprocess.DEVNULL, stdout=pipe)
        self._mouth = subprocess.Popen(self._bed.microphone.command(*speaks), stdin=pipe)
        self._thread.start()
        eventually(lambda: self._room.position > 0 or self.failed is not None, what="the first sound in the room")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ear.terminate()
        self._thread.join()
        for program in (self._ear, self._mouth):
            program.terminate()
            program.wait()
        for pipe in (self._ear.stdout, self._mouth.stdin):
            if pipe is not None:
                pipe.close()
        if self.failed is not None and error is None:
            raise self.failed

    def say(self, sound: Samples, level_db: float, *, in_s: float = 0.1) -> None:
        """Have somebody say ``sound`` (16 kHz) in a moment, so loud at the microphone."""
        with self._turn:
            self._room.say(sound, self._room.position + round(in_s * MICROPHONE_RATE), level_db)

    def _live(self) -> None:
        assert self._ear.stdout is not None
        assert self._mouth.stdin is not None
        try:
            while not self._ended.is_set():
                played = self._ear.stdout.read(2 * BLOCK)
                if len(played) < 2 * BLOCK:
                    return
                with self._turn:
                    heard = self._room.feed(np.frombuffer(played, "<i2"))
                self._mouth.stdin.write(heard.astype("<i2").tobytes())
                self._mouth.stdin.flush()
        except BaseException as exc:  # noqa: BLE001 - raised again on leaving
            self.failed = exc
