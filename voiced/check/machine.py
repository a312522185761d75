"""The machine: disk, temperature, and what a Raspberry Pi says of its power supply."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from voiced.check.findings import Finding, Visit, failed, passed, skipped, warned
from voiced.edge import machine
from voiced.edge.store import state_directory

LOW_MB, EMPTY_MB = 200, 20
WARM, HOT = 70.0, 80.0
"""Degrees Celsius; a Raspberry Pi slows down from 80 on. Source: Raspberry Pi documentation, frequency management."""

_THROTTLED = {
    0: "the supply voltage is too low",
    1: "the clock is held down",
    2: "it is throttled",
    3: "it is slowed down by heat",
    16: "the supply voltage was too low",
    17: "the clock was held down",
    18: "it was throttled",
    19: "it was slowed down by heat",
}
"""Bits of ``vcgencmd get_throttled``: now, and since the start. Source: Raspberry Pi documentation."""

PLATFORM = Path("/sys/devices/platform")


def disk(visit: Visit) -> list[Finding]:
    """Write into the state directory, look at its free space, and read the ledger."""
    folder = state_directory(visit.environ)
    tried = f"write to {folder}"
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        free = round(shutil.disk_usage(nearest).free / 1e6)
    except OSError as exc:
        remedy = "free space, or give the folder to the daemon's user (the service's is /var/lib/voiced, user voiced)"
        return [failed("disk", tried, f"{exc.strerror}: settings and ledger cannot be kept", remedy)]
    if broken := _broken(folder / "ledger.sqlite"):
        remedy = "nothing: the daemon sets it aside at its next start and begins a new one"
        return [warned("disk", f"read {folder / 'ledger.sqlite'}", broken, remedy, free_mb=free)]
    found = f"writable, {free:,} MB free"
    if free < LOW_MB:
        judge = failed if free < EMPTY_MB else warned
        return [
            judge("disk", tried, found, "free space, before the ledger and the journal run out of it", free_mb=free)
        ]
    return [passed("disk", tried, found, free_mb=free)]


def _broken(ledger: Path) -> str | None:
    if not ledger.exists():
        return None
    try:
        line = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5)
        try:
            (said,) = line.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            line.close()
    except sqlite3.OperationalError:
        return None  # not ours to read, or held by the daemon, who checks it at every start
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return None if said == "ok" else str(said)


def temperature(_visit: Visit) -> list[Finding]:
    """Look at the sensor and, on a Pi, at what its firmware says."""
    degrees = machine.temperature()
    flags = _flags()
    if degrees is None and flags is None:
        return [skipped("temperature", "this machine has no sensor")]
    tried = "read the sensor" if flags is None else "ask the sensor and the firmware"
    warm = "" if degrees is None else f"{degrees:.0f} °C"
    said = [meaning for bit, meaning in _THROTTLED.items() if flags and flags >> bit & 1]
    found = ", ".join([*([warm] if warm else []), *said])
    figures: dict[str, float | None] = {"celsius": degrees, "throttled": flags}
    if any("voltage" in one for one in said):
        remedy = "use the power supply made for this board, and a short cable: sound breaks up otherwise"
        return [warned("temperature", tried, found, remedy, **figures)]
    if said or (degrees or 0) >= WARM:
        remedy = "give it air or a heat sink: a machine that slows down hears late"
        judge = failed if (degrees or 0) >= HOT else warned
        return [judge("temperature", tried, found, remedy, **figures)]
    return [passed("temperature", tried, found or "never throttled", **figures)]


def _flags() -> int | None:
    """Return what the firmware of a Raspberry Pi says; ``None`` on any other machine."""
    for told in PLATFORM.glob("soc*/soc*:firmware/get_throttled"):  # for everybody, the service in its cage too
        with suppress(OSError, ValueError):
            return int(told.read_text(), 16)
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, check=False, timeout=5)  # noqa: S603 - found on the path, as a person would
        return int(done.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None  # it needs the group video, or there is no such chip
