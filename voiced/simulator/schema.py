"""What a client may send, in both dialects, checked as strictly as the service does.

The GA dialect nests sound under ``session.audio``; the preview dialect is flat; Voice Live is the preview dialect with
more keys. Source: OpenAI's OpenAPI file of 2026-08-21 and Microsoft's references.
"""

from collections.abc import Mapping
from typing import Any

from voiced.simulator.checks import (
    Check,
    Wrong,
    anything,
    boolean,
    by_type,
    integer,
    invalid_value,
    listed,
    metadata,
    nullable,
    number,
    one_of,
    table,
    text,
    variants,
)
from voiced.simulator.shapes import (
    EVENT_ID,
    FUNCTION,
    GA_VOICES,
    NOISE,
    PREVIEW_VOICES,
    RATE,
    REFERENCE,
    SEMANTIC_VAD,
    SERVER_VAD,
    TEXT_PART,
    TOKENS,
    TRACING,
    items,
    modalities,
)

# --- GA ---------------------------------------------------------------------------------------------------------------


def _pcm_only(value: Any, where: str) -> None:
    """Accept 24 kHz PCM. G.711 is part of the protocol and not of this simulator, which says so."""
    table({"type": one_of("audio/pcm", "audio/pcmu", "audio/pcma"), "rate": integer(RATE, RATE)}, ["type"])(
        value, where
    )
    if value["type"] != "audio/pcm":
        raise Wrong("invalid_value", "The simulator speaks 'audio/pcm' only.", f"{where}.type")


_GA_TOOL = variants(
    "type",
    {"function": table(FUNCTION, ["name"]), "mcp": anything},
)
_GA_TOOL_CHOICE = by_type(
    {
        str: one_of("auto", "none", "required"),
        dict: variants(
            "type",
            {
                "function": table({"type": anything, "name": text()}, ["name"]),
                "mcp": table({"type": anything, "server_label": text(), "name": text()}, ["server_label"]),
            },
        ),
    },
    "a string or an object",
)
_GA_VOICE = by_type({str: one_of(*GA_VOICES), dict: table({"id": text()}, ["id"])}, "a string or an object")
_EFFORT = table({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})
_PROMPT = nullable(table({"id": text(), "version": nullable(text()), "variables": anything}, ["id"]))
_GA_TRANSCRIPTION = table(
    {
        "model": text(),
        "language": text(),
        "languages": listed(text()),
        "prompt": text(),
        "keywords": listed(text()),
        "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
    }
)
_GA_SESSION = table(
    {
        "type": anything,
        "model": text(),
        "instructions": nullable(text()),
        "tools": nullable(listed(_GA_TOOL)),
        "tool_choice": _GA_TOOL_CHOICE,
        "max_output_tokens": TOKENS,
        "output_modalities": modalities(frozenset({"audio"}), frozenset({"text"})),
        "audio": table(
            {
                "input": table(
                    {
                        "format": _pcm_only,
                        "transcription": nullable(_GA_TRANSCRIPTION),
                        "noise_reduction": nullable(table({**NOISE, "strength": number(0, 1)})),
                        "turn_detection": nullable(
                            variants(
                                "type",
                                {
                                    "server_vad": table(
                                        {**SERVER_VAD, "idle_timeout_ms": nullable(integer(5000, 30_000))}
                                    ),
                                    "semantic_vad": table(SEMANTIC_VAD),
                                },
                            )
                        ),
                    }
                ),
                "output": table({"format": _pcm_only, "voice": _GA_VOICE, "speed": number(0.25, 1.5)}),
            }
        ),
        "tracing": TRACING,
        "include": nullable(listed(one_of("item.input_audio_transcription.logprobs"))),
        "prompt": _PROMPT,
        "truncation": by_type(
            {
                str: one_of("auto", "disabled"),
                dict: table(
                    {
                        "type": one_of("retention_ratio"),
                        "retention_ratio": number(0, 1),
                        "token_limits": table({"post_instructions": integer(0)}),
                    },
                    ["type", "retention_ratio"],
                ),
            },
            "a string or an object",
        ),
        "reasoning": nullable(_EFFORT),
        "parallel_tool_calls": boolean,
    }
)


def _ga_session(value: Any, where: str) -> None:
    """Accept an update of a conversation; a transcription session is not what this simulator runs."""
    variants("type", {"realtime": anything, "transcription": anything})(value, where)
    if value["type"] == "transcription":
        raise Wrong(
            "invalid_value",
            "Passing a transcription session update event to a realtime session is not allowed.",
            f"{where}.type",
        )
    _GA_SESSION(value, where)


_GA_ITEM = items({"output_text": TEXT_PART}, images=True)
_PREVIEW_ITEM = items({"text": TEXT_PART}, images=False)
_VOICE_LIVE_ITEM = items({"text": TEXT_PART}, images=True)

_GA_RESPONSE = table(
    {
        "instructions": nullable(text()),
        "output_modalities": modalities(frozenset({"audio"}), frozenset({"text"})),
        "audio": table({"output": table({"format": _pcm_only, "voice": _GA_VOICE})}),
        "tools": listed(_GA_TOOL),
        "tool_choice": _GA_TOOL_CHOICE,
        "parallel_tool_calls": boolean,
        "reasoning": nullable(_EFFORT),
        "max_output_tokens": TOKENS,
        "conversation": one_of("auto", "none"),
        "metadata": nullable(metadata),
        "input": listed(variants("type", {**_GA_ITEM, **REFERENCE})),
        "prompt": _PROMPT,
    }
)

# --- preview ----------------------------------------------------------------------------------------------------------


def _pcm16_only(value: Any, where: str) -> None:
    one_of("pcm16", "g711_ulaw", "g711_alaw")(value, where)
    if value != "pcm16":
        raise Wrong("invalid_value", "The simulator speaks 'pcm16' only.", where)


_PREVIEW_MODALITIES = modalities(frozenset({"text"}), frozenset({"text", "audio"}))
_PREVIEW_VOICE = one_of(*PREVIEW_VOICES)
_PREVIEW_TOOL = table(FUNCTION)
_PREVIEW_RESPONSE_FIELDS: dict[str, Check] = {
    "instructions": nullable(text()),
    "modalities": _PREVIEW_MODALITIES,
    "voice": _PREVIEW_VOICE,
    "output_audio_format": _pcm16_only,
    "tools": listed(_PREVIEW_TOOL),
    "tool_choice": by_type({str: text(), dict: anything}, "a string or an object"),
    "temperature": number(0.6, 1.2),
    "max_response_output_tokens": TOKENS,
    "conversation": one_of("auto", "none"),
    "metadata": nullable(metadata),
    "input": listed(variants("type", {**_PREVIEW_ITEM, **REFERENCE}, default="message")),
}
_PREVIEW_SESSION_FIELDS: dict[str, Check] = {
    "model": text(),
    "modalities": _PREVIEW_MODALITIES,
    "instructions": nullable(text()),
    "voice": _PREVIEW_VOICE,
    "speed": number(0.25, 1.5),
    "input_audio_format": _pcm16_only,
    "output_audio_format": _pcm16_only,
    "input_audio_transcription": nullable(table({"model": text(), "language": text(), "prompt": text()})),
    "input_audio_noise_reduction": nullable(table(NOISE)),
    "turn_detection": nullable(
        variants(
            "type",
            {"server_vad": table(SERVER_VAD), "semantic_vad": table(SEMANTIC_VAD)},
            default="server_vad",
        )
    ),
    "tools": nullable(listed(_PREVIEW_TOOL)),
    "tool_choice": _PREVIEW_RESPONSE_FIELDS["tool_choice"],
    "temperature": number(0.6, 1.2),
    "max_response_output_tokens": TOKENS,
    "tracing": TRACING,
}

# --- Voice Live -------------------------------------------------------------------------------------------------------

_VOICE = by_type({str: text(), dict: anything}, "a string or an object")
_AZURE_VAD: dict[str, Check] = {
    **SERVER_VAD,
    "idle_timeout_ms": anything,
    "end_of_utterance_detection": anything,
    "auto_truncate": boolean,
    "speech_duration_ms": integer(0),
    "remove_filler_words": boolean,
    "languages": listed(text()),
}
_VOICE_LIVE_SESSION = table(
    {
        **{key: check for key, check in _PREVIEW_SESSION_FIELDS.items() if key not in {"speed", "tracing"}},
        "modalities": listed(text()),
        "voice": _VOICE,
        "input_audio_transcription": nullable(anything),
        "input_audio_noise_reduction": nullable(anything),
        "turn_detection": nullable(
            variants(
                "type",
                {
                    **dict.fromkeys(
                        (
                            "server_vad",
                            "azure_semantic_vad",
                            "azure_semantic_vad_en",
                            "azure_semantic_vad_multilingual",
                        ),
                        table(_AZURE_VAD),
                    ),
                    "semantic_vad": table(SEMANTIC_VAD),
                },
            )
        ),
        "temperature": number(0, 2),
        **dict.fromkeys(
            (
                "agent",
                "animation",
                "avatar",
                "include",
                "input_audio_echo_cancellation",
                "interim_response",
                "metadata",
                "output_audio_timestamp_types",
                "parallel_tool_calls",
                "phrase_list",
                "reasoning_effort",
            ),
            anything,
        ),
        "input_audio_sampling_rate": one_of(8000, 16_000, 24_000),
    }
)
_VOICE_LIVE_RESPONSE = table(
    {
        **_PREVIEW_RESPONSE_FIELDS,
        "modalities": listed(text()),
        "voice": _VOICE,
        "input": listed(variants("type", {**_VOICE_LIVE_ITEM, **REFERENCE})),
        **dict.fromkeys(
            (
                "append_input_items",
                "cancel_previous",
                "commit",
                "input_items",
                "interim_response",
                "invoke_input",
                "max_output_tokens",
                "pre_generated_assistant_message",
                "reasoning_effort",
            ),
            anything,
        ),
    }
)

# --- events -----------------------------------------------------------------------------------------------------------


def _events(session: Check, response: Check, item: Check) -> dict[str, Check]:
    def event(required: tuple[str, ...] = (), **fields: Check) -> Check:
        return table({"type": anything, "event_id": nullable(EVENT_ID), **fields}, required)

    item_id = text()
    return {
        "session.update": event(("session",), session=session),
        "input_audio_buffer.append": event(("audio",), audio=text()),
        "input_audio_buffer.commit": event(),
        "input_audio_buffer.clear": event(),
        "conversation.item.create": event(("item",), item=item, previous_item_id=nullable(text())),
        "conversation.item.retrieve": event(("item_id",), item_id=item_id),
        "conversation.item.truncate": event(
            ("item_id", "content_index", "audio_end_ms"),
            item_id=item_id,
            content_index=integer(0),
            audio_end_ms=integer(0),
        ),
        "conversation.item.delete": event(("item_id",), item_id=item_id),
        "response.create": event(response=nullable(response)),
        "response.cancel": event(response_id=nullable(text())),
    }


GA = _events(_ga_session, _GA_RESPONSE, variants("type", _GA_ITEM))
"""Checks of the GA dialect by event type."""

PREVIEW = _events(
    table(_PREVIEW_SESSION_FIELDS),
    table(_PREVIEW_RESPONSE_FIELDS),
    variants("type", _PREVIEW_ITEM, default="message"),
)
"""Checks of the preview dialect by event type."""

VOICE_LIVE = {
    **_events(_VOICE_LIVE_SESSION, _VOICE_LIVE_RESPONSE, variants("type", _VOICE_LIVE_ITEM)),
    "response.create": table(
        {
            "type": anything,
            "event_id": nullable(EVENT_ID),
            "response": nullable(_VOICE_LIVE_RESPONSE),
            "additional_instructions": nullable(text()),
        }
    ),
    "output_audio_buffer.clear": table({"type": anything, "event_id": nullable(EVENT_ID)}),
}
"""Checks of Voice Live by event type."""


def check_event(schema: Mapping[str, Check], event: Any) -> None:
    """Check one client event.

    Raises:
        Wrong: What is wrong with it, first problem only, as the service does it.

    """
    if not isinstance(event, dict):
        raise Wrong("invalid_json", "Invalid JSON: expected an object.")
    kind = event.get("type")
    if kind is None:
        raise Wrong("missing_required_parameter", "Missing required parameter: 'type'.", "type")
    if not isinstance(kind, str) or kind not in schema:
        raise invalid_value(kind, "type", tuple(schema))
    schema[kind](event, "")
