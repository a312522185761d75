"""What the installer asks a person and where it writes the answers; ``tests/service.sh`` runs all of it."""

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from voiced import configfile
from voiced.config import Config

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "systemd" / "questions.sh"
INSTALL = ROOT / "systemd" / "install.sh"
DEVICES = [
    {"name": "USB Mic: - (hw:Mic,0)", "inputs": 1, "outputs": 0},
    {"name": 'Odd "quoted" \\ box', "inputs": 2, "outputs": 2},
    {"name": "HDMI", "inputs": 0, "outputs": 2},
]


def asked(folder: Path, answers: str) -> tuple[str, Config]:
    """Sit at a terminal and answer; return what was shown, and the configuration as it then is."""
    program = folder / "bin" / "voiced"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(DEVICES)}\nEND\n")
    program.chmod(0o755)
    (program.parent / "python").symlink_to(sys.executable)
    config = folder / "config.toml"
    config.write_text((ROOT / "config.toml.example").read_text())
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as keyboard:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f'source {QUESTIONS}; choose_devices "$1" "$2"', "-", program, config],
            stdin=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        keyboard.write(answers.encode())
        shown = b""
        while True:
            try:
                some = keyboard.read(4096)
            except OSError:  # Linux says so when the other side of a terminal is closed
                break
            shown += some or b""
        assert process.wait(10) == 0, shown.decode()
    return shown.decode(), configfile.load(config, {})


def test_a_person_chooses_by_number_and_the_stable_name_is_kept(tmp_path: Path) -> None:
    shown, config = asked(tmp_path, "9\nx\n1\n1\n")
    assert "USB Mic: - (hw:Mic,0)" in shown
    assert config.audio.input == DEVICES[0]["name"]
    assert config.audio.output == DEVICES[1]["name"]
    text = (tmp_path / "config.toml").read_text()
    assert "# the same," in next(line for line in text.splitlines() if line.startswith("output = "))


def test_enter_leaves_the_default(tmp_path: Path) -> None:
    _, config = asked(tmp_path, "\n\n")
    assert (config.audio.input, config.audio.output) == ("default", "default")
    assert (tmp_path / "config.toml").read_text() == (ROOT / "config.toml.example").read_text()


def test_without_a_terminal_nothing_is_asked() -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"source {QUESTIONS}; choose_devices /nowhere /nowhere/config.toml"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nothing"], "no option"),
        (["--purge"], "--uninstall"),
        (["--secret"], "without a name"),
        (["--secret", "root_password"], "azure_client_secret"),
        (["--user", "--secret", "openai_api_key"], "key_file"),
    ],
)
def test_wrong_usage_is_2_and_changes_nothing(arguments: list[str], told: str) -> None:
    done = subprocess.run(["bash", INSTALL, *arguments], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert told in done.stderr
    assert "systemd/install.sh --user" in done.stderr


def test_the_scripts_may_be_run() -> None:
    for script in (INSTALL, ROOT / "tests" / "run.sh", ROOT / "tests" / "service.sh"):
        assert script.stat().st_mode & stat.S_IXUSR


def test_the_user_unit_starts_what_the_installer_installs() -> None:
    unit = (ROOT / "systemd" / "voiced-user.service").read_text()
    assert "ExecStart=%h/.local/share/voiced/environment/bin/voiced run" in unit
    assert "/.local/share}/voiced/environment" in INSTALL.read_text()


def test_two_builds_of_the_wheel_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """Whenever and wherever it is built, so that anybody can see that a wheel is made from this source."""
    wheels = []
    for name, moment in (("one", 1_000_000_000), ("two", 1_700_000_000)):
        copy = tmp_path / name
        shutil.copytree(ROOT / "voiced", copy / "voiced", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, copy)
        for path in copy.rglob("*"):
            os.utime(path, (moment, moment))
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / f"{name}-wheel")]
        subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=50)
        (wheel,) = (tmp_path / f"{name}-wheel").glob("*.whl")
        wheels.append(wheel.read_bytes())
    assert wheels[0] == wheels[1]
