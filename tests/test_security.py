"""What the README promises of brokers, and what leaves this machine when it must not."""

import asyncio
import re
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from tests.lab.lab import utterance
from tests.mosquitto import connected
from tests.soundbed import SoundBed, require_pulseaudio
from tests.test_whole import ROOM, in_a_room
from tests.waiting import eventually
from voiced.config import MqttConfig
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import TABLE, Topics
from voiced.edge.broker import MqttBroker
from voiced.edge.mosquitto import Mosquitto
from voiced.simulator import Scenario, Turn

README = (Path(__file__).parents[1] / "README.md").read_text()
PASSWORDS = {"voiced-kitchen": "one", "homeassistant": "two", "display": "three"}
WORD = utterance()
SHORT = Turn(user="What time is it?", assistant="Nine.")


def example(name: str) -> str:
    """Return the file of that name as the README prints it."""
    found = re.search(rf"```\n# {re.escape(name)}\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


@pytest.fixture
def home(tmp_path: Path) -> tuple[tuple[str, ...], Path]:
    """The broker's options of the README, with files of ours behind their names, and the certificate to trust."""
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    (tmp_path / "acl").write_text(example("/etc/mosquitto/acl"))
    (tmp_path / "passwd").touch(mode=0o600)
    for user, password in PASSWORDS.items():
        subprocess.run(["mosquitto_passwd", "-b", tmp_path / "passwd", user, password], check=True, capture_output=True)
    config = re.sub(r"/etc/mosquitto/(?:certs/)?", f"{tmp_path}/", example("/etc/mosquitto/conf.d/home.conf"))
    return tuple(line for line in config.splitlines() if not line.startswith("listener")), tmp_path / "ca.pem"


class Visitor:
    """A client by plain paho: what it was let read, and whether it was let write."""

    def __init__(self, port: int, ca: Path, user: str, password: str, reads: str = "#") -> None:
        self.heard: list[tuple[str, bytes | bytearray]] = []
        self.refused: list[int] = []
        self.is_in = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.tls_set_context(ssl.create_default_context(cafile=str(ca)))
        self._client.username_pw_set(user, password)
        self._client.on_connect = lambda client, *_: client.subscribe(reads, qos=1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = lambda _client, _data, message: self.heard.append((message.topic, message.payload))
        self._client.on_publish = self._published
        self._client.connect("localhost", port)
        self._client.loop_start()

    def _subscribed(self, *_: object) -> None:
        self.is_in = True

    def _published(self, _client: object, _data: object, number: int, reason: ReasonCode, _more: object) -> None:
        if reason.is_failure:
            self.refused.append(number)

    async def writes(self, topic: str, payload: str = "x") -> bool:
        """Publish; return whether the broker took it."""
        await eventually(lambda: self.is_in, "subscribed")
        sent = self._client.publish(topic, payload, qos=1)
        await eventually(sent.is_published, "confirmed")
        return sent.mid not in self.refused

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def test_the_readmes_broker_lets_each_say_what_is_its_own(
    home: tuple[tuple[str, ...], Path], tmp_path: Path
) -> None:
    options, ca = home
    topics = Topics("voiced", "kitchen")
    (tmp_path / "password").write_text(PASSWORDS["voiced-kitchen"])
    async with Mosquitto(tmp_path, options) as broker:
        config = MqttConfig(
            host="localhost",
            port=broker.port,
            tls=True,
            ca_file=str(ca),
            username="voiced-kitchen",
            password_file=str(tmp_path / "password"),
        )
        visitors = {name: Visitor(broker.port, ca, name, password) for name, password in PASSWORDS.items()}
        try:
            told = {topics.discovery: "{}"}
            async with MqttBroker(config=config, topics=topics, discovery=told, longest_pause_s=1) as device:
                await connected(device)
                house = visitors["homeassistant"]
                for topic in TABLE:
                    if topic.direction == "out" and topic.name != "availability":
                        (device.keep if topic.retain else device.tell)(topic.name, f"of {topic.name}")
                heard = {topics.own(topic.name) for topic in TABLE if topic.direction == "out"} | {topics.discovery}
                await eventually(lambda: heard <= {name for name, _ in house.heard}, "Home Assistant hears it all")
                assert await house.writes("voiced/kitchen/set/volume", "30")
                assert await house.writes("voiced/all/command/stop", "")
                asked: list[Message] = []
                obeying = asyncio.create_task(device.obey(asked.append))
                await eventually(lambda: len(asked) == 2, "both commands come")
                obeying.cancel()
                assert {one.topic for one in asked} == {"voiced/kitchen/set/volume", "voiced/all/command/stop"}
                display = visitors["display"]
                assert not await display.writes("voiced/kitchen/command/listen")
                assert {name for name, _ in display.heard} == {"voiced/kitchen/state"}
            kitchen = visitors["voiced-kitchen"]
            for elsewhere in (
                "voiced/bedroom/state",
                "voiced/bedroom/command/ask",
                "voiced/all/command/listen",
                "zigbee/x",
            ):
                assert not await kitchen.writes(elsewhere), elsewhere
        finally:
            for visitor in visitors.values():
                visitor.close()


async def test_the_readmes_broker_lets_in_nobody_without_a_password(
    home: tuple[tuple[str, ...], Path], tmp_path: Path
) -> None:
    options, ca = home
    async with Mosquitto(tmp_path, options) as broker:
        config = MqttConfig(host="localhost", port=broker.port, tls=True, ca_file=str(ca))
        async with MqttBroker(config=config, topics=Topics("voiced", "kitchen"), longest_pause_s=1) as device:
            await eventually(lambda: "does not accept" in (device.problem or ""), "refused")


# --- what leaves ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bed() -> Iterator[SoundBed]:
    require_pulseaudio()
    with (
        tempfile.TemporaryDirectory(prefix="bed-") as name,
        SoundBed(Path(name), microphone_rate=MICROPHONE_RATE, speaker_rate=SERVICE_RATE) as bed,
    ):
        yield bed


def captures(bed: SoundBed) -> list[str]:
    """Return the programs that record from the microphone, as its server sees it; its own modules are none."""
    lines = bed.microphone.ask("pactl", "list", "short", "source-outputs").splitlines()
    return [line for line in lines if "protocol-native" in line]


async def test_nothing_is_contacted_while_muted_or_beyond_a_cap_and_nothing_is_listened_on(bed: SoundBed) -> None:
    """Seen at the sockets of the process, as in the test before any wake word."""
    capped = {"VOICED_BUDGET__SESSION_MINUTES_PER_DAY": "0.001"}
    async with in_a_room(bed, Scenario(turns=(SHORT,)), **capped) as room:
        await room.neighbour.send(f"{ROOM}/set/mute", "ON")
        await eventually(lambda: room.last("state")["muted"], "muted")
        await eventually(lambda: not captures(bed), "the sound server captures nothing for anybody")
        await room.say(WORD)
        assert str(room.simulator.port) not in room.contacts()
        assert room.simulator.connections == 0
        await room.neighbour.send(f"{ROOM}/set/mute", "OFF")
        await eventually(lambda: not room.last("state")["muted"], "unmuted")
        await eventually(lambda: captures(bed), "it captures again")
        await room.say(WORD)  # the first is let through, and uses the minutes up
        await eventually(lambda: room.simulator.connections == 1, "one session")
        await room.until_turn("finished")
        await room.until_state("idle")
        contacts = room.contacts().count(str(room.simulator.port))
        wakes = len(room.events("event/wake"))
        assert room.last("health")["overruns"] == 0  # muted sound is not lost
        await room.say(WORD)
        await eventually(lambda: len(room.events("event/wake")) > wakes, "it hears its name all the same")
        assert room.contacts().count(str(room.simulator.port)) == contacts
        assert room.simulator.connections == 1
        sockets = psutil.Process(room.process.pid).net_connections("inet")
        assert [one for one in sockets if one.status == psutil.CONN_LISTEN] == []
