"""What is remembered over restarts, as a small JSON file in the state directory."""

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return where the daemon may keep things: systemd's ``$STATE_DIRECTORY``, else the user's own place."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/var/lib")) / ".local" / "state")
    return Path(home) / "voiced"


class SettingsFile:
    """One JSON object in a file; fits :class:`voiced.ports.Settled`. A context, left when what was saved is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._waiting: dict[str, object] | None = None
        self._is_writing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

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
        """Keep ``values``, whole or not at all; a disk that refuses is logged.

        Does not wait for the disk, which may take a second: a thread writes, one at a time and only what is newest.
        """
        with self._changed:
            self._waiting = dict(values)
            if not self._is_writing:
                self._is_writing = True
                threading.Thread(target=self._write_all, name="settings").start()

    def wait(self) -> None:
        """Wait until what was saved last is there, or refused."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_writing)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                values, self._waiting = self._waiting, None
                if values is None:
                    self._is_writing = False
                    self._changed.notify_all()
                    return
            self._write(values)

    def _write(self, values: dict[str, object]) -> None:
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
