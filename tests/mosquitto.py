"""What tests of MQTT need: a broker, somebody else on it, and a door in front of it that can be shut."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.waiting import eventually
from voiced.config import MqttConfig
from voiced.core.mqtt import commands, parsing, payloads
from voiced.core.mqtt.commands import RefusedCommandError
from voiced.core.mqtt.topics import Topics
from voiced.edge.broker import MqttBroker

KITCHEN = Topics("voiced", "kitchen")
AVAILABILITY = "voiced/kitchen/availability"
DISCOVERY = "homeassistant/device/voiced_kitchen/config"


@dataclass(frozen=True)
class Heard:
    topic: str
    payload: bytes
    retain: bool
    correlation: bytes | None
    expiry_s: int | None


class Neighbour:
    """Another client of the broker, by plain paho, who hears everything. Enter it in a thread that may wait."""

    def __init__(self, port: int, *, client_id: str = "neighbour", **options: str) -> None:
        self.heard: list[Heard] = []
        self._subscribed = threading.Event()
        self._port = port
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        if options:
            self._client.username_pw_set(options["username"], options["password"])
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message

    async def __aenter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        await eventually(self._subscribed.is_set, "the neighbour subscribes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        del self._client  # which closes paho's inner pair of sockets

    def on(self, topic: str) -> list[str]:
        return [heard.payload.decode() for heard in self.heard if heard.topic == topic]

    def last(self, topic: str) -> str | None:
        return next(iter(reversed(self.on(topic))), None)

    async def send(
        self,
        topic: str,
        payload: bytes | str,
        *,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publish, and wait until the broker has it."""
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho has no types here
        for name, value in (("ResponseTopic", response_topic), ("CorrelationData", correlation)):
            if value is not None:
                setattr(properties, name, value)
        sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        await eventually(sent.is_published, f"the broker takes {topic}")

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, _reason: ReasonCode, _more: Any) -> None:
        client.subscribe("#", qos=1)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self.heard.append(
            Heard(
                message.topic,
                bytes(message.payload),
                message.retain,
                getattr(message.properties, "CorrelationData", None),
                getattr(message.properties, "MessageExpiryInterval", None),
            )
        )


class Door:
    """A TCP door in front of the broker: shut, frozen, or of an age that does not know MQTT 5."""

    def __init__(self, broker_port: int, *, knows_v5: bool = True) -> None:
        self.port = 0
        self.v5_refused = 0
        self._broker_port = broker_port
        self._knows_v5 = knows_v5
        self._is_open = True
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._visits: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.shut()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await self._server.wait_closed()

    def shut(self) -> None:
        """Cut all connections, without a farewell, and let nobody in."""
        self._is_open = False
        self._thawed.set()
        for visit, writers in self._visits.items():
            for writer in writers:
                writer.transport.abort()
            visit.cancel()

    def bar(self) -> None:
        """Let nobody in any more; who is inside may stay."""
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    def freeze(self) -> None:
        """Let connections stand, and nothing through: neither way."""
        self._thawed.clear()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits[task] = [writer]
        task.add_done_callback(self._visits.pop)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await self._let_in(reader, writer, self._visits[task])
            finally:
                writer.transport.abort()

    async def _let_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
    ) -> None:
        if not self._is_open:
            return
        hello = await reader.readexactly(2)
        while hello[-1] & 0x80:  # the length goes on
            hello += await reader.readexactly(1)
        hello += await reader.readexactly(7)  # 0 4 M Q T T, level
        if hello[-1] == 5 and not self._knows_v5:
            self.v5_refused += 1
            writer.write(b"\x20\x02\x00\x01")  # CONNACK of MQTT 3.1.1: unacceptable protocol version
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        to_us, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        writers.append(to_broker)
        to_broker.write(hello)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry(reader, to_broker))
                ways.create_task(self._carry(to_us, writer))
        finally:
            to_broker.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(65_536):
                await self._thawed.wait()
                writer.write(some)
                await writer.drain()
        writer.transport.abort()


def config(port: int, **more: Any) -> MqttConfig:
    return MqttConfig(host="127.0.0.1", port=port, **more)


def make_broker(where: int | MqttConfig, **more: Any) -> MqttBroker:
    where = config(where) if isinstance(where, int) else where
    return MqttBroker(config=where, longest_pause_s=1, **{"topics": KITCHEN, **more})


async def connected(broker: MqttBroker) -> None:
    await eventually(lambda: broker.connected, f"connected; it says {broker.problem}")


@asynccontextmanager
async def obeyed(broker: MqttBroker, result: dict[str, Any] | None = None) -> AsyncIterator[list[commands.Command]]:
    """Read and answer every command, as the daemon would."""
    done: list[commands.Command] = []

    def obey(message: commands.Message) -> None:
        try:
            command = parsing.parse(message, KITCHEN)
        except RefusedCommandError as exc:
            answer, reply = commands.failed(None, exc, payloads.moment(0)), exc.reply
        else:
            done.append(command)
            answer, reply = commands.succeeded(command, payloads.moment(0), result or {"done": True}), command.reply
        broker.answer(reply.topic, answer.json_text(), reply.correlation)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(broker.obey(obey))
        yield done
        task.cancel()
