"""The microphone unplugged and plugged in again, while idle, listening and responding."""

import asyncio
import json
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.lab import ROOM, Lab, NotYetError, a_lab

WHOLE, QUICK = 100, 9
STATES = ("Idle", "Listening", "Responding")
ANSWER_S = 2.0


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Do it so many times; each counts as recovered if it hears again, and in the end a wake word is answered."""
    return asyncio.run(_measure(QUICK if quick else WHOLE))


async def _measure(times: int) -> dict[str, Any]:
    seen: list[float] = []
    back: list[float] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="replug-") as name:
        async with a_lab(Path(name), answer_s=ANSWER_S) as lab:
            before = lab.keeper.size()
            for number in range(times):
                state = STATES[number % len(STATES)]
                try:
                    noticed_s, back_s = await _once(lab, state)
                except NotYetError as exc:
                    failed.append(f"{number}, {state}: {exc}")
                    continue
                seen.append(noticed_s)
                back.append(back_s)
            answered = await lab.answered()
            after = lab.keeper.size()
    return {
        "times": times,
        "recoveries": len(back),
        "failed": failed,
        "answered_afterwards": answered,
        "noticed_s": _spread(seen),
        "back_s": _spread(back),
        "fd_growth": after[0] - before[0],
        "thread_growth": after[1] - before[1],
    }


async def _once(lab: Lab, state: str) -> tuple[float, float]:
    """Unplug in ``state``, plug in again; return seconds until each was noticed, by the daemon's own log."""
    if state == "Listening":
        await lab.neighbour.send(f"{ROOM}/command/listen", "")
    elif state == "Responding":
        await lab.neighbour.send(f"{ROOM}/command/ask", json.dumps({"text": "What time is it?"}))
    await lab.until_state(*((state, "Finishing") if state == "Responding" else (state,)))
    lab.log_mark = len(lab.keeper.log())
    began = time.monotonic()
    await asyncio.to_thread(lab.bed.microphone.unplug)
    await lab.until(lambda: "no microphone:" in lab.log(), "noticed")
    noticed_s = time.monotonic() - began
    await asyncio.to_thread(lab.bed.microphone.plug)
    plugged = time.monotonic()
    await lab.until(lambda: re.search(r"microphone .* is open", lab.log()), "back")
    back_s = time.monotonic() - plugged
    await lab.healthy()
    return noticed_s, back_s


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[round(0.95 * (len(ordered) - 1))], 3),
        "worst": round(ordered[-1], 3),
    }
