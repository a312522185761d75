"""The ledger on disk: everything written stays, whatever happens to the process or the file."""

import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiced.core.ledger import Book, Entry
from voiced.core.realtime.events import Usage
from voiced.edge import ledgerfile
from voiced.edge.ledgerfile import LedgerFile

WRITER = """
import sys
from pathlib import Path
from voiced.core.ledger import Entry
from voiced.edge.ledgerfile import LedgerFile

with LedgerFile(Path(sys.argv[1])) as ledger:
    number = 0
    while True:
        number += 1
        ledger.add(Entry(time=1e9 + number, session=f"s{number // 10}", kind="response", nano=number))
        assert ledger.written(10)
        print(number, flush=True)
"""


def entries() -> st.SearchStrategy[Entry]:
    count = st.integers(0, 10**6)
    return st.builds(
        Entry,
        time=st.floats(1.7e9, 1.7e9 + 30 * 86_400),
        session=st.sampled_from(["a", "b", "c"]),
        kind=st.just("response"),
        model=st.sampled_from(["gpt-realtime-2.1", "other"]),
        usage=st.builds(Usage, *[count] * 12),
        nano=st.none() | count,
        estimated=st.booleans(),
    )


def reread(path: Path) -> Book:
    with LedgerFile(path) as ledger:
        assert ledger.problem is None
        return ledger.book


def sums(book: Book) -> dict[int, int]:
    """Nano-dollars by quarter of an hour, whoever spent them."""
    spent = Counter(book.nano)
    spent.update({when: nano for when, (nano, _) in book.run.items()})
    return {when: nano for when, nano in spent.items() if nano}


@settings(max_examples=25)
@given(st.lists(entries(), max_size=12))
def test_what_is_read_again_is_the_book(tmp_path: Path, written: list[Entry]) -> None:
    path = tmp_path / f"{os.urandom(8).hex()}.sqlite"
    with LedgerFile(path) as ledger:
        for number, entry in enumerate(written):
            span = Entry(time=entry.time, session=f"{number}", kind="span", seconds=3.5, uploaded_s=2.25, turns=1)
            for each in (entry, span):
                ledger.book.add(each)
                ledger.add(each)
    again = reread(path)
    assert again.totals == ledger.book.totals
    assert sums(again) == sums(ledger.book)
    assert again.seconds == {when: seconds for when, (_, seconds) in ledger.book.run.items()}
    assert again.since == ledger.book.since


@settings(max_examples=25)
@given(st.lists(entries() | st.integers(-50, 50), max_size=8), st.lists(entries() | st.integers(-9, 9), max_size=8))
def test_a_clock_that_is_set_dates_the_file_as_the_book(
    tmp_path: Path, first: list[Entry | int], second: list[Entry | int]
) -> None:
    """In two runs; what the first one wrote stays as it is in the second. None is older than the file looks back."""
    path = tmp_path / f"{os.urandom(8).hex()}.sqlite"
    for run in (first, second):
        with LedgerFile(path) as ledger:
            for each in run:
                if isinstance(each, int):
                    ledger.book.redate(each)
                    ledger.redate(each)
                else:
                    ledger.book.add(each)
                    ledger.add(each)
        again = reread(path)
        assert sums(again) == sums(ledger.book)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with LedgerFile(tmp_path / "state" / "ledger.sqlite") as ledger:
            ledger.add(Entry(time=1e9, session="a", kind="response", nano=1))
            assert ledger.written(10)
            files = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert files == {"ledger.sqlite": 0o600, "ledger.sqlite-wal": 0o600, "ledger.sqlite-shm": 0o600}


def test_another_entry_writes_those_before_it_not_again(tmp_path: Path) -> None:
    with LedgerFile(tmp_path / "ledger.sqlite") as ledger:
        for number in range(100):
            ledger.add(Entry(time=float(number), session="s", kind="span"))
        assert ledger.written(30)
        assert ledger._line is not None
        before = ledger._line.total_changes
        ledger.add(Entry(time=100.0, session="s", kind="span"))
        assert ledger.written(30)
        assert ledger._line.total_changes - before == 1


def test_nothing_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.sqlite"
    kept = 0
    for round_ in range(1, 4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            confirmed = 0
            for line in writer.stdout:
                confirmed = int(line)
                if confirmed >= 5 * round_:
                    break
            writer.send_signal(signal.SIGKILL)
            confirmed = max([confirmed, *map(int, writer.stdout.read().split())])
        before, kept = kept, reread(path).totals.nano
        # all that was confirmed, and at most the one that was being written
        assert kept - before in {sum(range(last + 1)) for last in (confirmed, confirmed + 1)}


def test_a_broken_file_is_set_aside_and_a_new_one_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database, and has not been one for a while" * 50)
    with LedgerFile(path) as ledger:
        assert ledger.problem is None
        ledger.add(Entry(time=1e9, session="a", kind="response", nano=7))
    assert reread(path).totals.nano == 7
    (aside,) = tmp_path.glob("ledger.sqlite.broken-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert "a new one is begun" in caplog.text
    assert aside.name in caplog.text


def test_a_page_that_went_bad_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with LedgerFile(path) as ledger:
        for number in range(300):
            ledger.add(Entry(time=1e9 + number, session="a", kind="response", nano=1))
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(os.urandom(4096))
    assert reread(path).totals.nano == 0
    assert list(tmp_path.glob("ledger.sqlite.broken-*"))


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    line = sqlite3.connect(path)
    line.execute("PRAGMA user_version = 9")
    line.close()
    assert reread(path).totals.nano == 0
    (aside,) = tmp_path.glob("ledger.sqlite.broken-*")
    line = sqlite3.connect(aside)
    assert line.execute("PRAGMA user_version").fetchone() == (9,)
    line.close()


def test_a_disk_that_refuses_is_said_once_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The system itself refuses: no file of this process may grow beyond what the ledger has."""
    path = tmp_path / "ledger.sqlite"
    caplog.set_level(logging.INFO)
    with LedgerFile(path) as ledger:
        ledger.add(Entry(time=1e9, session="a", kind="response", nano=1))
        assert ledger.written(10)
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = path.with_name(path.name + "-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
        try:
            for number in range(20):
                ledger.add(Entry(time=1e9, session="a" * 500, kind="response", nano=10))
                assert not ledger.written(10), number
            assert ledger.problem is not None
            assert "free space" in ledger.problem
            assert caplog.text.count("cannot be written") == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        ledger.add(Entry(time=1e9, session="a", kind="response", nano=100))
        assert ledger.written(10)
        assert ledger.problem is None
    assert reread(path).totals.nano == 301


def test_what_the_disk_never_took_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledgerfile, "WAITING", 5)
    (tmp_path / "state").write_text("a file, where a folder should be")
    with LedgerFile(tmp_path / "state" / "ledger.sqlite") as ledger:
        for number in range(7):
            ledger.add(Entry(time=float(number), session="a", kind="response"))
    assert "7 entries of the ledger are lost: the ledger" in caplog.text


def test_a_folder_that_cannot_be_written_is_a_problem_and_no_end(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, where a folder should be")
    with LedgerFile(tmp_path / "state" / "ledger.sqlite") as ledger:
        assert ledger.problem is not None
        ledger.add(Entry(time=1e9, session="a", kind="response", nano=1))
        assert not ledger.written(10)
