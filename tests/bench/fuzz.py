"""Hostile payloads on every command topic of a whole daemon, through a real broker: each answered, or refused by name.

Memory is that of the daemon, which has a process of its own, after so many payloads.
"""

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import psutil
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.mosquitto import Neighbour
from tests.recordings import SOUNDS
from tests.waiting import eventually
from voiced.core.mqtt.actions import ACTIONS, SETTINGS
from voiced.core.mqtt.topics import Topics
from voiced.edge.mosquitto import Mosquitto, free_port

TOPICS = Topics("voiced", "test")
FLYING = 40
"""Unanswered at a time: fewer than the daemon's inbox holds, for a flood is another test."""
ANSWERS = "fuzz/answers"
PLACES = ("/dev/zero", "/etc/../etc/passwd", "http://127.0.0.1:1/a.mp3", "http://u@h:x/%2e%2e", "[a|({b}", "{")
"""Paths, addresses and sentences that are none."""
STEP = 1_000
"""Payloads between two looks at the memory."""


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
            return dice.choice(
                ["", "ON", "toggle", "all", "hey_jarvis", "nobody", "default", "50", "x" * 9_000, *PLACES]
            )
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
    keys = sorted({"action", "topics", *SETTINGS, *(key for action in ACTIONS for key in action.keys)})
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
        self.is_idle = False
        """Whether the daemon waits for somebody."""

    def _on_connect(self, client: Any, _data: Any, _flags: Any, _reason: Any, _more: Any) -> None:
        client.subscribe([(ANSWERS, 1), (TOPICS.own("state"), 1)])

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == ANSWERS:
            self.answers.append(message.payload)
        else:
            self.is_idle = json.loads(message.payload)["state"] == "idle"

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
        self._ask(topic, payload, retain=retain)
        try:
            await eventually(lambda: self.unanswered() < FLYING, "answers come", 10)
        except AssertionError:  # a text of thousands of letters is read aloud, and the rest waits behind it
            self._relieve()
            await eventually(lambda: self.unanswered() < FLYING, "answers come", 120)

    async def settled(self) -> None:
        """Have everything stop, and wait until all is answered."""
        for _ in range(2):  # what waits begins when the first has made room
            self._relieve()
        await eventually(lambda: self.unanswered() == 0 and self.neighbour.is_idle, "the last answers", 120)

    def _relieve(self) -> None:
        for action in ("cancel_announcements", "end"):
            self._ask(f"command/{action}", b"")

    def _ask(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.sent += 1
        self.neighbour.ask(TOPICS.own(topic), payload, retain=retain)

    def unanswered(self) -> int:
        """Take the answers that came; return how many are to come."""
        while self.neighbour.answers:
            answer = json.loads(self.neighbour.answers.popleft())
            self.codes["obeyed" if answer["ok"] else answer["error"]["code"]] += 1
        return self.sent - sum(self.codes.values())


class Daemon:
    """``voiced run`` in a process of its own, so that its memory is nobody else's, and a simulator in another."""

    def __init__(self, folder: Path, broker: int) -> None:
        self._folder, self._broker = folder, broker
        self._life = AsyncExitStack()
        self.process: asyncio.subprocess.Process
        self.said: deque[bytes] = deque(maxlen=30)
        """The end of its log."""
        self.complaints = 0
        """Tracebacks in its log."""

    async def __aenter__(self) -> Self:
        port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOICED", "AZURE", "OPENAI"))}
        simulator = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiced", "simulate", "--port", str(port)),
            stdout=asyncio.subprocess.PIPE,
            env=kept,
        )
        self._life.push_async_callback(_end, simulator)
        assert simulator.stdout is not None
        await simulator.stdout.readline()  # it is there
        settings = {
            "DEVICE__ID": "test",
            "AUDIO__INPUT": f"file:{SOUNDS / 'negative_1.wav'}",
            "AUDIO__INPUT_END": "silence",
            "AUDIO__OUTPUT": "null",
            "CONVERSATION__FOLLOW_UP_S": "0",
            "MQTT__HOST": "127.0.0.1",
            "MQTT__PORT": str(self._broker),
            "REALTIME__PROVIDER": "custom",
            "REALTIME__URL": f"ws://127.0.0.1:{port}/v1/realtime?model=test",
        }
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiced", "run"),
            env={**kept, "HOME": str(self._folder), **{f"VOICED_{key}": value for key, value in settings.items()}},
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        self._life.push_async_callback(_end, self.process)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._life.aclose()
        await self._reading
        if kind is not None:
            sys.stderr.buffer.writelines(self.said)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line)
            self.complaints += b"Traceback" in line

    @property
    def rss_mb(self) -> float:
        return round(psutil.Process(self.process.pid).memory_info().rss / 2**20, 1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def _measure(folder: Path, *, count: int) -> dict[str, Any]:
    dice = random.Random(3)  # noqa: S311 - repeatable
    rss: dict[int, float] = {}
    async with (
        Mosquitto(folder) as mosquitto,
        Tap(mosquitto.port) as neighbour,
        Daemon(folder, mosquitto.port) as daemon,
    ):
        await eventually(lambda: neighbour.is_idle, "the daemon is there", 60)
        attack = Attack(neighbour)
        rss[0] = daemon.rss_mb
        for number, (topic, payload) in enumerate(payloads(dice)):
            if attack.sent >= count or daemon.process.returncode is not None:
                break
            if number % 50 == 49:  # who is connected gets it as any other command; it is taken away again
                await attack.send(topic, payload, retain=True)
                await attack.send(topic, b"", retain=True)
            elif number % 500 == 98:
                await attack.send(topic, (payload * 2_000)[:10_000_000])
            elif number % 2_500 == 99:
                await attack.send(topic, b"x" * 10_000_000)
            else:
                await attack.send(topic, payload)
            if attack.sent // STEP > max(rss) // STEP:
                rss[attack.sent] = daemon.rss_mb
        await attack.settled()
        rss[attack.sent] = daemon.rss_mb
        crashed = daemon.process.returncode is not None
    return {
        "payloads": attack.sent,
        "crashes": int(crashed),
        "tracebacks": daemon.complaints,
        "answered": sum(attack.codes.values()),
        "unanswered": attack.unanswered(),
        "codes": dict(attack.codes),
        "rss_mb": rss,
    }


def measure(*, quick: bool) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp())
    try:
        return asyncio.run(_measure(folder, count=2_000 if quick else 20_000))
    finally:
        shutil.rmtree(folder)
