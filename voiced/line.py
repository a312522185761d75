"""The line to the service during one session: microphone out, events in."""

import asyncio
from collections import deque
from collections.abc import Callable

from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.realtime.events import AppendAudio, ClientEvent, ServerEvent, SessionSettings
from voiced.core.states import SessionLost, SessionReady
from voiced.core.uplink import Uplink
from voiced.errors import ServiceError
from voiced.ports import Resample, Service, Session

CHUNK = MICROPHONE_RATE * 40 // 1000
"""Least samples sent at once: 40 ms; smaller ones cost more than they save."""

CATCH_UP = MICROPHONE_RATE * 200 // 1000
"""Most samples sent at once while there is more: faster than real time, yet other events come in between."""


class Line:
    """One session, from its number to its end.

    Args:
        number: The conversation's number for it; goes with everything posted.
        uplink: What the service is to hear.
        resampler: Makes a new 16 to 24 kHz converter.
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
        self._resample = resampler(MICROPHONE_RATE, SERVICE_RATE)
        self._post = post
        self._outgoing: deque[ClientEvent] = deque()
        self._more = asyncio.Event()
        self.model: str | None = None

    def send(self, event: ClientEvent) -> None:
        """Queue an event; it goes before sound that still waits."""
        self._outgoing.append(event)
        self._more.set()

    def sound_waits(self) -> None:
        """Say that the uplink has something."""
        self._more.set()

    async def run(self, service: Service, settings: SessionSettings) -> None:
        """Open the session and keep it until cancelled, or until it is lost; then say so."""
        try:
            async with service.open(settings) as session:
                self.model = session.model
                self._post(self._number, SessionReady())
                async with asyncio.TaskGroup() as tasks:
                    speaking = tasks.create_task(self._speak(session), name="speak")
                    async for event in session.events():
                        self._post(self._number, event)
                    speaking.cancel()
        except* ServiceError as lost:
            first = _first(lost)
            self._post(self._number, SessionLost(first.code, str(first)))

    async def _speak(self, session: Session) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._outgoing:
                await session.send(self._outgoing.popleft())
            while self._uplink.waiting >= CHUNK:
                sound = self._uplink.take(min(CATCH_UP, self._uplink.waiting // CHUNK * CHUNK))
                converted: Samples = self._resample.feed(sound)
                if len(converted):
                    await session.send(AppendAudio(converted.tobytes()))
                while self._outgoing:
                    await session.send(self._outgoing.popleft())


def _first(group: BaseExceptionGroup[ServiceError]) -> ServiceError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
