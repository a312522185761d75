"""The GA dialect: our frames against the types of the ``openai`` package, its frames against our events."""

import json
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.callers import CLIENT_EVENTS
from tests.wire import check_client_frame
from voiced.core.realtime import events as ev
from voiced.core.realtime.ga import decode, encode
from voiced.core.realtime.settings import SessionSettings, Transcription

SERVER = TypeAdapter[Any](RealtimeServerEvent)


def frame(event: ev.ClientEvent) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(event))
    return body


@pytest.mark.parametrize("event", CLIENT_EVENTS, ids=lambda event: type(event).__name__)
def test_every_frame_of_ours_is_one_the_sdk_knows(event: ev.ClientEvent) -> None:
    check_client_frame("ga", frame(event))


def test_the_session_is_written_out_in_full() -> None:
    event = ev.UpdateSession(
        SessionSettings(instructions="Be short.", voice="cedar", transcription=Transcription("gpt-transcribe", "en")),
        event_id="e1",
    )
    pcm = {"type": "audio/pcm", "rate": 24000}
    assert frame(event) == {
        "type": "session.update",
        "event_id": "e1",
        "session": {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": "Be short.",
            "audio": {
                "input": {
                    "format": pcm,
                    "transcription": {"model": "gpt-transcribe", "language": "en"},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 500,
                        "create_response": True,
                        "interrupt_response": False,
                    },
                },
                "output": {"format": pcm, "voice": "cedar"},
            },
        },
    }


def test_a_text_session_names_no_voice_and_can_switch_turn_detection_off() -> None:
    session = frame(ev.UpdateSession(SessionSettings(modalities=("text",), voice="marin", turn_detection=None)))[
        "session"
    ]
    assert session["output_modalities"] == ["text"]
    assert "output" not in session["audio"]
    assert session["audio"]["input"]["turn_detection"] is None


def test_a_literal_text_is_read_outside_the_conversation() -> None:
    response = frame(ev.CreateResponse(literal="Tea is ready."))["response"]
    assert response["conversation"] == "none"
    assert response["input"] == []
    assert response["tool_choice"] == "none"
    assert response["instructions"].endswith("\n\nTea is ready.")


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (
            {"type": "response.output_audio.delta", "delta": "AQACAA=="},
            ev.AudioDelta("r", "i", 0, b"\1\0\2\0"),
        ),
        (
            {"type": "response.output_audio_transcript.delta", "delta": "Hé"},
            ev.TextDelta("r", "i", 0, "Hé", spoken=True),
        ),
        (
            {"type": "response.output_text.delta", "delta": "Hé", "obfuscation": "x"},
            ev.TextDelta("r", "i", 0, "Hé", spoken=False),
        ),
        ({"type": "response.audio.delta", "delta": "AQACAA=="}, ev.Other("response.audio.delta")),
    ],
)
def test_reads_the_pieces_of_an_answer(body: dict[str, Any], event: ev.ServerEvent) -> None:
    common = {"event_id": "e", "response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    if not isinstance(event, ev.Other):
        SERVER.validate_python({**common, **body})  # the frame above is what the SDK expects, too
    assert decode(json.dumps({**common, **body})) == event
