"""What applications do beyond one question: interrupt, talk by button, cancel, fail, be cut off. All three SDKs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from azure.ai.voicelive.aio import connect as connect_voice_live
from azure.core.credentials import AccessToken, AzureKeyCredential
from openai import AsyncAzureOpenAI, AsyncOpenAI
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.simulated import check_frames, chunks, silence, spoken
from tests.wire import Dialect
from voiced.simulator import Connection, Rules, Scenario, Simulator, Turn
from voiced.simulator.scenario import Close, Failed, Incomplete

DIALECTS: tuple[Dialect, ...] = ("ga", "preview", "voice-live")
TURN = Turn(user="What time is it?", assistant="It is twenty past nine.", sound="time.wav", transcription_delay_ms=20)
NAMES = {"ga": "response.output_audio.delta", "preview": "response.audio.delta", "voice-live": "response.audio.delta"}


@asynccontextmanager
async def peer(simulator: Simulator, dialect: Dialect, credential: Any = None) -> AsyncIterator[Any]:
    """An application's connection, made by the official SDK."""
    http = simulator.url.replace("ws", "http")
    sdk: Any
    match dialect:
        case "ga":
            async with (
                AsyncOpenAI(api_key="k", base_url=f"{http}/openai/v1/") as sdk,
                sdk.realtime.connect(model="my-deploy", extra_query={"foo": "b ar"}) as connection,
            ):
                yield connection
        case "preview":
            sdk = AsyncAzureOpenAI(
                api_key="k",
                azure_endpoint=http,
                websocket_base_url=f"{simulator.url}/openai",
                api_version="2024-10-01-preview",
            )
            async with sdk, sdk.beta.realtime.connect(model="my-deploy") as connection:
                yield connection
        case "voice-live":
            shown = credential or AzureKeyCredential("k")
            async with connect_voice_live(credential=shown, endpoint=http, model="gpt-realtime-2.1") as connection:
                yield connection


def settings(dialect: Dialect, **turns: Any) -> dict[str, Any]:
    """A session whose turns are told apart as wanted; ``off``: by the application."""
    detection = None if turns.get("off") else {"type": "server_vad", "silence_duration_ms": 400, **turns}
    if dialect == "ga":
        return {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    return {"turn_detection": detection}


async def until(connection: Any, kind: str) -> Any:
    """Wait for an event; errors are none that anybody expects."""
    async with asyncio.timeout(10):
        while True:
            event = await connection.recv()
            assert str(event.type) != "error" or kind == "error", event
            if event.type == kind:
                return event


async def say(connection: Any, text: str = "What time is it?") -> None:
    for chunk in chunks(silence(300) + await spoken(text) + silence(800)):
        await connection.input_audio_buffer.append(audio=chunk)


def playing(**more: Any) -> Scenario:
    return Scenario(turns=(TURN,), pace=1.0, **more)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_talked_over_the_answer_is_cut_and_forgotten(dialect: Dialect) -> None:
    async with Simulator(playing()) as simulator:
        async with peer(simulator, dialect) as connection:
            await until(connection, "session.created")
            await connection.session.update(session=settings(dialect))
            await say(connection)
            begun = await until(connection, NAMES[dialect])
            await say(connection, "Stop.")
            done = await until(connection, "response.done")
            assert (done.response.status, done.response.status_details.reason) == ("cancelled", "turn_detected")
            await connection.conversation.item.truncate(item_id=begun.item_id, content_index=0, audio_end_ms=40)
            cut = await until(connection, "conversation.item.truncated")
            assert cut.audio_end_ms == 40
            await connection.conversation.item.retrieve(item_id=begun.item_id)
            kept = await until(connection, "conversation.item.retrieved")
            assert kept.item.id == begun.item_id
            await connection.conversation.item.delete(item_id=begun.item_id)
            await until(connection, "conversation.item.deleted")
        check_frames(dialect, await simulator.session())


async def test_voice_live_forgets_by_itself_what_was_not_heard() -> None:
    async with Simulator(playing(delays_ms={"input_audio_buffer.speech_started": 20})) as simulator:
        async with peer(simulator, "voice-live") as connection:
            await until(connection, "session.created")
            await connection.session.update(session=settings("voice-live", auto_truncate=True))
            await say(connection)
            begun = await until(connection, NAMES["voice-live"])
            await say(connection, "Stop.")
            cut = await until(connection, "conversation.item.truncated")
            assert cut.item_id == begun.item_id
            assert 0 <= cut.audio_end_ms < 3000
            await connection.output_audio_buffer.clear()
            await until(connection, "output_audio_buffer.cleared")
        check_frames("voice-live", await simulator.session())


async def press(connection: Any, dialect: Dialect) -> None:
    """Let turns be ended by a button, and end one."""
    await connection.session.update(session=settings(dialect, off=True))
    await until(connection, "session.updated")
    await connection.input_audio_buffer.append(audio=chunks(silence(100))[0])
    await connection.input_audio_buffer.clear()
    await until(connection, "input_audio_buffer.cleared")
    await say(connection)
    await connection.input_audio_buffer.commit()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_by_button_the_application_commits_and_asks(dialect: Dialect) -> None:
    async with Simulator(Scenario(turns=(TURN,), pace=0)) as simulator:
        async with peer(simulator, dialect) as connection:
            await until(connection, "session.created")
            await press(connection, dialect)
            await until(connection, "input_audio_buffer.committed")
            await connection.response.create()
            done = await until(connection, "response.done")
            assert done.response.status == "completed"
        recording = await simulator.session()
        assert not recording.sent("input_audio_buffer.speech_started")
        check_frames(dialect, recording)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_is_cancelled_by_the_application(dialect: Dialect) -> None:
    async with Simulator(playing()) as simulator:
        async with peer(simulator, dialect) as connection:
            await until(connection, "session.created")
            await say(connection)
            await until(connection, NAMES[dialect])
            await connection.response.cancel()
            done = await until(connection, "response.done")
            assert done.response.status_details.reason == "client_cancelled"
            await connection.response.cancel()
            wrong = await until(connection, "error")
            assert wrong.error.code == "response_cancel_not_active"
        check_frames(dialect, await simulator.session())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Failed(kind="failed", code="rate_limit_exceeded"), "failed"),
        (Incomplete(kind="incomplete", reason="content_filter", after_ms=100), "incomplete"),
        (Incomplete(kind="incomplete", reason="max_output_tokens", after_ms=100), "incomplete"),
    ],
)
async def test_an_answer_that_comes_to_nothing_is_typed_too(
    dialect: Dialect, fault: Failed | Incomplete, status: str
) -> None:
    turn = TURN.model_copy(update={"fault": fault})
    async with Simulator(Scenario(turns=(turn,), pace=0, null_event_ids=True)) as simulator:
        async with peer(simulator, dialect) as connection:
            await until(connection, "session.created")
            await say(connection)
            done = await until(connection, "response.done")
            assert done.response.status == status
        check_frames(dialect, await simulator.session())


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_session_that_expires_says_so_and_ends_the_loop(dialect: Dialect) -> None:
    async with Simulator(Scenario(turns=(TURN,), session_minutes=0.005)) as simulator:
        async with peer(simulator, dialect) as connection:
            kinds = [str(event.type) async for event in connection]
        assert kinds[-1] == "error"
        recording = await simulator.session()
        assert (await recording.wait_closed())[0] == (1000 if dialect == "voice-live" else 1001)  # aiohttp answers so
        assert recording.server_events[-1]["error"]["code"] == "session_expired"
        check_frames(dialect, recording)


@pytest.mark.parametrize("dialect", ["ga", "preview"])
async def test_a_service_that_breaks_down_raises(dialect: Dialect) -> None:
    ends = Connection(ends=Close(kind="close", code=1011))
    async with Simulator(Scenario(turns=(TURN,), connections=(ends,))) as simulator:
        with pytest.raises(ConnectionClosedError):
            async with peer(simulator, dialect) as connection:
                await until(connection, "response.done")


async def test_voice_live_signs_in_with_a_token() -> None:
    class Identity:
        scopes: tuple[str, ...] = ()

        async def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
            self.scopes = scopes
            return AccessToken("a-token", 2**33)

        async def close(self) -> None:
            """Nothing is open."""

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            await self.close()

    identity = Identity()
    async with Simulator(rules=Rules(keys={"a-token"})) as simulator:
        async with peer(simulator, "voice-live", identity) as connection:
            await until(connection, "session.created")
        recording = await simulator.session()
    assert identity.scopes == ("https://ai.azure.com/.default",)
    assert recording.headers["authorization"] == "Bearer a-token"
    assert {"api-version", "x-ms-client-sdk", "model"} <= recording.query.keys()


async def test_the_retired_beta_header_is_refused_after_the_upgrade() -> None:
    async with Simulator() as simulator:
        sdk: Any = AsyncOpenAI(api_key="k", websocket_base_url=f"{simulator.url}/v1")
        async with sdk, sdk.beta.realtime.connect(model="gpt-realtime-2.1") as connection:
            event = await connection.recv()
            assert (event.type, event.error.code) == ("error", "beta_api_shape_disabled")
        assert (await simulator.sessions[0].wait_closed())[0] == 4000


@pytest.mark.parametrize("base", ["preview", "ga"])
async def test_the_azure_client_class_cannot_speak_azure_ga(base: str) -> None:
    async with Simulator() as simulator:
        http = simulator.url.replace("ws", "http")
        path = {"preview": "openai", "ga": "openai/v1"}[base]
        sdk: Any = AsyncAzureOpenAI(
            api_key="k", azure_endpoint=http, websocket_base_url=f"{simulator.url}/{path}", api_version="preview"
        )
        async with sdk:
            if base == "ga":
                with pytest.raises(InvalidStatus) as refused:
                    async with sdk.realtime.connect(model="my-deploy"):
                        pass
                assert refused.value.response.status_code == 401
                return
            async with sdk.realtime.connect(model="my-deploy") as connection:
                await until(connection, "session.created")
        assert simulator.sessions[0].path == "/openai/realtime"


async def test_delays_hold_up_single_events() -> None:
    async with Simulator(Scenario(turns=(TURN,), pace=0, delays_ms={"response.created": 150})) as simulator:
        async with peer(simulator, "ga") as connection:
            await until(connection, "session.created")
            await say(connection)
            await until(connection, "response.done")
        frames = {frame.event["type"]: frame.at for frame in reversed((await simulator.session()).server_frames)}
    assert frames["response.created"] - frames["input_audio_buffer.committed"] >= 0.15
