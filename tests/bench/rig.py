"""The daemon on virtual devices for benches: a process of its own, with a clock on everything around it.

All moments are of this machine's monotonic clock, which is also the simulator's.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tests.liveroom import LiveRoom
from tests.mosquitto import Neighbour
from tests.room import Room
from tests.soundbed import SoundBed, VirtualDevice
from tests.waiting import eventually
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.edge.mosquitto import Mosquitto
from voiced.simulator import Scenario, Simulator

ROOM = "voiced/bench"


class Tap:
    """What a virtual device plays, and when each sample of it was there. A context."""

    def __init__(self, device: VirtualDevice, source: str, rate: int) -> None:
        self.rate = rate
        self._command = device.command(
            *("parec", f"--device={source}", "--raw", "--format=s16le", "--channels=1"),
            *(f"--rate={rate}", "--latency-msec=5"),
        )
        self._pieces: list[bytes] = []
        self._ends: list[int] = []
        self._times: list[float] = []

    def __enter__(self) -> Self:
        self._recorder = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0)
        self._thread = threading.Thread(target=self._read, name="tap")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.terminate()
        self._recorder.wait()
        self._thread.join()
        if self._recorder.stdout:
            self._recorder.stdout.close()

    @property
    def end(self) -> int:
        """How many samples there were so far."""
        return self._ends[-1] if self._ends else 0

    def since(self, start: int) -> Samples:
        """Return all from a sample on."""
        first = bisect_right(self._ends, start)
        if first >= len(self._pieces):
            return np.zeros(0, np.int16)
        begin = self._ends[first - 1] if first else 0
        sound = np.frombuffer(b"".join(self._pieces[first:]), "<i2")
        return sound[start - begin :]

    def when(self, sample: int) -> float:
        """Return when a sample arrived."""
        return self._times[bisect_right(self._ends, sample)]

    def _read(self) -> None:
        assert self._recorder.stdout
        rest, end = b"", 0
        while piece := self._recorder.stdout.read(1 << 16):
            now = time.monotonic()
            whole = rest + piece
            cut = len(whole) // 2 * 2
            rest = whole[cut:]
            end += cut // 2
            self._pieces.append(whole[:cut])
            self._times.append(now)
            self._ends.append(end)  # last: readers look here first


@dataclass
class Rig:
    """The daemon at work, and those around it."""

    bed: SoundBed
    simulator: Simulator
    neighbour: Neighbour
    speaker: Tap
    microphone: Tap
    process: "subprocess.Popen[bytes]"
    notes: Path
    """What :mod:`tests.bench.timed` wrote, where it is the daemon."""
    room: LiveRoom | None
    """Where the devices stand in one."""

    async def command(self, action: str, **more: object) -> float:
        """Send a command; return when it left."""
        left = time.monotonic()
        await self.neighbour.send(f"{ROOM}/command/{action}", json.dumps(more))
        return left

    def last(self, topic: str) -> dict[str, Any]:
        payload = self.neighbour.last(f"{ROOM}/{topic}")
        return dict(json.loads(payload)) if payload else {}

    def events(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.neighbour.on(f"{ROOM}/{topic}")]

    def wakes(self) -> list[dict[str, Any]]:
        """Return the words heard, without near misses."""
        return [event for event in self.events("event/wake") if event["event_type"] == "detected"]

    async def until_state(self, *wanted: str, patience_s: float = 15.0) -> None:
        await eventually(lambda: self.last("state").get("state") in wanted, " or ".join(wanted), patience_s)


@asynccontextmanager
async def at_work(
    scenario: Scenario, configuration: str, *, timed: bool = False, tapped: bool = True, room: Room | None = None
) -> AsyncIterator[Rig]:
    """Start everything.

    Args:
        scenario: For the simulator.
        configuration: TOML beside what is said here of device, service and broker.
        timed: Whether the daemon writes down when sound passes where (:mod:`tests.bench.timed`).
        tapped: Whether all sound is kept, for what does not last hours.
        room: In which speaker and microphone stand, in real time; nothing is tapped then.

    """
    with tempfile.TemporaryDirectory(prefix="rig-") as name:
        folder = Path(name)
        # At these rates what goes through the virtual devices comes out the same to the sample.
        with SoundBed(folder, microphone_rate=MICROPHONE_RATE, speaker_rate=SERVICE_RATE) as bed:
            async with Mosquitto(folder) as broker, Simulator(scenario) as simulator, Neighbour(broker.port) as near:
                (folder / "config.toml").write_text(
                    f"""
                    [device]
                    id = "bench"
                    [realtime]
                    provider = "custom"
                    url = "ws://127.0.0.1:{simulator.port}/v1/realtime?model=gpt-realtime-2.1"
                    transcription_model = "whisper-1"
                    [mqtt]
                    host = "127.0.0.1"
                    port = {broker.port}
                    {configuration}
                    """
                )
                speaker = Tap(bed.speaker, "speaker.monitor", SERVICE_RATE)
                microphone = Tap(bed.microphone, "micfeed.monitor", MICROPHONE_RATE)
                tapped = tapped and room is None
                with ExitStack() as open_now, (folder / "log").open("wb") as log:
                    live = None if room is None else open_now.enter_context(LiveRoom(bed, room))
                    if tapped:
                        open_now.enter_context(speaker)
                        open_now.enter_context(microphone)
                    notes = folder / "notes"
                    program = ("tests.bench.timed", str(notes)) if timed else ("voiced",)
                    process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
                        [sys.executable, "-m", *program, "run", "-c", str(folder / "config.toml")],
                        env={**bed.environment(), "STATE_DIRECTORY": str(folder / "state")},
                        stderr=log,
                    )
                    try:
                        rig = Rig(bed, simulator, near, speaker, microphone, process, notes, live)
                        await eventually(lambda: not tapped or (speaker.end and microphone.end), "the taps")
                        await rig.until_state("idle")
                        yield rig
                    except BaseException:
                        sys.stderr.write((folder / "log").read_text())
                        raise
                    finally:
                        process.terminate()
                        await asyncio.to_thread(process.wait, 15)
