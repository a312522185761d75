"""``voiced check`` for others: its support bundle, and as the installed service."""

import getpass
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from tests.mosquitto import Neighbour
from tests.test_check import PLANTED, check
from voiced.check import as_service, bundle
from voiced.config import Config, RealtimeConfig
from voiced.edge.knownsecrets import known_secrets
from voiced.edge.mosquitto import Mosquitto
from voiced.profileconfig import ProfileConfig

ROOT = Path(__file__).parents[1]


def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch, unit: str, scope: str = "") -> Path:
    """Put programs on the path that tell of a unit and run what they are told, as systemd's do; return their folder.

    What systemd-run was told stands in its file "told".
    """
    programs = folder / "programs"
    programs.mkdir()
    (programs / "unit").write_text(unit)
    has = f'case "$*" in *--user*) [ -n "{scope}" ];; *) [ -z "{scope}" ];; esac'
    texts = {
        "systemctl": f"{has} && cat {programs / 'unit'}",
        "systemd-run": f'echo "$@" >{programs / "told"}; while [ "${{1#-}}" != "$1" ]; do shift; done; exec "$@"',
        "voiced": f'PYTHONPATH={ROOT} exec {sys.executable} -m voiced "$@"',
    }
    for name, text in texts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


# --- the support bundle -----------------------------------------------------------------------------------------------


async def test_the_bundle_holds_no_secret_and_no_word_that_was_said(tmp_path: Path) -> None:
    for name in ("key", "password"):
        (tmp_path / name).write_text(PLANTED[name] + "\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "realtime_key").write_text(PLANTED["credential"])
    archive = tmp_path / "support.tar.gz"
    async with Mosquitto(tmp_path) as broker, Neighbour(broker.port) as neighbour:
        turn = json.dumps({"user": {"text": PLANTED["said"]}})
        health = json.dumps({"cloud": "down", "problems": [{"message": f"key {PLANTED['key']} refused"}]})
        await neighbour.send("voiced/kitchen/availability", "offline", retain=True)
        await neighbour.send("voiced/kitchen/turn", turn, retain=True)
        await neighbour.send("voiced/kitchen/health", health, retain=True)
        settings = f"""
                [realtime]
                provider = "custom"
                url = "ws://127.0.0.1:9/v1/realtime?api-key={PLANTED["key"]}"
                key_file = "{tmp_path / "key"}"
                [profiles.default]
                instructions = "{PLANTED["instructions"]}"
                [mqtt]
                host = "127.0.0.1"
                port = {broker.port}
                username = "me"
                password_file = "{tmp_path / "password"}"
            """
        secret = {"AZURE_CLIENT_SECRET": PLANTED["client secret"], "CREDENTIALS_DIRECTORY": str(credentials)}
        wanted = ("disk", "service", "broker", "--bundle", str(archive))
        checked = await check(tmp_path, settings, *wanted, environ=secret)
    assert checked.status == 1  # there is no service
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        texts = {one.name: opened.extractfile(one).read().decode() for one in opened}  # type: ignore[union-attr] # all are files
    everything = "\n".join(texts.values())
    assert '"cloud": "down"' in texts["voiced-support/daemon.json"]
    assert '"subject": "broker"' in texts["voiced-support/check.json"]
    assert "AZURE_CLIENT_SECRET=***" in texts["voiced-support/environment.txt"]
    for what, planted in PLANTED.items():
        assert planted not in everything, what
        assert planted not in checked.stdout + checked.stderr, what


DROP_IN = """[Service]
Environment=PA_ALSA_PLUGHW=1
Environment='VOICED_MQTT_PASSWORD=open "sesame"; or else'
SetCredential=realtime:abra cadabra
"""


def test_an_archive_is_its_owners_alone_and_tells_nothing_that_was_written_for_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "support.tar.gz"
    archive.write_bytes(b"an older one, which everybody could read")
    archive.chmod(0o644)
    profile = ProfileConfig(
        instructions="Call me Odysseus.", transcription_prompt="Ithaca", transcription_keywords=("Telemachus",)
    )
    odd = {"LANG": os.fsdecode(b"de_\xff")}
    systemd(tmp_path, monkeypatch, DROP_IN)
    bundle.write(archive, Config(profiles={"default": profile}), odd, {}, {})
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        texts = {one.name: opened.extractfile(one).read().decode() for one in opened}  # type: ignore[union-attr] # all are files
    assert "LANG=de_?" in texts["voiced-support/environment.txt"]
    assert "PLUGHW=1" in texts["voiced-support/drop-ins.txt"]
    for word in ("Odysseus", "Ithaca", "Telemachus", "sesame", "else", "abra", "cadabra"):
        assert word not in "".join(texts.values())


def test_secrets_are_found_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text("one\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "OPENAI_API_KEY": "two", "OPENAI_BASE_URL": "https://three"}
    assert {"one", "two"} <= known_secrets(Config(), environ)
    assert "https://three" not in known_secrets(Config(), environ)
    nowhere = RealtimeConfig(key_file="/" + "x" * 300)  # longer than any name may be
    assert {"one", "two"} <= known_secrets(Config(realtime=nowhere), environ)


# --- as the service ---------------------------------------------------------------------------------------------------


def test_the_service_is_checked_with_its_own_configuration_and_its_bundle_comes_to_where_it_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By its user, who could not write there."""
    (tmp_path / "own.toml").write_text("[mqtt]\nport = 1\n")
    unit = (
        f"[Service]\nExecStart={tmp_path}/programs/voiced run -c {tmp_path}/own.toml\nUser={getpass.getuser()}\n"
        "SupplementaryGroups=audio\n[Service]\nSupplementaryGroups=gpio\n"
    )
    scope = "" if os.geteuid() == 0 else "--user"
    programs = systemd(tmp_path, monkeypatch, unit, scope)
    archive = tmp_path / "support.tar.gz"
    archive.touch()
    archive.chmod(0o644)
    assert as_service.run(["--json", "broker"], archive, os.environ) == 1  # there is no broker
    report = json.loads(capfd.readouterr().out)
    assert [(one["subject"], one["status"]) for one in report["checks"]] == [
        ("configuration", "pass"),
        ("broker", "fail"),
    ]
    assert "own.toml" in report["checks"][0]["tried"]
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        assert json.load(opened.extractfile("voiced-support/check.json")) == report  # type: ignore[arg-type] # it is a file
    told = (programs / "told").read_text()
    assert "--property=SupplementaryGroups=audio --property=SupplementaryGroups=gpio" in told
    assert ("--user" in told) is bool(scope)


def test_a_persons_own_service_is_checked_with_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    unit = (ROOT / "systemd" / "voiced-user.service").read_text()
    programs = systemd(tmp_path, monkeypatch, unit, "--user")
    program = tmp_path / ".local" / "share" / "voiced" / "environment" / "bin" / "voiced"
    program.parent.mkdir(parents=True)
    program.symlink_to(programs / "voiced")
    environ = {"HOME": str(tmp_path)}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_service.run(["--json", "disk"], None, environ) == 0
    assert json.loads(capfd.readouterr().out)["ok"] is True
    told = (programs / "told").read_text()
    assert told.startswith("--user ")
    assert f"--property=EnvironmentFile=-{tmp_path}/.config/voiced/environment" in told


def test_what_the_unit_says_of_user_and_secrets_is_taken_over() -> None:
    drop_in = "[Service]\nLoadCredential=\nLoadCredential=realtime_key:/etc/other\nUser=ears\n"
    told = as_service.properties((ROOT / "systemd" / "voiced.service").read_text() + drop_in)
    assert "--property=User=ears" in told
    assert "--property=User=voiced" not in told
    assert "--property=SupplementaryGroups=audio" in told
    assert [one for one in told if "LoadCredential" in one] == ["--property=LoadCredential=realtime_key:/etc/other"]
    assert "--property=StateDirectory=voiced" in told
    assert not [one for one in told if "RuntimeDirectory" in one or "ExecStart" in one or "Watchdog" in one]
