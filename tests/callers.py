"""The line to the service as the daemon makes one, and servers that follow no protocol but the test's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from voiced.config import RealtimeConfig
from voiced.core.questions import Question
from voiced.core.realtime import events as ev
from voiced.core.realtime.endpoint import endpoint
from voiced.core.realtime.settings import LocalVad, SemanticVad, SessionSettings, Transcription
from voiced.core.sentences import Answer
from voiced.edge.credentials import Credentials
from voiced.edge.link import Patience
from voiced.edge.service import RealtimeService
from voiced.errors import ServiceError
from voiced.simulator import Connection, Scenario, Turn

KEYS = {"AZURE_OPENAI_API_KEY": "azure-secret", "OPENAI_API_KEY": "openai-secret"}
TURN = Turn(user="What time is it?", assistant="It is noon.")
SETTINGS = SessionSettings(instructions="Be short.", voice="alloy", speed=1.1, noise_reduction="far_field")
BRIEF = Patience(connect_s=0.3, created_s=0.3, updated_s=0.3, close_s=0.3)

CLIENT_EVENTS: list[ev.ClientEvent] = [
    ev.UpdateSession(SessionSettings()),
    ev.UpdateSession(
        SessionSettings(
            instructions="Kurz, bitte: „ja“ oder „nein“.",
            voice="marin",
            speed=1.25,
            turn_detection=SemanticVad("low", create_response=False),
            transcription=Transcription("gpt-transcribe", "de"),
            noise_reduction="far_field",
            max_output_tokens=900,
            tools=({"type": "function", "name": "now", "description": "The time.", "parameters": {}},),
        ),
        event_id="e1",
    ),
    ev.UpdateSession(SessionSettings(modalities=("text",), voice="marin", turn_detection=None)),
    ev.UpdateSession(SessionSettings(turn_detection=LocalVad())),
    ev.UpdateTurns(None),
    ev.UpdateTurns(SemanticVad("low")),
    ev.UpdateSession(SessionSettings(modalities=("audio", "text"), transcription=Transcription("whisper-1"))),
    ev.AppendAudio(b""),
    ev.AppendAudio(bytes(range(256))),
    ev.CommitAudio(),
    ev.ClearAudio(),
    ev.CreateMessage("user", "Hi"),
    ev.CreateMessage("assistant", "Hello"),
    ev.CreateMessage("system", "It is noon."),
    ev.CreateResponse(),
    ev.CreateResponse(instructions="Whisper."),
    ev.CreateResponse(report=Question(1, "Light?", (Answer("yes", ("yes [please]",)),))),
    ev.CreateResponse(literal='Timer "tea" is over.'),
    ev.CancelResponse(),
    ev.CancelResponse("r1"),
    ev.TruncateItem("i1", 0, 1480),
    ev.DeleteItem("i1"),
]
"""Each kind of event that the daemon sends, in all its shapes."""


def scenario(*connections: Connection, **keys: Any) -> Scenario:
    return Scenario(turns=(TURN,), connections=connections, **keys)


def service(there: str, provider: str = "azure", patience: Patience | None = None, **keys: Any) -> RealtimeService:
    """A service as the daemon makes one; ``there`` is scheme, host and port."""
    place = {"url": f"{there}/rt"} if provider == "custom" else {"endpoint": there}
    realtime = RealtimeConfig.model_validate({"provider": provider, "deployment": "talk", **place, **keys})
    credentials = Credentials(realtime, environment=KEYS)
    return RealtimeService(endpoint(realtime), credentials, ca_file=realtime.ca_file, patience=patience)


async def refused(line: RealtimeService, settings: SessionSettings = SETTINGS) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        async with line.open(settings):
            raise AssertionError("the session opened")
    return caught.value


@asynccontextmanager
async def server(
    converse: Callable[[ServerConnection], Awaitable[None]],
    admit: Callable[[ServerConnection, Request], Response | None] | None = None,
) -> AsyncIterator[str]:
    """A WebSocket server that follows no protocol but the test's."""
    async with serve(converse, "127.0.0.1", 0, process_request=admit) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"


CREATED = '{"type":"session.created","session":{"id":"s1"}}'
UPDATED = '{"type":"session.updated","session":{"id":"s1"}}'


async def silent(line: ServerConnection) -> None:
    await line.wait_closed()


async def willing(line: ServerConnection) -> None:
    await line.send(CREATED)
    async for _ in line:
        await line.send(UPDATED)


async def until_done(events: AsyncIterator[ev.ServerEvent]) -> list[ev.ServerEvent]:
    collected = []
    async for event in events:
        collected.append(event)
        if isinstance(event, ev.ResponseDone):
            break
    return collected


@dataclass
class Issued:
    token: str
    expires_on: int = 2**40


class Issuer:
    """A sign-in service whose every identity has another token."""

    def __init__(self) -> None:
        self.identities = 0

    def identity(self) -> "IssuedIdentity":
        self.identities += 1
        return IssuedIdentity(f"token-{self.identities}")


@dataclass
class IssuedIdentity:
    token: str

    async def get_token(self, *_scopes: str) -> Issued:
        return Issued(self.token)

    async def close(self) -> None:
        """Nothing is open."""
