"""A virtual microphone and a virtual speaker: two private PulseAudio servers, so that one can die without the other.

What a test plays with :meth:`SoundBed.play_into_mic` is what the microphone hears; what the program under test plays
is what :meth:`SoundBed.record_speaker` records. PortAudio reads ``ALSA_CONFIG_PATH`` once, when it starts: the program
under test is therefore a process of its own with :meth:`SoundBed.environment`.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from voiced.core.frames import Samples

ALSA = """
pcm.virtmic {{ type asym capture.pcm {{ type pulse server "unix:{microphone}" device mic }} }}
pcm.virtspk {{ type asym playback.pcm {{ type pulse server "unix:{speaker}" device speaker }} }}
pcm.!default {{
    type asym
    capture.pcm {{ type pulse server "unix:{microphone}" device mic }}
    playback.pcm {{ type pulse server "unix:{speaker}" device speaker }}
}}
"""
"""Without a ``pcm.!default`` PortAudio 19.6 aborts the process as soon as a device is opened."""


def eventually(condition: Callable[[], bool], seconds: float = 15.0, *, what: str = "") -> None:
    """Wait until ``condition`` holds; fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.01)


class VirtualDevice:
    """A PulseAudio server with one device, which can be unplugged (killed) and frozen (as a hung server)."""

    def __init__(self, directory: Path, modules: str) -> None:
        directory.mkdir()
        self.socket = directory / "socket"
        self._directory = directory
        self._script = directory / "server.pa"
        self._script.write_text(
            f"{modules}\nload-module module-native-protocol-unix socket={self.socket} auth-anonymous=1\n"
        )
        self._server: subprocess.Popen[bytes] | None = None

    def add(self, line: str) -> None:
        """Let the server do one thing more, from the next :meth:`plug` on."""
        with self._script.open("a") as file:
            file.write(line)

    def plug(self) -> None:
        """Start the server; return when it answers."""
        private = {"HOME": str(self._directory), "XDG_RUNTIME_DIR": str(self._directory)}
        with (self._directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    *("pulseaudio", "-n", "-F", str(self._script), "--daemonize=no", "--use-pid-file=no"),
                    *("--exit-idle-time=-1", "--realtime=no", "--high-priority=no", "--disable-shm=yes"),
                ],
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"} | private,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, what=f"pulseaudio in {self._directory}")

    def unplug(self) -> None:
        """Kill the server: the device is gone, programs see their streams die."""
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server = None
        self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop the server without a word: streams stand still."""
        assert self._server
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self._server
        self._server.send_signal(signal.SIGCONT)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a PulseAudio client for this server."""
        return [arguments[0], f"--server=unix:{self.socket}", *arguments[1:]]

    def ask(self, *arguments: str) -> str:
        """Run a PulseAudio client on this server, and return what it prints."""
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout

    def _answers(self) -> bool:
        return subprocess.run(self.command("pactl", "info"), capture_output=True, check=False).returncode == 0


class Recording:
    """What the speaker plays, at :attr:`rate`, as long as the context lasts."""

    def __init__(self, device: VirtualDevice, path: Path, rate: int) -> None:
        self.rate = rate
        self._path = path
        self._command = device.command(
            *("parec", "--device=speaker.monitor", "--raw", "--format=s16le", "--channels=1"),
            *(f"--rate={rate}", "--latency-msec=20"),
        )

    def __enter__(self) -> Self:
        with self._path.open("wb") as file:
            self._recorder = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=file)
        eventually(lambda: self._path.stat().st_size > 0, what="the recorder's first sound")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.terminate()
        self._recorder.wait()

    @property
    def samples(self) -> Samples:
        """What has been recorded so far."""
        content = self._path.read_bytes()
        return np.frombuffer(content[: len(content) // 2 * 2], "<i2")


class SoundBed:
    """Both devices, plugged in. A context."""

    def __init__(self, directory: Path, *, microphone_rate: int = 48_000, speaker_rate: int = 48_000) -> None:
        """Prepare.

        Args:
            directory: Empty and private; sockets have short paths, so it should not be deep.
            microphone_rate: What the microphone's server runs at. At 16,000 a program that captures at 16,000 gets
                the very samples that were played in.
            speaker_rate: What the speaker's server runs at; at 24,000 likewise.

        """
        self.directory = directory
        self.microphone_rate = microphone_rate
        self.speaker_rate = speaker_rate
        # norewinds=1: otherwise the first two seconds of a stream come out garbled
        self.microphone = VirtualDevice(
            directory / "mic",
            f"load-module module-null-sink sink_name=micfeed rate={microphone_rate} channels=1 norewinds=1\n"
            "load-module module-remap-source source_name=mic master=micfeed.monitor",
        )
        self.speaker = VirtualDevice(
            directory / "spk",
            f"load-module module-null-sink sink_name=speaker rate={speaker_rate} channels=1 norewinds=1",
        )
        self._alsa = directory / "asound.conf"
        self._alsa.write_text(ALSA.format(microphone=self.microphone.socket, speaker=self.speaker.socket))
        self._recordings = 0
        self._house = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as house:
            for device in (self.microphone, self.speaker):
                house.callback(device.unplug)
                device.plug()
            self._house = house.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._house.close()

    def name_no_devices(self) -> None:
        """Let the default be what the servers say, as on a desktop; for programs that start from now on."""
        text = self._alsa.read_text()
        self._alsa.write_text(text.replace(" device mic", "").replace(" device speaker", ""))

    def environment(self) -> dict[str, str]:
        """Return the environment of a program that shall hear and speak here.

        The devices are ``virtmic`` and ``virtspk``, together ``default``. PulseAudio's own variables are taken out:
        they would lead elsewhere, or set a latency below the buffer.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULSE_", "ALSA_", "PA_"))}
        home = str(self.directory)
        return kept | {"ALSA_CONFIG_PATH": str(self._alsa), "HOME": home, "XDG_RUNTIME_DIR": home}

    def play_into_mic(self, samples: Samples, rate: int) -> None:
        """Say this into the microphone; return when it is over."""
        with self.start_playing(samples, rate) as player:
            player.wait()

    @contextmanager
    def start_playing(self, samples: Samples, rate: int, latency_ms: int = 200) -> Iterator[subprocess.Popen[bytes]]:
        """Begin to say this into the microphone; leaving the context breaks it off.

        With less latency a busy machine lets the player run dry, which looks like a microphone that loses sound.
        """
        path = self.directory / f"said-{time.monotonic_ns()}.raw"
        path.write_bytes(samples.astype("<i2").tobytes())
        command = self.microphone.command(
            *("pacat", "--device=micfeed", "--raw", "--format=s16le", "--channels=1", f"--rate={rate}"),
            *(f"--latency-msec={latency_ms}", str(path)),
        )
        player = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            yield player
        finally:
            player.terminate()
            player.wait()

    def record_speaker(self) -> Recording:
        """Return a context that records what the speaker plays, at the server's own rate."""
        self._recordings += 1
        path = self.directory / f"heard-{self._recordings}.raw"
        return Recording(self.speaker, path, self.speaker_rate)


@contextmanager
def canary(limit_s: float = 0.08) -> Iterator[None]:
    """Watch whether the machine stands still; a failure in this block then proves nothing and the test is skipped.

    Seen on a loaded virtual machine: sleeps of 2 s that took 8.
    """
    worst = 0.0
    ended = threading.Event()

    def watch() -> None:
        nonlocal worst
        while not ended.is_set():
            slept = time.monotonic()
            ended.wait(0.02)
            worst = max(worst, time.monotonic() - slept - 0.02)

    watcher = threading.Thread(target=watch, name="canary")
    watcher.start()
    try:
        yield
    except (AssertionError, pytest.fail.Exception):
        if worst > limit_s:
            pytest.skip(f"inconclusive: the machine stood still for {worst * 1000:.0f} ms")
        raise
    finally:
        ended.set()
        watcher.join()


def require_pulseaudio() -> None:
    """Fail with what is missing where PulseAudio is not installed."""
    if not all(map(shutil.which, ("pulseaudio", "pactl", "pacat", "parec"))):
        pytest.fail("needs: apt install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2")
