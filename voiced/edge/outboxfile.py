"""Finished turns that the broker has not confirmed, on disk: an SQLite file that survives a power cut."""

import logging
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from voiced.core.outgoing import Parcel
from voiced.edge import sqlitefile

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the table, in ``user_version``."""

RETRY_S = 30.0
"""Between two attempts to write, where the disk refuses."""

_TABLE = """
CREATE TABLE IF NOT EXISTS turns (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, payload TEXT NOT NULL, time REAL NOT NULL
) STRICT
"""
_KEEP = "INSERT OR REPLACE INTO turns (id, topic, payload, time) VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM turns WHERE id = ?"
_READ = "SELECT id, topic, payload, time FROM turns ORDER BY number"


class OutboxFile:
    """The turns in a file, written by a thread of its own. A context manager, entered off the event loop.

    What is confirmed before it was written is not written at all. A file that cannot be read is set aside, and a new
    one begun. A disk that refuses is said once, and tried again; what is to be written waits, as much as the bounds of
    the outbox let there be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changes: dict[str, Parcel | None] = {}
        self._is_writing = self._is_leaving = False
        self._news = threading.Condition()
        self._line: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._write, name="outbox", daemon=True)
        self.kept: tuple[Parcel, ...] = ()
        """What was in the file, oldest first."""
        self.problem: str | None = None

    def __enter__(self) -> Self:
        """Read the file, and begin to write."""
        try:
            self._line, self.kept = self._opened()
        except sqlite3.OperationalError as exc:
            self._refused(exc)
        except sqlite3.DatabaseError as exc:
            self._set_aside(exc)
        except OSError as exc:
            self._refused(exc)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what waits, and close the file."""
        with self._news:
            self._is_leaving = True
            self._news.notify_all()
        self._thread.join()

    def keep(self, parcel: Parcel) -> None:
        """Keep a turn; does not wait."""
        with self._news:
            self._changes[parcel.id] = parcel
            self._news.notify_all()

    def forget(self, parcel: str) -> None:
        """Delete a turn; does not wait."""
        with self._news:
            if self._changes.get(parcel) is None:
                self._changes[parcel] = None
            else:
                del self._changes[parcel]  # it never came to the disk
            self._news.notify_all()

    def written(self, timeout_s: float) -> bool:
        """Wait until the disk has all changes so far; return whether it has."""
        with self._news:
            done = self._news.wait_for(lambda: not self._changes and not self._is_writing, timeout_s)
        return done and self.problem is None

    # --- opening ------------------------------------------------------------------------------------------------------

    def _opened(self) -> tuple[sqlite3.Connection, tuple[Parcel, ...]]:
        line = sqlitefile.opened(self._path, VERSION, _TABLE)
        try:
            kept = tuple(Parcel(*row) for row in line.execute(_READ))
        except BaseException:
            line.close()
            raise
        return line, kept

    def _set_aside(self, exc: sqlite3.DatabaseError) -> None:
        try:
            aside = sqlitefile.set_aside(self._path)
            self._line, self.kept = self._opened()
        except (OSError, sqlite3.Error) as again:
            self._refused(again)
            return
        logger.warning(
            "the outbox %s cannot be read (%s); it is kept as %s, and a new one is begun: turns in it are not told",
            *(self._path, exc, aside),
        )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            with self._news:
                if self.problem is None:
                    self._news.wait_for(lambda: self._changes or self._is_leaving)
                elif not self._is_leaving:
                    self._news.wait_for(lambda: self._is_leaving, RETRY_S)
                changes, self._changes = self._changes, {}
                self._is_writing, is_last = True, self._is_leaving
            saved = self._save(changes)
            with self._news:
                if not saved:  # what came meanwhile is newer
                    self._changes = {**changes, **self._changes}
                self._is_writing = False
                self._news.notify_all()
                if is_last and (not self._changes or not saved):
                    break
        if self._line is not None:
            self._line.close()
        if lost := sum(parcel is not None for parcel in self._changes.values()):
            logger.error("%d finished turns are lost: %s", lost, self.problem)

    def _save(self, changes: Mapping[str, Parcel | None]) -> bool:
        """Write in one transaction; return whether that went well."""
        try:
            if self._line is None:
                self._line, _ = self._opened()  # what it holds besides is told at the next start
            with sqlitefile.transaction(self._line):
                for name, parcel in changes.items():
                    if parcel is None:
                        self._line.execute(_FORGET, (name,))
                    else:
                        self._line.execute(_KEEP, (parcel.id, parcel.topic, parcel.payload, parcel.time))
            if None in changes.values():
                self._line.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the log still has what was deleted
        except (sqlite3.Error, OSError) as exc:
            self._refused(exc)
            return False
        if self.problem is not None:
            logger.info("the outbox %s is written again", self._path)
            self.problem = None
        return True

    def _refused(self, exc: Exception) -> None:
        if self.problem is None:
            logger.warning("the outbox %s cannot be written (%s); turns wait in memory", self._path, exc)
        self.problem = (
            f"the outbox {self._path} cannot be written ({exc}), so turns that the MQTT broker does not have yet are "
            "forgotten at the next start; free space on the disk, or make the folder writable"
        )
