"""The broker's side of the daemon, against a real mosquitto."""

import asyncio
import json
import sys

import pytest

from tests.mosquitto import AVAILABILITY, DISCOVERY, Door, Neighbour, connected, make_broker, obeyed
from tests.waiting import eventually
from voiced import ports
from voiced.core.mqtt import commands
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import SELF_TEST
from voiced.core.outgoing import EVENT_AGE_S, EVENTS_KEPT, WINDOW
from voiced.edge.mosquitto import Mosquitto

pytestmark = pytest.mark.usefixtures("nothing_left")

# --- coming and going ---


async def test_it_says_online_last_and_offline_when_it_leaves(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour:
        async with make_broker(mosquitto.port, discovery={DISCOVERY: '{"d":1}'}) as broker:
            broker.keep("state", "one")
            broker.keep("info", "two")
            broker.tell("event/wake", "three")
            await connected(broker)
            assert broker.problem is None
            await eventually(lambda: neighbour.on("voiced/kitchen/event/wake"), "the event comes")
            broker.keep("state", "last words")
        await eventually(lambda: neighbour.last(AVAILABILITY) == "offline", "offline")
    heard = [(heard.topic.removeprefix("voiced/kitchen/"), heard.payload) for heard in neighbour.heard]
    order = [(topic, payload) for topic, payload in heard if topic != SELF_TEST]
    assert len(order) == len(heard) - 1
    assert order == [
        (DISCOVERY, b'{"d":1}'),
        ("state", b"one"),
        ("info", b"two"),
        ("availability", b"online"),
        ("event/wake", b"three"),
        ("state", b"last words"),
        ("availability", b"offline"),
    ]
    async with Neighbour(mosquitto.port) as late:
        await eventually(lambda: late.last(AVAILABILITY) == "offline", "offline is retained")
        assert {heard.topic for heard in late.heard if heard.retain} == {
            DISCOVERY,
            AVAILABILITY,
            "voiced/kitchen/state",
            "voiced/kitchen/info",
        }


DAEMON = """
import asyncio, sys
from voiced.config import MqttConfig
from voiced.core.mqtt.topics import Topics
from voiced.edge.broker import MqttBroker

async def main():
    config = MqttConfig(host="127.0.0.1", port=int(sys.argv[1]))
    async with MqttBroker(config=config, topics=Topics("voiced", "kitchen")):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killed_it_is_declared_offline(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour:
        daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, str(mosquitto.port))
        try:
            await eventually(lambda: neighbour.last(AVAILABILITY) == "online", "online")
        finally:
            daemon.kill()
            await daemon.wait()
        await eventually(lambda: neighbour.last(AVAILABILITY) == "offline", "the will, after its delay of 5 s")


async def test_leaving_does_not_need_the_broker(mosquitto: Mosquitto) -> None:
    async with Door(mosquitto.port) as door, make_broker(door.port) as broker:
        await connected(broker)
        door.freeze()
        broker.keep("state", "never confirmed")
    async with make_broker(door.port) as broker:
        pass


async def test_it_waits_for_a_broker_that_starts_later(mosquitto: Mosquitto) -> None:
    await mosquitto.stop()
    async with make_broker(mosquitto.port) as broker:
        await eventually(lambda: "connection refused" in (broker.problem or ""), "the reason is found out")
        broker.keep("state", "old")
        broker.keep("state", "new")
        await mosquitto.start()
        await connected(broker)
        async with Neighbour(mosquitto.port) as neighbour:
            await eventually(lambda: neighbour.last("voiced/kitchen/state") == "new", "the newest state")
            assert neighbour.on("voiced/kitchen/state") == ["new"]


async def test_a_broker_without_memory_is_told_everything_again(mosquitto: Mosquitto) -> None:
    changes = []
    async with make_broker(mosquitto.port, discovery={DISCOVERY: "{}"}, changed=lambda: changes.append(1)) as broker:
        broker.keep("state", "idle")
        broker.keep("settings", "{}")
        await connected(broker)
        await mosquitto.kill()
        await eventually(lambda: not broker.connected, "the loss is noticed")
        assert "was lost" in str(broker.problem)
        await mosquitto.start()
        await connected(broker)
        assert broker.problem is None
        assert broker.health.reconnects == 1
        async with Neighbour(mosquitto.port) as neighbour:
            wanted = {DISCOVERY, AVAILABILITY, "voiced/kitchen/state", "voiced/kitchen/settings"}
            await eventually(lambda: wanted <= {heard.topic for heard in neighbour.heard}, "everything is back")
    assert len(changes) >= 3


async def test_a_short_loss_is_not_seen_and_loses_no_command(mosquitto: Mosquitto) -> None:
    async with (
        Neighbour(mosquitto.port) as neighbour,
        Door(mosquitto.port) as door,
        make_broker(door.port) as broker,
        obeyed(broker) as done,
    ):
        await connected(broker)
        door.shut()
        await eventually(lambda: not broker.connected, "the loss is noticed")
        await neighbour.send("voiced/kitchen/command/say", "are you there?")
        broker.keep("wake", "new")
        door.open()
        await eventually(lambda: done, "the command waited in the session")
        assert isinstance(done[0], commands.Say)
        await connected(broker)
        # The first "online" comes twice where its receipt was lost with the connection.
        wake = "voiced/kitchen/wake"

        def order() -> list[str]:
            return [heard.topic for heard in neighbour.heard if heard.topic in {wake, AVAILABILITY}]

        await eventually(lambda: order()[-2:] == [wake, AVAILABILITY], "all is published again, that it is there last")
        assert set(neighbour.on(AVAILABILITY)) == {"online"}
        assert neighbour.on(wake) == ["new"]


# --- what is published ---


async def test_the_newest_state_wins_over_what_was_on_its_way(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour, Door(mosquitto.port) as door:
        async with make_broker(door.port) as broker:
            await connected(broker)
            door.freeze()
            for number in range(50):
                broker.keep("state", f"stale {number}")
            door.shut()
            await eventually(lambda: not broker.connected, "the loss is noticed")
            broker.keep("state", "fresh")
            broker.keep("health", "mark")
            door.open()
            await eventually(lambda: neighbour.on("voiced/kitchen/health"), "connected again", 30)
            await eventually(lambda: neighbour.last(AVAILABILITY) == "online", "all published")
        states = neighbour.on("voiced/kitchen/state")
        assert states[-1] == "fresh"
        assert len(states) <= WINDOW + 1


async def test_a_slow_broker_gets_every_value_it_can_take_and_the_last_in_any_case(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour, make_broker(mosquitto.port) as broker:
        await connected(broker)
        for number in range(500):
            broker.keep("state", str(number))
            broker.tell("event/turn", str(number))
        events = "voiced/kitchen/event/turn"
        await eventually(lambda: len(neighbour.on(events)) + broker.health.dropped_events == 500, "the burst")
        states = [int(state) for state in neighbour.on("voiced/kitchen/state")]
        assert states == sorted(states)
        assert states[-1] == 499
        assert len(neighbour.on(events)) >= EVENTS_KEPT
        assert neighbour.last(events) == "499"


async def test_events_wait_a_minute_for_the_broker_and_the_newest_are_kept(mosquitto: Mosquitto) -> None:
    now = 0.0
    async with (
        Neighbour(mosquitto.port) as neighbour,
        Door(mosquitto.port) as door,
        make_broker(door.port, clock=lambda: now) as broker,
    ):
        await connected(broker)
        door.shut()
        await eventually(lambda: not broker.connected, "the loss is noticed")
        broker.tell("event/wake", "too old")
        now = EVENT_AGE_S + 1
        for number in range(EVENTS_KEPT + 49):
            broker.tell("event/wake", str(number))
        assert broker.health.dropped_events == 50
        door.open()
        await eventually(lambda: len(neighbour.on("voiced/kitchen/event/wake")) == EVENTS_KEPT, "the kept ones")
        assert neighbour.on("voiced/kitchen/event/wake") == [str(n) for n in range(49, EVENTS_KEPT + 49)]
        door.shut()
        await eventually(lambda: not broker.connected, "the loss is noticed")
        broker.tell("event/wake", "grows old")
        now += EVENT_AGE_S + 1
        broker.tell("event/wake", "young")
        door.open()
        await eventually(lambda: neighbour.last("voiced/kitchen/event/wake") == "young", "the young one")
        assert "grows old" not in neighbour.on("voiced/kitchen/event/wake")
        assert broker.health.dropped_events == 51
    assert not any(heard.retain for heard in neighbour.heard)


async def test_a_value_expires_at_the_broker_and_is_not_sent_again_after(mosquitto: Mosquitto) -> None:
    now = 0.0
    async with Neighbour(mosquitto.port) as neighbour, make_broker(mosquitto.port, clock=lambda: now) as broker:
        await connected(broker)
        broker.keep("turn", "secret", expiry_s=600)
        await eventually(lambda: neighbour.on("voiced/kitchen/turn"), "the turn")
        now = 500.0
        broker.republish(("turn",))
        await eventually(lambda: len(neighbour.on("voiced/kitchen/turn")) == 2, "the turn again")
        now = 601.0
        broker.republish()
        broker.tell("event/turn", "mark")
        await eventually(lambda: neighbour.on("voiced/kitchen/event/turn"), "the mark")
        turns = [heard.expiry_s for heard in neighbour.heard if heard.topic == "voiced/kitchen/turn"]
        assert turns in ([600, 100], [600, 99], [599, 99], [599, 100])  # mosquitto counts too


def test_state_and_event_are_not_mixed_up() -> None:
    broker: ports.Broker = make_broker(1)
    with pytest.raises(ValueError, match="tell it"):
        broker.keep("event/wake", "{}")
    with pytest.raises(ValueError, match="keep it"):
        broker.tell("state", "{}")


async def test_home_assistant_coming_up_is_told_everything(mosquitto: Mosquitto) -> None:
    async with (
        Neighbour(mosquitto.port) as neighbour,
        make_broker(mosquitto.port, discovery={DISCOVERY: "{}"}) as broker,
    ):
        broker.keep("state", "idle")
        await connected(broker)
        await eventually(lambda: neighbour.on(AVAILABILITY), "published once")
        await neighbour.send("homeassistant/status", "offline")
        await neighbour.send("homeassistant/status", "online")
        await neighbour.send("homeassistant/status", "online")
        await eventually(lambda: len(neighbour.on(AVAILABILITY)) == 2, "published again")
        assert [len(neighbour.on(topic)) for topic in (DISCOVERY, "voiced/kitchen/state")] == [2, 2]


async def test_what_home_assistant_was_told_before_is_withdrawn_first(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour:
        await neighbour.send("homeassistant/sensor/voiced_kitchen/state/config", "{}", retain=True)
        old = ("homeassistant/sensor/voiced_kitchen/state/config",)
        async with make_broker(mosquitto.port, discovery={DISCOVERY: "{}"}, withdrawn=old) as broker:
            await connected(broker)
            await eventually(lambda: neighbour.last(DISCOVERY) == "{}", "told in the new way")
        topics = [heard.topic for heard in neighbour.heard if heard.topic in {*old, DISCOVERY}]
        assert topics == [*old, *old, DISCOVERY]
        assert neighbour.last(old[0]) == ""


# --- commands ---


async def test_a_command_is_answered_where_and_as_it_asked(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour, make_broker(mosquitto.port) as broker, obeyed(broker):
        await connected(broker)
        await neighbour.send(
            "voiced/kitchen/command/ping", '{"id": "7"}', response_topic="app/inbox", correlation=b"\x00\xff"
        )
        await neighbour.send("voiced/all/command/stop", "PRESS")
        await eventually(lambda: neighbour.on("app/inbox") and neighbour.on("voiced/kitchen/response"), "answers")
        answer = next(heard for heard in neighbour.heard if heard.topic == "app/inbox")
        assert answer.correlation == b"\x00\xff"
        assert json.loads(answer.payload)["id"] == "7"
        assert json.loads(neighbour.on("voiced/kitchen/response")[0])["action"] == "stop"


async def test_a_retained_command_is_ignored(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    async with Neighbour(mosquitto.port) as neighbour, Door(mosquitto.port, knows_v5=False) as door:
        await neighbour.send("voiced/kitchen/command/listen", "PRESS", retain=True)
        # MQTT 5 spares us; MQTT 3.1.1 delivers it with each subscription
        for port in (mosquitto.port, door.port):
            async with make_broker(port) as broker, obeyed(broker) as done:
                await connected(broker)
                await neighbour.send("voiced/kitchen/command/ping", "")
                await eventually(done.copy, "the command that is not retained")
                assert [type(command) for command in done] == [commands.Ping]
    assert "ignored a retained command on voiced/kitchen/command/listen" in caplog.text


async def test_hostile_payloads_are_answered_and_survived(mosquitto: Mosquitto) -> None:
    hostile: list[tuple[str, bytes]] = [
        ("command/say", bytes(range(256))),
        ("command/say", b"x" * 10_000_000),
        ("command/say", b'{"text": ' + b"[" * 60_000),
        ("command/" + "x" * 1_000, b""),
        ("command/\u2603", b"{}"),
        ("command", b"null"),
        ("set", b"[1, 2]"),
        ("set/volume", b"9" * 60_000),
        ("set/mute", b"\xff\xfe"),
        ("get", b'{"topics": {}}'),
    ]
    async with Neighbour(mosquitto.port) as neighbour, make_broker(mosquitto.port) as broker, obeyed(broker) as done:
        await connected(broker)
        for topic, payload in hostile:
            await neighbour.send(f"voiced/kitchen/{topic}", payload)
        await neighbour.send("voiced/kitchen/command/ping", "")
        await eventually(lambda: len(neighbour.on("voiced/kitchen/response")) == len(hostile) + 1, "all answers")
        answers = [json.loads(answer) for answer in neighbour.on("voiced/kitchen/response")]
        assert [answer["ok"] for answer in answers] == [False] * len(hostile) + [True]
        assert all(len(answer["error"]["message"]) < 1000 for answer in answers[:-1])
        assert [type(command) for command in done] == [commands.Ping]


async def test_a_flood_of_commands_is_bounded(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    async with Neighbour(mosquitto.port) as neighbour, make_broker(mosquitto.port) as broker:
        await connected(broker)
        for number in range(120):
            await neighbour.send("voiced/kitchen/command/say", str(number))
        await eventually(lambda: caplog.text.count("too many commands at once") == 20, "20 are dropped")
        kept: list[Message] = []
        obeying = asyncio.create_task(broker.obey(kept.append))
        await eventually(lambda: len(kept) == 100, "the others are obeyed")
        obeying.cancel()
        assert kept[0] == Message("voiced/kitchen/command/say", b"0")
