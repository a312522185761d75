"""Every command, in one table: what it does and what its JSON object may hold.

Reading, JSON Schemas and the reference in the README are made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from voiced.core.sentences import LONGEST_SENTENCE

JsonSchema: TypeAlias = dict[str, Any]

LONGEST_TEXT = 8_000
"""Characters of a text to say or ask."""
LONGEST_NAME = 128
"""Characters of an ``id`` or the name of a profile."""
MOST_TURNS = 100
"""In one answer."""
LONGEST_PLACE = 2_048
"""Characters of a path or a URL."""
MOST_ANSWERS = 30
"""To one question, and sentences of one answer."""
LISTEN_RANGE_S = (1.0, 60.0)

_TEXT: JsonSchema = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
_NAME: JsonSchema = {"type": "string", "maxLength": LONGEST_NAME}
_VOICE: JsonSchema = {**_NAME, "type": ["string", "null"]}
_VOLUME: JsonSchema = {"type": ["integer", "null"], "minimum": 0, "maximum": 100}
_PLACE: JsonSchema = {"type": "string", "maxLength": LONGEST_PLACE, "pattern": "^(/[^\\n]+|https?://[^\\s]+)$"}
_SWITCH: JsonSchema = {"enum": [True, False, "ON", "OFF", "on", "off", "true", "false", 1, 0, "1", "0", None]}
_TOGGLE: JsonSchema = {"enum": [*_SWITCH["enum"][:-1], "TOGGLE", "toggle"]}
_LAST: JsonSchema = {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_TURNS}
_SECONDS: JsonSchema = {"type": ["number", "null"], "minimum": LISTEN_RANGE_S[0], "maximum": LISTEN_RANGE_S[1]}
_SENTENCE: JsonSchema = {"type": "string", "minLength": 1, "maxLength": LONGEST_SENTENCE}
_SENTENCES: JsonSchema = {"type": "array", "items": _SENTENCE, "minItems": 1, "maxItems": MOST_ANSWERS}
_ANSWER: JsonSchema = {
    "type": "object",
    "properties": {"id": {**_NAME, "minLength": 1}, "sentences": {"anyOf": [_SENTENCE, _SENTENCES]}},
    "required": ["id", "sentences"],
    "additionalProperties": False,
}
_ANSWERS: JsonSchema = {
    "type": ["array", "null"],
    "items": {"anyOf": [_SENTENCE, _ANSWER]},
    "maxItems": MOST_ANSWERS,
    "description": "words, [optional] words, (one|other), and {name} for any words; the id comes back",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the table: ``command/<name>``."""

    name: str
    meaning: str
    keys: Mapping[str, JsonSchema] = field(default_factory=dict)
    text: str | None = None
    """Key that plain text stands for; that key must be there."""
    instead: str | None = None
    """Key that may be there in its place."""


ACTIONS = (
    Action(
        "listen",
        "listen as if woken",
        {
            "timeout_s": _SECONDS,
            "profile": {**_NAME, "type": ["string", "null"]},
            "persona": _NAME,
            "hold": _SWITCH,
        },
    ),
    Action("release", "end what `listen` with `hold` began, have it answered"),
    Action("stop", "fall silent, end the turn"),
    Action("end", "end the conversation"),
    Action("new_conversation", "end it, and forget what was said"),
    Action(
        "say",
        "speak a text word for word",
        {"text": _TEXT, "voice": _VOICE, "volume": _VOLUME, "interrupt": _SWITCH, "listen_after": _SWITCH},
        text="text",
    ),
    Action(
        "announce",
        "the same with a chime, behind what is going on; or play a sound file",
        {
            "text": _TEXT,
            "media": _PLACE,
            "chime": _SWITCH,
            "priority": {"enum": ["normal", "high", None]},
            "voice": _VOICE,
            "volume": _VOLUME,
            "interrupt": _SWITCH,
            "listen_after": _SWITCH,
        },
        text="text",
        instead="media",
    ),
    Action("cancel_announcements", "forget those that wait"),
    Action(
        "ask",
        "take a text as what the person said, speak the answer",
        {
            "text": _TEXT,
            "instructions": {"type": ["string", "null"], "maxLength": LONGEST_TEXT},
            "listen_after": _SWITCH,
        },
        text="text",
    ),
    Action(
        "ask_question",
        "speak a question, listen without a wake word, tell what was answered",
        {
            "text": _TEXT,
            "answers": _ANSWERS,
            "timeout_s": _SECONDS,
            "chime": _SWITCH,
            "voice": _VOICE,
            "volume": _VOLUME,
            "interrupt": _SWITCH,
        },
        text="text",
    ),
    Action("watch", "tell on `ears` what is heard, five times a second, for a while", {"for_s": _SECONDS}),
    Action("turns", "answer with the last finished turns, oldest first", {"last": _LAST}),
    Action("reload", "read the configuration again; the answer says what holds now, and what after a restart"),
    Action("restart", "end, to be started again by systemd"),
    Action("ping", "answer"),
)
SETTINGS: Mapping[str, JsonSchema] = {
    "mute": _TOGGLE,
    "wake_enabled": _TOGGLE,
    "follow_up": _TOGGLE,
    "wake_word": {**_NAME, "minLength": 1},
    "persona": {**_NAME, "minLength": 1},
    "voice": {**_NAME, "minLength": 1},
    "volume": {"type": "integer", "minimum": 0, "maximum": 100},
    "wake_sensitivity": {"type": "number", "minimum": 0, "maximum": 1},
}
"""What ``set`` takes."""


def keys(action: str) -> frozenset[str]:
    """Return what the JSON object of an action may hold, but for ``id`` and ``action``."""
    return _KEYS[action]


_KEYS = {action.name: frozenset(action.keys) for action in ACTIONS}
_KEYS["get"] = frozenset({"topics"})

_ID: JsonSchema = {
    "anyOf": [{**_NAME}, {"type": "integer"}, {"type": "null"}],
    "description": "comes back with the answer",
}


def schemas(retained: tuple[str, ...]) -> dict[str, JsonSchema]:
    """Return the JSON Schema of the object that each command takes, by topic name; ``retained`` can be asked for."""

    def made(
        of: Mapping[str, JsonSchema], required: str | None, instead: str | None = None, *, strict: bool = False
    ) -> JsonSchema:
        schema: JsonSchema = {"type": "object", "properties": {**of, "id": _ID}}
        if instead is not None:
            schema["oneOf"] = [{"required": [required]}, {"required": [instead]}]
        elif required is not None:
            schema["required"] = [required]
        if strict:
            schema["additionalProperties"] = False
        return schema

    topics = {"type": ["array", "null"], "items": {"enum": list(retained)}, "minItems": 1}
    return {
        **{f"command/{action.name}": made(action.keys, action.text, action.instead) for action in ACTIONS},
        "set": {**made(SETTINGS, None, strict=True), "minProperties": 1},
        "get": made({"topics": topics}, None),
    }


def reference() -> str:
    """Return the commands as Markdown, for the README."""
    lines = ["| command | what it does | JSON keys |", "| --- | --- | --- |"]
    for action in ACTIONS:
        named = ", ".join(f"`{key}`" for key in action.keys) or "-"
        plain = "; plain text will do" if action.text else ""
        lines.append(f"| `{action.name}` | {action.meaning}{plain} | {named} |")
    return "\n".join(lines) + "\n"
