"""What this process costs the machine, read from Linux's own files."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from voiced.ports import Load

TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")


def load_meter() -> Callable[[], Load]:
    """Return a function that tells the load of this process since it was last asked."""
    last = (time.monotonic(), time.process_time())

    def load() -> Load:
        nonlocal last
        now = (time.monotonic(), time.process_time())
        passed, used = now[0] - last[0], now[1] - last[1]
        last = now
        return Load(_rss_mb(), round(100 * used / passed, 1) if passed > 0 else 0.0, _temperature())

    return load


def _rss_mb() -> float:
    # Second field of statm (proc(5)): resident pages.
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _temperature() -> float | None:
    try:
        return int(TEMPERATURE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None  # a machine without a sensor, or one that does not answer
