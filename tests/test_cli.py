"""The front door: what a person types, sees, and gets back as exit status."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tests.recordings import SOUNDS
from voiced import cli
from voiced.options import parser
from voiced.simulator import Scenario, Simulator, Turn

ROOT = Path(__file__).parents[1]


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOICED", "AZURE", "OPENAI"))}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def voiced(home: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "voiced", *arguments],
        env=environment(home, **environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["volume", "loud"],
        ["say"],
        ["question"],
        ["announce"],
        ["announce", "x", "--media", "x"],
        ["wake"],
        ["mqtt"],
        ["wake", "tune"],
    ],
)
def test_wrong_usage_is_2(tmp_path: Path, arguments: list[str]) -> None:
    done = voiced(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr.lower()
    assert not done.stdout


@pytest.mark.parametrize(
    "line",
    [
        *("wake tune -c FILE DIR", "wake tune DIR -c FILE", "wake -c FILE tune DIR", "wake verify -c FILE DIR"),
        *("wake verify DIR -c FILE", "wake test -c FILE", "mqtt remove -c FILE", "mqtt -c FILE remove"),
        *("models -c FILE fetch", "config -c FILE", "status -c FILE", "say -c FILE DIR", "volume -c FILE 3"),
    ],
)
def test_the_configuration_may_be_named_anywhere(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"FILE": "/no/file.toml", "DIR": "/no"}
    assert cli.main([words.get(word, word) for word in line.split()]) == 78
    assert capsys.readouterr().err == "/no/file.toml: no such file (named by -c)\n"


def test_one_blueprint_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mqtt", "blueprints", "-c", "/no/file.toml", "quiet_hours"]) == 0
    assert capsys.readouterr().out.startswith("blueprint:")


def test_a_wrong_configuration_is_78_and_names_everything(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[audio]\nvolum = 3\n[mqtt]\nport = 0\n")
    done = voiced(tmp_path, "run", "-c", str(file))
    assert done.returncode == 78
    assert "audio.volum" in done.stderr
    assert 'did you mean "volume"' in done.stderr
    assert "mqtt.port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("VOICED_WAKE__WORDS", '[{model = "hey_nobody"}]', "hey_jarvis"),
        ("VOICED_AUDIO__INPUT", "file:/nowhere/speech.wav", "/nowhere/speech.wav"),
        ("VOICED_MQTT__PASSWORD_FILE", "/nowhere/password", "/nowhere/password"),
        ("VOICED_CONFIG", "/nowhere/config.toml", "/nowhere/config.toml"),
    ],
)
def test_what_is_missing_is_named_and_systemd_does_not_try_again(
    tmp_path: Path, key: str, value: str, told: str
) -> None:
    environ = {"VOICED_AUDIO__INPUT": f"file:{SOUNDS / 'negative_1.wav'}", "VOICED_AUDIO__OUTPUT": "null", key: value}
    if "PASSWORD" in key:
        environ["VOICED_MQTT__USERNAME"] = "me"
    done = voiced(tmp_path, "run", **environ)
    assert done.returncode == 78, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_recording_is_refused_by_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes((SOUNDS / "negative_1.wav").read_bytes()[:30])
    done = voiced(tmp_path, "run", VOICED_AUDIO__INPUT=f"file:{broken}", VOICED_AUDIO__OUTPUT="null")
    assert done.returncode == 78
    assert str(broken) in done.stderr


def test_without_any_configuration_it_runs_and_says_what_answers(tmp_path: Path) -> None:
    """A recording at another rate, in stereo, is as good as a microphone; when it is over, so is the daemon."""
    recording = tmp_path / "room.wav"
    with wave.open(str(recording), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(np.random.default_rng(0).normal(0, 10, 44_100).astype("<i2").tobytes())
    done = voiced(
        tmp_path,
        "run",
        VOICED_AUDIO__INPUT=f"file:{recording}",
        VOICED_AUDIO__OUTPUT="null",
        VOICED_MQTT__HOST="",
    )
    assert done.returncode == 0, done.stderr
    assert "simulator" in done.stderr


def test_models_are_listed_with_their_licence(tmp_path: Path) -> None:
    listed = voiced(tmp_path, "models")
    assert listed.returncode == 0
    assert "hey_jarvis" in listed.stdout
    assert "CC BY-NC-SA 4.0" in listed.stdout
    models = json.loads(voiced(tmp_path, "models", "--json").stdout)["models"]
    assert {model["name"] for model in models} >= {"hey_jarvis", "alexa", "melspectrogram"}
    assert all(model["ok"] for model in models)
    (tmp_path / "mine.tflite").touch()
    assert "put mine.onnx beside it" in voiced(tmp_path, "models", VOICED_WAKE__MODELS_DIR=str(tmp_path)).stdout


def test_the_configuration_that_holds_can_be_seen_and_checked(tmp_path: Path) -> None:
    holds = json.loads(voiced(tmp_path, "config", VOICED_AUDIO__VOLUME="12").stdout)
    assert holds["audio"]["volume"] == 12
    schema = json.loads(voiced(tmp_path, "config", "--schema").stdout)
    jsonschema.validate(holds, schema)


def test_devices_are_listed_as_json(tmp_path: Path) -> None:
    done = voiced(tmp_path, "devices", "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), list)


def test_without_a_broker_a_command_says_what_to_do(tmp_path: Path) -> None:
    done = voiced(tmp_path, "status", VOICED_MQTT__HOST="127.0.0.1", VOICED_MQTT__PORT="9")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert voiced(tmp_path, "stop", VOICED_MQTT__HOST="").returncode == 1


async def asked(home: Path, text: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(voiced, home, "ask", text, VOICED_MQTT__PORT="9", **environ)


CAPITAL = Scenario(turns=(Turn(user="What is the capital of France?", assistant="Paris.", sound="time.wav"),))


async def test_microsofts_text_quickstart_as_it_stands(tmp_path: Path) -> None:
    """Endpoint, deployment and key from the environment, a text question, the answer printed as it streams in."""
    async with Simulator(CAPITAL) as simulator:
        done = await asked(
            tmp_path,
            "What is the capital of France?",
            AZURE_OPENAI_ENDPOINT=simulator.url.replace("ws:", "http:"),
            AZURE_OPENAI_DEPLOYMENT_NAME="my-deployment",
            AZURE_OPENAI_API_KEY="azure-key",
            VOICED_PROFILES__DEFAULT__MODALITIES='["text"]',
        )
        assert (done.returncode, done.stdout) == (0, "Paris.\n"), done.stderr
        session = simulator.sessions[0]
        assert (session.path, session.query) == ("/openai/v1/realtime", {"model": "my-deployment"})
        assert session.headers["api-key"] == "azure-key"
        assert session.sent_pcm.size == 0


async def test_microsofts_sound_quickstart_as_it_stands(tmp_path: Path) -> None:
    """The dated preview API and the sound of the answer, which is written to a file here."""
    heard = tmp_path / "answer.wav"
    async with Simulator(CAPITAL) as simulator:
        done = await asked(
            tmp_path,
            "What is the capital of France?",
            AZURE_OPENAI_ENDPOINT=simulator.url.replace("ws:", "http:"),
            AZURE_OPENAI_DEPLOYMENT_NAME="my-deployment",
            OPENAI_API_VERSION="2024-10-01-preview",
            AZURE_OPENAI_API_KEY="azure-key",
            VOICED_AUDIO__OUTPUT=f"file:{heard}",
            VOICED_AUDIO__VOLUME="100",
        )
        assert (done.returncode, done.stdout) == (0, "Paris.\n"), done.stderr
        session = simulator.sessions[0]
        assert session.query == {"api-version": "2024-10-01-preview", "deployment": "my-deployment"}
        with wave.open(str(heard)) as file:
            played = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.array_equal(played[: len(session.sent_pcm)], session.sent_pcm)


async def test_a_question_that_is_refused_says_why(tmp_path: Path) -> None:
    done = await asked(
        tmp_path, "Hello?", VOICED_REALTIME__PROVIDER="custom", VOICED_REALTIME__URL="ws://127.0.0.1:9/v1"
    )
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_simulator_alone_stops_when_told_to(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "voiced", "simulate", "--port", "0"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "scenario" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_every_command_that_can_be_read_can_be_done() -> None:
    def names(reader: argparse.ArgumentParser) -> Iterator[str]:
        for action in reader._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, below in action.choices.items():
                    yield from list(names(below)) or [name]

    assert sorted(names(parser())) == sorted(cli.COMMANDS)
