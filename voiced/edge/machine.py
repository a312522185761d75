"""What this process costs the machine, and the machine's time zone, read from Linux's own files."""

import ctypes
import gc
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from voiced.ports import Load

logger = logging.getLogger(__name__)

TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")


LOCALTIME = Path("/etc/localtime")


def local_zone(environ: Mapping[str, str]) -> tzinfo:
    """Return the zone of ``$TZ``, else of the machine, else UTC; one that knows summer and winter."""
    try:
        if name := environ.get("TZ", "").removeprefix(":"):
            return ZoneInfo(name)
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (OSError, ValueError, ZoneInfoNotFoundError) as exc:
        logger.warning("the time zone cannot be read (%s); days and months of the budget are those of UTC", exc)
        return UTC


def since_boot() -> float:
    """Return seconds since the machine started, also those it slept: a clock that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def load_meter() -> Callable[[], Load]:
    """Return a function that tells the load of this process since it was last asked."""
    last = (time.monotonic(), time.process_time())

    def load() -> Load:
        nonlocal last
        now = (time.monotonic(), time.process_time())
        passed, used = now[0] - last[0], now[1] - last[1]
        last = now
        return Load(_rss_mb(), round(100 * used / passed, 1) if passed > 0 else 0.0, temperature())

    return load


LARGE = 1 << 20
"""Bytes of a block that goes back to the system as soon as it is free."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""mallopt(3)."""


def keep_little_memory() -> None:
    """Have memory go back to the system; call it before there are threads.

    Large blocks, such as messages of 10 MB that are refused: glibc learns from the first one to keep them, up to 32 MB
    each, among small blocks that outlive them. And it keeps some for each thread, so that threads do not wait for each
    other, which ours do for the interpreter anyway.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if option is not None:
        option(_M_MMAP_THRESHOLD, LARGE)
        option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give memory that the start needed, and nobody needs now, back to the system; takes some milliseconds."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other C libraries do it by themselves, or never
    if trim is not None:
        trim(0)


def _rss_mb() -> float:
    # Second field of statm (proc(5)): resident pages.
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def temperature() -> float | None:
    """Return degrees Celsius; ``None`` where no sensor answers."""
    try:
        return int(TEMPERATURE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None  # a machine without a sensor, or one that does not answer
