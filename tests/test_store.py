"""Settings in a file: whole, in order, and nobody waits for the disk."""

import logging
import os
import threading
from pathlib import Path

import pytest

from voiced.edge.store import SettingsFile


def test_what_was_saved_last_is_there_when_the_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state" / "settings.json"
    with SettingsFile(path) as settings:
        assert settings.load() == {}
        for volume in range(100):
            settings.save({"volume": volume})
    assert SettingsFile(path).load() == {"volume": 99}
    assert list(path.parent.iterdir()) == [path]


def test_nobody_waits_for_a_disk_that_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    os.mkfifo(draft := tmp_path / "settings.new")  # opening it waits until somebody reads
    settings = SettingsFile(path)
    for volume in (1, 2, 3):
        settings.save({"volume": volume})
    assert "settings" in {thread.name for thread in threading.enumerate()}
    reader = os.open(draft, os.O_RDWR)
    settings.wait()
    os.close(reader)
    draft.unlink()
    settings.save({"volume": 4})
    settings.wait()
    assert settings.load() == {"volume": 4}


def test_without_a_thread_to_write_nothing_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saves fails, and may leave."""

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with SettingsFile(tmp_path / "settings.json") as settings:
        monkeypatch.setattr(threading, "Thread", NoThread)
        with pytest.raises(RuntimeError):
            settings.save({"volume": 1})
        monkeypatch.undo()
        settings.save({"volume": 2})
    assert settings.load() == {"volume": 2}


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    with SettingsFile(path) as settings:
        assert settings.load() == {}
        settings.save({"mute": True})
    assert settings.load() == {"mute": True}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_disk_that_refuses_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with SettingsFile(tmp_path / "file" / "settings.json") as settings:
        settings.save({"mute": True})
    assert "settings cannot be kept in" in caplog.text
