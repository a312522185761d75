"""The fault lab: breaks everything around a real daemon, and tells what it noticed, overcame and lost."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lab import broker_faults, clock_faults, machine_faults, network_faults, service_faults, sound_faults
from tests.lab.faults import FAULTS, Fault
from tests.lab.lab import Outcome, a_lab

AREAS = (broker_faults, service_faults, network_faults, sound_faults, machine_faults, clock_faults)


def measure(*, quick: bool = False, only: str = "") -> dict[str, Any]:
    """Go through all faults, or the few quick ones; as root in a network of its own, where packets can be dropped."""
    chosen = [one.name for one in FAULTS if (one.quick or not quick) and only in one.name]
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "nft"))):
        return here(chosen)
    # An interpreter of its own, since a process with threads cannot change its network.
    command = f"import json; from tests.bench.faults import here; print(json.dumps(here({chosen!r})))"
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", command]
    done = subprocess.run(["unshare", "--net", *inside], stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def here(names: list[str]) -> dict[str, Any]:
    """Go through these faults in this process."""
    return asyncio.run(_measure([one for one in FAULTS if one.name in names]))


async def _measure(chosen: list[Fault]) -> dict[str, Any]:
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        async with a_lab(Path(name)) as lab:
            before, pid = lab.keeper.size(), lab.keeper.pid
            for one in chosen:
                began = time.monotonic()
                outcome = await lab.suffer(one.name, one.area, one.act)
                outcomes.append(outcome)
                _tell(outcome, time.monotonic() - began)
            await lab.healthy()
            after, listens, same = lab.keeper.size(), lab.keeper.listens(), lab.keeper.pid == pid
            log = lab.keeper.log()
    return {
        "faults": len(outcomes),
        "recovered": sum(one.recovered for one in outcomes),
        "not_tried": [one.name for one in outcomes if one.lost.startswith("not tried")],
        "unreported_losses": sum(one.unreported for one in outcomes),
        "not_recovered": {one.name: one.trouble for one in outcomes if not one.recovered},
        "detected_s_worst": max((one.detected_s for one in outcomes if one.detected_s is not None), default=None),
        "recovered_s_worst": max((one.recovered_s for one in outcomes if one.recovered_s is not None), default=None),
        "table": {one.name: _row(one) for one in outcomes},
        "same_process": same,
        "fd_growth": after[0] - before[0],
        "thread_growth": after[1] - before[1],
        "rss_growth_mb": round(after[2] - before[2], 1),
        "listening_sockets": listens,
        "tracebacks": log.count("Traceback"),
    }


def _row(one: Outcome) -> dict[str, Any]:
    return {
        "detected_s": _round(one.detected_s),
        "recovered_s": _round(one.recovered_s),
        "answered": one.answered,
        "lost": one.lost,
        "unreported": one.unreported,
    }


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _tell(one: Outcome, took_s: float) -> None:
    detected = "-" if one.detected_s is None else f"{one.detected_s:6.2f}"
    recovered = "-" if one.recovered_s is None else f"{one.recovered_s:6.2f}"
    verdict = "ok" if one.recovered else f"FAILED: {one.trouble}"
    print(
        f"{one.area:<9}{one.name:<48} detected {detected:>6} s  recovered {recovered:>6} s  {took_s:5.1f} s  "
        f"lost: {one.lost or 'nothing'}  {verdict}",
        file=sys.stderr,
        flush=True,
    )
