"""The line to the service: microphone out, events in; one for each session. :mod:`voiced.sessions` has them."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import TypeVar

import numpy as np

from voiced.core.backoff import Backoff
from voiced.core.events import SessionLost, SessionReady
from voiced.core.frames import FRAME, MICROPHONE_RATE, Samples
from voiced.core.realtime.events import (
    AppendAudio,
    ClearAudio,
    ClientEvent,
    CommitAudio,
    CreateResponse,
    ServerEvent,
    SpeechStarted,
    SpeechStopped,
    UpdateTurns,
)
from voiced.core.realtime.mending import Mender, answers_itself
from voiced.core.realtime.settings import LocalVad, SessionSettings, TurnDetection
from voiced.core.turntaking import Deed, TurnTaker
from voiced.core.uplink import Uplink
from voiced.errors import RefusedError, ServiceError
from voiced.ports import Resample, Service, Session, Speech

logger = logging.getLogger(__name__)

CHUNK = FRAME
"""Least samples sent at once: 20 ms. Twice as many would save a hundredth of a slow core, and cost an answer 20 ms."""

CATCH_UP = MICROPHONE_RATE * 200 // 1000
"""Most samples sent at once while there is more: faster than real time, yet other events come in between."""

LEAST_TURN = MICROPHONE_RATE * 150 // 1000
"""Samples of a turn that is committed by hand; the service refuses less than 100 ms."""


class Line:
    """One session, from its number to its end.

    Args:
        number: The conversation's number for it; goes with everything posted.
        uplink: What the service is to hear.
        resampler: Makes a new converter from one rate to another.
        post: Takes what happens, with ``number``.
        backoff: Says how long to wait before connecting once more.
        turns: Who ends a turn.
        speech: Makes what tells whether a frame may hold speech, for sessions whose turns end here.
        wait_s: How long to wait before connecting.

    """

    def __init__(  # noqa: PLR0913 - all by name, and each a part
        self,
        number: int,
        *,
        uplink: Uplink,
        resampler: Callable[[int, int], Resample],
        post: Callable[[int, SessionReady | SessionLost | ServerEvent], None],
        backoff: Backoff,
        turns: TurnDetection | None,
        speech: Callable[[], Speech],
        wait_s: float = 0.0,
    ) -> None:
        self._wait_s = wait_s
        self._backoff = backoff
        self._number = number
        self._uplink = uplink
        self._resampler = resampler
        self._post = post
        self._outgoing: deque[ClientEvent] = deque()
        self._more = asyncio.Event()
        self._look = asyncio.Event()
        self._deaf = False
        self._begun = asyncio.Event()
        self._turns = turns
        self._taker = TurnTaker(turns, speech()) if isinstance(turns, LocalVad) else None
        self._held: int | None = None
        self._is_let_go = False
        self.model: str | None = None

    def send(self, event: ClientEvent) -> None:
        """Queue an event; it goes before sound that still waits."""
        self._outgoing.append(event)
        self._more.set()

    def begin(self) -> None:
        """Send, from now on, what is queued, and sound; before that a session that is ready only stands by."""
        self._begun.set()
        self._more.set()

    def sound_waits(self) -> None:
        """Say that the uplink has something."""
        self._more.set()

    def hold(self, *, fresh: bool) -> None:
        """From now on all sound is one turn, whoever else ends turns; ``fresh``: it does not begin before."""
        self._held, self._is_let_go = 0, False  # one that was let go just now is interrupted
        if self._taker is not None:
            self._taker.hold()
        elif self._turns is not None:
            self.send(UpdateTurns(None))
        if fresh:
            self.send(ClearAudio())

    def let_go(self, *, said: bool) -> None:
        """The turn that was held is over: to be answered once all sound of it is sent, or to be forgotten."""
        if said:
            self._is_let_go = True
            self._more.set()
        elif self._held is not None:
            self.send(ClearAudio())
            self._is_over(committed=False)

    def leave_the_sound(self) -> None:
        """Take nothing more of the uplink: from now on it may hold what the next session is to hear."""
        self._deaf = True

    async def run(self, service: Service, settings: SessionSettings, model: str = "") -> None:
        """Open the session and keep it until cancelled, or until it is lost; then say so."""
        late: list[ServerEvent] = []
        mender = Mender(answers_itself(settings), service.limits)
        is_open = False
        try:
            await asyncio.sleep(self._wait_s)
            async with AsyncExitStack() as stack:
                session = await self._reached(stack, service, settings, model)
                self.model, late = session.model, session.late
                is_open = True
                lasts_s = None if session.expires_at is None else session.expires_at - time.time()
                self._post(self._number, SessionReady(session.model, lasts_s))
                began = time.monotonic()
                try:
                    await self._converse(session, mender)
                finally:
                    self._backoff.lasted(time.monotonic() - began)
        except* ServiceError as lost:
            first = _first(lost)
            # One that could not be opened was tried again as often as that helps.
            refused = isinstance(first, RefusedError)
            self._post(self._number, SessionLost(first.code, str(first), is_open and not refused, refused))
        except* Exception as ours:  # else the conversation would wait for a session that is no more
            why = f"An error of ours ended the session ({type(_first(ours)).__name__}); please report it with the log."
            self._post(self._number, SessionLost("failed", why, again=False))
            raise
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
                self._told(mender, event if self._taker is None else self._taker.told(event))
            for task in others:
                task.cancel()

    def _told(self, mender: Mender, event: ServerEvent) -> None:
        """Pass on what the service says, or what is said in its place."""
        for told in mender.heard(event, time.monotonic()):
            self._post(self._number, told)
        self._look.set()

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
        await self._begun.wait()
        while True:
            await self._more.wait()
            self._more.clear()
            await self._send_waiting(session, mender)
            while not self._deaf and self._uplink.waiting >= CHUNK:
                sound = self._uplink.take(min(CATCH_UP, self._uplink.waiting // CHUNK * CHUNK))
                await self._send_sound(sound, session, mender, convert)
                await self._send_waiting(session, mender)
            if self._is_let_go and self._held is not None and not self._deaf:
                await self._send_sound(self._uplink.take(CHUNK), session, mender, convert)
                missing = max(0, LEAST_TURN - self._held)
                await self._send_sound(np.zeros(missing, np.int16), session, mender, convert)
                self.send(CommitAudio())
                self.send(CreateResponse())
                self._is_over(committed=True)
                await self._send_waiting(session, mender)

    async def _send_sound(
        self, sound: Samples, session: Session, mender: Mender, convert: Callable[[Samples], Samples]
    ) -> None:
        """Send sound, and what the person's beginning or ending to speak in it makes necessary."""
        if self._held is not None:
            self._held += len(sound)
        deeds: list[Deed] = [sound]
        if self._taker is not None:
            deeds = self._taker.hear(sound, self._uplink.position)
            self._uplink.kept = self._taker.kept
        for deed in deeds:
            if isinstance(deed, np.ndarray):
                if len(converted := convert(deed)):
                    await session.send(AppendAudio(converted.tobytes()))
            elif isinstance(deed, SpeechStarted | SpeechStopped):
                self._told(mender, deed)
            else:
                await self._send(deed, session, mender)

    def _is_over(self, *, committed: bool) -> None:
        self._held, self._is_let_go = None, False
        if self._taker is not None:
            self._taker.let_go(committed=committed)
        elif self._turns is not None:
            self.send(UpdateTurns(self._turns))

    async def _send_waiting(self, session: Session, mender: Mender) -> None:
        while self._outgoing:
            await self._send(self._outgoing.popleft(), session, mender)

    async def _send(self, event: ClientEvent, session: Session, mender: Mender) -> None:
        event = mender.named(event)
        await session.send(event if self._taker is None else self._taker.named(event))
        mender.sent(event, time.monotonic())
        self._look.set()

    def _converter(self, rate: int) -> Callable[[Samples], Samples]:
        """Return what turns the microphone's sound into the session's."""
        if rate == MICROPHONE_RATE:
            return lambda sound: sound
        return self._resampler(MICROPHONE_RATE, rate).feed


Error = TypeVar("Error", bound=Exception)


def _first(group: ExceptionGroup[Error]) -> Error:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, ExceptionGroup) else inner
