"""Small checks that fit together into the shape of a message, and say what is wrong in the service's own codes.

A check takes a JSON value and where it stands, and returns nothing or raises :exc:`Wrong`.
Source: error codes as recorded from the live service in September 2026.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any, str], None]

_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Wrong(Exception):  # noqa: N818 - it is an answer to the client, not an error of ours
    """What a client sent is refused; the session goes on.

    Attributes:
        code: The service's code, for example ``unknown_parameter``.
        param: Where it stands, for example ``session.audio.input.format.rate``.

    """

    def __init__(
        self, code: str, message: str, param: str | None = None, *, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind


def _type_error(value: Any, where: str, expected: str) -> Wrong:
    got = _NAMES.get(type(value), type(value).__name__)
    return Wrong("invalid_type", f"Invalid type for '{where}': expected {expected}, but got {got} instead.", where)


def anything(_value: Any, _where: str) -> None:
    """Accept whatever comes."""


def text(*, longest: int | None = None) -> Check:
    """Accept a string of at most ``longest`` characters."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str):
            raise _type_error(value, where, "a string")
        if longest is not None and len(value) > longest:
            raise Wrong(
                "string_above_max_length",
                f"Invalid '{where}': string too long. Expected a string with maximum length {longest}, "
                f"but got a string with length {len(value)} instead.",
                where,
            )

    return check


def boolean(value: Any, where: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise _type_error(value, where, "a boolean")


def integer(low: int, high: int | None = None) -> Check:
    """Accept a whole number from ``low`` to ``high``."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _type_error(value, where, "an integer")
        _within(value, where, "integer", low, high)

    return check


def number(low: float, high: float) -> Check:
    """Accept a number from ``low`` to ``high``."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _type_error(value, where, "a decimal")
        _within(value, where, "decimal", low, high)

    return check


def _within(value: float, where: str, kind: str, low: float, high: float | None) -> None:
    if value < low:
        raise Wrong(
            f"{kind}_below_min_value",
            f"Invalid '{where}': {kind} below minimum value. Expected a value >= {low}, but got {value} instead.",
            where,
        )
    if high is not None and value > high:
        raise Wrong(
            f"{kind}_above_max_value",
            f"Invalid '{where}': {kind} above maximum value. Expected a value <= {high}, but got {value} instead.",
            where,
        )


def one_of(*allowed: Any) -> Check:
    """Accept one of these values."""

    def check(value: Any, where: str) -> None:
        if value not in allowed or (isinstance(value, bool) and True not in allowed):
            raise invalid_value(value, where, allowed)

    return check


def invalid_value(value: Any, where: str, allowed: Sequence[Any]) -> Wrong:
    """Return the refusal of a value that is not in a list."""
    names = [repr(each) for each in allowed]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return Wrong("invalid_value", f"Invalid value: {_shortened(value)}. Supported values are: {listed}.", where)


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def nullable(check: Check) -> Check:
    """Accept null, or what ``check`` accepts."""

    def checked(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return checked


def by_type(choices: Mapping[type, Check], expected: str) -> Check:
    """Accept what the check for the value's JSON type accepts."""

    def check(value: Any, where: str) -> None:
        chosen = choices.get(type(value))
        if chosen is None:
            raise _type_error(value, where, expected)
        chosen(value, where)

    return check


def listed(check: Check, *, longest: int | None = None) -> Check:
    """Accept an array of what ``check`` accepts."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _type_error(value, where, "an array")
        if longest is not None and len(value) > longest:
            raise Wrong(
                "array_above_max_length",
                f"Invalid '{where}': array too long. Expected at most {longest} items, but got {len(value)}.",
                where,
            )
        for index, each in enumerate(value):
            check(each, f"{where}[{index}]")

    return checked


def table(fields: Mapping[str, Check], required: Sequence[str] = ()) -> Check:
    """Accept an object with these keys and no other."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _type_error(value, where, "an object")
        prefix = f"{where}." if where else ""
        for key in value:
            if key not in fields:
                raise Wrong("unknown_parameter", f"Unknown parameter: '{prefix}{key}'.", f"{prefix}{key}")
        for key in required:
            if key not in value:
                raise missing(f"{prefix}{key}")
        for key, each in value.items():
            fields[key](each, f"{prefix}{key}")

    return check


def missing(where: str) -> Wrong:
    """Return the refusal of a message that lacks ``where``."""
    return Wrong("missing_required_parameter", f"Missing required parameter: '{where}'.", where)


def variants(key: str, choices: Mapping[str, Check], *, default: str | None = None) -> Check:
    """Accept an object that one of its keys tells the shape of."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _type_error(value, where, "an object")
        prefix = f"{where}." if where else ""
        if key not in value and default is None:
            raise missing(f"{prefix}{key}")
        kind = value.get(key, default)
        if not isinstance(kind, str) or kind not in choices:
            raise invalid_value(kind, f"{prefix}{key}", tuple(choices))
        choices[kind](value, where)

    return check


def metadata(value: Any, where: str) -> None:
    """Accept at most 16 pairs of strings, 64 and 512 characters long."""
    if not isinstance(value, dict):
        raise _type_error(value, where, "an object")
    if len(value) > 16:
        raise Wrong("object_above_max_properties", f"Invalid '{where}': at most 16 pairs.", where)
    for key, each in value.items():
        text(longest=64)(key, where)
        text(longest=512)(each, f"{where}.{key}")


def sound(value: Any, where: str) -> None:
    """Accept base64 text of up to 15 MiB."""
    decoded(value, where)


def decoded(value: Any, where: str) -> bytes:
    """Return the bytes of base64 text.

    Raises:
        Wrong: If it is no base64, or more than 15 MiB.

    """
    if not isinstance(value, str):
        raise _type_error(value, where, "a string")
    try:
        # plain ValueError: text outside ASCII
        pcm = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(
            "invalid_value",
            f"Invalid '{where}'. Expected base64-encoded audio bytes but got an invalid value.",
            where,
        ) from None
    if len(pcm) > LARGEST_APPEND:
        raise Wrong(
            "invalid_value",
            f"Invalid '{where}': {len(pcm)} bytes of audio are more than the {LARGEST_APPEND} an event may hold.",
            where,
        )
    return pcm


LARGEST_APPEND = 15 * 2**20
"""Bytes of sound in one event. Source: Microsoft and OpenAI references."""
