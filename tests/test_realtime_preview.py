"""The preview dialect: our frames against the types of the ``openai`` package, its frames against our events."""

import json
from typing import Any

import pytest
from openai.types.beta.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.callers import CLIENT_EVENTS
from tests.wire import check_client_frame
from voiced.core.realtime import events as ev
from voiced.core.realtime.preview import decode, encode
from voiced.core.realtime.settings import SessionSettings, Transcription

SERVER = TypeAdapter[Any](RealtimeServerEvent)


def frame(event: ev.ClientEvent) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(event))
    return body


@pytest.mark.parametrize("event", CLIENT_EVENTS, ids=lambda event: type(event).__name__)
def test_every_frame_of_ours_is_one_the_sdk_knows(event: ev.ClientEvent) -> None:
    check_client_frame("preview", frame(event))


def test_the_session_is_flat_and_written_out_in_full() -> None:
    event = ev.UpdateSession(
        SessionSettings(
            instructions="Be short.",
            voice="alloy",
            transcription=Transcription("whisper-1"),
            noise_reduction="near_field",
            max_output_tokens=700,
        ),
        event_id="e1",
    )
    assert frame(event) == {
        "type": "session.update",
        "event_id": "e1",
        "session": {
            "modalities": ["text", "audio"],
            "instructions": "Be short.",
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "voice": "alloy",
            "input_audio_transcription": {"model": "whisper-1"},
            "input_audio_noise_reduction": {"type": "near_field"},
            "max_response_output_tokens": 700,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "create_response": True,
                "interrupt_response": False,
            },
        },
    }


def test_a_text_session_names_no_voice_and_can_switch_turn_detection_off() -> None:
    session = frame(ev.UpdateSession(SessionSettings(modalities=("text",), voice="alloy", turn_detection=None)))[
        "session"
    ]
    assert session["modalities"] == ["text"]
    assert "voice" not in session
    assert session["turn_detection"] is None


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
            {"type": "response.audio.delta", "delta": "AQACAA=="},
            ev.AudioDelta("r", "i", 0, b"\1\0\2\0"),
        ),
        (
            {"type": "response.audio_transcript.delta", "delta": "Hé"},
            ev.TextDelta("r", "i", 0, "Hé", spoken=True),
        ),
        (
            {"type": "response.text.delta", "delta": "Hé", "obfuscation": "x"},
            ev.TextDelta("r", "i", 0, "Hé", spoken=False),
        ),
        ({"type": "response.output_audio.delta", "delta": "AQACAA=="}, ev.Other("response.output_audio.delta")),
    ],
)
def test_reads_the_pieces_of_an_answer(body: dict[str, Any], event: ev.ServerEvent) -> None:
    common = {"event_id": "e", "response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    if not isinstance(event, ev.Other):
        SERVER.validate_python({**common, **body})  # the frame above is what the SDK expects, too
    assert decode(json.dumps({**common, **body})) == event
