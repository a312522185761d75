"""The unit file, judged by systemd's own tools; no running systemd is needed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from voiced.edge import credentials, identity

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "voiced.service"
USER_UNIT = ROOT / "systemd" / "voiced-user.service"

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here: the real one stands where the installer puts it."""
    text, changed = re.subn(r"(?m)^ExecStart=/opt/voiced/bin/voiced ", "ExecStart=/bin/true ", UNIT.read_text())
    assert changed == 1
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    return copy


@needs_systemd_analyze
def test_systemd_understands_every_line(unit: Path) -> None:
    result = analyze("verify", str(unit))
    complaints = [line for line in (result.stdout + result.stderr).splitlines() if UNIT.name in line]
    assert not complaints
    assert result.returncode == 0


@needs_systemd_analyze
def test_the_unit_is_closed_but_for_sound_and_network() -> None:
    result = analyze("security", "--offline=true", str(UNIT))
    (exposure,) = re.findall(r"Overall exposure level for \S+: (\d+\.\d+)", result.stdout)
    assert float(exposure) <= 1.3


@needs_systemd_analyze
def test_systemd_understands_the_user_unit(tmp_path: Path) -> None:
    copy = tmp_path / "voiced.service"
    text, changed = re.subn(r"(?m)^ExecStart=\S+ ", "ExecStart=/bin/true ", USER_UNIT.read_text())
    assert changed == 1
    copy.write_text(text)
    (tmp_path / "runtime").mkdir(mode=0o700)
    result = subprocess.run(
        ["systemd-analyze", "--no-pager", "--user", "verify", str(copy)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": str(tmp_path / "runtime")},
    )
    assert not [line for line in (result.stdout + result.stderr).splitlines() if "voiced.service" in line]


@pytest.mark.parametrize("unit", [UNIT, USER_UNIT])
def test_a_wrong_configuration_is_not_tried_again_and_everything_else_is(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert "Type=notify" in lines
    assert "Restart=on-failure" in lines
    assert "RestartPreventExitStatus=78" in lines
    assert "StartLimitIntervalSec=0" in lines
    assert not [line for line in lines if line.startswith("RestartSteps=")]


def test_credentials_come_from_the_store_where_a_missing_one_is_legal() -> None:
    lines = UNIT.read_text().splitlines()
    loaded = dict(line.split("=")[1].split(":") for line in lines if line.startswith("LoadCredential="))
    assert loaded == {name: f"voiced.{name}" for name in loaded}
    keys = {name for names, _ in credentials._NAMES.values() for name in names}
    assert set(loaded) == {*keys, *identity.PRINCIPAL, "mqtt_password"}
