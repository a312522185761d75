"""``voiced ask`` without a daemon: one text turn, straight to the service, as in the vendors' quickstarts."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from voiced.config import Config
from voiced.core.playout import Drained, PlayoutEvent
from voiced.core.profiles import session_settings
from voiced.core.realtime import events as wire
from voiced.core.realtime.endpoint import endpoint
from voiced.edge.credentials import Credentials
from voiced.edge.service import RealtimeService
from voiced.errors import ServiceError
from voiced.ports import Session, Speaker

ANSWER_S = 30.0
"""From one piece of the answer to the next."""


async def ask(config: Config, environ: Mapping[str, str], text: str, *, write: Callable[[str], None]) -> None:
    """Send ``text``, write the answer as it comes, and play it where the profile speaks.

    Raises:
        ServiceError: If there is no answer.

    """
    from voiced.house import open_speaker  # noqa: PLC0415 - a text profile needs no sound

    settings = session_settings(config, "default", "ga")
    async with AsyncExitStack() as parts:
        url = None
        if config.realtime.provider == "simulator":
            from voiced.simulator import Simulator, load_scenario  # noqa: PLC0415 - only where it is wanted

            url = (await parts.enter_async_context(Simulator(load_scenario(), record=False))).url
        where = endpoint(config.realtime, url=url)
        settings = session_settings(config, "default", where.dialect)
        credentials = await parts.enter_async_context(Credentials(config.realtime, environment=environ))
        silent = asyncio.Event()
        loop = asyncio.get_running_loop()

        def heard(event: PlayoutEvent) -> None:
            if isinstance(event, Drained):
                loop.call_soon_threadsafe(silent.set)

        speaker = await parts.enter_async_context(open_speaker(config.audio, heard)) if settings.speaks else None
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
