"""``voiced check`` against real parts that work, and that do not."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from tests.mosquitto import Neighbour
from tests.recordings import noise
from tests.soundbed import SoundBed, require_pulseaudio
from voiced.check import SUBJECTS, echo, microphone
from voiced.check import machine as check_machine
from voiced.check.findings import Finding, Visit
from voiced.check.sound import Heard
from voiced.config import Config
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.soundcheck import Found
from voiced.edge import machine as edge_machine
from voiced.edge.mosquitto import Mosquitto
from voiced.simulator import Refusal, Rules, Simulator
from voiced.simulator.scenario import Connection, load_scenario

ROOT = Path(__file__).parents[1]
PLANTED = {
    "key": "planted-realtime-key-0123",
    "password": "planted-broker-password",
    "client secret": "planted-client-secret-456",
    "credential": "planted-systemd-credential",
    "instructions": "planted words for the model",
    "said": "planted words of a person",
}


@pytest.fixture
def bed() -> Iterator[SoundBed]:
    require_pulseaudio()
    with (
        tempfile.TemporaryDirectory(prefix="bed-") as name,
        SoundBed(Path(name), microphone_rate=MICROPHONE_RATE, speaker_rate=SERVICE_RATE) as bed,
    ):
        yield bed


class Checked:
    """What a check said."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.status = done.returncode
        self.stdout, self.stderr = done.stdout, done.stderr
        self.report: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def __getitem__(self, subject: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.report["checks"] if one["subject"] == subject)
        return found

    def statuses(self) -> dict[str, str]:
        return {one["subject"]: one["status"] for one in self.report["checks"]}


async def check(
    folder: Path, settings: str, *arguments: str, environ: dict[str, str] | None = None, as_json: bool = True
) -> Checked:
    (folder / "config.toml").write_text(f'[device]\nid = "kitchen"\n{settings}')
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOICED", "AZURE", "OPENAI"))}
    own = {"HOME": str(folder), "STATE_DIRECTORY": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-m", "voiced", "check", "-c", str(folder / "config.toml")),
            *(["--json"] if as_json else []),
            *arguments,
        ],
        env=kept | own | (environ or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert "Traceback" not in done.stderr, done.stderr
    checked = Checked(done)
    for one in checked.report.get("checks", []):
        assert one["tried"]
        assert one["found"]
        assert one["remedy"] or one["status"] in {"pass", "skip"}, one
    return checked


@contextmanager
def a_way_back(bed: SoundBed, attenuation_db: float) -> Iterator[None]:
    """Let the microphone hear the speaker, so much quieter."""
    recorder = subprocess.Popen(
        bed.speaker.command("parec", "--device=speaker.monitor", "--raw", "--format=s16le", "--latency-msec=20"),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    volume = round(65_536 * 10 ** (-attenuation_db / 60))  # PulseAudio's scale is cubic
    player = subprocess.Popen(
        bed.microphone.command(
            *("pacat", "--device=micfeed", "--raw", "--format=s16le", "--latency-msec=20", f"--volume={volume}")
        ),
        stdin=recorder.stdout,
    )
    try:
        yield
    finally:
        for process in (recorder, player):
            process.terminate()
            process.wait()
        if recorder.stdout:
            recorder.stdout.close()


async def test_all_is_well(bed: SoundBed, tmp_path: Path) -> None:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "key").write_text(PLANTED["key"])
    rules = Rules(keys={PLANTED["key"]})
    async with Mosquitto(tmp_path) as broker, Simulator(ssl=context, rules=rules) as simulator:
        settings = f"""
            [realtime]
            provider = "custom"
            url = "wss://localhost:{simulator.port}/v1/realtime?model=gpt-realtime-2.1"
            ca_file = "{tmp_path / "ca.pem"}"
            key_file = "{tmp_path / "key"}"
            [mqtt]
            host = "127.0.0.1"
            port = {broker.port}
        """
        hiss = noise(20.0, rms=100)
        async with Neighbour(broker.port):
            with bed.start_playing(hiss, MICROPHONE_RATE), a_way_back(bed, 20.0):
                checked = await check(tmp_path, settings, environ=bed.environment())
        assert checked.status == 0, checked.stdout
        assert checked.report["ok"] is True
        statuses = checked.statuses()
        assert set(statuses) == set(SUBJECTS)
        assert {name for name, status in statuses.items() if status == "pass"} >= {
            *("configuration", "models", "disk", "lookup", "tls", "sign-in", "service", "broker", "home-assistant"),
            *("microphone", "speaker", "echo"),
        }, checked.stdout
        assert checked["microphone"]["values"]["rms_db"] == pytest.approx(-50, abs=3)
        assert checked["echo"]["values"]["attenuation_db"] == pytest.approx(20, abs=3)
        assert 0 < checked["echo"]["values"]["delay_ms"] < 1_000
        assert checked["echo"]["values"]["suits"] in {"auto", "half-duplex"}
        # One visit without a sound, closed in order; the key is shown to the service and to nobody else.
        session = simulator.sessions[0]
        assert len(simulator.sessions) == 1
        assert (await session.wait_closed())[0] == 1000
        assert len(session.received_pcm) == 0
        assert PLANTED["key"] not in checked.stdout + checked.stderr


async def test_everything_that_is_wrong_is_named_with_its_remedy(tmp_path: Path) -> None:
    """No audio here: each subject has a fault of its own, and none hides another."""
    (tmp_path / "state").write_text("a file where a folder should be")
    (tmp_path / "password").write_text("wrong")
    no = Connection(refuse=Refusal(status=404, code="DeploymentNotFound", message="There is no such deployment."))
    scenario = load_scenario().model_copy(update={"connections": (no,), "repeat_connections": True})
    (tmp_path / "users").write_text("")
    locked = ("allow_anonymous false", f"password_file {tmp_path / 'users'}")
    async with Mosquitto(tmp_path, locked) as broker, Simulator(scenario) as simulator:
        settings = f"""
            [audio]
            output = "null"
            input = "file:/nowhere.wav"
            [[wake.words]]
            model = "hey_nobody"
            [realtime]
            provider = "azure"
            endpoint = "http://127.0.0.1:{simulator.port}"
            deployment = "kitchen"
            auth = "key"
            [mqtt]
            host = "127.0.0.1"
            port = {broker.port}
            username = "me"
            password_file = "{tmp_path / "password"}"
        """
        checked = await check(tmp_path, settings, environ={"AZURE_OPENAI_API_KEY": "some-key"})
    assert checked.status == 1
    assert checked.report["ok"] is False
    wrong = {
        "models": ("hey_nobody", "hey_jarvis"),
        "disk": ("Not a directory", "voiced"),
        "service": ("DeploymentNotFound", "realtime.deployment"),
        "broker": ("Not authorized", "mqtt.username"),
    }
    for subject, words in wrong.items():
        assert checked[subject]["status"] == "fail"
        for word in words:
            assert word in checked[subject]["found"] + checked[subject]["remedy"]
    assert checked["sign-in"]["status"] == "pass"
    assert {checked[one]["status"] for one in ("microphone", "speaker", "echo", "tls")} == {"skip"}


async def test_what_cannot_be_reached(tmp_path: Path) -> None:
    """No TLS where it should be, a name that nobody has, no broker, no key."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        settings = f"""
            [realtime]
            provider = "openai"
            endpoint = "https://nobody.invalid"
            [mqtt]
            host = "127.0.0.1"
            port = {port}
        """
        checked = await check(
            tmp_path, settings, "lookup", "tls", "sign-in", "service", "broker", "home-assistant", "configuration"
        )
    assert checked.status == 1
    assert checked["lookup"]["status"] == checked["tls"]["status"] == "fail"
    assert "key_file" in checked["sign-in"]["found"]
    assert checked["service"]["values"]["code"] == "refused"
    assert "refused" in checked["broker"]["found"]
    assert checked["home-assistant"]["status"] == "skip"
    assert "voiced check broker" in checked["home-assistant"]["found"]
    assert "models" not in checked.statuses()


async def test_a_certificate_that_is_not_trusted_and_a_server_without_one(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with Simulator(ssl=context) as strange, Simulator() as plain:
        for port, word in ((strange.port, "not trusted"), (plain.port, "TLS")):
            settings = f'[realtime]\nprovider = "custom"\nurl = "wss://localhost:{port}/v1/realtime?model=m"\n'
            checked = await check(tmp_path, settings, "tls")
            assert checked.status == 1
            assert word in checked["tls"]["found"] + checked["tls"]["remedy"]


async def test_a_wrong_configuration_is_78_and_every_key_is_named(tmp_path: Path) -> None:
    checked = await check(tmp_path, '[audio]\nvolum = 3\n[mqtt]\nport = "x"\n')
    assert checked.status == 78
    assert [one["subject"] for one in checked.report["checks"]] == ["configuration", "configuration"]
    assert "audio.volum" in checked.stdout
    assert "mqtt.port" in checked.stdout


async def test_an_unknown_subject_is_wrong_usage(tmp_path: Path) -> None:
    checked = await check(tmp_path, "", "microfone", as_json=False)
    assert checked.status == 2
    assert "microphone" in checked.stderr


async def test_a_dead_microphone(bed: SoundBed, tmp_path: Path) -> None:
    checked = await check(tmp_path, "", "microphone", environ=bed.environment())
    assert checked.status == 1
    assert "silence" in checked["microphone"]["found"]


async def test_a_sound_server_that_hangs_ends_the_check_with_a_finding(bed: SoundBed, tmp_path: Path) -> None:
    bed.microphone.freeze()
    try:
        checked = await check(tmp_path, "", "disk", "microphone", environ=bed.environment())
    finally:
        bed.microphone.thaw()
    assert checked.status == 1
    assert checked["disk"]["status"] == "pass"
    assert "hangs" in checked["sound"]["found"]


async def test_lines_for_a_person(tmp_path: Path) -> None:
    checked = await check(tmp_path, "[mqtt]\nport = 1\n", "disk", "broker", as_json=False)
    lines = checked.stdout.splitlines()
    assert lines[0].startswith("ok   configuration")
    assert lines[1].startswith("ok   disk")
    assert lines[2].startswith("FAIL broker")
    assert lines[3].strip().startswith("-> ")


# --- judging, where no device can be made to behave so ----------------------------------------------------------------


def heard(samples: Samples, *, rate: float = 16_000, faults: int = 0) -> Heard:
    positions = list(range(320, len(samples) + 1, 320))
    return Heard(16_000, samples, positions, [one / rate for one in positions], faults)


@pytest.mark.parametrize(
    ("made", "status", "word"),
    [
        (heard(noise(3.0, 200)), "pass", "ppm"),
        (heard(noise(3.0, 2)), "warn", "quiet"),
        (heard(noise(3.0, 3_000)), "warn", "loud"),
        (heard((noise(3.0, 200).astype(int) * 1_000).clip(-32_768, 32_767).astype(np.int16)), "fail", "clipped"),
        (heard(noise(3.0, 200), faults=2), "warn", "lost 2 times"),
        (heard(noise(3.0, 200), rate=15_000), "fail", "15000"),
        (heard(noise(3.0, 200), rate=16_020), "warn", "wanders"),
    ],
)
def test_a_microphone_is_judged(made: Heard, status: str, word: str) -> None:
    finding = microphone.judge(made, "listen")
    assert finding.status == status, finding
    assert word in finding.found


@pytest.mark.parametrize(
    ("found", "delay_ms", "mode", "status", "suits"),
    [
        (None, 0, "auto", "pass", "off"),
        (Found(0, 15.0, 0.6), 80, "auto", "pass", "auto"),
        (Found(0, 15.0, 0.6), 80, "off", "warn", "auto"),
        (Found(0, 15.0, 0.6), 900, "auto", "pass", "half-duplex"),
        (Found(0, 55.0, 0.3), 80, "auto", "pass", "off"),
        (Found(0, 0.1, 0.9999), 40, "auto", "fail", "half-duplex"),
    ],
)
def test_an_echo_is_judged(found: Found | None, delay_ms: float, mode: str, status: str, suits: str) -> None:
    finding: Finding = echo.judge(found, delay_ms, "play", mode)
    assert (finding.status, finding.values["suits"]) == (status, suits)


@pytest.mark.parametrize(
    ("flags", "celsius", "expected"),
    [
        ("0", 48, "pass: 48 °C"),
        ("50005", 61, "warn: 61 °C, the supply voltage is too low, it is throttled, the supply voltage was too low"),
        ("8", 72, "warn: 72 °C, it is slowed down by heat"),
        ("e0008", 84, "fail: 84 °C, it is slowed down by heat, the clock was held down"),
        ("rubbish", 75, "warn: 75 °C"),
    ],
)
def test_a_hot_or_badly_fed_pi_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, celsius: int, expected: str
) -> None:
    """By files that everybody may read: the service has no vcgencmd's device."""
    firmware = tmp_path / "soc" / "soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text(f"{flags}\n")
    (tmp_path / "temp").write_text(f"{celsius}000\n")
    monkeypatch.setattr(check_machine, "PLATFORM", tmp_path)
    monkeypatch.setattr(edge_machine, "TEMPERATURE", tmp_path / "temp")
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = check_machine.temperature(Visit(config=Config(), environ={}, where=None))
    assert f"{found.status}: {found.found}".startswith(expected)
