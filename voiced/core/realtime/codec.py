"""The two dialects side by side, and what to leave out of a ``session.update`` that was refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from voiced.core.realtime import ga, preview
from voiced.core.realtime.events import ClientEvent, ServerEvent

Dialect: TypeAlias = Literal["ga", "preview"]


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
