"""Twenty units hear the same wake word within 200 ms: how many answer, over a real broker that takes its time.

Each unit is what the daemon has: its own connection, household and arbiter, on a clock of its own. mosquitto takes a
millisecond, so each message is held back a random 5 to 80 ms before the unit takes it. Several houses play at once;
each wake is a trial. Beside each house a unit that has no others (``house.together = ""``) hears the same words: the
reference. From the wake word to the first step of the task that opens a session, ``winner_ms`` is the time of the unit
that goes on answering, ``alone_ms`` that of the reference. ``added_ms_winner`` is by how much the median of the former
is longer, ``added_ms_winner_p99`` the same of the 99th percentile, which the other 60 units in this process blur.
``broker_gone`` is the smallest share of units that answered in trials without a broker.
"""

import asyncio
import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mosquitto import connected
from tests.waiting import eventually
from voiced.config import Config, DeviceConfig, HouseConfig, MqttConfig
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import Topics
from voiced.core.quantile import quantile
from voiced.core.wake import Wake
from voiced.edge.broker import MqttBroker
from voiced.edge.mosquitto import Mosquitto
from voiced.household import Household

SPREAD_S = 0.2
DELAY_S = (0.005, 0.08)
PATIENCE_S = 3.0
"""How long a trial may take until all have heard of all."""


@dataclass
class Unit:
    """One room."""

    config: Config
    broker: MqttBroker
    dice: random.Random
    off_s: float
    household: Household = field(init=False)
    woken_at: float = 0.0
    began: float | None = None
    opening: "asyncio.Task[None] | None" = None
    taken: int = 0
    gave_way: bool = False

    def __post_init__(self) -> None:
        self.household = Household(
            config=self.config, broker=self.broker, clock=self.clock, give_way=self.give_way, later=self.now
        )

    def clock(self) -> float:
        return time.monotonic() + self.off_s

    def now(self, work: Callable[[], None]) -> None:
        work()

    def give_way(self) -> None:
        self.gave_way = True

    def begin(self) -> None:
        self.opening = asyncio.create_task(self.open_session())

    async def open_session(self) -> None:
        self.began = time.monotonic()

    def wake(self, word: str) -> None:
        self.woken_at = time.monotonic()
        heard = Wake(word, self.dice.uniform(0.5, 1.0), 0.5, 0)
        self.household.woken(heard, answer=self.begin, leave=lambda: None, quality=lambda: 0.5)

    @property
    def waited_ms(self) -> float:
        assert self.began is not None
        return 1000 * (self.began - self.woken_at)

    @property
    def answers(self) -> bool:
        return self.began is not None and not self.gave_way

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()

        def later(message: Message) -> None:
            loop.call_later(self.dice.uniform(*DELAY_S), self.take, message)

        await self.broker.obey(later)

    def take(self, message: Message) -> None:
        self.taken += 1
        assert self.household.got(message)


async def trial(units: list[Unit], dice: random.Random, word: str, *, alone: bool = False) -> list[Unit]:
    """Let all hear a word that was not said before; return who answers once all have heard of all that claimed it."""
    loop = asyncio.get_running_loop()
    for unit in units:
        unit.began, unit.gave_way, unit.taken = None, False, 0
        loop.call_later(dice.uniform(0, SPREAD_S), unit.wake, word)
    await asyncio.sleep(SPREAD_S + DELAY_S[1])
    claims = sum(unit.began is not None for unit in units)
    if not alone:
        everything = claims * (len(units) - 1)
        await eventually(lambda: sum(unit.taken for unit in units) >= everything, "all is heard", PATIENCE_S)
    return [unit for unit in units if unit.answers]


async def play(units: list[Unit], lone: Unit, trials: int, dice: random.Random) -> dict[str, Any]:
    """Go through the trials of one house."""
    counts: Counter[int] = Counter()
    winner, alone, begun = [], [], 0
    for number in range(trials):
        asyncio.get_running_loop().call_later(dice.uniform(0, SPREAD_S), lone.wake, f"word_{number}")
        winners = await trial(units, dice, f"word_{number}")
        counts[len(winners)] += 1
        begun += sum(unit.began is not None for unit in units)
        winner += [unit.waited_ms for unit in winners]
        alone.append(lone.waited_ms)
    return {"answers": counts, "winner": winner, "alone": alone, "begun": begun}


def spread(times: list[float]) -> dict[str, float]:
    """Return what is told of times, in milliseconds."""
    return {
        "median": round(quantile(times, 0.5), 3),
        "p99": round(quantile(times, 0.99), 3),
        "longest": round(max(times), 3),
    }


async def _measure(folder: Path, *, houses: int, rooms: int, trials: int) -> dict[str, Any]:
    dice = random.Random(5)  # noqa: S311 - repeatable
    async with Mosquitto(folder) as mosquitto:
        streets: list[list[Unit]] = []
        lone: list[Unit] = []
        listening = []
        for house in range(houses):
            streets.append([])
            for room in range(rooms):
                config = Config(
                    device=DeviceConfig(id=f"h{house}-r{room}"),
                    mqtt=MqttConfig(host="127.0.0.1", port=mosquitto.port),
                    house=HouseConfig(together=f"h{house}"),
                )
                broker = await MqttBroker(config=config.mqtt, topics=Topics.of(config)).__aenter__()
                streets[-1].append(Unit(config, broker, dice, off_s=dice.uniform(-1e5, 1e5)))
            by_itself = config.model_copy(update={"house": HouseConfig(together="")})
            lone.append(Unit(by_itself, broker, dice, off_s=0.0))
        for unit in (unit for units in streets for unit in units):
            await connected(unit.broker)
            listening.append(asyncio.create_task(unit.listen()))
        results = await asyncio.gather(
            *(play(units, alone, trials, dice) for units, alone in zip(streets, lone, strict=True))
        )
        await mosquitto.kill()
        await eventually(lambda: not any(unit.broker.connected for units in streets for unit in units), "all notice")
        left_alone = [len(await trial(units, dice, "alone", alone=True)) for units in streets]
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        leaving = [unit.broker.__aexit__(None, None, None) for units in streets for unit in units]
        await asyncio.gather(*leaving)  # each waits for its thread
    count = houses * trials
    winner, alone = (spread([ms for result in results for ms in result[who]]) for who in ("winner", "alone"))
    answers = sum((result["answers"] for result in results), Counter[int]())
    return {
        "trials": count,
        "exactly_one": answers[1],
        "added_ms_winner": round(winner["median"] - alone["median"], 3),
        "added_ms_winner_p99": round(winner["p99"] - alone["p99"], 3),
        "winner_ms": winner,
        "alone_ms": alone,
        "nobody": answers[0],
        "units": rooms,
        "houses_at_once": houses,
        "began_per_trial": round(sum(result["begun"] for result in results) / count, 2),
        "broker_gone": min(left_alone) / rooms,
    }


def measure(*, quick: bool) -> dict[str, Any]:
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp())
    houses, trials = (2, 20) if quick else (3, 334)
    try:
        return asyncio.run(_measure(folder, houses=houses, rooms=20, trials=trials))
    finally:
        shutil.rmtree(folder)
