"""Finished turns while the broker is stopped, started and killed, and the daemon's process is killed with SIGKILL.

A turn counts from the moment when the process has said that it is finished and on disk; a process that is killed sooner
may have told it all the same, which is counted apart. A reader stands at the broker whenever the daemon is let in, so
that what the broker has confirmed has been passed on; what it has not read twice is all that it is asked.
"""

import asyncio
import itertools
import logging
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.mosquitto import KITCHEN, Door, Neighbour
from tests.waiting import eventually
from voiced.config import Config, DeviceConfig, MqttConfig
from voiced.core.mqtt import payloads
from voiced.edge.broker import MqttBroker
from voiced.edge.mosquitto import Mosquitto
from voiced.edge.outboxfile import OutboxFile
from voiced.ports import Load
from voiced.reports import Reports

PAUSE_S = 0.1
"""Between two turns at most."""
UP_S = (1.0, 4.0)
DOWN_S = (0.0, 1.0)


class Reader(Neighbour):
    """Hears every finished turn until the broker is gone, to the last byte of it."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.gone = threading.Event()
        self._client.on_disconnect = lambda *_: self.gone.set()

    def ids(self) -> list[str]:
        turns = [heard.payload for heard in self.heard if heard.topic == KITCHEN.own("event/turn")]
        return [payloads.TurnEvent.model_validate_json(turn).id for turn in turns]


class World:
    """A broker that comes and goes, a door that the daemon comes in by, and a reader behind it."""

    def __init__(self, broker: Mosquitto, door: Door, dice: random.Random) -> None:
        self.broker, self.door, self.dice = broker, door, dice
        self.read: Counter[str] = Counter()
        self.reader: Reader | None = None
        self.is_over = False
        self.faults: Counter[str] = Counter()

    async def let_in(self) -> None:
        self.reader = Reader(self.broker.port)
        await self.reader.__aenter__()
        self.door.open()

    async def read_out(self) -> None:
        if self.reader is not None:
            await eventually(self.reader.gone.is_set, "the reader notices")
            await self.reader.__aexit__(None, None, None)
            self.read.update(self.reader.ids())
            self.reader = None

    async def trouble(self) -> None:
        """Take the broker away and bring it back, until it is over."""
        kinds = itertools.cycle(("stop", "kill", "cut"))
        while not self.is_over:
            await asyncio.sleep(self.dice.uniform(*UP_S))
            kind = next(kinds)
            self.faults[kind] += 1
            if kind == "cut":
                self.door.shut()
                await asyncio.sleep(self.dice.uniform(*DOWN_S))
                self.door.open()
                continue
            self.door.bar()
            await (self.broker.stop() if kind == "stop" else self.broker.kill())
            await self.read_out()
            await asyncio.sleep(self.dice.uniform(*DOWN_S))
            await self.broker.start()
            await self.let_in()


async def live(port: int, path: Path, life: int) -> None:
    """Finish turns for ever, and say of each that it is on disk; stop when told to, once the broker has all."""
    config = Config(device=DeviceConfig(id="kitchen"), mqtt=MqttConfig(host="127.0.0.1", port=port))
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    dice = random.Random(life)  # noqa: S311 - repeatable
    with OutboxFile(path) as outbox:
        async with MqttBroker(config=config.mqtt, topics=KITCHEN, outbox=outbox, longest_pause_s=1) as broker:
            reports = Reports(
                broker=broker, config=config, machine=lambda: Load(1.0, 1.0, None), today=lambda: datetime.now(UTC)
            )
            number = 0
            while not told_to_stop.is_set():
                number += 1
                name = f"{life}-{number}"
                turn = payloads.Turn(
                    id=name,
                    turn=number,
                    session=str(life),
                    time=reports.today(),
                    source="wake_word",
                    outcome="finished",
                    user=payloads.User(text="x" * dice.randrange(500)),
                )
                reports.turn_ended(turn)
                await asyncio.to_thread(outbox.written, 30)
                print(name, flush=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(told_to_stop.wait(), dice.uniform(0, PAUSE_S))
            while broker.health.waiting_turns:
                await asyncio.sleep(0.01)
    print("all told", flush=True)


async def one_life(
    world: World, path: Path, life: int, *, turns: int, killed: bool, finished: list[str]
) -> tuple[int, int]:
    """Start a daemon; after so many turns kill it, or have it end. Returns turns left on disk, and not said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.outbox", str(world.door.port), str(path), str(life)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        while len(said) < turns:
            said.append((await process.stdout.readline()).decode().strip())
            assert said[-1], "the daemon ended by itself"
        await asyncio.sleep(world.dice.uniform(0, 0.02))
    finally:
        process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
    said += (await process.stdout.read()).decode().split("\n")
    await process.wait()
    whole = [line for line in said if line and line != "all told"]
    finished += whole
    if not killed:
        assert "all told" in said
        return 0, 0
    with OutboxFile(path) as outbox:
        left = [parcel.id for parcel in outbox.kept]
    return len(left), sum(name.startswith(f"{life}-") and name not in whole for name in left)


async def _measure(folder: Path, *, turns: int, kills: int) -> dict[str, Any]:
    dice = random.Random(1)  # noqa: S311 - repeatable
    finished: list[str] = []
    left = unsaid = 0
    async with Mosquitto(folder) as broker, Door(broker.port) as door:
        world = World(broker, door, dice)
        await world.let_in()
        trouble = asyncio.create_task(world.trouble())
        path = folder / "outbox.sqlite"
        for life in range(kills):
            share = (turns - len(finished)) // (kills + 1 - life)
            on_disk, more = await one_life(
                world, path, life, turns=dice.randint(1, max(1, 2 * share)), killed=True, finished=finished
            )
            left, unsaid = left + on_disk, unsaid + more
        # The last daemon is told to stop amid the trouble, and has the rest delivered before it ends.
        rest = max(1, turns - len(finished))
        await one_life(world, path, kills, turns=rest, killed=False, finished=finished)
        world.is_over = True
        await trouble
        await broker.stop()
        await world.read_out()
        with OutboxFile(path) as outbox:
            remaining = len(outbox.kept)
    lost = [name for name in finished if not world.read[name]]
    return {
        "turns": len(finished),
        "arrived": len(finished) - len(lost),
        "lost": len(lost),
        "doubles": sum(count - 1 for count in world.read.values()),
        "kills": kills,
        "broker_faults": dict(world.faults),
        "on_disk_at_a_kill": left,
        "told_but_killed_before_they_were_said": unsaid,
        "left_in_the_outbox": remaining,
    }


def measure(*, quick: bool) -> dict[str, Any]:
    logging.disable(logging.WARNING)  # a broker that comes and goes
    folder = Path(tempfile.mkdtemp())
    try:
        return asyncio.run(_measure(folder, turns=60 if quick else 500, kills=3 if quick else 20))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(live(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
