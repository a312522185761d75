"""Microphones: a sound card's, and a recording that stands in for one. Both fit :class:`voiced.ports.Microphone`."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame, Samples
from voiced.core.resample import Resampler
from voiced.edge.bridge import Inbox
from voiced.edge.soundcard import Soundcard
from voiced.edge.soundfile import read_wav
from voiced.edge.stream import Interrupted, Stream
from voiced.errors import DeviceError

logger = logging.getLogger(__name__)

KEPT = 250
"""Frames that wait for the event loop (5 s) before the oldest are dropped."""

LATENCY_S = 0.12
"""What PortAudio is asked for, from which it makes the length of the device's buffer: 160 ms, so that four blocks can
be taken at a time and the thread may be 80 ms late. A sound server then sends 40 ms at a time instead of 20."""

FRAMES_PER_STEP = STEP // FRAME

CALM_STEPS = 3
"""Steps given at a time while nobody speaks. From a word's first voiced frame to its decision it took 460 ms at least
(288 words of ``python -m tests.bench wakes``, real and synthetic)."""


def pauses() -> Iterator[float]:
    """Yield seconds between attempts to open a lost device.

    A device that comes back is so heard within two seconds; see :meth:`voiced.edge.soundcard.Soundcard.open` for what
    an attempt is.
    """
    return chain((0.25, 0.5, 1.0), repeat(1.5))


def _to_step(position: int) -> int:
    """Return the number of frames, 1 to 4, until the next whole number of steps."""
    return FRAMES_PER_STEP - position // FRAME % FRAMES_PER_STEP


class FrameCutter:
    """Cuts sound of any rate into numbered frames at 16 kHz; numbers go on over :meth:`begin` and :meth:`skip`."""

    def __init__(self) -> None:
        self._position = self._origin = 0
        self.begin(MICROPHONE_RATE)

    def begin(self, rate: int) -> None:
        """Expect a new piece of sound, at ``rate``; what was not yet a frame is forgotten."""
        self._rate = rate
        self._resampler = Resampler(rate, MICROPHONE_RATE)
        self._rest: Samples = np.zeros(0, np.int16)

    def feed(self, samples: Samples) -> list[Frame]:
        """Take the next samples; return the frames they complete."""
        ready = self._resampler.feed(samples)
        if len(self._rest):
            ready = np.concatenate((self._rest, ready))
        whole = len(ready) - len(ready) % FRAME
        self._rest = ready[whole:]
        frames = [Frame(self._position + start, ready[start : start + FRAME]) for start in range(0, whole, FRAME)]
        self._position += whole
        return frames

    @property
    def to_step(self) -> int:
        """Frames until a step is whole, 1 to 4: steps begin with the sound, and behind each gap."""
        return _to_step(self._position - self._origin)

    def skip(self, seconds: float) -> None:
        """Jump over sound that was lost: a whole number of frames, at least one; then begin anew."""
        self._position += FRAME * max(1, round(seconds * MICROPHONE_RATE / FRAME))
        self._origin = self._position
        self.begin(self._rate)


class SoundcardMicrophone:
    """The microphone of a sound card: one stream, opened once, reopened when it is lost.

    A context: on entering it a thread begins to listen, whether the device is there or not.
    """

    def __init__(self, card: Soundcard, device: str = "default", *, rate: int = MICROPHONE_RATE) -> None:
        """Prepare.

        Args:
            card: PortAudio.
            device: As configured: ``default``, a stable name or a part of one.
            rate: What the device is asked for; frames are at 16 kHz in any case.

        """
        self._card = card
        self._device = device
        self._asked_rate = rate
        self._faults = 0
        self._problem: str | None = f"microphone {device!r} is not open yet"
        self._cutter = FrameCutter()
        self._prompt = self._calm = False
        self._last_sound: float | None = None
        self._silent_since: float | None = None
        self._wanted = threading.Event()
        self._wanted.set()
        self._has_rested = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="microphone", daemon=True)

    @property
    def overruns(self) -> int:
        """How often sound was lost: by the device, with it, or because nobody took the frames."""
        return self._faults + (self._inbox.dropped if self._thread.ident else 0)

    @property
    def problem(self) -> str | None:
        """What is wrong now, as a sentence; ``None`` while frames arrive."""
        return self._problem

    @property
    def silent_s(self) -> float:
        """For how long there have been nothing but zeros."""
        since = self._silent_since
        return 0.0 if since is None or self._problem else time.monotonic() - since

    def frames(self) -> AsyncIterator[Frame]:
        """Yield 20 ms frames until the context is left; for one taker. Lost sound shows as a jump of ``start``."""
        return self._inbox

    def pace(self, *, prompt: bool) -> None:
        """Give each frame as soon as it is there, or wait for whole steps."""
        self._prompt = prompt

    def calm(self, *, calm: bool) -> None:
        """Give some steps at a time."""
        self._calm = calm

    def mute(self, *, muted: bool) -> None:
        """Give the device back, so that nobody here can hear; or open it again."""
        if muted:
            self._wanted.clear()
        else:
            self._wanted.set()

    async def __aenter__(self) -> Self:
        self._inbox: Inbox[Frame] = Inbox(KEPT)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # Longer than any limit of the sound card, which gives the process up by then.
        await asyncio.to_thread(self._thread.join, 8.0)
        self._inbox.close()

    def _run(self) -> None:
        waits = pauses()
        while not self._ended.is_set():
            if not self._wanted.is_set():
                self._problem, self._has_rested, waits = None, True, pauses()
                self._silent_since = None
                self._wanted.wait(0.25)
                continue
            try:
                stream = self._card.open("input", self._device, self._asked_rate, LATENCY_S)
            except DeviceError as exc:
                self._lose(exc)
                self._ended.wait(next(waits))
                continue
            try:
                self._listen(stream)
            except Interrupted:
                logger.debug("the microphone is closed for a moment: the device list is read anew")
            except DeviceError as exc:
                self._lose(exc)
                waits = pauses()
            finally:
                stream.close()

    def _listen(self, stream: Stream) -> None:
        frames: list[Frame] = []
        try:
            for cut in self._cuts(stream):
                frames += cut
                if self._prompt or not self._calm or len(frames) >= CALM_STEPS * FRAMES_PER_STEP:
                    self._inbox.post(*frames)
                    frames.clear()
        finally:
            self._inbox.post(*frames)

    def _cuts(self, stream: Stream) -> Iterator[list[Frame]]:
        """Yield what was read, as frames, until nobody wants more."""
        self._cutter.begin(stream.rate)
        self._silent_since = None
        has_gap = self._last_sound is not None  # since the stream before this one
        faults = 0
        while self._wanted.is_set() and not self._ended.is_set():
            sound = stream.read(1 if self._prompt else self._cutter.to_step)
            now = time.monotonic()
            if sound.any():
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = now
            if self._problem:
                logger.info("microphone %r is open at %d Hz", self._device, stream.rate)
                self._problem = None
            if self._last_sound is not None and (has_gap or stream.faults > faults):
                self._faults += not self._has_rested  # what nobody wanted is not lost
                self._cutter.skip(now - self._last_sound - (len(sound) + stream.available) / stream.rate)
            has_gap, self._has_rested, faults, self._last_sound = False, False, stream.faults, now
            yield self._cutter.feed(sound)

    def _lose(self, exc: DeviceError) -> None:
        known, self._problem = self._problem, str(exc)
        logger.log(logging.DEBUG if known == self._problem else logging.WARNING, "no microphone: %s", exc)


class FileMicrophone:
    """A recording as microphone, in real time: frames come when they would have been spoken.

    They keep to the clock: a taker that is late gets the missed frames at once, so that nothing drifts or is lost.
    """

    overruns = 0
    silent_s = 0.0
    problem: str | None = None

    def __init__(self, path: Path | None, *, end: Literal["stop", "silence"] = "stop") -> None:
        """Read the recording.

        Args:
            path: A WAV file, see :func:`voiced.edge.soundfile.read_wav`; ``None`` for no sound at all.
            end: What comes after it: nothing (the iteration ends; the last frame is filled up with silence), or
                silence for ever.

        Raises:
            SoundFileError: If it cannot be read.

        """
        self._sound = read_wav(path) if path else np.zeros(0, np.int16)
        self._end = end
        self._prompt = False

    def pace(self, *, prompt: bool) -> None:
        """Give each frame as soon as it is spoken, or wait for whole steps."""
        self._prompt = prompt

    def calm(self, *, calm: bool) -> None:
        """Do nothing: there is no device to be looked at."""

    def mute(self, *, muted: bool) -> None:
        """Do nothing: there is no device, and time goes on."""

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the recording's frames in real time, counted from the first call for one; for one taker."""
        clock = asyncio.get_running_loop().time
        began = clock()
        position = 0
        ready = 0
        while position < len(self._sound) or self._end == "silence":
            if position == ready:
                ready += FRAME * (1 if self._prompt else _to_step(position))
                await asyncio.sleep(max(0.0, began + ready / MICROPHONE_RATE - clock()))
            samples = self._sound[position : position + FRAME]
            if len(samples) < FRAME:
                samples = np.concatenate((samples, np.zeros(FRAME - len(samples), np.int16)))
            yield Frame(position, samples)
            position += FRAME

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""
