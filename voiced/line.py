"""The line to the service: microphone out, events in; one for each session."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from itertools import count

from voiced.core.backoff import Backoff
from voiced.core.frames import MICROPHONE_RATE, Samples
from voiced.core.realtime.events import AppendAudio, ClientEvent, ServerEvent
from voiced.core.realtime.mending import Mender, answers_itself
from voiced.core.realtime.settings import SessionSettings
from voiced.core.states import SessionLost, SessionReady
from voiced.core.uplink import Uplink
from voiced.errors import RefusedError, ServiceError
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
        backoff: Says how long to wait before connecting once more.

    """

    def __init__(
        self,
        number: int,
        *,
        uplink: Uplink,
        resampler: Callable[[int, int], Resample],
        post: Callable[[int, SessionReady | SessionLost | ServerEvent], None],
        backoff: Backoff,
    ) -> None:
        self._backoff = backoff
        self._number = number
        self._uplink = uplink
        self._resampler = resampler
        self._post = post
        self._outgoing: deque[ClientEvent] = deque()
        self._more = asyncio.Event()
        self._look = asyncio.Event()
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
        mender = Mender(answers_itself(settings), service.limits)
        try:
            async with AsyncExitStack() as stack:
                session = await self._reached(stack, service, settings, model)
                self.model, late = session.model, session.late
                self._post(self._number, SessionReady(session.model))
                began = time.monotonic()
                try:
                    await self._converse(session, mender)
                finally:
                    self._backoff.lasted(time.monotonic() - began)
        except* ServiceError as lost:
            first = _first(lost)
            self._post(self._number, SessionLost(first.code, str(first)))
        finally:
            for event in late:  # nobody waits for it any more, but it is paid for
                self._post(self._number, event)

    async def _reached(self, stack: AsyncExitStack, service: Service, settings: SessionSettings, model: str) -> Session:
        """Open the session, at the second or third attempt if need be; what is said meanwhile is kept."""
        began = time.monotonic()
        for attempt in count(1):
            try:
                return await stack.enter_async_context(service.open(settings, model=model))
            except RefusedError:
                raise
            except ServiceError as exc:
                wait_s = max(self._backoff.failed(), exc.retry_after_s or 0.0)
                if time.monotonic() - began + wait_s > service.limits.connect_s:
                    raise
                logger.info("attempt %d: %s Again in %.1f s", attempt, exc, wait_s)
                await asyncio.sleep(wait_s)
        raise AssertionError

    async def _converse(self, session: Session, mender: Mender) -> None:
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._speak(session, mender), name="speak"),
                tasks.create_task(self._mend(mender), name="mend"),
            ]
            async for event in session.events():
                for told in mender.heard(event, time.monotonic()):
                    self._post(self._number, told)
                self._look.set()
            for task in others:
                task.cancel()

    async def _mend(self, mender: Mender) -> None:
        """Send what is to be sent later, and see to it that the service is not overdue."""
        while True:
            due = mender.due()
            self._look.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._look.wait()
            for event in mender.act(time.monotonic()):
                self.send(event)

    async def _speak(self, session: Session, mender: Mender) -> None:
        convert = self._converter(session.input_rate)
        while True:
            await self._more.wait()
            self._more.clear()
            await self._send_waiting(session, mender)
            while not self._deaf and self._uplink.waiting >= CHUNK:
                sound = self._uplink.take(min(CATCH_UP, self._uplink.waiting // CHUNK * CHUNK))
                converted = convert(sound)
                if len(converted):
                    await session.send(AppendAudio(converted.tobytes()))
                await self._send_waiting(session, mender)

    async def _send_waiting(self, session: Session, mender: Mender) -> None:
        while self._outgoing:
            event = self._outgoing.popleft()
            await session.send(mender.named(event))
            mender.sent(event, time.monotonic())
            self._look.set()

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
        self._backoff = Backoff(random.random)

    def open(self, number: int, settings: SessionSettings, model: str) -> None:
        """Begin to connect; ``model``: another one than configured, if not empty."""
        self._uplink.restart()
        line = Line(
            number,
            uplink=self._uplink,
            resampler=self._resampler,
            post=self._post,
            backoff=self._backoff,
        )
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
