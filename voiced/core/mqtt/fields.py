"""Single values of a command, from JSON or text. Each is returned, or a sentence says how to mend it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from voiced.core.mqtt.actions import LISTEN_RANGE_S, LONGEST_NAME, LONGEST_PLACE, LONGEST_TEXT
from voiced.core.mqtt.commands import Switch
from voiced.errors import CommandError

_ON = frozenset({"on", "true", "1"})
_OFF = frozenset({"off", "false", "0"})
_PLACE = re.compile(r"/.+|https?://\S+")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?")
"""As Home Assistant's templates write the outcome of a sum: ``0.6000000000000001``, ``5e-05``."""


def refuse(message: str, code: str = "invalid") -> NoReturn:
    """Raise what answers the command."""
    raise CommandError(message, code=code)


def shown(value: object) -> str:
    """Return a value for a sentence: printable, and short."""
    if isinstance(value, list | dict):  # may be nested deeper than repr goes
        return "a list" if isinstance(value, list) else "an object"
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def string(key: str, value: object, longest: int) -> str:
    """Return a text of so many characters at most."""
    if not isinstance(value, str):
        refuse(f'"{key}" must be a text, not {shown(value)}')
    if len(value) > longest:
        refuse(f'"{key}" has {len(value)} characters; at most {longest} are taken')
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        refuse(f'"{key}" holds a character that no text may have (NUL or half of a surrogate pair)')
    return value


def text_of(fields: Mapping[str, Any]) -> str:
    """Return what is to be said."""
    if "text" not in fields:
        refuse('"text" is missing; send plain text, or {"text": "..."}')
    text = string("text", fields["text"], LONGEST_TEXT).strip()
    if not text:
        refuse("the text is empty; send what is to be said")
    return text


def optional_of(fields: Mapping[str, Any], key: str, longest: int) -> str | None:
    """Return a text that need not be there."""
    value = fields.get(key)
    return None if value is None else string(key, value, longest)


def percent_of(fields: Mapping[str, Any], key: str) -> int | None:
    """Return percents that need not be there."""
    value = fields.get(key)
    return None if value is None else volume(value)


def seconds_of(fields: Mapping[str, Any], key: str) -> float | None:
    """Return how long to listen, or to go on."""
    low, high = LISTEN_RANGE_S
    seconds = fields.get(key)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not low <= seconds <= high:
        refuse(f'"{key}" is {shown(seconds)}; send a number from {low:g} to {high:g}')
    return float(seconds)


def place_of(fields: Mapping[str, Any]) -> str:
    """Return a path or URL; whether it may be used is not asked here."""
    if "text" in fields:
        refuse('"text" and "media" are both there; send one of them')
    place = string("media", fields["media"], LONGEST_PLACE)
    if not _PLACE.fullmatch(place):
        refuse(f'"media" is {shown(place)}; send the whole path of a file, or a URL that begins with http')
    return place


def flag_of(fields: Mapping[str, Any], key: str, *, usual: bool = False) -> bool:
    """Return whether something is on."""
    value = fields.get(key)
    return usual if value is None else _switch(key, value)


def _switch(key: str, value: object) -> bool:
    word = str(value).lower() if isinstance(value, bool | int | str) else ""
    if word in _ON:
        return True
    if word in _OFF:
        return False
    refuse(f'"{key}" is {shown(value)}; send ON or OFF')


def toggle(key: str) -> Callable[[object], Switch]:
    """Return what reads a switch that can be toggled."""

    def read(value: object) -> Switch:
        if isinstance(value, str) and value.lower() == "toggle":
            return "toggle"
        try:
            return _switch(key, value)
        except CommandError:
            refuse(f"{key} is {shown(value)}; send ON, OFF or TOGGLE")

    return read


def volume(value: object) -> int:
    """Return a volume."""
    number = _number(value)
    if number is None or not 0 <= number <= 100 or number != int(number):
        refuse(f"volume is {shown(value)}; send a whole number from 0 to 100")
    return int(number)


def sensitivity(value: object) -> float:
    """Return a sensitivity."""
    number = _number(value)
    if number is None or not 0 <= number <= 1:
        refuse(f"wake_sensitivity is {shown(value)}; send a number from 0 to 1")
    return float(number)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def name_of(key: str) -> Callable[[object], str]:
    """Return what reads the name of something that exists."""

    def read(value: object) -> str:
        name = string(key, value, LONGEST_NAME)
        if not name:
            refuse(f"{key} is empty; send one of the names that info lists")
        return name

    return read
