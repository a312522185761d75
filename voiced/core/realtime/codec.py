"""The dialects side by side, and what to leave out of a ``session.update`` that was refused."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from voiced.core.realtime import ga, preview, voice_live
from voiced.core.realtime.events import ClientEvent, ServerEvent, ServiceProblem

Dialect: TypeAlias = Literal["ga", "preview", "voice-live"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One dialect: events to text and back, without memory."""

    encode: Callable[[ClientEvent], str]
    decode: Callable[[str], ServerEvent]
    voice: str
    """The service's name for the setting, which it does not always give with a refusal."""


CODECS: dict[Dialect, Codec] = {
    "ga": Codec(ga.encode, ga.decode, "session.audio.output.voice"),
    "preview": Codec(preview.encode, preview.decode, "session.voice"),
    "voice-live": Codec(voice_live.encode, voice_live.decode, "session.voice"),
}

_ESSENTIAL = ("type", "modalities", "output_modalities", "instructions")
"""Settings without which a session is not what was asked for."""

_IDENTITY = ("type", "model", "rate")
"""Keys without which the object they stand in means nothing."""


def without(update: str, param: str) -> str | None:
    """Return a ``session.update`` without the setting that the service refused.

    Args:
        update: The text of a ``session.update``.
        param: The service's name for it, such as ``session.audio.output.voice`` or ``session.tools[0].name``.

    Returns:
        Nothing where the update has no such setting, or cannot do without it.

    """
    body = json.loads(update)
    path: list[str] = []
    at = body
    for key in param.replace("[", ".").split("."):
        if not isinstance(at, dict) or key not in at:
            break
        path.append(key)
        at = at[key]
    while len(path) > 2 and path[-1] in _IDENTITY:
        path.pop()
    if len(path) < 2 or path[0] != "session" or path[1] in _ESSENTIAL or path[-1] in ("audio", "input", "output"):
        return None
    parent = body
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return json.dumps(body, separators=(",", ":"))


def named_in(update: str, problem: ServiceProblem, *, voice: str) -> str | None:
    """Return the setting of a ``session.update`` that a refusal is about; ``None`` where that cannot be told.

    Args:
        update: The text of a ``session.update``.
        problem: What the service says; not always with the name in ``param``.
        voice: The dialect's name for the voice.

    """
    if problem.param is not None:
        return problem.param
    if problem.code == "cannot_update_voice":
        return voice
    said = set(re.findall(r"\w+", problem.message.casefold()))
    places = [path for path, _ in _settings(json.loads(update)["session"])]
    found = [path for path in places if path[-1] in said or set(path[-1].split("_")) <= said]
    return ".".join(("session", *found[0])) if len(found) == 1 else None


def input_rate(update: str) -> int | None:
    """Return the rate of the sound we send, where a ``session.update`` names one."""
    rate = json.loads(update)["session"].get("input_audio_sampling_rate")
    return rate if isinstance(rate, int) else None


def minimal(update: str) -> str:
    """Return a ``session.update`` cut down to its instructions, its output, and turn detection where that is off."""
    body = json.loads(update)
    session = body["session"]
    kept = {name: session[name] for name in _ESSENTIAL if name in session}
    if session.get("turn_detection", ...) is None:  # left out, the service would answer on its own
        kept["turn_detection"] = None
    if session.get("audio", {}).get("input", {}).get("turn_detection", ...) is None:
        kept["audio"] = {"input": {"turn_detection": None}}
    return json.dumps({**body, "session": kept}, separators=(",", ":"))


def pieces(update: str) -> list[tuple[str, str]]:
    """Return what :func:`minimal` leaves out: the name of each setting, and a ``session.update`` with it alone."""
    body = json.loads(update)
    session = body["session"]
    kind = {"type": session["type"]} if "type" in session else {}
    alone = []
    for path, value in _settings(session):
        for key in reversed(path):
            value = {key: value}  # noqa: PLW2901 - wrapped from the inside out
        text = json.dumps({**body, "session": {**kind, **value}}, separators=(",", ":"))
        alone.append((".".join(("session", *path)), text))
    return alone


def _settings(session: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """Return place and value of each setting that a session can do without."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, value in session.items():
        if name == "audio" and isinstance(value, dict):
            for side, inner in value.items():
                found += [((name, side, key), each) for key, each in inner.items()]
        elif name not in _ESSENTIAL:
            found.append(((name,), value))
    return [(path, value) for path, value in found if path[-1] != "turn_detection" or value is not None]
