"""One open stream of PortAudio's, polled.

A thread asks how much can be read or written, takes it, and sleeps. It so never waits inside PortAudio, where a device
that is pulled out keeps a waiting thread for ever; nobody but that thread touches its stream, because closing one under
another thread's feet corrupts memory (seen). And without callbacks no memory has to be writable and executable at once,
which systemd's MemoryDenyWriteExecute= forbids.
"""

import time
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from voiced.core.devices import Kind, mono
from voiced.core.frames import Samples
from voiced.core.rhythm import Rhythm
from voiced.errors import DeviceError

STALL_S = 1.0
"""A stream that moved nothing for so long is lost."""

CALL_LIMIT_S = 1.0
"""How long PortAudio may take for anything but opening a stream."""

BLOCKS: dict[Kind, int] = {"input": 50, "output": 100}
"""Blocks a second: 20 ms are read at a time, but 10 written, so that little waits in the device and it still never runs
dry."""

_POLL_S = 0.005


class Interrupted(Exception):  # noqa: N818 - nothing is wrong: the stream must be opened again
    """The device list is being read anew, for which every stream has to be closed."""


class Card(Protocol):
    """What a stream asks of the sound card that it belongs to; :class:`voiced.edge.soundcard.Soundcard`."""

    @property
    def is_rescanning(self) -> bool:
        """Whether all streams must be closed now."""

    def limit(self, seconds: float, doing: str) -> AbstractContextManager[None]:
        """Have PortAudio alone in this block; give up if its calls take longer; turn its errors into ours."""

    def release(self, stream: Any, name: str) -> None:
        """Close a stream."""


class Stream:
    """An open stream of 16-bit sound; only one thread may use it.

    Attributes:
        rate: Samples per second it runs at, which may not be what was asked for.
        faults: How often PortAudio lost sound (input) or had none to play (output).

    """

    def __init__(self, card: Card, stream: Any, kind: Kind, name: str) -> None:
        self.rate = int(stream.samplerate)
        self.faults = 0
        self._card = card
        self._stream = stream
        self._kind = kind
        self._name = name
        self._channels = int(stream.channels)
        self._block = self.rate // BLOCKS[kind]
        with card.limit(CALL_LIMIT_S, f"starting {name}"):
            stream.start()
            self._room = 0 if kind == "input" else int(stream.write_available)
        self._available = 0
        self._rhythm = Rhythm(_POLL_S)
        self._is_fed = False
        self._looked = time.monotonic()

    @property
    def available(self) -> int:
        """Samples that could be read besides, or were free to write, when the last block passed."""
        return self._available

    @property
    def queued(self) -> int:
        """Samples written that the device has not taken yet, when the last block was written."""
        return max(0, self._room - self._available)

    def read(self, blocks: int = 1) -> Samples:
        """Wait for the next 20 ms, or so many times as much, and return them, mono.

        Raises:
            DeviceError: If they do not come within :data:`STALL_S`.
            Interrupted: If the stream has to be closed and opened again.

        """
        self.wait(blocks)
        length = blocks * self._block
        with self._card.limit(CALL_LIMIT_S, f"reading from {self._name}"):
            pcm, overflowed = self._stream.read(length)
        self.faults += bool(overflowed)
        self._available -= length
        return mono(np.frombuffer(pcm, np.int16), self._channels)

    def write(self, samples: Samples) -> None:
        """Give mono sound to the device, which must have room for it: see :meth:`wait`.

        Raises:
            DeviceError: If the device is gone.

        """
        if not len(samples):
            return
        spread = np.repeat(samples, self._channels) if self._channels > 1 else samples
        # ALSA's plug-in for PulseAudio tells nobody that it ran dry.
        since_s = time.monotonic() - self._looked
        ran_dry = self._is_fed and self.queued <= since_s * self.rate
        with self._card.limit(CALL_LIMIT_S, f"writing to {self._name}"):
            underflowed = bool(self._stream.write(spread.tobytes()))
        self.faults += underflowed or ran_dry
        self._is_fed = True
        self._available -= len(samples)

    def wait(self, blocks: int = 1) -> None:
        """Wait until a block can be read (20 ms) or written (10 ms), or so many.

        Raises:
            DeviceError: If that takes longer than :data:`STALL_S`.
            Interrupted: If the stream has to be closed and opened again.

        """
        now = time.monotonic()
        end = now + STALL_S
        length = blocks * self._block
        if self._kind == "input" and self._available < length:  # as it was when the last block was read, just now
            time.sleep(self._until_first_look(now, length, blocks))
        while True:
            if self._card.is_rescanning:
                raise Interrupted
            with self._card.limit(CALL_LIMIT_S, f"waiting for {self._name}"):
                stream = self._stream
                self._available = int(stream.read_available if self._kind == "input" else stream.write_available)
                self._looked = time.monotonic()
            if self._available >= length:
                return
            if self._looked > end:
                raise DeviceError(f"{self._name} stands still: no sound passed for {STALL_S:g} s")
            missing_s = (length - self._available) / self.rate
            time.sleep(self._rhythm.again(self._looked, missing_s) if blocks > 1 else max(_POLL_S, missing_s))

    def _until_first_look(self, now: float, length: int, blocks: int) -> float:
        missing_s = (length - self._available) / self.rate
        if blocks > 1:  # who takes more at a time is in no hurry: better a little late than to look twice
            return self._rhythm.first(now, length / self.rate, missing_s)
        return max(_POLL_S, missing_s)

    def close(self) -> None:
        """Drop what is in the device and give it back. Never raises."""
        self._card.release(self._stream, self._name)
