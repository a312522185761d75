"""Where the speaker's sound goes: a sound card, or nowhere."""

import logging
import time
from typing import Protocol

import numpy as np

from voiced.core.frames import SERVICE_RATE, Samples, seconds
from voiced.core.resample import Resampler
from voiced.edge.soundcard import Soundcard
from voiced.edge.stream import Stream
from voiced.errors import DeviceError

logger = logging.getLogger(__name__)

BLOCK = SERVICE_RATE // 100
"""Samples moved at a time: 10 ms."""

LATENCY_S = 0.04
"""What PortAudio is asked for, from which it makes a buffer of 60 ms. What waits in it sounds on when an answer is cut,
and comes before an answer that begins; but with 0.03, and 40 ms, a machine with other work let it run dry."""

MOST_LATENCY_S, TOLERATED, HEALED = 0.16, 3, 10
"""A machine that was late more often while the device was open gets twice as much time, up to this much; and half of
it again once the device was open so often and never ran dry."""


class Output(Protocol):
    """Where the pump's sound goes: 24 kHz, in blocks. Used by one thread."""

    @property
    def underruns(self) -> int:
        """How often there was nothing to play although it was fed."""

    def look(self) -> None:
        """See whether it could be opened.

        Raises:
            DeviceError: If there is no such device.

        """

    def check(self) -> None:
        """See whether it is still there while it is not open; at next to no cost.

        Raises:
            DeviceError: If it is known to be gone.

        """

    def open(self) -> None:
        """Get ready.

        Raises:
            DeviceError: If the device cannot be had.

        """

    def wait(self) -> None:
        """Wait until a block can be written.

        Raises:
            DeviceError: If the device is lost.
            Interrupted: If it has to be closed and opened again.

        """

    @property
    def queued(self) -> int:
        """Samples written and not audible yet, as far as is known since :meth:`wait` or :meth:`write`."""

    def write(self, block: Samples) -> None:
        """Take a block of :data:`BLOCK` samples.

        Raises:
            DeviceError: If the device is lost.

        """

    def close(self) -> None:
        """Give the device back. Never raises."""


class CardOutput:
    """A sound card's speaker."""

    def __init__(self, card: Soundcard, device: str = "default", *, rate: int = SERVICE_RATE) -> None:
        self._card = card
        self._device = device
        self._asked_rate = rate
        self._stream: Stream | None = None
        self._underruns = 0
        self._latency_s = LATENCY_S
        self._well = 0

    @property
    def underruns(self) -> int:
        """How often the device had nothing to play although it was fed."""
        return self._underruns + (self._stream.faults if self._stream else 0)

    def look(self) -> None:
        """See whether there is such a device."""
        self._card.look("output", self._device)

    def check(self) -> None:
        """See whether the kernel still has its card."""
        self._card.check("output", self._device)

    def open(self) -> None:
        """Open the device at 24 kHz, or at its own rate."""
        self._stream = self._card.open("output", self._device, self._asked_rate, self._latency_s)
        self._resampler = Resampler(SERVICE_RATE, self._stream.rate)
        self._resampling = 0.0
        self._rest = np.zeros(0, np.int16)

    def wait(self) -> None:
        """Wait for room in the device, behind what it did not take at once."""
        stream = self._opened
        stream.wait()
        while len(self._rest):
            self._hand_over(stream)
            stream.wait()

    @property
    def queued(self) -> int:
        """Samples in the device, before it, and in the resampler."""
        if self._stream is None:
            return 0
        in_the_device = (self._stream.queued + len(self._rest)) * SERVICE_RATE / self._stream.rate
        return round(self._resampling + in_the_device)

    def write(self, block: Samples) -> None:
        """Hand over a block, or what the resampler makes of it: nothing, or more than fits."""
        stream = self._opened
        ready = self._resampler.feed(block)
        self._resampling += len(block) - len(ready) * SERVICE_RATE / stream.rate
        self._rest = np.concatenate((self._rest, ready))
        self._hand_over(stream)

    def _hand_over(self, stream: Stream) -> None:
        fits = min(len(self._rest), stream.available)
        stream.write(self._rest[:fits])
        self._rest = self._rest[fits:]

    def close(self) -> None:
        """Give the device back."""
        if self._stream:
            faults = self._stream.faults
            self._underruns += faults
            self._well = 0 if faults else self._well + 1
            if self._well >= HEALED and self._latency_s > LATENCY_S:
                self._well, self._latency_s = 0, max(self._latency_s / 2, LATENCY_S)
            if faults > TOLERATED and self._latency_s < MOST_LATENCY_S:
                self._latency_s = min(2 * self._latency_s, MOST_LATENCY_S)
                logger.info("the speaker ran dry %d times; from now on it holds %g s", faults, self._latency_s)
            self._stream.close()
            self._stream = None

    @property
    def _opened(self) -> Stream:
        if self._stream is None:
            raise DeviceError(f"speaker {self._device!r} is not open")
        return self._stream


class NullOutput:
    """Nowhere, but in real time: a block is heard when its time is over."""

    underruns = 0

    def look(self) -> None:
        """Do nothing: it is always there."""

    check = look

    def open(self) -> None:
        """Start the clock."""
        self._due = time.monotonic()

    def wait(self) -> None:
        """Wait until the blocks before have had their time; the clock never drifts."""
        time.sleep(max(0.0, self._due - time.monotonic()))

    @property
    def queued(self) -> int:
        """What has still to have its time."""
        return max(0, round((self._due - time.monotonic()) * SERVICE_RATE))

    def write(self, block: Samples) -> None:
        """Take a block."""
        self._due += seconds(len(block), SERVICE_RATE)

    def close(self) -> None:
        """Nothing is open."""
