"""The clock on the wall, which is set while the daemon runs: by hours, by months, out of 1970."""

import asyncio
import json
import shutil
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.lab.faults import every, fault
from tests.lab.lab import ROOM, Act, Lab

HOUR_S = 3600
DAY_S = 24 * HOUR_S
NOT_TRIED = "not tried: needs a C compiler"
SLACK_S = 120.0
"""Between an event and the look at its time."""


@asynccontextmanager
async def _a_clock(lab: Lab, offset_s: int = 0) -> AsyncIterator[Callable[[int], None]]:
    """Start the daemon anew with a clock on the wall that is ``offset_s`` ahead; yield a function that sets it.

    Clocks that count from the start of the machine stay as they are, as with the real ``clock_settime``.
    """
    ahead, library = lab.folder / "ahead", lab.folder / "wallclock.so"
    source = Path(__file__).with_name("wallclock.c")
    command = ["cc", "-shared", "-fPIC", "-O", "-o", str(library), str(source), "-ldl"]
    await asyncio.to_thread(subprocess.run, command, check=True)

    def put(ahead_s: int) -> None:
        with ahead.open("r+b" if ahead.exists() else "wb") as file:  # the daemon looks into this very file
            file.write(struct.pack("=q", ahead_s))
        lab.break_now()

    variables = {"LD_PRELOAD": str(library), "WALL_AHEAD": str(ahead)}
    await lab.keeper.stop()
    put(offset_s)
    lab.keeper.environ |= variables
    lab.keeper.start()
    try:
        await lab.healthy()
        yield put
    finally:
        for name in variables:
            lab.keeper.environ.pop(name, None)
        await lab.keeper.stop()
        lab.keeper.start()


async def _answers_by(lab: Lab, ahead_s: int) -> None:
    """A wake is answered, and is told with the time that the clock shows."""
    if not await lab.answered():
        raise AssertionError("nobody is answered by that clock")
    told = datetime.fromisoformat(lab.last("wake")["time"])
    off_s = told.timestamp() - ahead_s - time.time()
    if abs(off_s) > SLACK_S:
        raise AssertionError(f"the wake was told with a time that is {off_s:.0f} s wrong")


def _set_while(state: str) -> Act:
    async def clock_set(lab: Lab) -> str:
        if shutil.which("cc") is None:
            return NOT_TRIED
        async with _a_clock(lab) as put:
            for ahead_s in (5 * HOUR_S, -3 * HOUR_S, 400 * DAY_S, 0):
                if state != "Idle":
                    await lab.conversing(state)
                put(ahead_s)
                await lab.until_state("Idle")
                await _answers_by(lab, ahead_s)
        return ""

    return clock_set


every("clock", ("Idle", "Responding"), _set_while)


@fault("clock")
async def clock_starts_in_1970(lab: Lab) -> str:
    """A board without a clock of its own, and then the network sets it."""
    if shutil.which("cc") is None:
        return NOT_TRIED
    past_s = 3 * HOUR_S - round(time.time())
    async with _a_clock(lab, past_s) as put:
        await _answers_by(lab, past_s)
        put(0)
        await _answers_by(lab, 0)
        spent = lab.last("usage")
        today = datetime.now(UTC).date()
        if datetime.fromisoformat(spent["cost"]["day_start"]).date() != today:
            raise AssertionError(f"the day of account is {spent['cost']['day_start']}")
        await lab.until(lambda: _is_recent(lab.last("info")["started"]), "info tells when it was really started")
    return ""


@fault("clock")
async def clock_set_while_turns_wait_for_the_broker(lab: Lab) -> str:
    """The network was away since the start: with it come broker and time, and the turn is not thrown away."""
    if shutil.which("cc") is None:
        return NOT_TRIED
    past_s = -60 * DAY_S
    async with _a_clock(lab, past_s) as put:
        await lab.broker_line.shut()
        await lab.noticed("MQTT broker .* was lost|no MQTT broker")
        before = len(lab.neighbour.heard)
        async with lab.asking():
            await lab.until_state("Responding", "Finishing")
            await lab.until_state("Idle")
        put(0)
        await lab.broker_line.open()
        await lab.until(lambda: _finished(lab, before), "the turn is told when the broker is back")
    return ""


@fault("clock")
async def clock_set_while_the_broker_is_away(lab: Lab) -> str:
    """Pauses between attempts are not those of the wall: set back by ten hours, it comes back as soon as ever."""
    if shutil.which("cc") is None:
        return NOT_TRIED
    async with _a_clock(lab) as put:
        await lab.broker_line.shut()
        await lab.noticed("MQTT broker .* was lost|no MQTT broker")
        put(-10 * HOUR_S)
        await lab.broker_line.open()
        await lab.until(lambda: lab.neighbour.last(f"{ROOM}/availability") == "online", "online")
        await _answers_by(lab, -10 * HOUR_S)
    return ""


def _is_recent(time_text: str) -> bool:
    return abs(datetime.fromisoformat(time_text).timestamp() - time.time()) < SLACK_S


def _finished(lab: Lab, before: int) -> bool:
    heard = [json.loads(one.payload) for one in lab.neighbour.heard[before:] if one.topic == f"{ROOM}/event/turn"]
    return any(turn["event_type"] == "finished" for turn in heard)
