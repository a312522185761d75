"""Commands read from bytes on a topic: a command, or a sentence that says what was wrong and how to mend it.

Home Assistant sends ``PRESS`` or plain text, scripts send JSON objects; both do. Keys of a JSON command that are not
known are ignored and named in the answer; in ``set`` they are refused, because all settings are taken or none.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast

from voiced.core.mqtt.actions import (
    ACTIONS,
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_TURNS,
    keys,
)
from voiced.core.mqtt.commands import (
    Announce,
    Ask,
    AskQuestion,
    CancelAnnouncements,
    Command,
    End,
    Get,
    Listen,
    Message,
    NewConversation,
    Ping,
    RefusedCommandError,
    Release,
    Reload,
    Reply,
    Restart,
    Say,
    SetSettings,
    Stop,
    Turns,
    Watch,
)
from voiced.core.mqtt.expected import expected
from voiced.core.mqtt.fields import (
    flag_of,
    name_of,
    optional_of,
    percent_of,
    place_of,
    refuse,
    seconds_of,
    sensitivity,
    shown,
    string,
    text_of,
    toggle,
    volume,
)
from voiced.core.mqtt.topics import RETAINED, Topics
from voiced.errors import CommandError

LARGEST_PAYLOAD = 65_536
"""Bytes of a command."""


def parse(message: Message, topics: Topics) -> Command:
    """Read a command.

    Raises:
        RefusedCommandError: If it cannot be read; names topic, fault and remedy, and where to answer.

    """
    action = topics.command(message.topic) or message.topic
    reply = Reply(topics.own("response"), message.correlation)
    try:
        reply = replace(reply, topic=_response_topic(message.response_topic, topics))
        text = _decoded(message.payload)
        fields = _object(text) if action in {"command", "get", "set"} or text.startswith("{") else None
        if fields is not None:
            reply = replace(reply, id=_id(fields.pop("id", None)))
        if action.startswith("set/"):
            return _set_one(action.removeprefix("set/"), text, reply)
        if action not in {"get", "set"}:
            action = _action(fields or {}) if action == "command" else action.removeprefix("command/")
            if action not in _ACTIONS:
                known = ", ".join(_ACTIONS)
                refuse(f"there is no action {shown(action)}; known are {known}", "unknown_action")
        if fields is not None and action != "set":  # which refuses what it does not know
            reply = replace(reply, ignored=tuple(shown(key) for key in fields if key not in keys(action))[:20])
        return _READERS[action](text, fields, reply)
    except CommandError as exc:
        raise RefusedCommandError(
            f"{shown(message.topic)}: {exc}",
            code=exc.code,
            action="set" if action.startswith("set/") else shown(action.removeprefix("command/")),
            reply=reply,
        ) from exc


# --- parts of a message -----------------------------------------------------------------------------------------------


def _response_topic(asked: str | None, topics: Topics) -> str:
    own = topics.own("response")
    if asked is None or asked == own or asked.startswith(f"{own}/"):
        return asked or own
    if not asked or len(asked) > 512 or any(sign in asked for sign in "+#\0"):
        refuse("the response topic must be a plain topic name of at most 512 characters, without + and #")
    if asked.startswith((f"{topics.root}/", f"{topics.base}/all/", f"{topics.base}/group/", "$")):
        # or anybody could make us publish a false state, or command others or the broker, in our own name
        refuse(f"a response topic must begin with {own}, or be none of voiced or of the broker")
    return asked


def _decoded(payload: bytes) -> str:
    if len(payload) > LARGEST_PAYLOAD:
        refuse(f"the payload has more than {LARGEST_PAYLOAD} bytes; send less")
    try:
        return payload.decode().strip()
    except UnicodeDecodeError as exc:
        refuse(f"the payload is not UTF-8 (byte {exc.start}); send UTF-8 text or JSON")


def _object(text: str) -> dict[str, Any]:
    if not text or text.upper() == "PRESS":
        return {}
    try:
        fields = json.loads(text)
    except RecursionError:
        refuse("the JSON is nested too deep; send a flat object")
    except json.JSONDecodeError as exc:
        refuse(f"the payload is not valid JSON ({exc.msg}, character {exc.pos}); send a JSON object")
    except ValueError:  # a number of more digits than Python converts
        refuse("the JSON holds a number of thousands of digits; send smaller ones")
    if not isinstance(fields, dict):
        refuse("the JSON is not an object; send one, in curly brackets")
    return fields


def _id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return string("id", value, LONGEST_NAME)


def _action(fields: dict[str, Any]) -> str:
    if "action" not in fields:
        refuse(f'"action" is missing; send {{"action": "..."}} with one of {", ".join(_ACTIONS)}')
    return string("action", fields.pop("action"), LONGEST_NAME)


def _nothing(action: str, text: str, fields: object) -> None:
    if fields is None and text and text.upper() != "PRESS":
        refuse(f"{action} takes no text; send nothing, PRESS, or a JSON object")


# --- actions ----------------------------------------------------------------------------------------------------------

_Fields: TypeAlias = dict[str, Any] | None
_Reader: TypeAlias = Callable[[str, _Fields, Reply], Command]


def _listen(text: str, fields: _Fields, reply: Reply) -> Listen:
    _nothing("listen", text, fields)
    fields = fields or {}
    # Home Assistant's side says persona where the configuration says profile.
    profile = optional_of(fields, "profile", LONGEST_NAME) or optional_of(fields, "persona", LONGEST_NAME)
    return Listen(reply, seconds_of(fields, "timeout_s"), profile, flag_of(fields, "hold"))


def _bare(action: str, kind: Callable[[Reply], Command]) -> _Reader:
    """Return a reader of an action that takes nothing."""

    def read(text: str, fields: _Fields, reply: Reply) -> Command:
        _nothing(action, text, fields)
        return kind(reply)

    return read


def _say(text: str, fields: _Fields, reply: Reply) -> Say:
    fields = {"text": text} if fields is None else fields
    voice = optional_of(fields, "voice", LONGEST_NAME)
    listens = flag_of(fields, "listen_after")
    return Say(reply, text_of(fields), flag_of(fields, "interrupt"), voice, percent_of(fields, "volume"), listens)


def _announce(text: str, fields: _Fields, reply: Reply) -> Announce:
    fields = {"text": text} if fields is None else fields
    priority = fields.get("priority")
    if priority not in {None, "normal", "high"} if isinstance(priority, str | None) else True:
        refuse(f'"priority" is {shown(priority)}; send "normal" or "high"')
    media = None if fields.get("media") is None else place_of(fields)
    return Announce(
        reply,
        text_of(fields) if media is None else "",
        chime=flag_of(fields, "chime", usual=True),
        urgent=priority == "high",
        interrupt=flag_of(fields, "interrupt"),
        voice=optional_of(fields, "voice", LONGEST_NAME),
        volume=percent_of(fields, "volume"),
        media=media,
        listen_after=flag_of(fields, "listen_after"),
    )


def _ask(text: str, fields: _Fields, reply: Reply) -> Ask:
    fields = {"text": text} if fields is None else fields
    instructions = optional_of(fields, "instructions", LONGEST_TEXT)
    return Ask(reply, text_of(fields), instructions, flag_of(fields, "listen_after"))


def _watch(text: str, fields: _Fields, reply: Reply) -> Watch:
    _nothing("watch", text, fields)
    for_s = seconds_of(fields or {}, "for_s")
    return Watch(reply) if for_s is None else Watch(reply, for_s)


def _turns(text: str, fields: _Fields, reply: Reply) -> Turns:
    _nothing("turns", text, fields)
    last = (fields or {}).get("last")
    if last is None:
        return Turns(reply)
    if isinstance(last, bool) or not isinstance(last, int) or not 1 <= last <= MOST_TURNS:
        refuse(f'"last" is {shown(last)}; send a whole number from 1 to {MOST_TURNS}')
    return Turns(reply, last)


def _ask_question(text: str, fields: _Fields, reply: Reply) -> AskQuestion:
    fields = {"text": text} if fields is None else fields
    return AskQuestion(
        reply,
        text_of(fields),
        expected(fields.get("answers")),
        seconds_of(fields, "timeout_s"),
        chime=flag_of(fields, "chime", usual=True),
        interrupt=flag_of(fields, "interrupt"),
        voice=optional_of(fields, "voice", LONGEST_NAME),
        volume=percent_of(fields, "volume"),
    )


def _get(_text: str, fields: _Fields, reply: Reply) -> Get:
    names = (fields or {}).get("topics")
    if names is None:
        return Get(reply)
    if not isinstance(names, list) or not names or not all(name in RETAINED for name in names):
        refuse(f'"topics" is {shown(names)}; send a list with some of {", ".join(RETAINED)}')
    return Get(reply, tuple(dict.fromkeys(cast("list[str]", names))))


def _set(_text: str, fields: _Fields, reply: Reply) -> SetSettings:
    if not fields:
        refuse(f"no setting is named; send a JSON object with some of {', '.join(_SETTINGS)}")
    changes = {key: _setting(key, value) for key, value in fields.items()}
    return SetSettings(reply, **changes)


def _set_one(key: str, text: str, reply: Reply) -> SetSettings:
    return SetSettings(reply, **{key: _setting(key, text)})


def _setting(key: str, value: object) -> Any:
    read = _SETTINGS.get(key)
    if read is None:
        refuse(f"there is no setting {shown(key)}; known are {', '.join(_SETTINGS)}")
    return read(value)


_SETTINGS: Mapping[str, Callable[[object], Any]] = {
    **{key: toggle(key) for key in ("mute", "wake_enabled", "follow_up")},
    **{key: name_of(key) for key in ("wake_word", "persona", "voice")},
    "volume": volume,
    "wake_sensitivity": sensitivity,
}
_BARE: Mapping[str, Callable[[Reply], Command]] = {
    "release": Release,
    "stop": Stop,
    "end": End,
    "new_conversation": NewConversation,
    "cancel_announcements": CancelAnnouncements,
    "reload": Reload,
    "restart": Restart,
    "ping": Ping,
}
_READERS: Mapping[str, _Reader] = {
    **{action: _bare(action, kind) for action, kind in _BARE.items()},
    "listen": _listen,
    "say": _say,
    "announce": _announce,
    "ask": _ask,
    "ask_question": _ask_question,
    "get": _get,
    "turns": _turns,
    "watch": _watch,
    "set": _set,
}
_ACTIONS = tuple(action.name for action in ACTIONS)
