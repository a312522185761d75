"""What our SQLite files have in common: a power cut harms none, nobody else reads them, and broken ones are kept."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def opened(path: Path, version: int, tables: str) -> sqlite3.Connection:
    """Return a connection to a file, made if it is not there, that any thread may use, one at a time.

    Args:
        path: Of the file; its folder is made.
        version: Of its tables, in ``user_version``.
        tables: SQL that makes those that are missing.

    Raises:
        OSError: If the file cannot be made.
        sqlite3.OperationalError: If it cannot be opened or written now.
        sqlite3.DatabaseError: If it is broken, or of another version.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # what was said and spent is nobody else's business
    line = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        line.execute("PRAGMA journal_mode = WAL")
        line.execute("PRAGMA synchronous = FULL")
        line.execute("PRAGMA secure_delete = ON")
        _check(line, version)
        line.executescript(tables)
        line.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        line.close()
        raise
    return line


def set_aside(path: Path) -> str:
    """Give a broken file, and what belongs to it, another name; return that.

    Raises:
        OSError: If that is refused.

    """
    aside = f"{path.name}.broken-{time.time_ns()}"
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(path.with_name(aside + ending))
    return aside


@contextmanager
def transaction(line: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; on the disk itself at the end."""
    line.execute("BEGIN IMMEDIATE")
    try:
        yield
        line.execute("COMMIT")
    except BaseException:
        if line.in_transaction:
            line.execute("ROLLBACK")
        raise


def _check(line: sqlite3.Connection, version: int) -> None:
    found = line.execute("PRAGMA user_version").fetchone()[0]
    if found not in {0, version}:
        raise sqlite3.DatabaseError(f"it is of version {found}, and this voiced knows {version}")
    if (said := line.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(said)
