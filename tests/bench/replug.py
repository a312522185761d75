"""Microphone, speaker, or both (a sound server that ends), unplugged and plugged in again, idle and in conversation."""

import asyncio
import json
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.lab import ROOM, Lab, NotYetError, a_lab

WHOLE, QUICK = 102, 6
WAYS = (
    ("microphone", "Idle"),
    ("microphone", "Listening"),
    ("microphone", "Responding"),
    ("speaker", "Responding"),
    ("both", "Idle"),
    ("both", "Responding"),
)
"""What, and in which state. A speaker is given back when nothing plays; these have no card to be missed idle."""

ANSWER_S = 2.0


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Do it so many times; each counts as recovered if it hears again, and in the end a wake word is answered."""
    return asyncio.run(_measure(QUICK if quick else WHOLE))


async def _measure(times: int) -> dict[str, Any]:
    seen: dict[str, list[float]] = defaultdict(list)
    back: dict[str, list[float]] = defaultdict(list)
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="replug-") as name:
        async with a_lab(Path(name), answer_s=ANSWER_S) as lab:
            before = lab.keeper.size()
            for number in range(times):
                what, state = WAYS[number % len(WAYS)]
                try:
                    noticed_s, back_s = await _once(lab, what, state)
                except NotYetError as exc:
                    failed.append(f"{number}, {what}, {state}: {exc}")
                    continue
                for key in ("all", what):
                    seen[key].append(noticed_s)
                    back[key].append(back_s)
            ends = list(lab.keeper.ends)
            answered = await lab.answered()
            after = lab.keeper.size()
    return {
        "times": times,
        "recoveries": len(back["all"]),
        "failed": failed,
        "answered_afterwards": answered,
        "restarts": ends,
        "noticed_s": {what: _spread(values) for what, values in seen.items()},
        "back_s": {what: _spread(values) for what, values in back.items()},
        "fd_growth": after[0] - before[0],
        "thread_growth": after[1] - before[1],
    }


async def _once(lab: Lab, what: str, state: str) -> tuple[float, float]:
    """Unplug in ``state``, plug in again; return seconds until each was noticed, by the daemon's own log."""
    if state == "Listening":
        await lab.neighbour.send(f"{ROOM}/command/listen", "")
    elif state == "Responding":
        await lab.neighbour.send(f"{ROOM}/command/ask", json.dumps({"text": "What time is it?"}))
    await lab.until_state(*((state, "Finishing") if state == "Responding" else (state,)))
    lab.log_mark = len(lab.keeper.log())
    devices = [getattr(lab.bed, one) for one in ("microphone", "speaker") if what in {one, "both"}]
    gone, there = [], []
    if what != "speaker":
        gone.append("no microphone:")
        there.append(r"microphone .* is open")
    if what != "microphone" and state != "Idle":
        gone.append("no speaker:")
        there.append("the speaker is back")
    began = time.monotonic()
    await asyncio.gather(*(asyncio.to_thread(device.unplug) for device in devices))
    await lab.until(lambda: all(re.search(pattern, lab.log()) for pattern in gone), "noticed")
    noticed_s = time.monotonic() - began
    await asyncio.gather(*(asyncio.to_thread(device.plug) for device in devices))
    plugged = time.monotonic()
    await lab.until(lambda: all(re.search(pattern, lab.log()) for pattern in there), "back")
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
