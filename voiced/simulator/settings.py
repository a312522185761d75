"""The configuration of a session: merged update by update, told back whole."""

import copy
from collections.abc import Mapping
from typing import Any

from voiced.simulator import turns
from voiced.simulator.checks import Wrong
from voiced.simulator.dialect import Dialect, Json
from voiced.simulator.shapes import RATE

_NESTED = {"audio", "input", "output"}
_PAUSES_MS = {"low": 1600, "medium": 800, "auto": 800, "high": 400}
"""What stands for a semantic judgement here: the more eager, the shorter a pause ends the turn."""


class Settings:
    """A session's effective configuration, in the shape its dialect has on the wire."""

    def __init__(self, dialect: Dialect, session_id: str, model: str, expires_at: int) -> None:
        self._dialect = dialect
        self._wire = dialect.session(session_id, model, expires_at)

    def wire(self) -> Json:
        """Return everything, as ``session.created`` and ``session.updated`` tell it."""
        return copy.deepcopy(self._wire)

    def get(self, name: str) -> Any:
        """Return one setting by its dialect-free name."""
        return self._dialect.read(self._wire, name)

    def update(self, change: Mapping[str, Any], *, voice_fixed: bool, refused: tuple[str, ...] = ()) -> None:
        """Merge a checked update: absent keys stay; null, empty text and empty lists clear.

        Args:
            change: ``session`` of the update.
            voice_fixed: Whether the session has spoken, which fixes its voice.
            refused: Settings that this server does not know, for example ``session.reasoning``.

        Raises:
            Wrong: If it may not be changed so; then nothing is.

        """
        for where in refused:
            if _holds(change, where.split(".")[1:]):
                raise Wrong("unknown_parameter", f"Unknown parameter: '{where}'.", where)
        voice = self._dialect.read(change, "voice")
        if voice_fixed and voice is not None and voice != self.get("voice"):
            where = ".".join(("session", *self._dialect.paths["voice"]))
            raise Wrong(
                "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present.", where
            )
        model = change.get("model", self._wire["model"])
        if model != self._wire["model"]:
            raise Wrong("invalid_value", "The model of a session cannot be changed.", "session.model")
        self._wire = self._merged(self._wire, change)

    def _merged(self, old: Mapping[str, Any], change: Mapping[str, Any]) -> Json:
        new = dict(old)
        for key, value in change.items():
            if key in _NESTED:
                new[key] = self._merged(old[key], value)
            elif key == "turn_detection" and value is not None:
                new[key] = self._turn_detection(old[key], value)
            elif key == "instructions":
                new[key] = value or ""
            elif key == "tools":
                new[key] = value or []
            else:
                new[key] = copy.deepcopy(value)
        return new

    def _turn_detection(self, old: Mapping[str, Any] | None, change: Mapping[str, Any]) -> Json:
        kind = change.get("type", (old or {}).get("type", "server_vad"))
        kept = old if old is not None and old["type"] == kind else {}
        return {**self._dialect.turn_detection(kind), **kept, **change}

    @property
    def input_rate(self) -> int:
        """Samples per second of what the client sends; only Voice Live takes others than 24,000."""
        rate: int = self._wire.get("input_audio_sampling_rate") or RATE
        return rate

    @property
    def turns(self) -> turns.Settings | None:
        """How turns are told apart; ``None`` if the client does it."""
        wanted = self.get("turn_detection")
        if wanted is None:
            return None
        if wanted["type"] == "semantic_vad":
            return turns.Settings(silence_ms=_PAUSES_MS[wanted["eagerness"]])
        return turns.Settings(wanted["threshold"], wanted["prefix_padding_ms"], wanted["silence_duration_ms"])

    def turn_flag(self, name: str) -> bool:
        """Whether turn detection may do something: ``create_response``, ``interrupt_response``, ``auto_truncate``."""
        wanted = self.get("turn_detection")
        return bool(wanted and wanted.get(name))


def _holds(value: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True
