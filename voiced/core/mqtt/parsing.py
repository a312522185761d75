"""Commands read from bytes on a topic: a command, or a sentence that says what was wrong and how to mend it.

Home Assistant sends ``PRESS`` or plain text, scripts send JSON objects; both do. Keys of a JSON command that are not
known are ignored and named in the answer; in ``set`` they are refused, because all settings are taken or none.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn, TypeAlias, cast

from voiced.core.mqtt.actions import (
    ACTIONS,
    LISTEN_RANGE_S,
    LONGEST_NAME,
    LONGEST_PLACE,
    LONGEST_TEXT,
    MOST_TURNS,
    keys,
)
from voiced.core.mqtt.commands import (
    Announce,
    Ask,
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
    Switch,
    Turns,
)
from voiced.core.mqtt.topics import RETAINED, Topics
from voiced.errors import CommandError

LARGEST_PAYLOAD = 65_536
"""Bytes of a command."""

_ON = frozenset({"on", "true", "1"})
_OFF = frozenset({"off", "false", "0"})
_PLACE = re.compile(r"/.+|https?://\S+")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?")


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
                _refuse(f"there is no action {_shown(action)}; known are {known}", "unknown_action")
        if fields is not None and action != "set":  # which refuses what it does not know
            reply = replace(reply, ignored=tuple(_shown(key) for key in fields if key not in keys(action))[:20])
        return _READERS[action](text, fields, reply)
    except CommandError as exc:
        raise RefusedCommandError(
            f"{_shown(message.topic)}: {exc}",
            code=exc.code,
            action="set" if action.startswith("set/") else _shown(action.removeprefix("command/")),
            reply=reply,
        ) from exc


# --- parts of a message -----------------------------------------------------------------------------------------------


def _refuse(message: str, code: str = "invalid") -> NoReturn:
    raise CommandError(message, code=code)


def _shown(value: object) -> str:
    """Return a value for a sentence: printable, and short."""
    if isinstance(value, list | dict):  # may be nested deeper than repr goes
        return "a list" if isinstance(value, list) else "an object"
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _response_topic(asked: str | None, topics: Topics) -> str:
    own = topics.own("response")
    if asked is None or asked == own or asked.startswith(f"{own}/"):
        return asked or own
    if not asked or len(asked) > 512 or any(sign in asked for sign in "+#\0"):
        _refuse("the response topic must be a plain topic name of at most 512 characters, without + and #")
    if asked.startswith((f"{topics.root}/", f"{topics.base}/all/")):
        # or anybody could make us publish a false state in our own name
        _refuse(f"a response topic below {topics.root}/ must begin with {own}")
    return asked


def _decoded(payload: bytes) -> str:
    if len(payload) > LARGEST_PAYLOAD:
        _refuse(f"the payload has more than {LARGEST_PAYLOAD} bytes; send less")
    try:
        return payload.decode().strip()
    except UnicodeDecodeError as exc:
        _refuse(f"the payload is not UTF-8 (byte {exc.start}); send UTF-8 text or JSON")


def _object(text: str) -> dict[str, Any]:
    if not text or text.upper() == "PRESS":
        return {}
    try:
        fields = json.loads(text)
    except RecursionError:
        _refuse("the JSON is nested too deep; send a flat object")
    except json.JSONDecodeError as exc:
        _refuse(f"the payload is not valid JSON ({exc.msg}, character {exc.pos}); send a JSON object")
    except ValueError:  # a number of more digits than Python converts
        _refuse("the JSON holds a number of thousands of digits; send smaller ones")
    if not isinstance(fields, dict):
        _refuse("the JSON is not an object; send one, in curly brackets")
    return fields


def _id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return _string("id", value, LONGEST_NAME)


def _action(fields: dict[str, Any]) -> str:
    if "action" not in fields:
        _refuse(f'"action" is missing; send {{"action": "..."}} with one of {", ".join(_ACTIONS)}')
    return _string("action", fields.pop("action"), LONGEST_NAME)


def _string(key: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        _refuse(f'"{key}" must be a text, not {_shown(value)}')
    if len(value) > longest:
        _refuse(f'"{key}" has {len(value)} characters; at most {longest} are taken')
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        _refuse(f'"{key}" holds a character that no text may have (NUL or half of a surrogate pair)')
    return value


def _text(fields: Mapping[str, Any]) -> str:
    if "text" not in fields:
        _refuse('"text" is missing; send plain text, or {"text": "..."}')
    text = _string("text", fields["text"], LONGEST_TEXT).strip()
    if not text:
        _refuse("the text is empty; send what is to be said")
    return text


def _optional(fields: Mapping[str, Any], key: str, longest: int) -> str | None:
    value = fields.get(key)
    return None if value is None else _string(key, value, longest)


def _percent(fields: Mapping[str, Any], key: str) -> int | None:
    value = fields.get(key)
    return None if value is None else _volume(value)


def _place(fields: Mapping[str, Any]) -> str:
    if "text" in fields:
        _refuse('"text" and "media" are both there; send one of them')
    place = _string("media", fields["media"], LONGEST_PLACE)
    if not _PLACE.fullmatch(place):
        _refuse(f'"media" is {_shown(place)}; send the whole path of a file, or a URL that begins with http')
    return place


def _flag(fields: Mapping[str, Any], key: str) -> bool:
    value = fields.get(key)
    return False if value is None else _switch(key, value)


def _switch(key: str, value: object) -> bool:
    word = str(value).lower() if isinstance(value, bool | int | str) else ""
    if word in _ON:
        return True
    if word in _OFF:
        return False
    _refuse(f'"{key}" is {_shown(value)}; send ON or OFF')


def _nothing(action: str, text: str, fields: object) -> None:
    if fields is None and text and text.upper() != "PRESS":
        _refuse(f"{action} takes no text; send nothing, PRESS, or a JSON object")


# --- actions ----------------------------------------------------------------------------------------------------------

_Fields: TypeAlias = dict[str, Any] | None
_Reader: TypeAlias = Callable[[str, _Fields, Reply], Command]


def _listen(text: str, fields: _Fields, reply: Reply) -> Listen:
    _nothing("listen", text, fields)
    fields = fields or {}
    low, high = LISTEN_RANGE_S
    timeout = fields.get("timeout_s")
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not low <= timeout <= high:
            _refuse(f'"timeout_s" is {_shown(timeout)}; send a number from {low:g} to {high:g}')
        timeout = float(timeout)
    # Home Assistant's side says persona where the configuration says profile.
    profile = _optional(fields, "profile", LONGEST_NAME) or _optional(fields, "persona", LONGEST_NAME)
    return Listen(reply, timeout, profile, _flag(fields, "hold"))


def _bare(action: str, kind: Callable[[Reply], Command]) -> _Reader:
    """Return a reader of an action that takes nothing."""

    def read(text: str, fields: _Fields, reply: Reply) -> Command:
        _nothing(action, text, fields)
        return kind(reply)

    return read


def _say(text: str, fields: _Fields, reply: Reply) -> Say:
    fields = {"text": text} if fields is None else fields
    voice = _optional(fields, "voice", LONGEST_NAME)
    return Say(reply, _text(fields), _flag(fields, "interrupt"), voice, _percent(fields, "volume"))


def _announce(text: str, fields: _Fields, reply: Reply) -> Announce:
    fields = {"text": text} if fields is None else fields
    priority = fields.get("priority")
    if priority not in {None, "normal", "high"} if isinstance(priority, str | None) else True:
        _refuse(f'"priority" is {_shown(priority)}; send "normal" or "high"')
    media = None if fields.get("media") is None else _place(fields)
    return Announce(
        reply,
        _text(fields) if media is None else "",
        chime=fields.get("chime") is None or _flag(fields, "chime"),
        urgent=priority == "high",
        interrupt=_flag(fields, "interrupt"),
        voice=_optional(fields, "voice", LONGEST_NAME),
        volume=_percent(fields, "volume"),
        media=media,
    )


def _ask(text: str, fields: _Fields, reply: Reply) -> Ask:
    fields = {"text": text} if fields is None else fields
    instructions = _optional(fields, "instructions", LONGEST_TEXT)
    return Ask(reply, _text(fields), instructions, _flag(fields, "listen_after"))


def _turns(text: str, fields: _Fields, reply: Reply) -> Turns:
    _nothing("turns", text, fields)
    last = (fields or {}).get("last")
    if last is None:
        return Turns(reply)
    if isinstance(last, bool) or not isinstance(last, int) or not 1 <= last <= MOST_TURNS:
        _refuse(f'"last" is {_shown(last)}; send a whole number from 1 to {MOST_TURNS}')
    return Turns(reply, last)


def _get(_text: str, fields: _Fields, reply: Reply) -> Get:
    names = (fields or {}).get("topics")
    if names is None:
        return Get(reply)
    if not isinstance(names, list) or not names or not all(name in RETAINED for name in names):
        _refuse(f'"topics" is {_shown(names)}; send a list with some of {", ".join(RETAINED)}')
    return Get(reply, tuple(dict.fromkeys(cast("list[str]", names))))


def _set(_text: str, fields: _Fields, reply: Reply) -> SetSettings:
    if not fields:
        _refuse(f"no setting is named; send a JSON object with some of {', '.join(_SETTINGS)}")
    changes = {key: _setting(key, value) for key, value in fields.items()}
    return SetSettings(reply, **changes)


def _set_one(key: str, text: str, reply: Reply) -> SetSettings:
    return SetSettings(reply, **{key: _setting(key, text)})


def _setting(key: str, value: object) -> Any:
    read = _SETTINGS.get(key)
    if read is None:
        _refuse(f"there is no setting {_shown(key)}; known are {', '.join(_SETTINGS)}")
    return read(value)


def _toggle(key: str) -> Callable[[object], Switch]:
    def read(value: object) -> Switch:
        if isinstance(value, str) and value.lower() == "toggle":
            return "toggle"
        try:
            return _switch(key, value)
        except CommandError:
            _refuse(f"{key} is {_shown(value)}; send ON, OFF or TOGGLE")

    return read


def _volume(value: object) -> int:
    number = _number(value)
    if number is None or not 0 <= number <= 100 or number != int(number):
        _refuse(f"volume is {_shown(value)}; send a whole number from 0 to 100")
    return int(number)


def _sensitivity(value: object) -> float:
    number = _number(value)
    if number is None or not 0 <= number <= 1:
        _refuse(f"wake_sensitivity is {_shown(value)}; send a number from 0 to 1")
    return float(number)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _name(key: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        name = _string(key, value, LONGEST_NAME)
        if not name:
            _refuse(f"{key} is empty; send one of the names that info lists")
        return name

    return read


_SETTINGS: Mapping[str, Callable[[object], Any]] = {
    **{key: _toggle(key) for key in ("mute", "wake_enabled", "follow_up")},
    **{key: _name(key) for key in ("wake_word", "persona", "voice")},
    "volume": _volume,
    "wake_sensitivity": _sensitivity,
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
    "get": _get,
    "turns": _turns,
    "set": _set,
}
_ACTIONS = tuple(action.name for action in ACTIONS)
