"""Every kind of message that the simulator sends or takes passes the official SDKs' types; what it lacks is listed."""

from typing import Any

import pytest

from tests.simulated import check_frames, chunks, silence
from tests.test_simulator_sdk_stories import DIALECTS, peer, press, say, settings, until
from tests.wire import Dialect, Side, kinds
from voiced.simulator import Scenario, Simulator, ToolCall, Turn

CALL = Turn(
    user="Set a timer.",
    assistant="Done.",
    sound="time.wav",
    tools=(ToolCall(name="timer", arguments={"minutes": 5}),),
    transcription_delay_ms=20,
)
MUMBLED = Turn(user="", assistant="Pardon?", sound="time.wav", transcription="failed", transcription_delay_ms=20)
TOOL = {"type": "function", "name": "timer", "description": "", "parameters": {"type": "object"}}

_MCP = {"mcp_list_tools.completed", "mcp_list_tools.failed", "mcp_list_tools.in_progress"} | {
    f"response.mcp_call{rest}"
    for rest in (".completed", ".failed", ".in_progress", "_arguments.delta", "_arguments.done")
}
_BY_WEBRTC = {"output_audio_buffer.cleared", "output_audio_buffer.started", "output_audio_buffer.stopped"}
LACKING: dict[tuple[Dialect, Side], set[str]] = {
    ("ga", "server"): {
        *_MCP,
        *_BY_WEBRTC,
        "conversation.created",  # GA services were not seen to send it
        "conversation.item.created",  # nor this: there it is .added
        "conversation.item.input_audio_transcription.segment",  # who speaks, of several
        "input_audio_buffer.dtmf_event_received",  # by telephone
    },
    ("ga", "client"): {"output_audio_buffer.clear"},
    ("preview", "server"): {*_BY_WEBRTC, "transcription_session.updated"},
    ("preview", "client"): {"output_audio_buffer.clear", "transcription_session.update"},
    ("voice-live", "server"): {
        *_MCP,
        "warning",
        *(
            f"response.animation_{each}"
            for each in ("blendshapes.delta", "blendshapes.done", "viseme.delta", "viseme.done")
        ),
        *("response.audio_timestamp.delta", "response.audio_timestamp.done", "response.video.delta"),
        *("response.audio_transcript.annotation.added", "response.invocation.delta"),
        *(
            f"response.{each}_search_call.{step}"
            for each in ("file", "web")
            for step in ("completed", "in_progress", "searching")
        ),
        *(f"session.avatar.{each}" for each in ("connecting", "switch_to_idle", "switch_to_speaking")),
    },
    ("voice-live", "client"): {
        *("input_audio.clear", "input_audio.turn.append", "input_audio.turn.cancel", "input_audio.turn.end"),
        *("input_audio.turn.start", "input_text.delta", "input_text.done", "session.avatar.connect"),
    },
}
"""What the SDKs know and no voice assistant needs: tools of other servers, WebRTC, telephones, avatars."""


async def answered(connection: Any, status: str = "completed") -> Any:
    done = await until(connection, "response.done")
    assert done.response.status == status
    return done.response


async def everything(connection: Any, dialect: Dialect) -> None:
    """Do whatever an application can."""
    is_ga = dialect == "ga"
    written = {"model": "gpt-transcribe" if is_ga else "gpt-4o-transcribe"}
    await until(connection, "session.created")
    session = settings(dialect) | {"tools": [TOOL]}
    if is_ga:
        session["audio"]["input"]["transcription"] = written
    else:
        session["input_audio_transcription"] = written
    await connection.session.update(session=session)
    await until(connection, "session.updated")
    await say(connection, "Set a timer.")
    (call,) = (await answered(connection)).output
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "{}"}
    await connection.send({"type": "conversation.item.create", "item": output})
    await connection.response.create()
    (spoken,) = (await answered(connection)).output
    await connection.conversation.item.retrieve(item_id=spoken.id)
    await until(connection, "conversation.item.retrieved")
    await connection.conversation.item.truncate(item_id=spoken.id, content_index=0, audio_end_ms=40)
    await until(connection, "conversation.item.truncated")
    await connection.conversation.item.delete(item_id=spoken.id)
    await until(connection, "conversation.item.deleted")
    await connection.response.cancel()
    await until(connection, "error")
    await press(connection, dialect)
    await until(connection, "conversation.item.input_audio_transcription.failed")
    in_text = {"output_modalities" if is_ga else "modalities": ["text"]}
    await connection.send({"type": "response.create", "response": in_text})
    await answered(connection)
    if is_ga:
        await connection.session.update(session=settings(dialect, idle_timeout_ms=5000))
        await say(connection, "Set a timer.")
        await answered(connection)
        for chunk in chunks(silence(10_000)):
            await connection.input_audio_buffer.append(audio=chunk)
        await until(connection, "input_audio_buffer.timeout_triggered")
        await answered(connection)
    if dialect == "voice-live":
        await connection.output_audio_buffer.clear()
        await until(connection, "output_audio_buffer.cleared")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_kind_of_message_is_what_the_sdk_says(dialect: Dialect, capsys: pytest.CaptureFixture[str]) -> None:
    async with Simulator(Scenario(turns=(CALL, MUMBLED), pace=0)) as simulator:
        async with peer(simulator, dialect) as connection:
            await everything(connection, dialect)
        recording = await simulator.session()
        await recording.wait_closed()
    check_frames(dialect, recording)
    counts = {}
    told: dict[Side, list[dict[str, Any]]] = {"server": recording.server_events, "client": recording.client_events}
    for side, events in told.items():
        seen = {event["type"] for event in events}
        assert seen | LACKING[dialect, side] == kinds(dialect, side)
        assert not seen & LACKING[dialect, side]
        counts[side] = f"{len(seen)} kinds in {len(events)} messages of the {side}"
    with capsys.disabled():
        print(f"\n{dialect}: {counts['server']}, {counts['client']}")


def test_no_kind_is_lacking_that_is_none() -> None:
    assert all(lacking <= kinds(dialect, side) for (dialect, side), lacking in LACKING.items())
