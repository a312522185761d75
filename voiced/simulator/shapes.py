"""Shapes that both dialects have in common, as checks."""

from collections.abc import Mapping
from typing import Any

from voiced.simulator.checks import (
    Check,
    anything,
    boolean,
    by_type,
    integer,
    invalid_value,
    listed,
    nullable,
    number,
    one_of,
    sound,
    table,
    text,
    variants,
)

RATE = 24_000
"""Samples per second of PCM on the wire."""

PREVIEW_VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse")
GA_VOICES = (*PREVIEW_VOICES, "marin", "cedar")

EVENT_ID = text(longest=512)
TOKENS = by_type({int: integer(1, 4096), str: one_of("inf")}, "an integer or 'inf'")
NOISE = {"type": one_of("near_field", "far_field")}
SERVER_VAD: dict[str, Check] = {
    "type": anything,
    "threshold": number(0, 1),
    "prefix_padding_ms": integer(0),
    "silence_duration_ms": integer(0),
    "create_response": boolean,
    "interrupt_response": boolean,
}
SEMANTIC_VAD: dict[str, Check] = {
    "type": anything,
    "eagerness": one_of("low", "medium", "high", "auto"),
    "create_response": boolean,
    "interrupt_response": boolean,
}
TRACING = nullable(
    by_type(
        {str: one_of("auto"), dict: table({"group_id": text(), "metadata": anything, "workflow_name": text()})},
        "'auto' or an object",
    )
)
FUNCTION: dict[str, Check] = {
    "type": one_of("function"),
    "name": text(),
    "description": text(),
    "parameters": anything,
}


def modalities(*allowed: frozenset[str]) -> Check:
    """Accept one of these sets, written as an array without doubles."""

    def check(value: Any, where: str) -> None:
        listed(one_of("text", "audio"))(value, where)
        if frozenset(value) not in allowed or len(set(value)) != len(value):
            raise invalid_value(value, where, [sorted(each, reverse=True) for each in allowed])

    return check


_ITEM: dict[str, Check] = {
    "id": text(longest=32),
    "object": one_of("realtime.item"),
    "type": anything,
    "status": one_of("in_progress", "completed", "incomplete"),
}
TEXT_PART: Check = table({"type": anything, "text": text()}, ["text"])
_SOUND: Check = table({"type": anything, "audio": sound, "transcript": nullable(text())})
_IMAGE: Check = table({"type": anything, "image_url": text(), "detail": text()}, ["image_url"])


def _message(contents: Mapping[str, Mapping[str, Check]]) -> Check:
    """Accept a message whose role is in ``contents``, with the kinds of part named there."""
    roles = {
        role: table(
            {**_ITEM, "role": anything, "content": listed(variants("type", parts))},
            ["content"],
        )
        for role, parts in contents.items()
    }
    return variants("role", roles)


def items(assistant: Mapping[str, Check], *, images: bool) -> dict[str, Check]:
    """Return the checks of items by their type; ``assistant`` are the parts an answer may be made of."""
    user = {"input_text": TEXT_PART, "input_audio": _SOUND, **({"input_image": _IMAGE} if images else {})}
    return {
        "message": _message({"system": {"input_text": TEXT_PART}, "user": user, "assistant": assistant}),
        "function_call": table(
            {**_ITEM, "name": text(), "call_id": text(), "arguments": text()}, ["name", "call_id", "arguments"]
        ),
        "function_call_output": table({**_ITEM, "call_id": text(), "output": text()}, ["call_id", "output"]),
    }


REFERENCE = {"item_reference": table({"type": anything, "id": text()}, ["id"])}
