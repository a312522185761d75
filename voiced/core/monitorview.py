"""A running daemon for a person's eyes, in a few lines that move."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from voiced.core.mqtt.payloads import Turn
from voiced.core.turnview import spans

_QUIET_DB, _LOUD_DB = -70.0, 0.0


def lines(told: Mapping[str, Any], width: int) -> list[str]:
    """Return what a daemon has published, by topic, as lines of at most ``width`` columns less one."""
    state, settings, health = (told.get(key) or {} for key in ("state", "settings", "health"))
    doing = f"{told.get('availability', 'unknown')}  {state.get('state', 'unknown')}"
    doing += "  muted" if state.get("muted") else ""
    doing += f"  volume {settings.get('volume', '?')} %  service {health.get('cloud', '?')}"
    ears = told.get("ears")
    sound = heard(ears["level_db"], ears["scores"], width, gate=ears["gate"]) if ears else "hears nothing yet"
    shown = [doing, sound, _turn(told.get("turn")), _cost(told.get("usage"))]
    shown += [f"problem: {one['message']}" for one in health.get("problems", [])]
    return [line if len(line) < width else line[: max(0, width - 2)] + "…" for line in shown]


def heard(level_db: float, scores: Mapping[str, float], width: int, *, gate: bool) -> str:
    """Return the line of the ears: level relative to full scale, gate, and a bar for each word's score."""
    room = max(4, (width - 20) // (len(scores) + 1) - 12)
    loudness = (level_db - _QUIET_DB) / (_LOUD_DB - _QUIET_DB)
    shown = [f"{level_db:4.0f} dB {_bar(loudness, room)}", "open" if gate else "shut"]
    shown += [f"{word} {_bar(score, room)} {score:.2f}" for word, score in scores.items()]
    return "  ".join(shown)[: width - 1]


def _bar(fraction: float, width: int) -> str:
    filled = round(min(1.0, max(0.0, fraction)) * width)
    return "#" * filled + "." * (width - filled)


def _turn(told: Any) -> str:
    try:
        turn = Turn.model_validate(told)
    except ValidationError:
        return "no turn yet"
    parts = ", ".join(f"{part.name} {part.ms} ms" for part in spans(turn))
    return f"last turn {turn.time.astimezone():%H:%M:%S} {turn.outcome}" + (f": {parts}" if parts else "")


def _cost(usage: Mapping[str, Any] | None) -> str:
    if not usage:
        return "cost unknown"
    cost = usage["cost"]
    limit = f" of {cost['limit_day']:.2f}" if cost.get("limit_day") is not None else ""
    return f"today {cost['today']:.2f}{limit} {cost['currency']}, {usage['turns']} turns in all for {cost['total']:.2f}"
