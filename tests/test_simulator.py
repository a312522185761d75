"""The simulator lets in, refuses, checks and remembers as the service does."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.simulated import Client, check_frames, client, silence, spoken
from voiced.simulator import Rules, Scenario, Simulator, Turn

Json = dict[str, Any]
QUIET = Scenario(turns=(Turn(user="Hello.", assistant="Good day.", sound="welcome.wav", think_ms=0),), pace=0)
GA = ("azure", "openai", "custom")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(QUIET) as running:
        yield running


@pytest.fixture
async def talker(simulator: Simulator) -> AsyncIterator[Client]:
    async with client(simulator) as connected:
        yield connected


# --- who is let in ----------------------------------------------------------------------------------------------------

RULES = Rules(keys={"key-1"}, models={"dep-1"})
AZURE_REFUSALS = [
    ("/openai/v1/realtime?model=dep-1", {}, 401, "401"),
    ("/openai/v1/realtime?model=dep-1", {"api-key": "wrong"}, 401, "401"),
    ("/openai/v1/realtime?model=dep-1", {"Authorization": "Bearer wrong"}, 401, "401"),
    ("/openai/v1/realtime?model=dep-1&api-version=preview", {"api-key": "key-1"}, 401, "401"),
    (
        "/openai/v1/realtime?model=dep-1",
        {"api-key": "key-1", "OpenAI-Beta": "realtime=v1"},
        400,
        "beta_api_shape_disabled",
    ),
    ("/openai/v1/realtime?model=other", {"api-key": "key-1"}, 404, "DeploymentNotFound"),
    ("/openai/v1/realtime", {"api-key": "key-1"}, 400, "BadRequest"),
    ("/openai/realtime?deployment=dep-1", {"api-key": "key-1"}, 400, "BadRequest"),
    ("/openai/realtime?api-version=x&deployment=other", {"api-key": "key-1"}, 404, "DeploymentNotFound"),
    ("/voice-live/realtime?api-version=x&model=other", {"api-key": "key-1"}, 404, "DeploymentNotFound"),
]


@pytest.mark.parametrize(("path", "headers", "status", "code"), AZURE_REFUSALS)
async def test_azure_refuses_by_http_status(path: str, headers: dict[str, str], status: int, code: str) -> None:
    async with Simulator(QUIET, rules=RULES) as simulator:
        with pytest.raises(InvalidStatus) as refused:
            await connect(simulator.url + path, additional_headers=headers)
        assert refused.value.response.status_code == status
        error = json.loads(refused.value.response.body or b"")["error"]
        assert error["code"] == code
        assert error["message"].endswith(".")
        assert [each.outcome for each in simulator.attempts] == [f"http {status}"]
        assert simulator.sessions == []


OPENAI_REFUSALS = [
    ("/v1/realtime?model=dep-1", {}, 3000, None, "invalid_request_error"),
    ("/v1/realtime?model=dep-1", {"Authorization": "Bearer x"}, 3000, "invalid_api_key", ".invalid_api_key"),
    ("/v1/realtime?model=other", {"Authorization": "Bearer key-1"}, 4000, "invalid_model", ".invalid_model"),
    ("/v1/realtime", {"Authorization": "Bearer key-1"}, 4000, "missing_model", ".missing_model"),
    (
        "/v1/realtime?model=dep-1",
        {"Authorization": "Bearer key-1", "OpenAI-Beta": "realtime=v1"},
        4000,
        "beta_api_shape_disabled",
        ".beta_api_shape_disabled",
    ),
]


@pytest.mark.parametrize(("path", "headers", "close", "code", "reason"), OPENAI_REFUSALS)
async def test_openai_lets_in_and_closes(
    path: str, headers: dict[str, str], close: int, code: str | None, reason: str
) -> None:
    async with Simulator(QUIET, rules=RULES) as simulator:
        async with connect(simulator.url + path, additional_headers=headers) as socket:
            first = json.loads(await socket.recv())
            await socket.wait_closed()
        assert (first["type"], first["error"]["code"]) == ("error", code)
        assert first["error"]["type"] == "invalid_request_error"
        assert socket.close_code == close
        assert str(socket.close_reason).endswith(reason)
        assert [each.outcome for each in simulator.attempts] == [f"close {close}"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"api-key": "key-1"}),
        ("", {"Authorization": "Bearer key-1"}),
        ("&api-key=key-1", {}),
    ],
)
async def test_a_key_is_taken_in_each_of_its_places(query: str, headers: dict[str, str]) -> None:
    async with Simulator(QUIET, rules=RULES) as simulator:
        async with connect(
            f"{simulator.url}/openai/v1/realtime?model=dep-1{query}", additional_headers=headers
        ) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"
        assert simulator.attempts[0].outcome == "accepted"


async def test_any_service_can_refuse_in_the_other_manner() -> None:
    rules = Rules(keys={"k"}, manner="openai")
    async with Simulator(QUIET, rules=rules) as simulator, connect(simulator.url_for("azure")) as socket:
        assert json.loads(await socket.recv())["type"] == "error"
    async with Simulator(QUIET, rules=Rules(keys={"k"}, manner="azure")) as simulator:
        with pytest.raises(InvalidStatus):
            await connect(simulator.url_for("openai"))


async def test_other_paths_speak_the_dialect_that_was_asked_for() -> None:
    for dialect, key in (("ga", "output_modalities"), ("preview", "modalities")):
        rules = Rules(dialect="ga" if dialect == "ga" else "preview")
        async with Simulator(QUIET, rules=rules) as simulator, client(simulator, f"{simulator.url}/any/path") as talker:
            assert key in (await talker.event("session.created"))["session"]


async def test_it_speaks_tls() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Simulator(QUIET, ssl=server) as simulator:
        assert simulator.url.startswith("wss://")
        async with connect(simulator.url_for("azure"), ssl=trusting) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


async def test_connections_are_counted_from_the_first_byte() -> None:
    async with Simulator(QUIET) as simulator:
        assert (simulator.connections, simulator.attempts) == (0, [])
        _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        async with client(simulator):
            assert simulator.connections == 2
            assert len(simulator.attempts) == 1
        writer.close()
        await writer.wait_closed()


SESSION = {"type": "realtime"}


def ga(**change: Any) -> Json:
    return {"type": "session.update", "session": {**SESSION, **change}}


def hears(**change: Any) -> Json:
    return ga(audio={"input": change})


# --- settings ---------------------------------------------------------------------------------------------------------


async def test_an_update_is_merged_and_told_back_whole(talker: Client) -> None:
    session = (await talker.event("session.created"))["session"]
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert session["model"] == "gpt-realtime-2.1"
    await talker.socket.send(json.dumps(ga(instructions="Be brief.", audio={"output": {"voice": "ash"}})))
    session["instructions"] = "Be brief."
    session["audio"]["output"]["voice"] = "ash"
    assert (await talker.event("session.updated"))["session"] == session
    await talker.socket.send(json.dumps(hears(turn_detection={"type": "server_vad", "threshold": 0.7})))
    session["audio"]["input"]["turn_detection"]["threshold"] = 0.7
    assert (await talker.event("session.updated", 2))["session"] == session
    await talker.socket.send(json.dumps(hears(turn_detection={"type": "server_vad", "silence_duration_ms": 450})))
    session["audio"]["input"]["turn_detection"]["silence_duration_ms"] = 450
    assert (await talker.event("session.updated", 3))["session"] == session
    await talker.socket.send(json.dumps(ga(instructions=None, audio={"input": {"turn_detection": None}})))
    session["instructions"] = ""
    session["audio"]["input"]["turn_detection"] = None
    assert (await talker.event("session.updated", 4))["session"] == session


async def test_a_refused_update_changes_nothing(talker: Client) -> None:
    session = (await talker.event("session.created"))["session"]
    await talker.socket.send(json.dumps(ga(instructions="Hidden.", nonsense=1)))
    await talker.error()
    await talker.socket.send(json.dumps(ga()))
    assert (await talker.event("session.updated"))["session"] == session


async def test_the_voice_is_fixed_once_it_was_heard(talker: Client, simulator: Simulator) -> None:
    await talker.send("response.create")
    await talker.event("response.done")
    await talker.socket.send(json.dumps(ga(audio={"output": {"voice": "ash"}}, instructions="Both or none.")))
    assert (await talker.error())["code"] == "cannot_update_voice"
    await talker.socket.send(json.dumps(ga(audio={"output": {"voice": "marin"}})))
    session = (await talker.event("session.updated"))["session"]
    assert session["instructions"] != "Both or none."
    await talker.send("response.create", response={"audio": {"output": {"voice": "ash"}}})
    assert (await talker.error(2))["param"] == "response.audio.output.voice"
    check_frames("ga", simulator.sessions[0])


# --- items ------------------------------------------------------------------------------------------------------------


async def test_items_are_created_retrieved_and_deleted(talker: Client, simulator: Simulator) -> None:
    sound = await spoken()
    text = {"type": "input_text", "text": "Hi."}
    await talker.send(
        "conversation.item.create", item={"id": "a", "type": "message", "role": "user", "content": [text]}
    )
    heard = {"type": "input_audio", "audio": base64.b64encode(sound).decode()}
    await talker.send(
        "conversation.item.create",
        item={"id": "b", "type": "message", "role": "user", "content": [heard]},
        previous_item_id="root",
    )
    added = [await talker.event("conversation.item.added", each) for each in (1, 2)]
    assert [each["item"]["id"] for each in added] == ["a", "b"]
    assert [each["previous_item_id"] for each in added] == [None, None]
    await talker.send("conversation.item.retrieve", item_id="b")
    retrieved = await talker.event("conversation.item.retrieved")
    assert base64.b64decode(retrieved["item"]["content"][0]["audio"]) == sound
    await talker.send(
        "conversation.item.create", item={"id": "a", "type": "message", "role": "user", "content": [text]}
    )
    assert (await talker.error())["code"] == "item_create_invalid_item_id"
    await talker.send(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [text]},
        previous_item_id="nowhere",
    )
    assert (await talker.error(2))["param"] == "previous_item_id"
    await talker.send("conversation.item.delete", item_id="b")
    assert (await talker.event("conversation.item.deleted"))["item_id"] == "b"
    await talker.send("conversation.item.delete", item_id="b")
    assert (await talker.error(3))["code"] == "item_delete_invalid_item_id"
    check_frames("ga", simulator.sessions[0])


async def test_an_answer_is_truncated_to_what_was_heard(talker: Client, simulator: Simulator) -> None:
    await talker.send("response.create")
    answer = (await talker.event("response.done"))["response"]["output"][0]["id"]
    whole_ms = len(simulator.sessions[0].sent_pcm) * 1000 // 24_000

    async def truncate(end_ms: int, item_id: str = answer, index: int = 0) -> None:
        await talker.send("conversation.item.truncate", item_id=item_id, content_index=index, audio_end_ms=end_ms)

    await truncate(whole_ms + 1)
    error = await talker.error()
    assert (error["code"], error["param"]) == ("invalid_value", "audio_end_ms")
    assert error["message"] == f"Audio content of {whole_ms}ms is already shorter than {whole_ms + 1}ms"
    await truncate(700)
    assert (await talker.event("conversation.item.truncated"))["audio_end_ms"] == 700
    await truncate(701)
    await talker.error(2)
    await truncate(100, index=1)
    assert (await talker.error(3))["param"] == "content_index"
    await talker.send("conversation.item.retrieve", item_id=answer)
    part = (await talker.event("conversation.item.retrieved"))["item"]["content"][0]
    assert part["transcript"] is None
    assert len(base64.b64decode(part["audio"])) == 700 * 48
    text = {"type": "input_text", "text": "Hi."}
    await talker.send(
        "conversation.item.create", item={"id": "u", "type": "message", "role": "user", "content": [text]}
    )
    await truncate(0, item_id="u")
    assert (await talker.error(4))["code"] == "unsupported_content_type"
    check_frames("ga", simulator.sessions[0])


# --- recordings -------------------------------------------------------------------------------------------------------


async def test_it_records_what_it_was_told(simulator: Simulator) -> None:
    pcm = silence(200) + await spoken() + silence(400)
    async with connect(simulator.url_for("azure"), additional_headers={"api-key": "k", "X-Mine": "1"}) as socket:
        talker = Client(socket)
        listening = asyncio.create_task(talker.listen())
        await talker.say(pcm)
        await talker.event("response.done")
        await socket.close(1000, "good night")
        await listening
    recording = await simulator.session()
    assert recording.path == "/openai/v1/realtime"
    assert recording.query == {"model": "gpt-realtime-2.1"}
    assert (recording.headers["api-key"], recording.headers["x-mine"]) == ("k", "1")
    assert recording.received_pcm.astype("<i2").tobytes() == pcm
    assert len(recording.received("input_audio_buffer.append")) == len(recording.client_frames)
    assert [each["type"] for each in recording.server_events] == talker.kinds
    assert await recording.wait_closed() == (1000, "good night")
    with pytest.raises(TimeoutError, match=r"no 1 x never\.sent"):
        await recording.wait_for("never.sent", timeout_s=0.05)
    with pytest.raises(TimeoutError, match="no session 1"):
        await simulator.session(1, timeout_s=0.05)


async def test_without_recording_nothing_grows() -> None:
    lines: list[tuple[int, str]] = []
    async with Simulator(QUIET, record=False, watch=lambda *each: lines.append(each)) as simulator:
        async with client(simulator) as talker:
            await talker.say(await spoken() + silence(400))
            await talker.event("response.done")
            recording = simulator.sessions[0]
            assert (recording.client_frames, recording.server_frames, len(recording.received_pcm)) == ([], [], 0)
        await recording.wait_closed()
    assert simulator.sessions == []
    assert any(line.startswith("< response.done  $0.0") for _, line in lines)
    assert lines[-1] == (0, "closed 1000")


async def test_connections_can_be_broken_from_outside(simulator: Simulator) -> None:
    async with client(simulator) as first:
        await first.event("session.created")
        simulator.abort()
        assert (await first.closed())[0] == 1006
    async with client(simulator) as second:
        await second.event("session.created")
        await simulator.close_sessions(1012, "restarting")
        assert await second.closed() == (1012, "restarting")
    assert [each.closed for each in simulator.sessions] == [(1006, ""), (1012, "restarting")]


async def test_names_are_the_same_in_every_run() -> None:
    runs = []
    for _ in range(2):
        async with Simulator(QUIET) as simulator:
            names = []
            for _ in range(2):
                async with client(simulator) as talker:
                    names.append((await talker.event("session.created"))["session"]["id"])
            runs.append(names)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 2
