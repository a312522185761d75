"""The book on disk: an SQLite file that survives a power cut, written by a thread of its own."""

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from dataclasses import astuple, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from voiced.core.ledger import QUARTER_S, RECENT_S, Book, Entry, Totals
from voiced.core.prices import Prices, read_prices
from voiced.core.realtime.events import Usage
from voiced.edge import sqlitefile
from voiced.errors import ConfigError

logger = logging.getLogger(__name__)

PRICES = Path(__file__).parent.parent / "prices.toml"

VERSION = 1
"""Of the tables, in ``user_version``."""

RETRY_S = 30.0
"""Between two attempts to write, where the disk refuses."""

WAITING = 20_000
"""Entries that wait for the disk at most; beyond them the oldest are lost, which the log says at the end."""

_TOKENS = tuple(f.name for f in fields(Usage))
_COLUMNS = (
    "time",
    "session",
    "kind",
    "model",
    *(f"{name}_tokens" for name in _TOKENS),
    "seconds",
    "uploaded_s",
    "turns",
    "usd_nano",
    "estimated",
)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL, session TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
    {", ".join(f"{name}_tokens INTEGER NOT NULL" for name in _TOKENS)},
    seconds REAL NOT NULL, uploaded_s REAL NOT NULL, turns INTEGER NOT NULL,
    usd_nano INTEGER, estimated INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS about (since REAL NOT NULL) STRICT;
"""
_INSERT = f"INSERT INTO entries ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - names of ours
_REDATE = "UPDATE entries SET time = time + ? WHERE id > ?"

_TOTALS = """
SELECT
    COALESCE(SUM(CASE WHEN kind = 'response' THEN MAX(total_tokens, input_tokens + output_tokens) END), 0),
    COALESCE(SUM(CASE WHEN kind = 'response' THEN input_tokens END), 0),
    COALESCE(SUM(CASE WHEN kind = 'response' THEN output_tokens END), 0),
    COALESCE(SUM(CASE WHEN kind = 'response' THEN cached_tokens END), 0),
    COALESCE(SUM(CASE WHEN kind = 'response' THEN input_audio_tokens END), 0),
    COALESCE(SUM(CASE WHEN kind = 'response' THEN output_audio_tokens END), 0),
    COALESCE(SUM(turns), 0),
    COUNT(DISTINCT CASE WHEN kind = 'span' THEN session END),
    TOTAL(uploaded_s),
    COALESCE(SUM(usd_nano), 0)
FROM entries
"""
_RECENT = f"""
SELECT CAST(time / {QUARTER_S} AS INTEGER), COALESCE(SUM(usd_nano), 0),
    TOTAL(CASE WHEN kind = 'span' THEN seconds END)
FROM entries WHERE time >= MIN(?, (SELECT MAX(time) FROM entries)) - {RECENT_S} GROUP BY 1
"""  # noqa: S608 - numbers of ours


class LedgerFile:
    """The book in a file; fits :class:`voiced.ports.Ledger`. A context manager, entered off the event loop.

    A file that cannot be read is set aside, and a new one begun. A disk that refuses is said once, and tried again;
    entries wait meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._news: queue.SimpleQueue[Entry | int | threading.Event | None] = queue.SimpleQueue()
        self._waiting: deque[Entry] = deque()
        self._earlier = 0  # entries that were there before this run
        self._quarters = 0  # by which those of this run that are written have to be dated anew
        self._line: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self.book = Book(since=time.time())
        """All that was in the file; the one who adds entries also adds them here."""
        self.problem: str | None = None
        self._lost = 0

    def __enter__(self) -> Self:
        """Read the file, and begin to write."""
        try:
            self._open()
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
        self._news.put(None)
        self._thread.join()

    def add(self, entry: Entry) -> None:
        """Keep an entry; does not wait."""
        self._news.put(entry)

    def redate(self, quarters: int) -> None:
        """Date what was added so far so many quarters of an hour later; does not wait."""
        self._news.put(quarters)

    def written(self, timeout_s: float) -> bool:
        """Wait until all entries added so far are on the disk; return whether they are."""
        reached = threading.Event()
        self._news.put(reached)
        return reached.wait(timeout_s) and self.problem is None

    # --- opening ------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        line = sqlitefile.opened(self._path, VERSION, _TABLES)
        try:
            line.execute("INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)", (time.time(),))
            self.book = _read(line)
            (self._earlier,) = line.execute("SELECT COALESCE(MAX(id), 0) FROM entries").fetchone()
        except BaseException:
            line.close()
            raise
        self._line = line

    def _set_aside(self, exc: sqlite3.DatabaseError) -> None:
        try:
            aside = sqlitefile.set_aside(self._path)
            self._open()
        except (OSError, sqlite3.Error) as again:
            self._refused(again)
            return
        logger.warning(
            "the ledger %s cannot be read (%s); it is kept as %s, and a new one is begun: "
            "what was spent before counts no more, look at the service's own bill",
            *(self._path, exc, aside),
        )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        reached: list[threading.Event] = []
        while True:
            try:
                news = self._news.get(timeout=RETRY_S if self._waiting or self._quarters else None)
            except queue.Empty:
                news = threading.Event()  # nobody waits for it: only another attempt
            is_last = self._sort(news, reached)
            while not self._news.empty():
                is_last |= self._sort(self._news.get(), reached)
            self._save()
            for event in reached:
                event.set()
            reached.clear()
            if is_last:
                break
        if self._line is not None:
            self._line.close()
        if lost := self._lost + len(self._waiting):
            logger.error("%d entries of the ledger are lost: %s", lost, self.problem or "too many waited for the disk")

    def _sort(self, news: Entry | int | threading.Event | None, reached: list[threading.Event]) -> bool:
        if isinstance(news, Entry):
            self._waiting.append(news)
            if len(self._waiting) > WAITING:
                self._waiting.popleft()
                self._lost += 1
        elif isinstance(news, int):
            self._quarters += news
            self._waiting = deque(replace(entry, time=entry.time + news * QUARTER_S) for entry in self._waiting)
        elif news is not None:
            reached.append(news)
        return news is None

    def _save(self) -> None:
        """Write all that waits in one transaction, or leave it waiting."""
        if not self._waiting and not self._quarters:
            return
        try:
            line = self._line or self._reopened()
            with sqlitefile.transaction(line):
                if self._quarters:
                    line.execute(_REDATE, (self._quarters * QUARTER_S, self._earlier))
                line.executemany(_INSERT, [_row(entry) for entry in self._waiting])
        except (sqlite3.Error, OSError) as exc:
            self._refused(exc)
            return
        self._waiting.clear()
        self._quarters = 0
        if self.problem is not None:
            logger.info("the ledger %s is written again", self._path)
            self.problem = None

    def _reopened(self) -> sqlite3.Connection:
        # Its owner counts on in the book; what the file holds besides counts from the next start on.
        book, self._quarters = self.book, 0
        self._open()
        self.book = book
        assert self._line is not None  # noqa: S101 - just opened
        return self._line

    def _refused(self, exc: Exception) -> None:
        if self.problem is None:
            logger.warning(
                "the ledger %s cannot be written (%s); entries wait in memory, free space or mend its folder",
                *(self._path, exc),
            )
        self.problem = (
            f"the ledger {self._path} cannot be written ({exc}), so what is spent is forgotten at the next start; "
            "free space on the disk, or make the folder writable"
        )


def load_prices(own: str) -> Prices:
    """Return the shipped prices, behind those of the user's own file if one is named.

    Raises:
        ConfigError: If that file is missing or wrong.

    """
    shipped = read_prices(PRICES.read_text(encoding="utf-8"), PRICES.name)
    if not own:
        return shipped
    try:
        text = Path(own).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"budget.prices_file: {own} cannot be read: {exc}") from exc
    mine = read_prices(text, own)
    return Prices(mine.as_of, mine.lines + shipped.lines)


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        *(entry.time, entry.session, entry.kind, entry.model),
        *astuple(entry.usage),
        *(entry.seconds, entry.uploaded_s, entry.turns, entry.nano, int(entry.estimated)),
    )


def _read(line: sqlite3.Connection) -> Book:
    (since,) = line.execute("SELECT since FROM about").fetchone()
    totals = line.execute(_TOTALS).fetchone()
    book = Book(since=since, totals=Totals(**dict(zip((f.name for f in fields(Totals)), totals, strict=True))))
    for when, nano, seconds in line.execute(_RECENT, (time.time(),)):
        book.nano[when] = nano
        book.seconds[when] = seconds
    return book
