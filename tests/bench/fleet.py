"""Hundreds of units on one mosquitto: each hears its wake word every ten seconds, and holds a short conversation.

Each unit is what the daemon has between its mind and the broker: its own connection, outbox, household, and reports.
Four at a time stand in one house and hear the same word within 50 ms, so one of them answers. One ear reads all events;
delay is from the call that publishes to the ear's callback, with the daemon's own queue in between. A caller sends each
unit a ``ping`` every ten seconds. mosquitto has ``set_tcp_nodelay``, as the README advises. ``reference``: the same
messages at the same pace by bare paho clients, one a unit.

CPU is that of the whole process, ear and caller in it, divided by the units; a unit of a process of its own has no
neighbours that wait for the same interpreter lock.
"""

import asyncio
import json
import logging
import random
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeAlias

import psutil
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.mosquitto import connected
from tests.stories import config_for_tests
from tests.waiting import eventually
from voiced.config import Config, DeviceConfig, HouseConfig, MqttConfig
from voiced.core.mqtt import commands, parsing, payloads
from voiced.core.mqtt.topics import Topics
from voiced.core.settings import configured
from voiced.core.states import Idle, Listening, Processing, Responding, State, Talk
from voiced.core.wake import Wake
from voiced.edge.broker import MqttBroker
from voiced.edge.mosquitto import Mosquitto
from voiced.household import Household
from voiced.ports import Load
from voiced.reports import Reports

PERIOD_S = 10.0
SPREAD_S = 0.05
HOUSE = 4
PARTS_S = (0.3, 0.3, 0.9)
"""What a conversation takes: heard, thought, spoken."""


Said: TypeAlias = tuple[str, str, bool]
"""Topic below the unit's own, payload, whether it is retained."""


class Ear:
    """Hears the events of all units, by plain paho, and knows when they were published."""

    def __init__(self, port: int, name: str, *filters: str) -> None:
        self.sent: defaultdict[str, deque[float]] = defaultdict(deque)
        self.delays: list[float] = []
        self.unexpected = 0
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe([(one, 1) for one in filters])
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)

    async def __aenter__(self) -> Self:
        self._client.loop_start()
        await eventually(self._subscribed.is_set, "the ear subscribes")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        del self._client  # which closes paho's inner pair of sockets

    def expect(self, topic: str) -> None:
        """Note that a message is published now; those of one topic arrive in their order."""
        self.sent[topic].append(time.monotonic())

    def ask(self, topic: str, answer: str) -> None:
        """Send a command; the answer is expected there."""
        self.expect(answer)
        self._client.publish(topic, b"", qos=1)

    @property
    def missing(self) -> int:
        return sum(len(waiting) for waiting in self.sent.values())

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        waiting = self.sent[message.topic]
        if waiting:
            self.delays.append(time.monotonic() - waiting.popleft())
        else:
            self.unexpected += 1


class Watched(MqttBroker):
    """A broker that notes when events are published, and all that is."""

    ear: Ear
    full: Topics
    said: list[Said]

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        self.said.append((topic, payload, True))
        super().keep(topic, payload, expiry_s=expiry_s)

    def tell(self, topic: str, payload: str) -> None:
        self._note(topic, payload)
        super().tell(topic, payload)

    def deliver(self, topic: str, payload: str, *, parcel: str) -> None:
        self._note(topic, payload)
        super().deliver(topic, payload, parcel=parcel)

    def _note(self, topic: str, payload: str) -> None:
        self.said.append((topic, payload, False))
        self.ear.expect(self.full.own(topic))


@dataclass
class Unit:
    """One room."""

    config: Config
    broker: Watched
    dice: random.Random
    household: Household = field(init=False)
    reports: Reports = field(init=False)
    state: State = field(default_factory=Idle)
    turns: int = 0
    answering: "asyncio.Task[None] | None" = None
    longest: list[Said] = field(default_factory=list)
    """What one conversation publishes."""

    def __post_init__(self) -> None:
        self.household = Household(
            config=self.config, broker=self.broker, clock=time.monotonic, give_way=self.give_way, later=lambda do: do()
        )
        self.reports = Reports(
            broker=self.broker,
            config=self.config,
            machine=lambda: Load(70.0, 3.0, 45.0),
            today=lambda: datetime.now(UTC),
        )

    def wake(self, word: str) -> None:
        heard = Wake(word, self.dice.uniform(0.5, 1.0), 0.5, 0)
        self.household.woken(
            heard,
            answer=lambda: self.begin(heard),
            leave=lambda: self.reports.rejected(heard, "unit"),
            quality=lambda: 0.5,
        )

    def begin(self, heard: Wake) -> None:
        self.broker.said.clear()
        self.reports.wake(heard)
        self.answering = asyncio.create_task(self.converse())

    def give_way(self) -> None:
        if self.answering is not None:
            self.answering.cancel()
            self.answering = None
            self.is_now(Idle())

    def is_now(self, state: State) -> None:
        self.state = state
        self.household.notice(state)
        self.reports.state(state, configured(self.config), session="s", reason=None)

    async def converse(self) -> None:
        """Do what a turn does."""
        self.turns += 1
        talk = Talk(1, 1, "default", "wake_word", 1e9)
        turn = payloads.Turn(
            id=f"{self.config.device.id}-{self.turns}",
            turn=1,
            session="s",
            time=datetime.now(UTC),
            source="wake_word",
            outcome="finished",
            user=payloads.User(text="What time is it in Lisbon?"),
            assistant=payloads.Assistant(text="In Lisbon it is twenty past nine in the evening.", duration_ms=2900),
        )
        self.is_now(Listening(talk, 1e9))
        self.reports.session("s", started=True)
        await asyncio.sleep(PARTS_S[0])
        self.broker.tell("event/turn", json.dumps({"event_type": "started", "id": turn.id}))
        self.is_now(Processing(talk, 1e9))
        await asyncio.sleep(PARTS_S[1])
        self.is_now(Responding(talk, 1e9, "r"))
        await asyncio.sleep(PARTS_S[2])
        self.reports.turn_ended(turn)
        self.reports.usage(payloads.Usage(since=turn.time, turns=self.turns, cost=payloads.Spent(day_start=turn.time)))
        self.reports.session("s", started=False, reason="finished", turns=1)
        self.is_now(Idle())
        self.reports.health(overruns=0, echo=payloads.EchoHealth(mode="half-duplex"), always=self.turns % 6 == 0)
        self.longest = list(self.broker.said)
        self.answering = None

    async def obey(self) -> None:
        await self.broker.obey(self._got)

    def _got(self, message: commands.Message) -> None:
        if not self.household.got(message):
            self.reports.obeyed(parsing.parse(message, Topics.of(self.config)))

    @property
    def answers(self) -> bool:
        return self.answering is not None


class Meter:
    """CPU seconds of this process and of the broker, since it was made."""

    def __init__(self, broker: int) -> None:
        self._broker = psutil.Process(broker)
        self._before = self._now()
        self._began = time.monotonic()

    def _now(self) -> tuple[float, float]:
        times = self._broker.cpu_times()
        return time.process_time(), times.user + times.system

    def percent(self) -> tuple[float, float]:
        """Return percent of a core: this process, the broker."""
        passed = time.monotonic() - self._began
        own, broker = (100 * (now - before) / passed for now, before in zip(self._now(), self._before, strict=True))
        return own, broker


def figures(delays: list[float], meter: Meter, units: int) -> dict[str, Any]:
    own, broker = meter.percent()
    cuts = statistics.quantiles(delays, n=100, method="inclusive") if len(delays) > 1 else [0.0] * 99
    return {
        "messages": len(delays),
        "p50_ms": round(1000 * cuts[49], 2),
        "p99_ms": round(1000 * cuts[98], 2),
        "longest_ms": round(1000 * max(delays, default=0.0), 2),
        "cpu_percent_per_unit": round(own / units, 4),
        "broker_cpu_percent": round(broker, 2),
    }


async def fleet(port: int, units: int, seconds: float, broker: int) -> tuple[dict[str, Any], list[Said]]:
    """Live for so long; return what was measured, and what one conversation publishes."""
    dice = random.Random(11)  # noqa: S311 - repeatable
    counts: defaultdict[int, int] = defaultdict(int)
    async with AsyncExitStack() as life:
        ear = await life.enter_async_context(Ear(port, "ear", "voiced/+/event/#"))
        caller = await life.enter_async_context(Ear(port, "caller", "voiced/+/response"))
        street: list[list[Unit]] = []
        for number in range(units):
            if number % HOUSE == 0:
                street.append([])
            name = f"u{number}"
            config = config_for_tests(
                device=DeviceConfig(id=name),
                mqtt=MqttConfig(host="127.0.0.1", port=port),
                house=HouseConfig(together=f"h{number // HOUSE}"),
            )
            link = Watched(config=config.mqtt, topics=Topics.of(config))
            link.ear, link.full, link.said = ear, Topics.of(config), []
            street[-1].append(Unit(config, await life.enter_async_context(link), dice))
        everybody = [unit for house in street for unit in house]
        for unit in everybody:
            await connected(unit.broker)
        obeying = [asyncio.create_task(unit.obey()) for unit in everybody]
        loop = asyncio.get_running_loop()

        async def house(rooms: list[Unit]) -> None:
            await asyncio.sleep(dice.uniform(0, PERIOD_S))
            number = 0
            while time.monotonic() < until:
                number += 1
                for unit in rooms:
                    loop.call_later(dice.uniform(0, SPREAD_S), unit.wake, f"word_{number}")
                    caller.ask(unit.broker.full.own("command/ping"), unit.broker.full.own("response"))
                await asyncio.sleep(PARTS_S[0])
                counts[sum(unit.answers for unit in rooms)] += 1
                await asyncio.sleep(PERIOD_S - PARTS_S[0])

        until = time.monotonic() + seconds
        meter = Meter(broker)
        await asyncio.gather(*(house(rooms) for rooms in street))
        measured = figures(ear.delays, meter, units)
        await eventually(lambda: ear.missing == caller.missing == 0, "all has arrived", 60)
        pings = statistics.quantiles(caller.delays, n=100, method="inclusive")
        for task in obeying:
            task.cancel()
        await asyncio.gather(*obeying, return_exceptions=True)
        conversation = max((unit.longest for unit in everybody), key=len)
        wakes = sum(counts.values())
        return {
            **measured,
            "lost": ear.missing,
            "doubles": ear.unexpected,
            "ping_p50_ms": round(1000 * pings[49], 2),
            "ping_p99_ms": round(1000 * pings[98], 2),
            "wakes": wakes,
            "exactly_one": counts[1],
        }, conversation


async def bare(port: int, units: int, seconds: float, broker: int, conversation: list[Said]) -> dict[str, Any]:
    """The same messages by clients that do nothing else."""
    dice = random.Random(11)  # noqa: S311 - repeatable
    async with AsyncExitStack() as life:
        ear = await life.enter_async_context(Ear(port, "ear", "bare/+/event/#"))
        clients = []
        for number in range(units):
            client = paho.Client(
                CallbackAPIVersion.VERSION2, client_id=f"bare-{number}", protocol=MQTTProtocolVersion.MQTTv5
            )
            client.connect("127.0.0.1", port)
            client.loop_start()
            life.push_async_callback(asyncio.to_thread, client.loop_stop)
            life.callback(client.disconnect)
            clients.append(client)

        async def talk(number: int, rooms: list[paho.Client]) -> None:
            await asyncio.sleep(dice.uniform(0, PERIOD_S))
            while time.monotonic() < until:
                for offset, client in enumerate(rooms):
                    said = conversation if offset == 0 else [("event/wake", conversation[1][1], False)]
                    for topic, payload, retain in said:
                        full = f"bare/{number + offset}/{topic}"
                        if topic.startswith("event/"):
                            ear.expect(full)
                        client.publish(full, payload, qos=1, retain=retain)
                await asyncio.sleep(PERIOD_S)

        until = time.monotonic() + seconds
        meter = Meter(broker)
        await asyncio.gather(*(talk(first, clients[first : first + HOUSE]) for first in range(0, units, HOUSE)))
        measured = figures(ear.delays, meter, units)
        await eventually(lambda: ear.missing == 0, "all has arrived", 60)
        return measured


async def _measure(folder: Path, *, units: int, seconds: float, reference_s: float) -> dict[str, Any]:
    async with Mosquitto(folder, ["allow_anonymous true", "set_tcp_nodelay true"]) as mosquitto:
        (pid,) = (child.pid for child in psutil.Process().children() if child.name() == "mosquitto")
        measured, conversation = await fleet(mosquitto.port, units, seconds, pid)
        reference = await bare(mosquitto.port, units, reference_s, pid, conversation)
    return {
        "units": units,
        "seconds": seconds,
        **measured,
        "reference": reference,
        "ratio_p99": round(measured["p99_ms"] / reference["p99_ms"], 2),
        "ratio_cpu": round(measured["cpu_percent_per_unit"] / reference["cpu_percent_per_unit"], 2),
    }


def measure(*, quick: bool) -> dict[str, Any]:
    logging.disable(logging.WARNING)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8_192), most))  # three a client, and mosquitto's own
    folder = Path(tempfile.mkdtemp())
    units, seconds, reference_s = (60, 10.0, 5.0) if quick else (300, 300.0, 60.0)
    try:
        return asyncio.run(_measure(folder, units=units, seconds=seconds, reference_s=reference_s))
    finally:
        shutil.rmtree(folder)
