"""What the installer asks a person and where it writes the answers; ``tests/service.sh`` runs all of it."""

import json
import os
import pty
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from voiced import configfile
from voiced.config import Config

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "systemd" / "questions.sh"
ENVIRONMENT = ROOT / "systemd" / "environment.sh"
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
        (["--upgrade", "--uninstall"], "--upgrade and --uninstall do not go together"),
        (["--secret", "openai_api_key", "--uninstall"], "do not go together"),
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
    assert "home=$HOME/.local/share/voiced/environment" in INSTALL.read_text()


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


# --- pieces of the scripts --------------------------------------------------------------------------------------------


def sourced(command: str, *arguments: str | Path, timeout: float = 20) -> "subprocess.CompletedProcess[str]":
    """Run a command of ``environment.sh``."""
    program = f"checkout={shlex.quote(str(ROOT))}; source {shlex.quote(str(ENVIRONMENT))}; {command}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", program, "-", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def test_variables_are_read_as_systemd_reads_them_and_nothing_of_them_is_run(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text(
        "# of mine\n; too\nVOICED_MQTT_PASSWORD=p&ss;touch $HOME/run `touch run` $(touch run) $UNKNOWN\n"
        'VOICED_PROFILES__DEFAULT__MODALITIES=["text"]\n OPENAI_API_KEY = "two words"  \n'
        "AZURE_CLIENT_ID='one'\nno variable\nLAST=line"
    )
    names = (
        "VOICED_MQTT_PASSWORD",
        "VOICED_PROFILES__DEFAULT__MODALITIES",
        "OPENAI_API_KEY",
        "AZURE_CLIENT_ID",
        "LAST",
    )
    show = f"import os; print([os.environ.get(name) for name in {names}])"
    done = sourced('cd "$1"; HOME=$1; with_variables "$1/environment" "$2" -c "$3"', tmp_path, sys.executable, show)
    assert done.returncode == 0, done.stderr
    password = "p&ss;touch $HOME/run `touch run` $(touch run) $UNKNOWN"
    assert done.stdout.strip() == str([password, '["text"]', "two words", "one", "line"])
    assert done.stderr == ""
    assert not (tmp_path / "run").exists()


def test_without_a_file_of_variables_the_command_runs_all_the_same(tmp_path: Path) -> None:
    done = sourced('with_variables "$1" printf %s well', tmp_path / "environment")
    assert (done.returncode, done.stdout, done.stderr) == (0, "well", "")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_broker_is_wanted_only_where_none_listens_yet(tmp_path: Path, is_there: bool) -> None:
    """Home Assistant's, in a container, would keep a second one from starting."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        (tmp_path / "config.toml").write_text(f"[mqtt]\nport = {broker.getsockname()[1]}\n")
        if not is_there:
            broker.close()
        done = sourced('if broker_is_wanted "$1" "$2"; then printf yes; fi', sys.executable, tmp_path / "config.toml")
    assert (done.stdout, done.stderr) == ("" if is_there else "yes", "")


@pytest.mark.parametrize("text", ['[mqtt]\nhost = "broker.lan"\n', '[mqtt]\nhost = ""\n', "mqtt = 3\n", "[mqtt\n"])
def test_no_broker_is_wanted_for_another_machine_or_a_wrong_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = sourced('if broker_is_wanted "$1" "$2"; then printf yes; fi', sys.executable, tmp_path / "config.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- a person alone ---------------------------------------------------------------------------------------------------


class Person:
    """Somebody who is not root and has no systemd of their own at hand, with what is installed for them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.program = home / ".local" / "share" / "voiced" / "environment"
        self.command: list[str] = []
        if os.geteuid() == 0:
            self.command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def owns(self) -> None:
        """Give all that is in the home to the person."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", self.home], check=True)

    def installed(self) -> None:
        """Put a program there, as far as the installer looks at it."""
        (self.program / "bin").mkdir(parents=True)
        (self.program / "voiced.lock").write_text("of an older version\n")
        (self.program / "bin" / "voiced").write_text("#!/bin/sh\necho voiced of old\n")
        (self.program / "bin" / "voiced").chmod(0o755)

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        path = os.environ["PATH"]
        return subprocess.Popen(
            # whoever started these tests in the background has them ignore Ctrl-C
            ["env", "--default-signal=INT", *self.command, "bash", INSTALL, "--user", *arguments],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": path, "TMPDIR": str(self.home), **variables},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def person() -> Iterator[Person]:
    """In a home with a blank in its name, that the person may enter."""
    with tempfile.TemporaryDirectory(prefix="home of-") as name:
        yield Person(Path(name))


def test_uninstalling_leaves_nothing_that_would_start_it_where_systemd_cannot_be_asked(person: Person) -> None:
    person.installed()
    units = person.home / ".config" / "systemd" / "user"
    (units / "default.target.wants").mkdir(parents=True)
    (units / "voiced.service").write_text("[Service]\n")
    (units / "default.target.wants" / "voiced.service").symlink_to(units / "voiced.service")
    person.owns()
    with person.start("--uninstall", "--purge") as process:
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert "voiced is gone" in told
    assert [path for path in person.home.rglob("*") if "voiced" in path.name] == []


def test_an_upgrade_that_is_broken_off_brings_the_old_one_back(person: Person) -> None:
    """By Ctrl-C, in the middle of making the new environment."""
    person.installed()
    python = person.home / "python"
    never = person.home / "never"
    os.mkfifo(never)
    python.write_text(f'#!/bin/sh\nif [ "$1" = -m ]; then read -r _ <{shlex.quote(str(never))}; fi\n')
    python.chmod(0o755)
    person.owns()
    with person.start("--upgrade", PYTHON=str(python)) as process:
        assert process.stderr
        with never.open("w"):  # which it is once somebody reads it
            os.killpg(process.pid, signal.SIGINT)
            _, told = process.communicate(timeout=20)
    assert process.returncode == 1, told
    assert "broken off; voiced of old is back" in told
    assert (person.program / "voiced.lock").read_text() == "of an older version\n"
    assert [path.name for path in person.program.parent.iterdir()] == ["environment"]
