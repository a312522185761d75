"""Hostile payloads on every command topic of a whole daemon, through a real broker: each answered, or refused by name.

Memory is that of the whole process: daemon, simulator, and the client that sends.
"""

import asyncio
import json
import logging
import random
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.fakes import Diary, InstantSpeaker
from tests.mosquitto import Neighbour, connected, eventually
from tests.stories import at_home, config_for_tests
from voiced.config import MqttConfig
from voiced.core.mqtt import Topics
from voiced.core.mqtt.actions import ACTIONS, SETTINGS
from voiced.edge.broker import MqttBroker
from voiced.edge.mosquitto import Mosquitto

TOPICS = Topics("voiced", "test")
FLYING = 40
"""Unanswered at a time: fewer than the daemon's inbox holds, for a flood is another test."""
ANSWERS = "fuzz/answers"


class Through(Diary):
    """What the daemon says, said to a real broker."""

    def __init__(self, broker: MqttBroker) -> None:
        super().__init__()
        self.broker = broker

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        self.kept[topic] = payload
        self.broker.keep(topic, payload, expiry_s=expiry_s)
        self._changed.set()

    def tell(self, topic: str, payload: str) -> None:
        self.broker.tell(topic, payload)

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        self.broker.answer(topic, payload, correlation)

    def republish(self, names: tuple[str, ...] = ()) -> None:
        self.broker.republish(names)


class Forgetful(InstantSpeaker):
    """Keeps nothing of what it played, so that memory is the daemon's own."""

    def let_go(self) -> None:
        super().let_go()
        self.played.clear()


def _value(dice: random.Random, depth: int = 0) -> Any:
    kinds = 11 if depth < 4 else 8
    match dice.randrange(kinds):
        case 0:
            return None
        case 1:
            return dice.choice([True, False])
        case 2:
            return dice.choice([0, -1, 10**30, 2**63, dice.randrange(200)])
        case 3:
            return dice.choice([0.5, -1e308, 1e-300, dice.uniform(-1, 200)])
        case 4 | 5:
            return dice.choice(["", "ON", "toggle", "all", "hey_jarvis", "nobody", "default", "50", "x" * 9_000])
        case 6:
            return "".join(
                chr(dice.choice([0, 9, 0x7F, 0xD800, 0x202E, 0x1F600, dice.randrange(32, 0x500)])) for _ in range(9)
            )
        case 7:
            return "\\ud800\u0000"
        case 8 | 9:
            return [_value(dice, depth + 1) for _ in range(dice.randrange(4))]
        case _:
            return {str(_value(dice, 9))[:20]: _value(dice, depth + 1) for _ in range(dice.randrange(4))}


def payloads(dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield topics below ours, and what is sent there."""
    names = [action.name for action in ACTIONS]
    topics = [
        *(f"command/{name}" for name in names),
        *(f"set/{name}" for name in SETTINGS),
        *("set", "get", "command", "command/nothing", "set/nothing", "command/\u2603", "command/self_test2"),
    ]
    keys = ["text", "interrupt", "timeout_s", "profile", "instructions", "topics", "action", *SETTINGS]
    while True:
        for topic in topics:
            match dice.randrange(8):
                case 0:
                    yield topic, dice.randbytes(dice.randrange(200))
                case 1:
                    yield topic, b"\xff\xfe" + dice.randbytes(5)
                case 2:
                    yield topic, json.dumps(_value(dice)).encode()
                case 3:
                    yield (
                        topic,
                        b"[" * dice.choice([10, 60_000]) if dice.random() < 0.1 else b'{"text": ' + b"9" * 6_000,
                    )
                case 4:
                    yield topic, str(_value(dice, 9)).encode("utf-8", "surrogatepass")[:70_000]
                case 5:
                    yield topic, json.dumps({"id": _value(dice, 9), "action": dice.choice(names)}).encode()
                case _:
                    wanted = {dice.choice(keys): _value(dice) for _ in range(dice.randrange(1, 4))}
                    yield topic, json.dumps(wanted).encode()


class Tap(Neighbour):
    """Hears the answers, and keeps none."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.answers: deque[bytes] = deque()

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == ANSWERS:
            self.answers.append(message.payload)

    def ask(self, topic: str, payload: bytes, *, retain: bool) -> None:
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho has no types here
        properties.ResponseTopic = ANSWERS
        self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)


class Attack:
    """Sends, and counts what comes back."""

    def __init__(self, neighbour: Tap) -> None:
        self.neighbour = neighbour
        self.sent = 0
        self.codes: Counter[str] = Counter()

    async def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.sent += 1
        self.neighbour.ask(TOPICS.own(topic), payload, retain=retain)
        await eventually(lambda: self.unanswered() < FLYING, "answers come", 60)

    def unanswered(self) -> int:
        """Take the answers that came; return how many are to come."""
        while self.neighbour.answers:
            answer = json.loads(self.neighbour.answers.popleft())
            self.codes["obeyed" if answer["ok"] else answer["error"]["code"]] += 1
        return self.sent - sum(self.codes.values())


async def _measure(folder: Path, *, count: int) -> dict[str, Any]:
    dice = random.Random(3)  # noqa: S311 - repeatable
    process = psutil.Process()
    rss: list[float] = []
    async with (
        Mosquitto(folder) as mosquitto,
        Tap(mosquitto.port) as neighbour,
        MqttBroker(config=MqttConfig(host="127.0.0.1", port=mosquitto.port), topics=TOPICS) as broker,
        at_home(config=config_for_tests(), diary=Through(broker), speaker=Forgetful(), record=False) as home,
    ):
        obeying = asyncio.create_task(_obey(broker, home.daemon.post))
        await connected(broker)
        attack = Attack(neighbour)
        for number, (topic, payload) in enumerate(payloads(dice)):
            if attack.sent >= count:
                break
            if number % 50 == 49:  # who is connected gets it as any other command; it is taken away again
                await attack.send(topic, payload, retain=True)
                await attack.send(topic, b"", retain=True)
            elif number % 500 == 98:
                await attack.send(topic, (payload * 2_000)[:10_000_000])
            elif number % 5_000 == 99:
                await attack.send(topic, b"x" * 10_000_000)
            else:
                await attack.send(topic, payload)
            if number % 100 == 0:
                rss.append(process.memory_info().rss / 2**20)
        await eventually(lambda: attack.unanswered() == 0, "the last answers", 60)
        crashed = home.running.done()
        obeying.cancel()
        await asyncio.gather(obeying, return_exceptions=True)
    part = len(rss) // 4
    return {
        "payloads": attack.sent,
        "crashes": int(crashed),
        "answered": sum(attack.codes.values()),
        "unanswered": attack.unanswered(),
        "codes": dict(attack.codes),
        "rss_mb_by_quarters": [round(sum(rss[n * part : (n + 1) * part]) / part, 1) for n in range(4)],
    }


async def _obey(broker: MqttBroker, post: Any) -> None:
    async for message in broker.commands():
        post(message)


def measure(*, quick: bool) -> dict[str, Any]:
    logging.disable(logging.CRITICAL)  # each refusal is a line
    folder = Path(tempfile.mkdtemp())
    try:
        return asyncio.run(_measure(folder, count=2_000 if quick else 20_000))
    finally:
        shutil.rmtree(folder)
