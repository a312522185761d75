"""A configuration that is read again while the daemon runs: what of it can hold at once, and what needs a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from voiced.config import Config
from voiced.core.profiles import voices

Path: TypeAlias = tuple[str | int, ...]

KEPT_IN_MEMORY = frozenset({"memory_turns", "memory_minutes", "memory_on_disk"})
OF_A_WORD = frozenset({"threshold", "patience", "window", "profile"})


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a configuration that was read again."""

    config: Config
    """To go on with."""
    taken: tuple[str, ...] = ()
    """Keys that changed and hold."""
    later: tuple[str, ...] = ()
    """Keys that changed and hold after a restart."""


def reloaded(running: Config, wanted: Config) -> Reloaded:
    """Return how to go on from ``running`` where the file now says ``wanted``."""
    before, after = running.model_dump(), wanted.model_dump()
    paths = list(_differences(before, after))
    live = [path for path in paths if _is_live(path, running, wanted)]
    if live:
        for path in live:
            _put(before, path, _value(after, path))
        try:
            config = Config.model_validate(before)
        except ValidationError:  # part of it makes no sense without the rest
            live, config = [], running
    else:
        config = running
    return Reloaded(
        config,
        taken=tuple(_named(path) for path in live),
        later=tuple(_named(path) for path in paths if path not in live),
    )


def _differences(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """Yield where two dumps differ, as deep as both have the same keys."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping) and (before.keys() == after.keys() or len(path) < 2):
        for key in dict.fromkeys((*before, *after)):
            if key in before and key in after:
                yield from _differences(before[key], after[key], (*path, key))
            else:
                yield (*path, key)
    elif path == ("wake", "words") and [one["model"] for one in before] == [one["model"] for one in after]:
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, (*path, number))
    else:
        yield path


def _is_live(path: Path, running: Config, wanted: Config) -> bool:
    match path:
        case ("conversation", key):
            return key not in KEPT_IN_MEMORY
        case ("profiles", str(name), *rest):
            is_there = name in running.profiles and name in wanted.profiles
            # Home Assistant was told which voices there are, and the echo canceller who cancels.
            same_voices = rest[:1] != ["voice"] or voices(running) == voices(wanted)
            return is_there and same_voices and rest[:2] != ["voice_live", "echo_cancellation"]
        case ("wake", "words", int(), key):
            return key in OF_A_WORD
        case ("budget", key):
            return key != "prices_file"
        case ("wake", "sensitivity") | ("audio", "chime") | ("log", "level"):
            return True
        case _:
            return False


def _value(of: Any, path: Path) -> Any:
    for part in path:
        of = of[part]
    return of


def _put(into: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        into = into[part]
    into[path[-1]] = value


def _named(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
