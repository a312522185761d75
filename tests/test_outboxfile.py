"""The outbox on disk, and turns that outlive broker, process and disk faults; against a real mosquitto."""

import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mosquitto import AVAILABILITY, Door, Neighbour, config, connected, make_broker
from tests.waiting import eventually
from voiced.core.outgoing import Parcel
from voiced.edge.mosquitto import Mosquitto
from voiced.edge.outboxfile import OutboxFile

TURNS = "voiced/kitchen/event/turn"


def parcels(count: int) -> list[Parcel]:
    return [Parcel(f"t{number}", "turns", f"Grüße {number}", 1.8e9 + number) for number in range(count)]


def reread(path: Path) -> list[str]:
    with OutboxFile(path) as outbox:
        assert outbox.problem is None
        return [parcel.id for parcel in outbox.kept]


def test_what_was_kept_is_there_again_in_its_order_and_what_was_forgotten_is_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    with OutboxFile(path) as outbox:
        for parcel in parcels(5):
            outbox.keep(parcel)
        outbox.forget("t2")
        assert outbox.written(10)
        outbox.forget("t0")
        outbox.forget("never there")
        assert outbox.written(10)
        on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert "Grüße 1".encode() in on_disk
        assert "Grüße 0".encode() not in on_disk
    with OutboxFile(path) as outbox:
        assert outbox.kept == tuple(parcel for parcel in parcels(5) if parcel.id not in {"t0", "t2"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Grüße 0".encode() not in path.read_bytes()


WRITER = """
import sys
import time
from pathlib import Path
from voiced.core.outgoing import Parcel
from voiced.edge.outboxfile import OutboxFile

with OutboxFile(Path(sys.argv[1])) as outbox:
    number = 0
    while True:
        number += 1
        outbox.keep(Parcel(str(number), "t", "p", 0.0))
        if number > 5:
            outbox.forget(str(number - 5))
        assert outbox.written(10)
        print(number, flush=True)
"""


def test_nothing_written_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(30):
            line = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        last = int(([line, *writer.stdout.readlines()])[-1])
    expected = {str(number) for number in range(last - 4, last + 1)}
    kept = set(reread(path))
    assert expected <= kept | {str(last - 4)}  # one more may have been begun
    assert len(kept) <= 6


@pytest.mark.parametrize("rubbish", [b"no database at all" * 100, b""])
def test_a_broken_file_is_set_aside(tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(rubbish)
    with OutboxFile(path) as outbox:
        outbox.keep(parcels(1)[0])
        assert outbox.written(10)
    assert reread(path) == ["t0"]
    asides = [aside.read_bytes() for aside in tmp_path.glob("outbox.sqlite.broken-*")]
    assert asides == ([rubbish] if rubbish else [])
    assert ("is kept as outbox.sqlite.broken-" in caplog.text) == bool(rubbish)


def test_a_file_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with sqlite3.connect(path) as line:
        line.execute("PRAGMA user_version = 99")
    line.close()
    assert reread(path) == []
    (aside,) = tmp_path.glob("outbox.sqlite.broken-*")
    line = sqlite3.connect(aside)
    assert line.execute("PRAGMA user_version").fetchone() == (99,)
    line.close()


def test_a_folder_that_refuses_is_said_and_nothing_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, where a folder should be")
    with OutboxFile(tmp_path / "state" / "outbox.sqlite") as outbox:
        outbox.keep(parcels(1)[0])
        assert not outbox.written(0.2)
        assert "make the folder writable" in str(outbox.problem)
        outbox.forget("t0")


FULL = """
import resource, signal, sys
from pathlib import Path
from voiced.core.outgoing import Parcel
from voiced.edge import outboxfile
outboxfile.RETRY_S = 0.05
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with outboxfile.OutboxFile(Path(sys.argv[1])) as outbox:
    outbox.keep(Parcel("before", "t", "p", 0.0))
    assert outbox.written(10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    outbox.keep(Parcel("meanwhile", "t", "p" * 50_000, 0.0))
    outbox.forget("before")
    while outbox.problem is None:
        assert not outbox.written(0.05)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    outbox.keep(Parcel("after", "t", "p", 0.0))
    while not outbox.written(10):
        pass
    assert outbox.problem is None
"""


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    path = tmp_path / "outbox.sqlite"
    subprocess.run([sys.executable, "-c", FULL, str(path)], check=True, timeout=50, env=dict(os.environ))
    assert reread(path) == ["meanwhile", "after"]


# --- with the broker --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_left")
async def test_turns_told_while_the_broker_was_away_arrive_after_a_restart(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    path = tmp_path / "outbox.sqlite"
    async with Neighbour(mosquitto.port) as neighbour, Door(mosquitto.port) as door:
        door.shut()
        with OutboxFile(path) as outbox:
            async with make_broker(door.port, outbox=outbox) as broker:
                for number in range(12):
                    broker.deliver("event/turn", f"turn {number}", parcel=f"t{number}")
                assert broker.health.waiting_turns == 12
        door.open()
        with OutboxFile(path) as outbox:
            async with make_broker(door.port, outbox=outbox) as broker:
                broker.deliver("event/turn", "turn 12", parcel="t12")
                await connected(broker)
                await eventually(lambda: broker.health.waiting_turns == 0, "all confirmed")
        await eventually(lambda: len(neighbour.on(TURNS)) >= 13, "they are told")
        assert neighbour.on(TURNS) == [f"turn {number}" for number in range(13)]
        assert reread(path) == []
        assert not any(heard.retain for heard in neighbour.heard if heard.topic != AVAILABILITY)


@pytest.mark.usefixtures("nothing_left")
async def test_turns_that_the_brokers_rules_refuse_are_kept_for_the_next_connection(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite voiced/kitchen/availability\n")
    path = tmp_path / "outbox.sqlite"
    folder = tmp_path / "guarded"
    folder.mkdir()
    async with Mosquitto(folder, ["allow_anonymous true", f"acl_file {rules}"]) as guarded:
        with OutboxFile(path) as outbox:
            async with make_broker(guarded.port, outbox=outbox) as broker:
                await connected(broker)
                broker.deliver("event/turn", "refused", parcel="t1")
                await eventually(lambda: "check its access rules" in (broker.problem or ""), "noticed")
                assert broker.health.waiting_turns == 1
                rules.write_text("topic readwrite #\n")
                await guarded.stop()
                await guarded.start()
                await eventually(lambda: broker.health.waiting_turns == 0, "taken at last", 30)
        assert reread(path) == []


@pytest.mark.usefixtures("nothing_left")
async def test_more_turns_than_the_outbox_holds_are_dropped_counted_and_gone_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with OutboxFile(path) as outbox:
        async with make_broker(config(1, outbox_turns=3), outbox=outbox) as broker:
            for number in range(5):
                broker.deliver("event/turn", json.dumps(number), parcel=f"t{number}")
            assert (broker.health.waiting_turns, broker.health.dropped_turns) == (3, 2)
    assert reread(path) == ["t2", "t3", "t4"]


@pytest.mark.usefixtures("nothing_left")
async def test_turns_older_than_the_outbox_keeps_are_dropped_counted_and_never_told(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    path, now = tmp_path / "outbox.sqlite", time.time()
    with OutboxFile(path) as outbox:
        for name, days in (("ancient", 30), ("old", 2.1), ("young", 1.9)):
            outbox.keep(Parcel(name, TURNS, name, now - days * 86_400))
    async with Neighbour(mosquitto.port) as neighbour:
        with OutboxFile(path) as outbox:
            async with make_broker(config(mosquitto.port, outbox_days=2), outbox=outbox) as broker:
                broker.deliver("event/turn", "new", parcel="new")
                await eventually(lambda: broker.health.waiting_turns == 0, "all confirmed")
                assert broker.health.dropped_turns == 2
        await eventually(lambda: len(neighbour.on(TURNS)) >= 2, "they are told")
        assert neighbour.on(TURNS) == ["young", "new"]
    assert reread(path) == []
