"""Loudspeakers: one pump from the playout into a sound card or into nowhere, with a copy in a file if wanted.

:class:`Speaker` fits :class:`voiced.ports.Speaker`; where the sound goes is an :class:`voiced.edge.output.Output`.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from voiced.core.frames import SERVICE_RATE, Samples, milliseconds, seconds
from voiced.core.playout import Playout, PlayoutEvent
from voiced.edge.microphone import pauses
from voiced.edge.output import BLOCK, Output
from voiced.edge.soundfile import WavWriter
from voiced.edge.stream import Interrupted
from voiced.errors import DeviceError, SoundFileError

logger = logging.getLogger(__name__)

PARK_S = 5.0
"""Seconds of silence after which the device is given back: an idle daemon costs nothing and others can have it."""

LOOK_S = 1.0
"""Between two looks whether the card of a device that was given back is still there."""

PATIENCE_S = 2.0
"""How long sound is kept for a speaker that is lost; later it would only confuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """How loud it is, in percent."""

    volume: int = 100
    """At first; then as :meth:`Speaker.volume` says."""
    chimes: int = 100
    """Of the volume."""
    announcements: int = 100
    """Of the volume."""
    most: Callable[[], int] = lambda: 100
    """The loudest volume at this moment; asked whenever sound begins."""


class Speaker:
    """Plays what is queued, and says when it is heard. A context: on entering it its thread waits for sound."""

    def __init__(  # noqa: PLR0913 - what may be wanted is said by name
        self,
        output: Output,
        notify: Callable[[PlayoutEvent], None],
        *,
        loudness: Loudness | None = None,
        copy: WavWriter | None = None,
        copy_silence: bool = False,
        tap: Callable[[Samples], None] | None = None,
        slipped: Callable[[], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            output: Where the sound goes.
            notify: Called from the speaker's thread when an answer begins to sound and when all is heard; must not
                wait. ``Inbox.post`` fits.
            loudness: Of what; all in full by default.
            copy: A 24 kHz file that gets, at the volume it is played, all that sounds; whoever made it closes it.
            copy_silence: Whether it gets the silences as well, from entering the context on, so that places in the
                file are times. Otherwise pauses between sounds are left out.
            tap: Gets each block (24 kHz, at the volume it is played) just before the device does, from the speaker's
                thread; must not wait. No blocks come while the device is given back.
            slipped: Told by that thread when the device had nothing to play although it was fed, or was opened anew:
                what follows is heard later than the blocks say.

        """
        self._output = output
        self._notify = notify
        self._copy = copy
        self._copy_silence = copy_silence
        self._tap = tap
        self._slipped = slipped
        self._playout = Playout()
        self._loudness = loudness or Loudness()
        self._volume = self._loudness.volume
        self._filled = threading.Condition()
        self._latency_at = 0.0
        self._in_hand = 0  # samples taken from the playout and not yet given to the device
        self._problem: str | None = None
        self._lost_at = 0.0
        self._is_ended = False
        self._thread = threading.Thread(target=self._run, name="speaker", daemon=True)

    @property
    def problem(self) -> str | None:
        """What is wrong now, as a sentence; ``None`` while it can play, as far as is known."""
        return self._problem

    @property
    def busy(self) -> bool:
        """Whether anything queued is still to be heard, and :class:`voiced.core.playout.Drained` to come."""
        with self._filled:
            return self._playout.is_undrained

    @property
    def underruns(self) -> int:
        """How often the device had nothing to play although it was fed."""
        return self._output.underruns

    @property
    def dropped(self) -> int:
        """Samples refused because ten minutes were waiting."""
        return self._playout.dropped

    def play(
        self, item_id: str, content_index: int, pcm: bytes, *, announced: bool = False, percent: int | None = None
    ) -> None:
        """Queue sound of an answer."""
        if percent is None:
            percent = self._loudness.announcements if announced else 100
        with self._filled:
            self._begin()
            self._playout.write(item_id, content_index, np.frombuffer(pcm, "<i2"), percent=percent)
            self._filled.notify()

    def chime(self, sound: Samples) -> None:
        """Mix a short sound in, at once, over whatever plays."""
        with self._filled:
            self._begin()
            self._playout.chime(sound, percent=self._loudness.chimes)
            self._filled.notify()

    def cut(self) -> dict[tuple[str, int], int]:
        """Fade out now and forget what is queued; see :meth:`voiced.core.playout.Playout.cut`."""
        with self._filled:
            counts = self._playout.cut()
        return {part: milliseconds(count, SERVICE_RATE) for part, count in counts.items()}

    def pause(self) -> None:
        """Fade out and keep what is queued."""
        with self._filled:
            self._playout.pause()

    def resume(self) -> None:
        """Fade in and go on."""
        with self._filled:
            self._playout.resume()
            self._filled.notify()

    def volume(self, percent: int) -> None:
        """Set the loudness of everything, 0 to 100; the hour may allow less."""
        with self._filled:
            self._volume = percent
            self._playout.volume(min(percent, self._loudness.most()))

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once; what is queued is not heard any more."""
        with self._filled:
            self._is_ended = True
            self._filled.notify()
        # Longer than any limit of the sound card, which gives the process up by then.
        await asyncio.to_thread(self._thread.join, 8.0)

    def _run(self) -> None:
        waits = pauses()
        try:
            self._output.look()  # a wrong name is told at once, not when first something is to be said
        except DeviceError as exc:
            self._lose(exc)
        while self._wait_for_sound(waits):
            try:
                self._output.open()
                if self._slipped:
                    self._slipped()
                self._pump()
            except Interrupted:
                logger.debug("the speaker is closed for a moment: the device list is read anew")
            except DeviceError as exc:
                waits = waits if self._problem else pauses()
                self._lose(exc)
            finally:
                self._close()

    def _wait_for_sound(self, waits: Iterator[float]) -> bool:
        """Return when there is something to play, or a lost device to try again; ``False`` at the end."""
        if self._problem is None:
            return self._wait_at_rest()
        again = time.monotonic() + next(waits)
        while not self._is_ended and (left := again - time.monotonic()) > 0:
            with self._filled:
                self._filled.wait(min(left, 0.25))
            if time.monotonic() - self._lost_at > PATIENCE_S:
                self._abandon()
        return not self._is_ended

    def _wait_at_rest(self) -> bool:
        while True:
            with self._filled:
                if self._filled.wait_for(lambda: self._is_ended or not self._playout.is_idle, LOOK_S):
                    return not self._is_ended
            try:
                self._output.check()
            except DeviceError as exc:
                self._lose(exc)
                return True

    def _pump(self) -> None:
        """Play until all has been silent for :data:`PARK_S`."""
        silent_since = time.monotonic()
        sounded = False
        while not self._is_ended:
            self._output.wait()
            with self._filled:
                sounds = not self._playout.is_idle
                block = self._playout.read(BLOCK)
                self._in_hand = BLOCK
                self._set_latency(self._playout.latency + BLOCK)
            if self._tap:
                self._tap(block)
            dry = self._output.underruns
            self._output.write(block)
            if self._slipped and self._output.underruns > dry:
                self._slipped()
            now = time.monotonic()
            with self._filled:
                self._in_hand = 0
                self._set_latency(self._output.queued)
                events = self._playout.events()
                if sounds or not self._playout.is_quiet:
                    silent_since = now
            self._tell(events)
            if sounds:
                self._write_copy(block, begins=not sounded)
            sounded = sounds
            if self._problem:
                logger.info("the speaker is back")
                self._problem = None
            if now - silent_since > PARK_S:
                return

    def _close(self) -> None:
        """Give the device back; what it held is not heard any more, and goes to the next one."""
        lost = self._output.queued + self._in_hand
        self._output.close()
        with self._filled:
            self._in_hand = 0
            self._set_latency(min(lost, self._playout.latency))
            self._playout.rewind()

    def _lose(self, exc: DeviceError) -> None:
        known, self._problem = self._problem, str(exc)
        if known is None:
            self._lost_at = time.monotonic()
        logger.log(logging.DEBUG if known == self._problem else logging.WARNING, "no speaker: %s", exc)

    def _abandon(self) -> None:
        with self._filled:
            self._pass_time()
            if self._playout.is_idle:
                return
            lost = self._playout.abandon()
            events = self._playout.events()
        logger.warning("%.1f s of an answer were dropped: there is no speaker", seconds(lost, SERVICE_RATE))
        self._tell(events)

    def _tell(self, events: list[PlayoutEvent]) -> None:
        for event in events:
            self._notify(event)

    def _begin(self) -> None:
        if self._playout.is_idle:
            self._playout.volume(min(self._volume, self._loudness.most()))

    def _set_latency(self, samples: int) -> None:
        self._playout.latency = samples
        self._latency_at = time.monotonic()

    def _pass_time(self) -> None:
        """Take off the latency what became audible since it was last set."""
        passed = round((time.monotonic() - self._latency_at) * SERVICE_RATE)
        self._set_latency(max(0, self._playout.latency - passed))

    def _write_copy(self, block: Samples, *, begins: bool) -> None:
        if self._copy is None:
            return
        try:
            if self._copy_silence and begins:  # within a sound a late pump is no silence
                due = round((time.monotonic() - self._began) * SERVICE_RATE) - BLOCK - self._copy.samples
                if due > 0:
                    self._copy.write(np.zeros(due, np.int16))
            self._copy.write(block)
        except SoundFileError as exc:
            self._copy = None
            logger.error("the copy of what is played ends here: %s", exc)
