"""The whole daemon in a quiet room: what it costs, and how that splits.

``voiced run`` with real models, MQTT connected and discovery on. Its microphone is first a private PulseAudio server
into which the noise of a quiet room is played, then a recording of the same noise: the difference is what capturing
costs.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from tests.bench import speech
from tests.make_sounds import write
from tests.soundbed import SoundBed
from voiced.core.frames import MICROPHONE_RATE
from voiced.edge.mosquitto import Mosquitto

READY_S = 30.0
SETTLE_S = 2.0
"""Discovery is published, and PortAudio is warm."""
QUIET_DB = -60.0
PLAYER_MS = 400
"""The player asks seldom, so that the virtual microphone, like a real one, sends sound as often as the daemon asked."""


async def measure(*, seconds: float) -> dict[str, Any]:
    """Return ``idle_cpu_percent`` of one core, ``idle_rss_mb``, and the split."""
    with tempfile.TemporaryDirectory(prefix="voiced-idle-") as name:
        folder = Path(name)
        noise = speech.noise(seconds + SETTLE_S + 25, QUIET_DB, seed=5)
        write(folder / "noise.wav", noise)
        async with Mosquitto(folder) as broker:
            recorded = await asyncio.to_thread(
                _run, folder, broker.port, f"file:{folder}/noise.wav", os.environ, seconds
            )
            captured = None
            if shutil.which("pulseaudio") and shutil.which("pacat"):
                (bed_folder := folder / "b").mkdir()
                with SoundBed(bed_folder) as bed, bed.start_playing(noise, MICROPHONE_RATE, PLAYER_MS):
                    captured = await asyncio.to_thread(_run, folder, broker.port, "virtmic", bed.environment(), seconds)
    whole = captured or recorded
    return {
        "idle_cpu_percent": round(whole["cpu_percent"], 2),
        "idle_rss_mb": round(whole["rss_mb"], 1),
        "idle_microphone": "PulseAudio" if captured else "a recording: PulseAudio is not installed",
        "idle_split_cpu_percent": {
            "capture": round(captured["cpu_percent"] - recorded["cpu_percent"], 2) if captured else None,
            "all but capture": round(recorded["cpu_percent"], 2),
        },
        "idle_split_rss_mb": {
            "capture": round(captured["rss_mb"] - recorded["rss_mb"], 1) if captured else None,
            "all but capture": round(recorded["rss_mb"], 1),
        },
        "idle_seconds": seconds,
    }


def _run(folder: Path, port: int, microphone: str, environment: Mapping[str, str], seconds: float) -> dict[str, float]:
    config = folder / "config.toml"
    config.write_text(
        f'[device]\nid = "bench"\n[audio]\ninput = "{microphone}"\ninput_end = "silence"\noutput = "null"\n'
        f'[realtime]\nprovider = "openai"\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\n'
    )
    with ExitStack() as house:
        notices = house.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        path = folder / "notify"
        path.unlink(missing_ok=True)
        notices.bind(str(path))
        notices.settimeout(READY_S)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "voiced", "run", "-c", str(config)],
            env={
                **environment,
                "NOTIFY_SOCKET": str(path),
                "STATE_DIRECTORY": str(folder),
                "OPENAI_API_KEY": "none",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
            stderr=subprocess.DEVNULL,
        )
        house.callback(daemon.wait, 15)
        house.callback(daemon.terminate)
        while b"READY=1" not in notices.recv(4096):
            pass
        process = psutil.Process(daemon.pid)
        time.sleep(SETTLE_S)
        before, began = _cpu_s(process), time.monotonic()
        time.sleep(seconds)
        spent, took = _cpu_s(process) - before, time.monotonic() - began
        return {"cpu_percent": 100 * spent / took, "rss_mb": process.memory_info().rss / 1e6}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
