"""Reads ``config.toml`` and the environment, and reports every problem at once, each with its full key."""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from voiced.config import Config, WakeWordConfig
from voiced.errors import ConfigError
from voiced.profileconfig import ProfileConfig

SAMPLES_ENVIRONMENT = {
    "AZURE_OPENAI_ENDPOINT": "endpoint",
    "AZURE_OPENAI_DEPLOYMENT_NAME": "deployment",
    "OPENAI_API_VERSION": "api_version",
}
"""Variables of Microsoft's samples, and the keys of ``[realtime]`` they set."""


def find(environ: Mapping[str, str], explicit: str | None = None) -> Path | None:
    """Return the configuration file to read; ``None`` if there is none and none was asked for.

    Raises:
        ConfigError: If the one asked for, by ``explicit`` or ``$VOICED_CONFIG``, does not exist.

    """
    for named, by in ((explicit, "-c"), (environ.get("VOICED_CONFIG"), "VOICED_CONFIG")):
        if named:
            if not _is_there(Path(named)):
                raise ConfigError(f"{named}: no such file (named by {by})")
            return Path(named)
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    places = (Path(home) / "voiced" / "config.toml", Path("/etc/voiced/config.toml"))
    return next((place for place in places if _is_there(place)), None)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be looked up: {exc.strerror}") from exc


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read ``path`` (``None``: defaults alone), then let ``environ`` win over it.

    Raises:
        ConfigError: With every problem that was found.

    """
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{path}: is not UTF-8 text, at byte {exc.start}") from exc
        except tomllib.TOMLDecodeError as exc:
            raise ConfigError(f"{path}: is not TOML: {exc}") from exc
    problems = _apply_environment(raw, environ)
    if isinstance(raw.get("profiles"), dict):
        raw["profiles"].setdefault("default", {})
    try:
        # JSON mode lets an array fill a tuple and an integer a float; everything else stays strict.
        config = Config.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as exc:
        errors: list[dict[str, Any]] = [dict(error) for error in exc.errors()]
        inner = {error["loc"][:depth] for error in errors for depth in range(1, len(error["loc"]))}
        # A list of one bad item is also called too short; the item says it all.
        for error in errors:
            if error["loc"] not in inner:
                problems += _sentence(error).splitlines()
    if problems:
        raise ConfigError(*(f"{path}: {problem}" if path else problem for problem in problems))
    return config


def _apply_environment(raw: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    problems: list[str] = []
    wishes: list[tuple[str, tuple[str, ...]]] = [
        (variable, tuple(variable.removeprefix("VOICED_").lower().split("__")))
        for variable in sorted(environ)
        if variable.startswith("VOICED_") and "__" in variable
    ]
    for variable, path in wishes:
        table = raw
        for part in path[:-1]:
            table = table.setdefault(part, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            problems.append(f"{variable}: {'.'.join(path[:-1])} is not a table")
            continue
        table[path[-1]] = _value(path, environ[variable])
    if isinstance(realtime := raw.setdefault("realtime", {}), dict):
        _apply_samples(realtime, environ, chosen="VOICED_REALTIME__PROVIDER" in environ)
    return problems


def _apply_samples(realtime: dict[str, Any], environ: Mapping[str, str], *, chosen: bool) -> None:
    """Let the variables of Microsoft's samples speak, where the service is Azure OpenAI or nobody chose one."""
    provider = realtime.get("provider", "simulator")
    if provider == "simulator" and not chosen and environ.get("AZURE_OPENAI_ENDPOINT"):
        # The samples name no kind of service: a preview version means the dated API.
        version = environ.get("OPENAI_API_VERSION", "")
        provider = realtime["provider"] = "azure-preview" if "preview" in version else "azure"
    if provider in {"azure", "azure-preview"}:
        for variable, key in SAMPLES_ENVIRONMENT.items():
            if environ.get(variable) and f"VOICED_REALTIME__{key.upper()}" not in environ:
                realtime[key] = environ[variable]


def _value(path: tuple[str, ...], text: str) -> Any:
    section = Config.model_fields.get(path[0])
    model = section.annotation if section else None
    if path[0] == "profiles":
        model = ProfileConfig
    field = getattr(model, "model_fields", {}).get(path[-1])
    if field is not None and (field.annotation is str or str in get_args(field.annotation)):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sentence(error: dict[str, Any]) -> str:
    where = ""
    for part in error["loc"]:
        if part in {"str", "dict[str,any]"}:
            continue  # which of two kinds a value might have been
        where += f"[{part}]" if isinstance(part, int) else f"{'.' if where else ''}{part}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        guess = difflib.get_close_matches(str(error["loc"][-1]), _siblings(error["loc"]), n=1)
        return f"{where}: unknown key" + (f'; did you mean "{guess[0]}"?' if guess else "")
    if error["type"] == "value_error":
        joint = "." if re.match(r"[a-z_]+: ", message) else ": "
        return f"{where}{joint}{message}" if where else message
    if error["type"] == "missing":
        return f"{where}: required"
    return f"{where}: {message[0].lower()}{message[1:]}, not {error['input']!r}"


def _siblings(path: tuple[int | str, ...]) -> list[str]:
    model: Any = Config
    for part in path[:-1]:
        if isinstance(part, int) or model is None:
            continue
        if model is Config and part == "profiles":
            model = ProfileConfig
        elif model is ProfileConfig and part not in ProfileConfig.model_fields:
            continue  # the name of the profile
        elif part == "words":
            model = WakeWordConfig
        else:
            field = model.model_fields.get(part)
            model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
