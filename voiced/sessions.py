"""The sessions there are: the one going on, one that is to take its place, and those that are being left."""

import asyncio
import logging
import random
from collections.abc import Callable

from voiced.core.backoff import Backoff
from voiced.core.effects import Resend
from voiced.core.events import SessionLost, SessionReady
from voiced.core.realtime.events import ClientEvent, ServerEvent
from voiced.core.realtime.settings import SessionSettings
from voiced.core.uplink import Uplink
from voiced.line import Line
from voiced.ports import Resample, Service, Speech

logger = logging.getLogger(__name__)


class Sessions:
    """Opens, replaces and leaves them; all of it belongs to the task that decides.

    Args:
        service: Where they are opened.
        uplink: What the service is to hear.
        resampler: Makes converters from one rate to another.
        speech: Makes detectors of speech.
        post: Takes what happens, with the number of its session.

    """

    def __init__(
        self,
        *,
        service: Service,
        uplink: Uplink,
        resampler: Callable[[int, int], Resample],
        speech: Callable[[], Speech],
        post: Callable[[int, SessionReady | SessionLost | ServerEvent], None],
    ) -> None:
        self._speech = speech
        self._service = service
        self._uplink = uplink
        self._resampler = resampler
        self._post = post
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._successor: tuple[Line, asyncio.Task[None]] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._backoff = Backoff(random.random)

    def open(self, number: int, settings: SessionSettings, model: str) -> None:
        """Begin to connect; ``model``: another one than configured, if not empty."""
        self._uplink.restart()
        self._line, self._task = self._made(number, settings, model)

    def open_successor(self, number: int, settings: SessionSettings, model: str, *, tries: int) -> None:
        """Begin to connect beside the session going on; after ``tries`` that died, at once or some seconds later."""
        self._leave_successor()
        wait_s = Backoff(random.random, tries - 1).failed() if tries else 0.0
        self._successor = self._made(number, settings, model, wait_s)

    def take_over(self, resend: Resend) -> None:
        """Let the successor take the place of the session going on; see :class:`voiced.core.effects.TakeOver`."""
        if self._successor is None:
            return
        successor, self._successor = self._successor, None
        self.close()
        self._line, self._task = successor
        self._uplink.take_over(resend=resend != "text")
        if resend in {"held", "turn"}:
            self._line.hold(fresh=False)
        if resend == "turn":
            self._line.let_go(said=True)

    def _made(
        self, number: int, settings: SessionSettings, model: str, wait_s: float = 0.0
    ) -> tuple[Line, asyncio.Task[None]]:
        line = Line(
            number,
            uplink=self._uplink,
            resampler=self._resampler,
            post=self._post,
            backoff=self._backoff,
            turns=settings.turn_detection,
            speech=self._speech,
            wait_s=wait_s,
        )
        return line, asyncio.create_task(line.run(self._service, settings, model), name=f"session {number}")

    def begin(self) -> None:
        """Let the session that is ready hear; it has been told what was said before."""
        if self._line is not None:
            self._line.begin()

    def prepare(self, model: str, *, idle: bool) -> None:
        """Have the connection made, as somebody seems to say a wake word; not while a session goes on."""
        if idle and self._line is None:
            task = asyncio.create_task(self._service.prepare(model=model), name="prepare")
            self._leaving.add(task)
            task.add_done_callback(self._left)

    def send(self, event: ClientEvent) -> None:
        """Tell the service, if there is a session."""
        if self._line is not None:
            self._line.send(event)

    def hold(self, *, fresh: bool) -> None:
        """Make one turn of all sound from now on; see :meth:`Line.hold`."""
        if self._line is not None:
            self._line.hold(fresh=fresh)

    def let_go(self, *, said: bool) -> None:
        """End the turn that was held; see :meth:`Line.let_go`."""
        if self._line is not None:
            self._line.let_go(said=said)

    def sound_waits(self) -> None:
        """Say that the uplink has something."""
        if self._line is not None:
            self._line.sound_waits()

    def close(self) -> None:
        """Leave the session, and one that was to take its place, without waiting for that."""
        self._leave_successor()
        if self._line is not None and self._task is not None:
            self._line.leave_the_sound()
            task, self._task, self._line = self._task, None, None
            self._leave(task)

    def _leave_successor(self) -> None:
        if self._successor is not None:
            (_, task), self._successor = self._successor, None
            self._leave(task)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._leaving.add(task)
        task.add_done_callback(self._left)
        task.cancel()

    async def left(self, timeout_s: float) -> None:
        """Wait until all are left, but no longer than ``timeout_s``."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=timeout_s)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("%s ended in an error of ours", task.get_name(), exc_info=exc)
