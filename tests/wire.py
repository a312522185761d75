"""Strict checks of Realtime messages against the types of the official SDKs.

The SDKs themselves read loosely. Here a message fails if it lacks a field, has a value of another type, or has a key
that the SDK does not know.
"""

import datetime as dt
import enum
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import azure.ai.voicelive.models as voice_live
import openai.types.beta.realtime as preview
import openai.types.realtime as ga
from pydantic import BaseModel, TypeAdapter, ValidationError

Dialect: TypeAlias = Literal["ga", "preview", "voice-live"]
Side: TypeAlias = Literal["server", "client"]

_KNOWN_EXTRAS = {
    # recorded on the wire, missing in the SDK's types
    ("ga", "session.id"),
    ("ga", "session.object"),
    ("ga", "session.expires_at"),
    ("ga", "obfuscation"),
    ("preview", "session.object"),
    ("preview", "session.expires_at"),
}


def check_server_frame(dialect: Dialect, frame: Mapping[str, Any]) -> None:
    """Check one message of the service.

    Raises:
        AssertionError: What is wrong with it, and where.

    """
    _check(dialect, frame, "server")


def check_client_frame(dialect: Dialect, frame: Mapping[str, Any]) -> None:
    """Check one message of a client.

    Raises:
        AssertionError: What is wrong with it, and where.

    """
    _check(dialect, frame, "client")


def kinds(dialect: Dialect, side: Side) -> set[str]:
    """Return the types of all messages that the SDK knows."""
    if dialect != "voice-live":
        return set(_models(dialect, side))
    base: Any = voice_live.ServerEvent if side == "server" else voice_live.ClientEvent
    return {str(getattr(kind, "value", kind)) for kind in base.__mapping__}


def _check(dialect: Dialect, frame: Mapping[str, Any], side: Side) -> None:
    kind = frame.get("type")
    if dialect == "voice-live":
        problems = list(_voice_live_problems(frame, side))
    else:
        model = _models(dialect, side).get(str(kind))
        assert model is not None, f"{dialect} has no {side} event {kind!r}"
        problems = list(_openai_problems(dialect, model, frame))
    assert not problems, f"{dialect} {side} event {kind}: " + "; ".join(problems)


# --- openai -----------------------------------------------------------------------------------------------------------


@functools.cache
def _models(dialect: Dialect, side: str) -> dict[str, type[BaseModel]]:
    """Return the SDK's classes by event type."""
    unions: dict[tuple[str, str], Any] = {
        ("ga", "server"): ga.RealtimeServerEvent,
        ("ga", "client"): ga.RealtimeClientEvent,
        ("preview", "server"): preview.RealtimeServerEvent,
        ("preview", "client"): preview.RealtimeClientEvent,
    }
    annotated = unions[dialect, side]
    members = typing.get_args(typing.get_args(annotated)[0])
    return {kind: each for each in members for kind in typing.get_args(each.model_fields["type"].annotation)}


def _openai_problems(dialect: Dialect, model: type[BaseModel], frame: Mapping[str, Any]) -> Iterator[str]:
    try:
        value = TypeAdapter(model).validate_python(dict(frame), strict=True)
    except ValidationError as exc:
        for each in exc.errors():
            yield f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        return
    for where in _extras(value, ""):
        if (dialect, where) not in _KNOWN_EXTRAS:
            yield f"{where}: a key the SDK does not know"


def _extras(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for key in value.model_extra or {}:
            yield f"{where}{key}"
        for key in type(value).model_fields:
            yield from _extras(getattr(value, key), f"{where}{key}.")
    elif isinstance(value, list):
        for each in value:
            yield from _extras(each, where)


# --- azure-ai-voicelive -----------------------------------------------------------------------------------------------


def _voice_live_problems(frame: Mapping[str, Any], side: str) -> Iterator[str]:
    base: Any = voice_live.ServerEvent if side == "server" else voice_live.ClientEvent
    model = base.__mapping__.get(frame.get("type"))
    if model is None:
        yield "no such event"
        return
    yield from _model_problems(model, frame, "")


def _model_problems(model: Any, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where or 'the event'}: must be an object, not {value!r}"
        return
    model = _variant(model, value)
    if model is voice_live.TurnDetection and value.get("type") == "semantic_vad":
        return  # Microsoft documents it for gpt-realtime models; this SDK has no class for it
    hints = _hints(model)
    for key, each in value.items():
        if key not in hints:
            yield f"{where}{key}: a key the SDK does not know ({model.__name__})"
        elif not _fits(hints[key], each):
            yield f"{where}{key}: {str(each)[:80]!r} is not {hints[key]}"
        else:
            yield from _inner_problems(hints[key], each, f"{where}{key}.")
    for key, hint in hints.items():
        # the SDK has one class for sound in items, a client's; the service never sends the sound back with it
        unsent = key == "audio" and value.get("type") == "input_audio" and "transcript" in value
        if key not in value and not unsent and not _accepts(hint, None):
            yield f"{where}{key}: missing"


def _inner_problems(hint: Any, value: Any, where: str) -> Iterator[str]:
    """Look into objects and arrays; of several classes the one counts that fits best."""
    members = list(_alternatives(hint))
    if isinstance(value, Mapping):
        tried = [list(_model_problems(each, value, where)) for each in members if _is_model(each)]
        yield from min(tried, key=len, default=[])
    elif isinstance(value, list):
        for each in members:
            if typing.get_origin(each) is list:
                for element in value:
                    yield from _inner_problems(typing.get_args(each)[0], element, where)


def _variant(model: Any, value: Mapping[str, Any]) -> Any:
    """Follow the SDK's discriminators to the class for this value."""
    while "__mapping__" in vars(model):
        tags = {str(value.get(name)) for name in ("type", "role", "model")}
        chosen = next((each for tag, each in model.__mapping__.items() if str(tag) in tags), None)
        if chosen is None or chosen is model:
            return model
        model = chosen
    return model


@functools.cache
def _hints(model: Any) -> dict[str, Any]:
    from azure.ai.voicelive import _types, _unions  # noqa: PLC0415 - its annotations name these modules

    names = {**vars(_types), "_models": voice_live, "_unions": _unions, "_types": _types}
    found: dict[str, Any] = {}
    for base in reversed(model.__mro__):
        for key, hint in vars(base).get("__annotations__", {}).items():
            if not key.startswith("_"):
                found[key] = typing.get_type_hints(_holder(key, hint), globalns={**vars(typing), **names})[key]
    return found


def _holder(key: str, hint: Any) -> Any:
    return types.SimpleNamespace(__annotations__={key: hint})


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "_is_model")


def _alternatives(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, nested ones too."""
    if typing.get_origin(hint) not in {typing.Union, types.UnionType}:
        yield hint
        return
    for each in typing.get_args(hint):
        yield from _alternatives(each)


def _fits(hint: Any, value: Any) -> bool:
    return any(_accepts(each, value) for each in _alternatives(hint))


def _accepts(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return _fits(hint, value)
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if hint in {Any, object}:
        return True
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(typing.get_args(hint)[0], each) for each in value)
    if typing.get_origin(hint) is dict or _is_model(hint):
        return isinstance(value, Mapping)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [each.value for each in hint]
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint in {str, int, bool, type(None)}:
        return type(value) is hint
    if hint is bytes:
        return isinstance(value, str)  # base64
    # seconds since 1970
    return hint is dt.datetime and type(value) is int
