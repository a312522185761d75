"""What holds for both dialects: strictness, robustness, and which setting a refusal takes out."""

import base64
import dataclasses
import json
import sys
import typing
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voiced.core.realtime import events as ev
from voiced.core.realtime.codec import CODECS, Codec, Dialect, minimal, without
from voiced.core.realtime.decoding import Table
from voiced.core.realtime.ga import _READERS as GA_READERS
from voiced.core.realtime.preview import _READERS as PREVIEW_READERS
from voiced.core.realtime.settings import SessionSettings, Transcription
from voiced.errors import ProtocolError

SERVER_EVENTS = typing.get_args(ev.ServerEvent)
DIALECTS: st.SearchStrategy[Dialect] = st.sampled_from(["ga", "preview"])
KINDS = sorted(GA_READERS.keys() | PREVIEW_READERS.keys())

USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}

COMMON_FRAMES: list[tuple[dict[str, Any], ev.ServerEvent]] = [
    (
        {"type": "session.created", "session": {"id": "s", "model": "m", "expires_at": 1764000000}},
        ev.SessionCreated("s", "m", 1764000000.0),
    ),
    ({"type": "session.created", "session": {"id": "s"}}, ev.SessionCreated("s")),
    ({"type": "session.updated", "session": {"id": "s", "model": "m"}}, ev.SessionUpdated("s", "m")),
    ({"type": "session.updated"}, ev.SessionUpdated()),
    (
        {"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": 12.0},
        ev.SpeechStarted("i", 12),
    ),
    (
        {"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": 980},
        ev.SpeechStopped("i", 980),
    ),
    (
        {"type": "input_audio_buffer.committed", "item_id": "i", "previous_item_id": None},
        ev.InputCommitted("i"),
    ),
    (
        {"type": "conversation.item.input_audio_transcription.delta", "item_id": "i", "delta": "Gu"},
        ev.InputTranscriptDelta("i", "Gu"),
    ),
    (
        {"type": "conversation.item.input_audio_transcription.delta", "item_id": "i"},
        ev.InputTranscriptDelta("i", ""),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "i",
            "content_index": 0,
            "transcript": "Grüße",
            "usage": {"type": "duration", "seconds": 2},
        },
        ev.InputTranscript("i", "Grüße", {"type": "duration", "seconds": 2}),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": "i",
            "error": {"message": "no such deployment"},
        },
        ev.InputTranscriptFailed("i", "no such deployment"),
    ),
    ({"type": "response.created", "response": {"id": "r"}}, ev.ResponseStarted("r")),
    (
        {"type": "response.output_item.added", "response_id": "r", "item": {"id": "i", "type": "message"}},
        ev.ItemAdded("r", "i", "message"),
    ),
    (
        {
            "type": "response.output_item.done",
            "response_id": "r",
            "item": {
                "id": "i",
                "type": "function_call",
                "status": "completed",
                "call_id": "c",
                "name": "timer",
                "arguments": "{}",
            },
        },
        ev.FunctionCall("r", "i", "c", "timer", "{}"),
    ),
    (
        {
            "type": "response.output_item.done",
            "response_id": "r",
            "item": {"id": "i", "type": "function_call", "status": "incomplete", "arguments": '{"mi'},
        },
        ev.Other("response.output_item.done"),
    ),
    (
        {"type": "response.output_item.done", "response_id": "r", "item": {"id": "i", "type": "message"}},
        ev.Other("response.output_item.done"),
    ),
    (
        {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": USAGE}},
        ev.ResponseDone(
            "r",
            "completed",
            usage=ev.Usage(
                total=253,
                input=132,
                output=121,
                input_text=119,
                input_audio=13,
                cached=64,
                cached_text=64,
                output_text=30,
                output_audio=91,
            ),
        ),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "cancelled",
                "status_details": {"type": "cancelled", "reason": "turn_detected"},
                "usage": None,
            },
        },
        ev.ResponseDone("r", "cancelled", "turn_detected"),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "failed",
                "status_details": {
                    "type": "failed",
                    "error": {"type": "server_error", "code": "rate_limit_exceeded", "message": "Slow down."},
                },
            },
        },
        ev.ResponseDone("r", "failed", "rate_limit_exceeded", "Slow down."),
    ),
    (
        {
            "type": "rate_limits.updated",
            "rate_limits": [
                {"name": "tokens", "limit": 40000, "remaining": 39000, "reset_seconds": 1.5},
                {"name": "requests"},
            ],
        },
        ev.RateLimits({"tokens": 1.5}),
    ),
    (
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": "unknown_parameter",
                "message": "Unknown parameter.",
                "param": "session.foo",
                "event_id": "e1",
            },
        },
        ev.ServiceProblem("invalid_request_error", "unknown_parameter", "Unknown parameter.", "session.foo", "e1"),
    ),
    ({"type": "error", "error": {}}, ev.ServiceProblem("unknown", None, "no reason given")),
    ({"type": "conversation.item.added", "item": {"id": "i"}}, ev.Other("conversation.item.added")),
    ({"type": "something.new", "deep": [1, {"two": None}]}, ev.Other("something.new")),
]


@pytest.fixture(params=["ga", "preview"])
def codec(request: pytest.FixtureRequest) -> Codec:
    dialect: Dialect = request.param
    return CODECS[dialect]


@pytest.mark.parametrize(("frame", "event"), COMMON_FRAMES)
def test_reads_what_both_dialects_say_alike(codec: Codec, frame: dict[str, Any], event: ev.ServerEvent) -> None:
    assert codec.decode(json.dumps(frame)) == event
    assert codec.decode(json.dumps({"event_id": "e", **frame, "new_key": {"x": 1}})) == event


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            {"type": "session.created", "session": {"id": 3}},
            "session.created: session.id must be text, not 3",
        ),
        ({"type": "session.created"}, "session.created: session is missing; it must be an object"),
        (
            {"type": "response.done", "response": {"id": "r", "status": "fine"}},
            "response.done: response.status must be one of completed, cancelled, incomplete, failed, not 'fine'",
        ),
        (
            {
                "type": "response.done",
                "response": {"id": "r", "status": "completed", "usage": {"input_tokens": -1}},
            },
            "response.done: response.usage.input_tokens must be a whole number, 0 or more, not -1",
        ),
        (
            {"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": True},
            "input_audio_buffer.speech_started: audio_start_ms must be a whole number, not True",
        ),
        (
            {"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": 10**400},
            "input_audio_buffer.speech_stopped: audio_end_ms must be a whole number, 1000000000 at most, not 1"
            + "0" * 56
            + "...",
        ),
        (
            {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": {"total_tokens": 1e300}}},
            "response.done: response.usage.total_tokens must be a whole number, 1000000000 at most, not 1e+300",
        ),
        (
            {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "reset_seconds": "many"}]},
            "rate_limits.updated: rate_limits[0].reset_seconds must be a number, not 'many'",
        ),
        (
            {"type": "rate_limits.updated", "rate_limits": {"tokens": 1}},
            "rate_limits.updated: rate_limits must be a list of objects, not an object",
        ),
        (
            {"type": "session.created", "session": {"id": "s", "expires_at": float("nan")}},
            "session.created: session.expires_at must be a number, not nan",
        ),
        (
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": "i",
                "transcript": {"said": "in private"},
            },
            "conversation.item.input_audio_transcription.completed: transcript must be text, not an object",
        ),
        ({"type": None}, "A message of the service: type must be text, not None"),
        ([1], "A message of the service must be a JSON object, not a list"),
    ],
)
def test_names_event_field_and_value_of_what_is_wrong(codec: Codec, frame: object, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.decode(json.dumps(frame))
    assert str(caught.value) == said


FIELDS = [
    "session",
    "id",
    "response",
    "item",
    "type",
    "status",
    "usage",
    "error",
    "delta",
    "name",
    "item_id",
    "response_id",
    "content_index",
    "transcript",
    "rate_limits",
    "status_details",
    "audio_start_ms",
    "input_token_details",
    "expires_at",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["completed", "failed", "function_call", "message", "AAA=", "AAAA", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)


def outcome(dialect: Dialect, text: str) -> ev.ServerEvent | ProtocolError:
    """Decode, and insist that whatever comes of it can be written to a log, a file or MQTT."""
    try:
        event = CODECS[dialect].decode(text)
    except ProtocolError as exc:
        str(exc).encode()
        return exc
    for value in (getattr(event, one.name) for one in dataclasses.fields(event)):
        if isinstance(value, str):
            value.encode()
    return event


@given(kind=st.sampled_from(KINDS) | JSON, body=JSON, dialect=DIALECTS)
@example(kind="session.created", body={"session": {"id": "\ud83d"}}, dialect="ga")
@example(kind="session.created", body={"session": {"id": "s", "expires_at": 10**400}}, dialect="ga")
def test_any_json_is_an_event_or_a_protocol_error(kind: object, body: object, dialect: Dialect) -> None:
    frame = {**body, "type": kind} if isinstance(body, dict) else body
    result = outcome(dialect, json.dumps(frame))
    assert isinstance(result, (*SERVER_EVENTS, ProtocolError))
    assert not isinstance(result, ProtocolError) or len(str(result)) < 300


@given(text=st.text(), dialect=DIALECTS)
@example(text="[" * 100_000, dialect="ga")
@example(text='{"type":' + "9" * 5000 + "}", dialect="ga")
@example(text='{"type":"error"', dialect="preview")
@example(text="\ufeff{}", dialect="preview")
def test_any_text_is_an_event_or_a_protocol_error(text: str, dialect: Dialect) -> None:
    assert isinstance(outcome(dialect, text), (*SERVER_EVENTS, ProtocolError))


def test_nesting_at_the_edge_of_what_can_be_read_and_shown(codec: Codec) -> None:
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit + 20):
        with pytest.raises(ProtocolError):
            codec.decode('{"type":' + "[" * depth + "]" * depth + "}")


def test_lone_surrogates_become_replacement_characters(codec: Codec) -> None:
    frame = '{"type":"error","error":{"message":"\\ud83d broken, \\ud83d\\ude00 whole"}}'
    event = codec.decode(frame)
    assert isinstance(event, ev.ServiceProblem)
    assert event.message == "\ufffd broken, \U0001f600 whole"


@given(st.binary(max_size=300).filter(lambda pcm: len(pcm) % 2 == 0))
def test_sound_comes_back_as_it_was_sent(pcm: bytes) -> None:
    for codec in CODECS.values():
        sent = json.loads(codec.encode(ev.AppendAudio(pcm)))
        assert Table(sent, "append").pcm("audio") == pcm
        assert base64.b64decode(sent["audio"], validate=True) == pcm


@pytest.mark.parametrize("audio", ["AAA", "AA==AAAA", "A A A A ", "AAAA\n", "-_-_", "ÄÖÜ=", "====", 7, None, "AAAA"])
def test_sound_that_is_not_whole_samples_in_strict_base64_is_refused(audio: object) -> None:
    frame = {"response_id": "r", "item_id": "i", "content_index": 0, "delta": audio}
    for codec, kind in ((CODECS["ga"], "response.output_audio.delta"), (CODECS["preview"], "response.audio.delta")):
        with pytest.raises(ProtocolError, match=f"^{kind}: delta must "):
            codec.decode(json.dumps({"type": kind, **frame}))


def test_half_a_sample_is_never_sent(codec: Codec) -> None:
    with pytest.raises(ValueError, match="whole 16-bit samples, not 3 bytes"):
        codec.encode(ev.AppendAudio(b"\0\0\0"))


# --- what to leave out of a refused session.update --------------------------------------------------------------------

RICH = SessionSettings(
    instructions="Be short.",
    voice="marin",
    speed=1.1,
    transcription=Transcription("whisper-1", "de"),
    noise_reduction="far_field",
    max_output_tokens=900,
    tools=({"type": "function", "name": "t", "parameters": {}},),
)


def session(update: str | None) -> dict[str, Any]:
    assert update is not None
    body = json.loads(update)
    assert body["type"] == "session.update"
    assert body["event_id"] == "e1"
    found: dict[str, Any] = body["session"]
    return found


@pytest.mark.parametrize(
    ("dialect", "param", "gone"),
    [
        ("ga", "session.audio.output.voice", "audio.output.voice"),
        ("ga", "session.audio.input.transcription.model", "audio.input.transcription"),
        ("ga", "session.audio.input.transcription.language", "audio.input.transcription.language"),
        ("ga", "session.audio.input.turn_detection.type", "audio.input.turn_detection"),
        ("ga", "session.audio.input.noise_reduction.strength", "audio.input.noise_reduction"),
        ("ga", "session.tools[0].name", "tools"),
        ("ga", "session.max_output_tokens", "max_output_tokens"),
        ("preview", "session.voice", "voice"),
        ("preview", "session.input_audio_noise_reduction", "input_audio_noise_reduction"),
        ("preview", "session.input_audio_transcription.model", "input_audio_transcription"),
    ],
)
def test_exactly_the_refused_setting_is_left_out(dialect: Dialect, param: str, gone: str) -> None:
    update = CODECS[dialect].encode(ev.UpdateSession(RICH, "e1"))
    expected = session(update)
    *path, last = gone.split(".")
    parent = expected
    for key in path:
        parent = parent[key]
    del parent[last]
    assert session(without(update, param)) == expected


@pytest.mark.parametrize(
    "param",
    [
        *("session.type", "session.instructions", "session.output_modalities[0]", "session.modalities", "session"),
        *("session.unknown", "", "type", "event_id", "session.audio.output", "session.audio.input.nothing"),
    ],
)
def test_nothing_can_be_left_out_for_what_is_essential_or_not_there(codec: Codec, param: str) -> None:
    assert without(codec.encode(ev.UpdateSession(RICH, "e1")), param) is None


def test_a_minimal_update_keeps_instructions_and_output(codec: Codec) -> None:
    kept = session(minimal(codec.encode(ev.UpdateSession(RICH, "e1"))))
    assert kept in (
        {"type": "realtime", "output_modalities": ["audio"], "instructions": "Be short."},
        {"modalities": ["text", "audio"], "instructions": "Be short."},
    )


def test_a_minimal_update_keeps_turn_detection_off(codec: Codec) -> None:
    silent = dataclasses.replace(RICH, turn_detection=None)
    kept = session(minimal(codec.encode(ev.UpdateSession(silent, "e1"))))
    assert kept.get("audio", {"input": kept})["input"]["turn_detection"] is None


@pytest.mark.parametrize(
    ("dialect", "session"),
    [
        ("ga", {"type": "realtime", "audio": {"input": {"turn_detection": None}}}),
        ("preview", {"turn_detection": None}),
        ("voice-live", {"turn_detection": None}),
    ],
)
def test_turn_detection_changes_alone(dialect: Dialect, session: dict[str, Any]) -> None:
    """A setting that the service refused, or a voice that it will not change any more, would drop it otherwise."""
    assert json.loads(CODECS[dialect].encode(ev.UpdateTurns(None))) == {"type": "session.update", "session": session}
