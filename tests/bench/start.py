"""What it costs to start the daemon and to have it idle, against a Python that only imports numpy.

The daemon is ``voiced run`` as installed: real models, a real broker, PortAudio on a virtual sound card. It is ready
when it tells its supervisor so, as systemd would hear it.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.soundbed import SoundBed
from voiced.edge.mosquitto import Mosquitto

REFERENCE = "python -c 'import numpy'"
READY_S = 30.0
IDLE_S = 5.0

_PARTS = (
    ("python", "pass"),
    ("numpy", "import numpy"),
    ("configuration (pydantic)", "import voiced.config"),
    ("broker (paho-mqtt)", "import voiced.edge.broker"),
    ("service (websockets, ssl)", "import voiced.edge.service"),
    (
        "sound (sounddevice, PortAudio)",
        "from voiced.edge import soundcard; card = soundcard.Soundcard(print); card.devices()",
    ),
    ("the rest of the daemon", "import voiced.house"),
    (
        "wake models, one word",
        "from voiced.edge import models, wakemodel as w; kept = w.WakeModels(models.find_models(''), ['hey_jarvis'])",
    ),
)


def measure(*, quick: bool) -> dict[str, Any]:
    """Start the daemon several times; medians."""
    rounds = 1 if quick else 5
    runs = []
    references = []
    for _ in range(rounds):
        references.append(_reference_cpu_s())
        runs.append(asyncio.run(_start_once(idle_s=2.0 if quick else IDLE_S)))
    cpu_s = statistics.median(run["cpu_s"] for run in runs)
    reference_s = statistics.median(references)
    return {
        "cpu_s": round(cpu_s, 3),
        "wall_s": round(statistics.median(run["wall_s"] for run in runs), 3),
        "rss_mb": round(statistics.median(run["rss_mb"] for run in runs), 1),
        "idle_cpu_percent": round(statistics.median(run["idle_cpu_percent"] for run in runs), 2),
        "threads": max(run["threads"] for run in runs),
        "rounds": rounds,
        "reference": REFERENCE,
        "reference_cpu_s": round(reference_s, 3),
        "ratio_cpu": round(cpu_s / reference_s, 2),
        "rss_breakdown_mb": _breakdown(),
    }


def _reference_cpu_s() -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", "import numpy"], check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


async def _start_once(*, idle_s: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="voiced-bench-") as name:
        folder = Path(name)
        async with Mosquitto(folder) as broker:
            return await asyncio.to_thread(_start_on_a_bed, folder, broker.port, idle_s)


def _start_on_a_bed(folder: Path, port: int, idle_s: float) -> dict[str, float]:
    with SoundBed(folder) as bed:
        return _run_daemon(folder, port, idle_s, bed.environment())


def _run_daemon(folder: Path, port: int, idle_s: float, environ: dict[str, str]) -> dict[str, float]:
    (folder / "config.toml").write_text(
        f"""
        [device]
        id = "bench"
        [realtime]
        provider = "openai"
        [mqtt]
        host = "127.0.0.1"
        port = {port}
        """
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(folder / "notify"))
        notices.settimeout(READY_S)
        began = time.monotonic()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "voiced", "run", "-c", str(folder / "config.toml")],
            env={**environ, "NOTIFY_SOCKET": str(folder / "notify"), "STATE_DIRECTORY": str(folder)},
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in notices.recv(4096):
                pass
            wall_s = time.monotonic() - began
            process = psutil.Process(daemon.pid)
            cpu_s = _cpu(process)
            time.sleep(idle_s)
            return {
                "cpu_s": cpu_s,
                "wall_s": wall_s,
                "idle_cpu_percent": 100 * (_cpu(process) - cpu_s) / idle_s,
                "rss_mb": process.memory_info().rss / 1e6,
                "threads": process.num_threads(),
            }
        finally:
            daemon.terminate()
            daemon.wait(15)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _breakdown() -> dict[str, float]:
    """Return how much memory each part adds, imported in this order in one process after the other."""
    sizes: dict[str, float] = {}
    code, before = "import voiced", 0.0
    tell = "import psutil as p; import os; print(p.Process(os.getpid()).memory_info().rss)"
    for part, more in _PARTS:
        # psutil itself is in each of them, and so in the first
        code = f"{code}; {more}"
        told = subprocess.run([sys.executable, "-c", f"{code}; {tell}"], check=True, capture_output=True, text=True)
        total = int(told.stdout) / 1e6
        sizes[part] = round(total - before, 1)
        before = total
    return sizes
