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


class LateFile:
    """A file written by a thread, so that nobody waits for the disk, which may take a second.

    One writes at a time, and only what is newest. The file is whole or not there, and its owner's alone. A context,
    which is left when what was written is there.

    Args:
        path: Of the file; its folder is made.
        what: Stands in it, for people.

    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._draft = path.with_suffix(".new")
        self._what = what
        self._changed = threading.Condition()
        self._waiting: list[str | None] = []
        self._is_writing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def write(self, text: str | None) -> None:
        """Have ``text`` stand in the file; ``None``: delete it. Does not wait; a disk that refuses is logged."""
        with self._changed:
            self._waiting = [text]
            if not self._is_writing:
                threading.Thread(target=self._write_all, name=self._what).start()
                self._is_writing = True

    def wait(self) -> None:
        """Wait until what was written last is there, or refused."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_writing)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._is_writing = False
                    self._changed.notify_all()
                    return
                text = self._waiting.pop()
            try:
                self._put(text)
            except OSError as exc:
                logger.warning("%s cannot be kept in %s: %s", self._what, self.path, exc)

    def _put(self, text: str | None) -> None:
        if text is None:
            self._delete()
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._draft.replace(self.path)

    def _delete(self) -> None:
        self._draft.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class SettingsFile(LateFile):
    """One JSON object in a file; fits :class:`voiced.ports.Settled`."""

    def __init__(self, path: Path, what: str = "settings") -> None:
        super().__init__(path, what)

    def load(self) -> dict[str, object]:
        """Return what was saved last; empty if there is nothing that can be read, which is logged."""
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            logger.warning("%s cannot be read, so %s start afresh: %s", self.path, self._what, exc)
            return {}
        if not isinstance(values, dict):
            logger.warning("%s holds no JSON object, so %s start afresh", self.path, self._what)
            return {}
        return values

    def save(self, values: dict[str, object]) -> None:
        """Keep ``values``; does not wait for the disk, and one that refuses is logged."""
        self.write(json.dumps(values))
