"""The official SDKs hold spoken conversations with the simulator, and every frame is what their types say."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from azure.ai.voicelive.aio import connect as connect_voice_live
from azure.core.credentials import AzureKeyCredential
from openai import AsyncAzureOpenAI, AsyncOpenAI

from tests.simulated import check_frames, chunks, samples, silence, spoken
from tests.wire import Dialect, check_client_frame, check_server_frame
from voiced.simulator import Recording, Rules, Scenario, Simulator, ToolCall, Turn

QUESTION = "What time is it?"
FIRST = "It is twenty past nine. Time for some tea."
GA_SESSION = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "gpt-transcribe"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 400},
        },
        "output": {"voice": "cedar"},
    },
}
PREVIEW_SESSION = {
    "modalities": ["text", "audio"],
    "voice": "coral",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 400},
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(rules=Rules(keys={"a-key", "a-token"}, models={"my-deploy", "gpt-realtime-2.1"})) as running:
        yield running


async def token() -> str:
    return "a-token"


async def converse(connection: Any, session: dict[str, Any], delta: str, transcript: str) -> tuple[str, bytes]:
    """Say something as an application would, through the SDK; return what it heard, in words and sound."""
    words, pcm = "", b""
    finished = {"response.done": False, "conversation.item.input_audio_transcription.completed": False}
    async for event in connection:
        if event.type == "session.created":
            await connection.session.update(session=session)
        elif event.type == "session.updated":
            for chunk in chunks(silence(300) + await spoken(QUESTION) + silence(800)):
                await connection.input_audio_buffer.append(audio=chunk)
        elif event.type == delta:
            sound = event.delta
            pcm += sound if isinstance(sound, bytes) else base64.b64decode(sound)
        elif event.type == transcript:
            words += event.delta
        assert event.type != "error", event
        if event.type in finished:
            finished[event.type] = True
        if all(finished.values()):
            break
    return words, pcm


def heard_all(recording: Recording, words: str, pcm: bytes, question: bytes) -> None:
    """The SDK heard the answer whole, and the simulator the question."""
    assert words == FIRST
    assert np.array_equal(samples(pcm), recording.sent_pcm)
    assert np.array_equal(recording.received_pcm, samples(silence(300) + question + silence(800)))


GA_NAMES = ("response.output_audio.delta", "response.output_audio_transcript.delta")
PREVIEW_NAMES = ("response.audio.delta", "response.audio_transcript.delta")


@pytest.mark.parametrize("row", ["openai", "azure-key", "azure-entra"])
async def test_the_openai_sdk_talks_in_the_ga_namespace(simulator: Simulator, row: str) -> None:
    http = simulator.url.replace("ws", "http")
    settings: dict[str, dict[str, Any]] = {
        "openai": {"api_key": "a-key", "base_url": f"{http}/v1"},
        "azure-key": {"api_key": "a-key", "base_url": f"{http}/openai/v1/"},
        "azure-entra": {"api_key": token, "websocket_base_url": f"{simulator.url}/openai/v1"},
    }
    model = "gpt-realtime-2.1" if row == "openai" else "my-deploy"
    async with AsyncOpenAI(**settings[row]) as sdk, sdk.realtime.connect(model=model) as connection:
        words, pcm = await converse(connection, GA_SESSION, *GA_NAMES)
    recording = await simulator.session()
    heard_all(recording, words, pcm, await spoken(QUESTION))
    assert await recording.wait_closed() == (1000, "")
    assert recording.path == ("/v1/realtime" if row == "openai" else "/openai/v1/realtime")
    assert recording.headers["authorization"] == ("Bearer a-token" if row == "azure-entra" else "Bearer a-key")
    check_frames("ga", recording)


@pytest.mark.parametrize("row", ["key", "entra"])
async def test_the_azure_client_talks_in_the_beta_namespace(simulator: Simulator, row: str) -> None:
    def made() -> AsyncAzureOpenAI:
        common: dict[str, Any] = {
            "azure_endpoint": simulator.url.replace("ws", "http"),
            "websocket_base_url": f"{simulator.url}/openai",
        }
        if row == "key":
            return AsyncAzureOpenAI(api_key="a-key", api_version="2024-10-01-preview", **common)
        return AsyncAzureOpenAI(
            azure_ad_token_provider=token,
            azure_deployment="my-deploy",
            api_version="2025-04-01-preview",
            **common,
        )

    async with made() as sdk, sdk.beta.realtime.connect(model="my-deploy") as connection:
        words, pcm = await converse(connection, PREVIEW_SESSION, *PREVIEW_NAMES)
    recording = await simulator.session()
    heard_all(recording, words, pcm, await spoken(QUESTION))
    assert recording.path == "/openai/realtime"
    assert recording.query["deployment"] == "my-deploy"
    assert await recording.wait_closed() == (1000, "")
    check_frames("preview", recording)


async def test_the_voice_live_sdk_talks(simulator: Simulator) -> None:
    session = {
        **PREVIEW_SESSION,
        "voice": {"type": "azure-standard", "name": "en-US-AvaNeural"},
        "input_audio_transcription": {"model": "azure-speech"},
        "turn_detection": {"type": "azure_semantic_vad", "silence_duration_ms": 400},
        "input_audio_echo_cancellation": {"type": "server_echo_cancellation"},
        "input_audio_noise_reduction": {"type": "azure_deep_noise_suppression"},
    }
    endpoint = simulator.url.replace("ws", "http")
    credential = AzureKeyCredential("a-key")
    async with connect_voice_live(credential=credential, endpoint=endpoint, model="gpt-realtime-2.1") as connection:
        words, pcm = await converse(connection, session, *PREVIEW_NAMES)
    recording = await simulator.session()
    heard_all(recording, words, pcm, await spoken(QUESTION))
    assert recording.headers["api-key"] == "a-key"
    check_frames("voice-live", recording)


@pytest.mark.parametrize("dialect", ["ga", "preview"])
async def test_the_openai_sdk_answers_a_tool_call(dialect: Dialect) -> None:
    turn = Turn(user="Set a timer.", assistant="Done.", tools=(ToolCall(name="timer", arguments={"minutes": 5}),))
    tool = {"type": "function", "name": "timer", "description": "", "parameters": {"type": "object"}}
    async with Simulator(Scenario(turns=(turn,), pace=0)) as simulator:
        sdk: Any = AsyncOpenAI(
            api_key="k",
            base_url=simulator.url.replace("ws", "http") + "/openai/v1",
            websocket_base_url=f"{simulator.url}/{'openai/v1' if dialect == 'ga' else 'openai'}",
        )
        namespace = sdk.realtime if dialect == "ga" else sdk.beta.realtime
        query = {} if dialect == "ga" else {"api-version": "2025-04-01-preview", "deployment": "my-deploy"}
        async with sdk, namespace.connect(model="my-deploy", extra_query=query) as connection, asyncio.timeout(10):
            kind = {"type": "realtime"} if dialect == "ga" else {}
            await connection.session.update(session={**kind, "tools": [tool]})
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Set a timer."}]}
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            called = await _response(connection)
            assert [each.type for each in called.output] == ["function_call"]
            output = {"type": "function_call_output", "call_id": called.output[0].call_id, "output": "{}"}
            await connection.conversation.item.create(item=output)
            await connection.response.create()
            answered = await _response(connection)
            assert answered.output[0].content[0].transcript == "Done."
        check_frames(dialect, await simulator.session())


async def _response(connection: Any) -> Any:
    while True:
        event = await connection.recv()
        assert event.type != "error", event
        if event.type == "response.done":
            return event.response


SERVER_SLIPS: list[tuple[Dialect, dict[str, Any]]] = [
    ("ga", {"type": "session.created", "session": {"type": "realtime", "modalities": ["audio"]}}),
    ("ga", {"type": "session.created", "session": {"audio": {}}}),
    ("ga", {"type": "response.audio.delta", "delta": ""}),
    ("ga", {"type": "input_audio_buffer.committed"}),
    ("ga", {"type": "input_audio_buffer.committed", "item_id": 7}),
    ("preview", {"type": "conversation.item.added", "item": {}}),
    ("preview", {"type": "session.created", "session": {"output_modalities": ["audio"]}}),
    ("voice-live", {"type": "input_audio_buffer.committed"}),
    ("voice-live", {"type": "session.created", "session": {"speed": 1.0}}),
    ("voice-live", {"type": "session.created", "session": {"modalities": "audio"}}),
    ("voice-live", {"type": "conversation.item.added"}),
]
_VAD = {"type": "semantic_vad", "threshold": 0.5}
CLIENT_SLIPS: list[tuple[Dialect, dict[str, Any]]] = [
    ("ga", {"type": "session.update", "session": {"instructions": ""}}),
    ("ga", {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": _VAD}}}}),
    ("ga", {"type": "input_audio_buffer.append"}),
    ("preview", {"type": "session.update", "session": {"output_modalities": ["audio"]}}),
    ("preview", {"type": "response.create", "response": {"output_modalities": ["audio"]}}),
    ("voice-live", {"type": "session.update", "session": {"turn_detection": {"type": "server_vad", "treshold": 1}}}),
]


@pytest.mark.parametrize(("dialect", "frame"), SERVER_SLIPS)
def test_the_strict_check_finds_slips_of_the_service(dialect: Dialect, frame: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_server_frame(dialect, {"event_id": "event_1", **frame})


@pytest.mark.parametrize(("dialect", "frame"), CLIENT_SLIPS)
def test_the_strict_check_finds_slips_of_the_client(dialect: Dialect, frame: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_client_frame(dialect, frame)
