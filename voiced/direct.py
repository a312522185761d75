"""``voiced ask`` without a daemon: one text turn, straight to the service, as in the vendors' quickstarts."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from voiced.config import Config
from voiced.core.playout import Drained, PlayoutEvent
from voiced.core.profiles import session_settings
from voiced.core.realtime import events as wire
from voiced.core.realtime.endpoint import endpoint
from voiced.edge.credentials import Credentials
from voiced.edge.service import RealtimeService
from voiced.edge.sound import open_sound
from voiced.ending import give_up
from voiced.errors import ServiceError
from voiced.house import sound_settings, start_simulator
from voiced.ports import Session, Speaker

ANSWER_S = 30.0
"""From one piece of the answer to the next."""


async def ask(config: Config, environ: Mapping[str, str], text: str, *, write: Callable[[str], None]) -> None:
    """Send ``text``, write the answer as it comes, and play it where the profile speaks.

    Raises:
        ServiceError: If there is no answer.

    """
    async with AsyncExitStack() as parts:
        url = None
        if config.realtime.provider == "simulator":
            url = await start_simulator(parts)
        where = endpoint(config.realtime, url=url, model=config.profiles["default"].deployment)
        settings = session_settings(config, "default", where.dialect)
        credentials = await parts.enter_async_context(Credentials(config.realtime, environment=environ))
        silent = asyncio.Event()
        loop = asyncio.get_running_loop()

        def heard(event: PlayoutEvent) -> None:
            if isinstance(event, Drained):
                loop.call_soon_threadsafe(silent.set)

        speaker: Speaker | None = None
        if settings.speaks:
            ends = replace(sound_settings(config.audio, environ), input="null")
            _, speaker = await parts.enter_async_context(open_sound(ends, notify=heard, give_up=give_up))
        service = RealtimeService(where, credentials, ca_file=config.realtime.ca_file)
        session = await parts.enter_async_context(service.open(settings))
        await session.send(wire.CreateMessage("user", text))
        await session.send(wire.CreateResponse())
        await _answer(session, speaker, write)
        while speaker is not None and speaker.busy:
            silent.clear()
            await silent.wait()


async def _answer(session: Session, speaker: Speaker | None, write: Callable[[str], None]) -> None:
    events = session.events()
    while True:
        try:
            async with asyncio.timeout(ANSWER_S):
                event = await anext(events)
        except TimeoutError as exc:
            raise ServiceError(f"the service said nothing for {ANSWER_S:g} s", code="timeout") from exc
        match event:
            case wire.TextDelta():
                write(event.text)
            case wire.AudioDelta() if speaker is not None:
                speaker.play(event.item_id, event.content_index, event.pcm)
            case wire.ServiceProblem():
                raise ServiceError(f"the service refused: {event.message}", code=event.code or "refused")
            case wire.ResponseDone(status="failed" | "incomplete"):
                raise ServiceError(f"no whole answer: {event.message or event.reason}", code=event.status)
            case wire.ResponseDone():
                return
