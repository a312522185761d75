"""Drives :mod:`tests.sound_probe`, the program that opens microphone and speaker on a virtual sound card."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from tests.soundbed import SoundBed
from voiced.core.frames import Samples
from voiced.edge.soundfile import WavWriter

Told = dict[str, Any]


class Probe:
    """The running program; a context that ends it."""

    def __init__(self, bed: SoundBed, *arguments: str) -> None:
        self._bed = bed
        self._recording = bed.directory / "microphone.raw"
        self._arguments = arguments
        self._lines: queue.Queue[Told | None] = queue.Queue()
        self._sounds = 0
        self.told: list[Told] = []

    def __enter__(self) -> Self:
        with (self._bed.directory / "probe.log").open("wb") as log:
            self._program = subprocess.Popen(
                [sys.executable, "-m", "tests.sound_probe", str(self._recording), *self._arguments],
                env=self._bed.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=Path(__file__).parent.parent,
            )
        self._reader = threading.Thread(target=self._read, name="probe-reader")
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.end()
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
            raise
        finally:
            self._reader.join()
            assert self._program.stdout
            self._program.stdout.close()

    def end(self) -> int:
        """Let it end, and return its exit status."""
        assert self._program.stdin
        if not self._program.stdin.closed:
            self._program.stdin.close()
        return self._program.wait(15)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._program.send_signal(number)

    def send(self, *words: object) -> None:
        """Send a command."""
        assert self._program.stdin
        self._program.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self._program.stdin.flush()

    def play(self, item: str, samples: Samples, index: int = 0) -> None:
        """Let it play 24 kHz sound."""
        self._sounds += 1
        path = self._bed.directory / f"played-{self._sounds}.wav"
        with WavWriter(path) as writer:
            writer.write(samples)
        self.send("play", item, index, path)

    def wait_for(self, condition: Callable[[Told], Any], seconds: float = 15.0) -> Told:
        """Return the next thing told for which ``condition`` holds."""
        end = time.monotonic() + seconds
        while True:
            try:
                told = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"not told within {seconds:g} s; told so far: {self.told}")
            if told is None:
                pytest.fail(f"the program ended; told: {self.told}")
            self.told.append(told)
            if condition(told):
                return told

    def wait_for_all(self, *conditions: Callable[[Told], Any]) -> list[Told]:
        """Return what fulfilled each condition, whatever the order."""
        found: dict[int, Told] = {}
        while len(found) < len(conditions):
            told = self.wait_for(lambda told: any(condition(told) for condition in conditions))
            found.update({n: told for n, condition in enumerate(conditions) if n not in found and condition(told)})
        return [found[number] for number in range(len(conditions))]

    def wait_for_key(self, key: str) -> Told:
        """Return the next thing told that has ``key``."""
        return self.wait_for(lambda told: key in told)

    def report(self) -> Told:
        """Ask for the counters."""
        self.send("report")
        return self.wait_for_key("overruns")

    @property
    def heard(self) -> Samples:
        """What its microphone has heard so far, at 16 kHz, zeros where sound was lost."""
        content = self._recording.read_bytes()
        return np.frombuffer(content[: len(content) // 2 * 2], np.int16)

    def _read(self) -> None:
        assert self._program.stdout
        for line in self._program.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)
