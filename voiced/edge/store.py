"""What is remembered over restarts, as a small JSON file in the state directory."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return where the daemon may keep things: systemd's ``$STATE_DIRECTORY``, else the user's own place."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/var/lib")) / ".local" / "state")
    return Path(home) / "voiced"


class SettingsFile:
    """One JSON object in a file; fits :class:`voiced.ports.Settled`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, object]:
        """Return what was saved last; empty if there is nothing that can be read, which is logged."""
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            logger.warning("%s cannot be read, so settings start afresh: %s", self._path, exc)
            return {}
        if not isinstance(values, dict):
            logger.warning("%s holds no JSON object, so settings start afresh", self._path)
            return {}
        return values

    def save(self, values: dict[str, object]) -> None:
        """Keep ``values``, whole or not at all; a disk that refuses is logged."""
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                json.dump(values, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as exc:
            logger.warning("settings cannot be kept in %s: %s", self._path, exc)
