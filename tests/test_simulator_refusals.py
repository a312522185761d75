"""What a client must not send, and what the service says then. Nothing is changed, and the session goes on."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.simulated import Client, client
from voiced.simulator import Scenario, Simulator, Turn

Json = dict[str, Any]
QUIET = Scenario(turns=(Turn(user="Hello.", assistant="Good day.", sound="welcome.wav", think_ms=0),), pace=0)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(QUIET) as running:
        yield running


@pytest.fixture
async def talker(simulator: Simulator) -> AsyncIterator[Client]:
    async with client(simulator) as connected:
        yield connected


SESSION = {"type": "realtime"}


def ga(**change: Any) -> Json:
    return {"type": "session.update", "session": {**SESSION, **change}}


def hears(**change: Any) -> Json:
    return ga(audio={"input": change})


def item(**fields: Any) -> Json:
    return {"type": "conversation.item.create", "item": fields}


def message(role: str, **part: Any) -> Json:
    return item(type="message", role=role, content=[part])


ODD = base64.b64encode(b"abc").decode()
WRONG = [
    ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    (ga(temperature=0.8), "unknown_parameter", "session.temperature"),
    (ga(modalities=["audio"]), "unknown_parameter", "session.modalities"),
    (ga(type="transcription"), "invalid_value", "session.type"),
    (ga(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
    (ga(output_modalities="audio"), "invalid_type", "session.output_modalities"),
    (ga(instructions=7), "invalid_type", "session.instructions"),
    (ga(max_output_tokens=0), "integer_below_min_value", "session.max_output_tokens"),
    (ga(max_output_tokens=4097), "integer_above_max_value", "session.max_output_tokens"),
    (ga(max_output_tokens="all"), "invalid_value", "session.max_output_tokens"),
    (ga(max_output_tokens=True), "invalid_type", "session.max_output_tokens"),
    (ga(reasoning={"effort": "huge"}), "invalid_value", "session.reasoning.effort"),
    (ga(model="another"), "invalid_value", "session.model"),
    (ga(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name"),
    (ga(tool_choice="always"), "invalid_value", "session.tool_choice"),
    (ga(audio={"output": {"voice": "nobody"}}), "invalid_value", "session.audio.output.voice"),
    (ga(audio={"output": {"speed": 2}}), "decimal_above_max_value", "session.audio.output.speed"),
    (
        hears(format={"type": "audio/pcm", "rate": 16000}),
        "integer_below_min_value",
        "session.audio.input.format.rate",
    ),
    (hears(format={"type": "audio/pcmu"}), "invalid_value", "session.audio.input.format.type"),
    (hears(turn_detection={"type": "none"}), "invalid_value", "session.audio.input.turn_detection.type"),
    (
        hears(turn_detection={"threshold": 0.5}),
        "missing_required_parameter",
        "session.audio.input.turn_detection.type",
    ),
    (
        hears(turn_detection={"type": "semantic_vad", "threshold": 0.5}),
        "unknown_parameter",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        hears(turn_detection={"type": "server_vad", "idle_timeout_ms": 1000}),
        "integer_below_min_value",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (hears(noise_reduction={"type": "loud"}), "invalid_value", "session.audio.input.noise_reduction.type"),
    ({"type": "make.coffee"}, "invalid_value", "type"),
    ({"no": "type"}, "missing_required_parameter", "type"),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "no base64!"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "ä"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": ODD}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": 5}, "invalid_type", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "", "rate": 1}, "unknown_parameter", "rate"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
    ({"type": "response.create", "response": {"voice": "ash"}}, "unknown_parameter", "response.voice"),
    (
        {"type": "response.create", "response": {"metadata": {"k" * 65: "v"}}},
        "string_above_max_length",
        "response.metadata",
    ),
    (message("user", type="text", text="x"), "invalid_value", "item.content[0].type"),
    (message("assistant", type="text", text="x"), "invalid_value", "item.content[0].type"),
    (message("assistant", type="output_audio", audio=""), "invalid_value", "item.content[0].type"),
    (message("nobody", type="input_text", text="x"), "invalid_value", "item.role"),
    (message("user", type="input_text"), "missing_required_parameter", "item.content[0].text"),
    (item(type="function_call_output", call_id="c"), "missing_required_parameter", "item.output"),
    (item(role="user", content=[]), "missing_required_parameter", "item.type"),
    (
        {"type": "conversation.item.retrieve", "item_id": "none"},
        "item_retrieve_invalid_item_id",
        "item_id",
    ),
    ({"type": "conversation.item.delete", "item_id": "none"}, "item_delete_invalid_item_id", "item_id"),
    (
        {"type": "conversation.item.truncate", "item_id": "none", "content_index": 0, "audio_end_ms": 5},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    (
        {"type": "conversation.item.truncate", "item_id": "none", "content_index": 0, "audio_end_ms": -5},
        "integer_below_min_value",
        "audio_end_ms",
    ),
]


@pytest.mark.parametrize(("event", "code", "param"), WRONG)
async def test_a_wrong_event_is_refused_and_the_session_goes_on(
    talker: Client, event: Json, code: str, param: str | None
) -> None:
    before = (await talker.event("session.created"))["session"]
    await talker.socket.send(json.dumps({**event, "event_id": "mine"}))
    error = await talker.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert error["type"] == "invalid_request_error"
    await talker.socket.send(json.dumps(ga()))
    assert (await talker.event("session.updated"))["session"] == before


PREVIEW_WRONG = [
    ({"type": "session.update", "session": {"type": "realtime"}}, "unknown_parameter", "session.type"),
    ({"type": "session.update", "session": {"modalities": ["audio"]}}, "invalid_value", "session.modalities"),
    ({"type": "session.update", "session": {"voice": "marin"}}, "invalid_value", "session.voice"),
    ({"type": "session.update", "session": {"temperature": 2}}, "decimal_above_max_value", "session.temperature"),
    (
        {"type": "session.update", "session": {"turn_detection": {"idle_timeout_ms": 6000}}},
        "unknown_parameter",
        "session.turn_detection.idle_timeout_ms",
    ),
    (
        {"type": "response.create", "response": {"output_modalities": ["audio"]}},
        "unknown_parameter",
        "response.output_modalities",
    ),
    (message("assistant", type="output_text", text="x"), "invalid_value", "item.content[0].type"),
    (item(type="function_call_output", call_id="c", output=""), "invalid_tool_call_id", "item.call_id"),
]


@pytest.mark.parametrize(("event", "code", "param"), PREVIEW_WRONG)
async def test_the_preview_dialect_has_refusals_of_its_own(
    simulator: Simulator, event: Json, code: str, param: str
) -> None:
    async with client(simulator, simulator.url_for("azure-preview")) as talker:
        await talker.socket.send(json.dumps(event))
        error = await talker.error()
        assert (error["code"], error["param"], error["event_id"]) == (code, param, None)


async def test_messages_that_are_no_events(talker: Client, simulator: Simulator) -> None:
    await talker.socket.send(b"sound as it is")
    await talker.socket.send("{half")
    await talker.socket.send("[]")
    await talker.error(3)
    codes = [each["error"]["code"] for each in talker.events if each["type"] == "error"]
    assert codes == ["invalid_event", "invalid_json", "invalid_json"]
    assert simulator.sessions[0].closed is None


async def test_an_event_holds_fifteen_mebibytes_of_sound(talker: Client, simulator: Simulator) -> None:
    await talker.socket.send(json.dumps(hears(turn_detection=None)))
    await talker.send("input_audio_buffer.append", audio=base64.b64encode(bytes(15 * 2**20)).decode())
    await talker.send("input_audio_buffer.append", audio=base64.b64encode(bytes(15 * 2**20 + 2)).decode())
    assert (await talker.error())["code"] == "invalid_value"
    assert len(simulator.sessions[0].received_pcm) * 2 == 15 * 2**20
