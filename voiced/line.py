"""The line to the service: microphone out, events in; one for each session."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from voiced.core.frames import MICROPHONE_RATE, Samples
from voiced.core.realtime.events import AppendAudio, ClientEvent, ServerEvent
from voiced.core.realtime.settings import SessionSettings
from voiced.core.states import SessionLost, SessionReady
from voiced.core.uplink import Uplink
from voiced.errors import ServiceError
from voiced.ports import Resample, Service, Session

logger = logging.getLogger(__name__)

CHUNK = MICROPHONE_RATE * 40 // 1000
"""Least samples sent at once: 40 ms; smaller ones cost more than they save."""

CATCH_UP = MICROPHONE_RATE * 200 // 1000
"""Most samples sent at once while there is more: faster than real time, yet other events come in between."""


class Line:
    """One session, from its number to its end.

    Args:
        number: The conversation's number for it; goes with everything posted.
        uplink: What the service is to hear.
        resampler: Makes a new converter from one rate to another.
        post: Takes what happens, with ``number``.

    """

    def __init__(
        self,
        number: int,
        *,
        uplink: Uplink,
        resampler: Callable[[int, int], Resample],
        post: Callable[[int, SessionReady | SessionLost | ServerEvent], None],
    ) -> None:
        self._number = number
        self._uplink = uplink
        self._resampler = resampler
        self._post = post
        self._outgoing: deque[ClientEvent] = deque()
        self._more = asyncio.Event()
        self._deaf = False
        self.model: str | None = None

    def send(self, event: ClientEvent) -> None:
        """Queue an event; it goes before sound that still waits."""
        self._outgoing.append(event)
        self._more.set()

    def sound_waits(self) -> None:
        """Say that the uplink has something."""
        self._more.set()

    def leave_the_sound(self) -> None:
        """Take nothing more of the uplink: from now on it may hold what the next session is to hear."""
        self._deaf = True

    async def run(self, service: Service, settings: SessionSettings, model: str = "") -> None:
        """Open the session and keep it until cancelled, or until it is lost; then say so."""
        late: list[ServerEvent] = []
        try:
            async with service.open(settings, model=model) as session:
                self.model, late = session.model, session.late
                self._post(self._number, SessionReady(session.model))
                async with asyncio.TaskGroup() as tasks:
                    speaking = tasks.create_task(self._speak(session), name="speak")
                    async for event in session.events():
                        self._post(self._number, event)
                    speaking.cancel()
        except* ServiceError as lost:
            first = _first(lost)
            self._post(self._number, SessionLost(first.code, str(first)))
        finally:
            for event in late:  # nobody waits for it any more, but it is paid for
                self._post(self._number, event)

    async def _speak(self, session: Session) -> None:
        convert = self._converter(session.input_rate)
        while True:
            await self._more.wait()
            self._more.clear()
            while self._outgoing:
                await session.send(self._outgoing.popleft())
            while not self._deaf and self._uplink.waiting >= CHUNK:
                sound = self._uplink.take(min(CATCH_UP, self._uplink.waiting // CHUNK * CHUNK))
                converted = convert(sound)
                if len(converted):
                    await session.send(AppendAudio(converted.tobytes()))
                while self._outgoing:
                    await session.send(self._outgoing.popleft())

    def _converter(self, rate: int) -> Callable[[Samples], Samples]:
        """Return what turns the microphone's sound into the session's."""
        if rate == MICROPHONE_RATE:
            return lambda sound: sound
        return self._resampler(MICROPHONE_RATE, rate).feed


class Sessions:
    """The session going on, and those that are being left.

    Args:
        service: Where they are opened.
        uplink: What the service is to hear.
        resampler: Makes converters from one rate to another.
        post: Takes what happens, with the number of its session.

    """

    def __init__(
        self,
        *,
        service: Service,
        uplink: Uplink,
        resampler: Callable[[int, int], Resample],
        post: Callable[[int, SessionReady | SessionLost | ServerEvent], None],
    ) -> None:
        self._service = service
        self._uplink = uplink
        self._resampler = resampler
        self._post = post
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def open(self, number: int, settings: SessionSettings, model: str) -> None:
        """Begin to connect; ``model``: another one than configured, if not empty."""
        self._uplink.restart()
        line = Line(number, uplink=self._uplink, resampler=self._resampler, post=self._post)
        self._line = line
        self._task = asyncio.create_task(line.run(self._service, settings, model), name=f"session {number}")

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

    def sound_waits(self) -> None:
        """Say that the uplink has something."""
        if self._line is not None:
            self._line.sound_waits()

    def close(self) -> None:
        """Leave the session, without waiting for that."""
        if self._line is not None and self._task is not None:
            self._line.leave_the_sound()
            task, self._task, self._line = self._task, None, None
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
            logger.error("the session ended in an error of ours", exc_info=exc)


def _first(group: BaseExceptionGroup[ServiceError]) -> ServiceError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
