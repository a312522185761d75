"""What a running daemon hears, told while somebody watches, and as a person sees it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.fakes import Diary, ScriptedEars
from tests.mosquitto import KITCHEN, Neighbour, config, connected, make_broker, obeyed
from tests.stories import QUICK, at_home
from tests.waiting import eventually
from voiced import mqttcommands
from voiced.config import Config, DeviceConfig
from voiced.core import monitorview
from voiced.core.frames import FRAME, Frame
from voiced.core.mqtt import commands
from voiced.edge.mosquitto import Mosquitto
from voiced.gauge import EVERY, Gauge
from voiced.ports import Load
from voiced.reports import Reports

HEARD = {"time": "2026-11-26T12:00:00Z", "level_db": -35.0, "gate": True, "scores": {"hey_jarvis": 0.5}}


async def test_what_is_heard_is_told_while_somebody_watches_and_not_else() -> None:
    async with at_home(QUICK) as home:

        def told() -> list[dict[str, Any]]:
            return [json.loads(text) for topic, text in home.diary.shouted if topic == "voiced/test/ears"]

        home.microphone.hear(np.zeros(320 * 30, np.int16))
        await home.microphone.all_heard()
        assert told() == []
        assert (await home.command("command/watch", '{"for_s": 60}'))["ok"]
        home.ears.scores = (0.25,)
        home.microphone.hear(np.full(320 * 10, 3277, np.int16))
        home.microphone.hear(np.zeros(320 * 10, np.int16))
        await home.microphone.all_heard()
        loud, silent = told()
        assert loud["level_db"] == pytest.approx(-20.0, abs=0.1)
        assert silent["level_db"] < -80
        assert (loud["gate"], loud["scores"]) == (False, {"hey_jarvis": 0.25})
        refused = await home.command("command/watch", '{"for_s": "long"}')
        assert "for_s" in refused["error"]["message"]


def test_who_watches_sees_what_is_heard_from_then_on_and_as_long_as_they_asked() -> None:
    now, diary = 100.0, Diary()
    reports = Reports(
        broker=diary, config=Config(), machine=lambda: Load(1.0, 1.0, None), today=lambda: datetime.now(UTC)
    )
    gauge = Gauge(ears=ScriptedEars(), words=("hey_jarvis",), reports=reports, clock=lambda: now)
    loud, silent = (Frame(0, np.full(FRAME, level, np.int16)) for level in (3277, 0))
    gauge.watch(1)
    gauge.hear(loud)
    now += 2
    gauge.hear(loud)
    gauge.watch(60)
    gauge.watch(1)  # somebody else, who is content with less
    now += 30
    for _ in range(EVERY):
        gauge.hear(silent)
    (told,) = (json.loads(text) for _, text in diary.shouted)
    assert told["level_db"] < -80


async def test_a_daemon_is_shown_live(mosquitto: Mosquitto) -> None:
    written: list[str] = []

    class Enough(Exception):  # noqa: N818 - ends the watching
        pass

    def write(text: str) -> None:
        written.append(text)
        if "0.50" in text:
            raise Enough

    def watch() -> None:
        whole = Config(device=DeviceConfig(id="kitchen"), mqtt=config(mosquitto.port))
        with pytest.raises(Enough):
            mqttcommands.monitor(whole, write=write, width=100)

    async with make_broker(mosquitto.port) as broker, obeyed(broker) as done:
        broker.keep("state", '{"state":"listening"}')
        await connected(broker)
        async with Neighbour(mosquitto.port) as neighbour:
            await eventually(lambda: neighbour.last(KITCHEN.own("availability")), "it is there")
        watching = asyncio.create_task(asyncio.to_thread(watch))
        await eventually(lambda: written, "the first picture")
        await eventually(lambda: [one for one in done if isinstance(one, commands.Watch)], "it is asked to tell")
        assert broker.shout(KITCHEN.own("ears"), json.dumps(HEARD))
        await watching
    assert "online  listening" in written[0]
    assert "hears nothing yet" in written[0]
    assert "-35 dB" in written[-1]
    assert written[-1].startswith("\r\x1b[3A")  # over the picture before


@pytest.mark.parametrize("width", [20, 60, 200])
def test_lines_say_what_there_is_and_fit(width: int) -> None:
    turn = {"id": "s-1", "turn": 1, "session": "s", "time": "2026-11-26T12:00:00Z", "source": "mqtt"}
    told = {
        "availability": "online",
        "state": {"state": "responding", "muted": False},
        "settings": {"volume": 40},
        "health": {"cloud": "ok", "problems": [{"message": "the microphone is gone; " * 9}]},
        "ears": HEARD,
        "turn": {**turn, "outcome": "finished", "timeline_ms": {"said": 900, "answered": 1300, "over": 2000}},
        "usage": {"turns": 7, "cost": {"today": 0.5, "total": 3, "currency": "USD", "limit_day": 2}},
    }
    lines = monitorview.lines(told, width)
    assert len(lines) == 5
    assert all(len(line) < width for line in lines)
    if width == 200:
        assert "speech 900 ms, service 400 ms, answer 700 ms" in lines[2]
        assert lines[3] == "today 0.50 of 2.00 USD, 7 turns in all for 3.00"


def test_a_daemon_that_has_told_nothing_is_shown_as_that() -> None:
    assert monitorview.lines({"availability": "offline"}, 80) == [
        "offline  unknown  volume ? %  service ?",
        "hears nothing yet",
        "no turn yet",
        "cost unknown",
    ]
