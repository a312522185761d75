"""A compressed day: a thousand conversations with a real daemon, faults in between, and what has grown at the end.

Most conversations are begun over MQTT and last half a second; every 25th is spoken, and every 15th meets a fault.
"""

import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lab.lab import ROOM, Lab, NotYetError, a_lab
from voiced.simulator import Refusal
from voiced.simulator.scenario import Abort, Failed

WHOLE, QUICK = (1000, 100), (16, 4)
"""Conversations, and after which of them the first measure is taken."""

SPOKEN, FAULTY = 25, 15
PATIENCE_S = 20.0
ERRORS = ("Traceback", "never retrieved", "CRITICAL", "unhandled")


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Hold the conversations; the same process must be there at the end as at the beginning."""
    return asyncio.run(_measure(*(QUICK if quick else WHOLE)))


async def _measure(conversations: int, warm: int) -> dict[str, Any]:
    began = time.monotonic()
    answered = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        program = ("tests.counted_daemon", str(Path(name) / "tasks"))
        async with a_lab(Path(name), answer_s=0.1, program=program) as lab:
            pid = lab.keeper.pid
            first = await _size(lab)
            for number in range(1, conversations + 1):
                if number % FAULTY == 0:
                    await _fault(lab, number // FAULTY)
                elif number % SPOKEN == 1:
                    answered += await lab.answered()
                else:
                    answered += await _asked(lab)
                if number == warm:
                    first = await _size(lab)
                if number % 100 == 0:
                    print(f"{number} conversations, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            last = await _size(lab)
            log = lab.keeper.log()
            ends = [f"status {status}" for status in lab.keeper.ends]
            ends += [line for line in log.splitlines() if "only a new process helps" in line]
            same = lab.keeper.pid == pid
    faults = conversations // FAULTY
    return {
        "conversations": conversations,
        "answered": answered,
        "meant_to_be_answered": conversations - faults,
        "faults": faults,
        "rss_mb": round(last[2], 1),
        "rss_growth_percent": round(100 * (last[2] / first[2] - 1), 2),
        "fd_growth": last[0] - first[0],
        "thread_growth": last[1] - first[1],
        "task_growth": last[3] - first[3],
        "unhandled": sum(log.count(word) for word in ERRORS),
        "restarts": ends,
        "same_process": same,
        "seconds": round(time.monotonic() - began),
    }


async def _size(lab: Lab) -> tuple[int, int, float, int]:
    """Return descriptors, threads, megabytes and tasks at rest: the speaker is given back after 5 s of silence."""
    await lab.healthy()
    looks = []
    for _ in range(20):
        looks.append(lab.keeper.size())
        await asyncio.sleep(0.35)  # what is measured is rest
    return (
        min(one[0] for one in looks),
        min(one[1] for one in looks),
        statistics.median(one[2] for one in looks[-7:]),
        await _tasks(lab),
    )


async def _tasks(lab: Lab) -> int:
    """Ask the daemon itself."""
    told = lab.folder / "tasks"
    before = len(told.read_text())
    lab.keeper.send(signal.SIGUSR1)
    await lab.until(lambda: told.read_text()[before:].endswith("\n"), "the number of tasks")
    return int(told.read_text().split()[-1])


async def _asked(lab: Lab, *, patience_s: float = PATIENCE_S) -> bool:
    """Ask by text; return whether a whole answer was told before the daemon was idle again."""
    mark = len(lab.neighbour.heard)
    await lab.neighbour.send(f"{ROOM}/command/ask", json.dumps({"text": "What time is it?"}))

    def over() -> bool:
        heard = lab.neighbour.heard[mark:]
        turns = [json.loads(one.payload) for one in heard if one.topic == f"{ROOM}/event/turn"]
        states = [json.loads(one.payload)["state"] for one in heard if one.topic == f"{ROOM}/state"]
        return states[-1:] == ["idle"] and any(turn["event_type"] != "started" for turn in turns)

    try:
        await lab.until(over, "the end of a turn", patience_s)
    except NotYetError:
        return False
    ended = [json.loads(one.payload) for one in lab.neighbour.heard[mark:] if one.topic == f"{ROOM}/event/turn"]
    return any(turn["event_type"] == "finished" for turn in ended)


async def _fault(lab: Lab, number: int) -> None:
    """One of seven, in turn; the conversation in it need not be answered."""
    match number % 7:
        case 0:
            lab.broker_line.cut()
            await lab.until(lambda: lab.broker_line._visits, "connected again")
        case 1:
            await lab.service_line.shut()
            await _asked(lab, patience_s=5.0)
            await lab.service_line.open()
        case 2:
            lab.answer(fault=Abort(kind="abort", after_ms=50))
            await _asked(lab)
        case 3:
            lab.answer(fault=Failed(kind="failed"))
            await _asked(lab)
        case 4:
            await asyncio.to_thread(lab.bed.microphone.unplug)
            await lab.until(lambda: "microphone" in lab.keeper.status, "missed")
            await asyncio.to_thread(lab.bed.microphone.plug)
        case 5:
            await asyncio.to_thread(lab.bed.speaker.unplug)
            await _asked(lab)
            await asyncio.to_thread(lab.bed.speaker.plug)
        case _:
            lab.next_connection(refuse=Refusal(status=503, code="busy", message="No."))
            await _asked(lab, patience_s=5.0)
    await lab._mend()
    await lab.healthy()
