"""What is said while it happens: live text, tools, and the log, which tells no secret and not of its own sending."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.mosquitto import KITCHEN, Neighbour, connected, make_broker
from tests.mosquitto import config as mqtt_config
from tests.stories import QUICK, at_home, config_for_tests, told
from tests.waiting import eventually
from voiced.config import Config, DeviceConfig, MqttConfig
from voiced.core.mqtt.payloads import moment
from voiced.core.realtime import events as wire
from voiced.core.turns import Draft, TurnBook
from voiced.edge.logtap import MOST, LogTap
from voiced.edge.mosquitto import Mosquitto
from voiced.messaging import log_told
from voiced.simulator import Turn
from voiced.simulator.scenario import ToolCall

LIVE = MqttConfig(host="127.0.0.1", live_transcript=True)


async def passed_on(mqtt: MqttConfig) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the live text of one turn, and the turn."""
    async with at_home(QUICK, config_for_tests(mqtt=mqtt)) as home:
        home.speak()
        turn = await home.until_told("finished")
        return [json.loads(text) for topic, text in home.diary.shouted if topic == "voiced/test/transcript"], turn


async def test_an_answer_is_passed_on_while_it_comes_and_whole_at_the_end() -> None:
    texts, turn = await passed_on(LIVE)
    assert {(text["turn"], text["session"]) for text in texts} == {(1, turn["session"])}
    assert [text["seq"] for text in texts] == list(range(len(texts)))
    partial = [text["text"] for text in texts if text["role"] == "assistant" and not text["final"]]
    assert partial
    assert all(turn["assistant"]["text"].startswith(text) for text in partial)
    final = {text["role"]: text["text"] for text in texts if text["final"]}
    assert final == {"user": "What time is it?", "assistant": "It is twenty past nine."}


async def test_nothing_is_passed_on_unless_it_is_wished() -> None:
    assert (await passed_on(MqttConfig(host="127.0.0.1")))[0] == []


def test_to_pass_texts_on_and_to_tell_none_is_a_contradiction() -> None:
    with pytest.raises(ValidationError, match=r"mqtt\.transcripts"):
        MqttConfig(live_transcript=True, transcripts="off")


def test_what_a_person_says_grows_and_other_turns_add_nothing() -> None:
    book = TurnBook(transcribes=True)
    assert book.heard_so_far(wire.InputTranscriptDelta("i1", "What")) == ""
    book.begin(
        Draft(number=1, session="s", source="wake_word", wake_word=None, language=None, time=moment(0), began=0.0)
    )
    book.note(wire.InputCommitted("i1"))
    assert book.heard_so_far(wire.InputTranscriptDelta("i1", "What ")) == "What "
    assert book.heard_so_far(wire.InputTranscriptDelta("tv", "Tonight at eight")) == ""
    assert book.heard_so_far(wire.InputTranscriptDelta("i1", "time?")) == "What time?"
    book.note(wire.InputTranscript("i1", "What time?"))
    book.note(wire.InputCommitted("i2"))
    assert book.heard_so_far(wire.InputTranscriptDelta("i2", "Now?")) == "What time? Now?"


@pytest.mark.parametrize(("transcripts", "arguments"), [("retained", '{"why": "bye"}'), ("off", None)])
async def test_a_tool_is_told_and_stands_in_the_turn(transcripts: Any, arguments: str | None) -> None:
    call = ToolCall(name="end_conversation", arguments={"why": "bye"})
    bye = Turn(user="Bye.", assistant="", preamble="Goodbye!", sound="time.wav", tools=(call,))
    config = config_for_tests(mqtt=MqttConfig(host="127.0.0.1", transcripts=transcripts))
    async with at_home(QUICK.model_copy(update={"turns": (bye,)}), config) as home:
        home.speak()
        turn = await home.until_told("finished")
        assert turn["tools"] == [{"name": "end_conversation", "ok": True, "duration_ms": 0}]
        (called,) = told(home.diary, "event/tool", "called")
        (finished,) = told(home.diary, "event/tool", "finished")
    assert (called["turn"], called["name"], called["duration_ms"]) == (1, "end_conversation", None)
    assert (finished["duration_ms"], called["arguments"]) == (0, arguments)


# --- the log ----------------------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tapped() -> Iterator[tuple[logging.Logger, list[dict[str, Any]], Clock]]:
    lines: list[dict[str, Any]] = []
    clock = Clock()
    tap = LogTap("info", secrets={"hunter22"}, send=lambda line: lines.append(json.loads(line)), clock=clock)
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(tap)
    yield logging.getLogger("voiced.somewhere"), lines, clock
    root.removeHandler(tap)
    root.setLevel(before)


def test_lines_are_handed_on_from_the_level_on_and_without_secrets(tapped: Any) -> None:
    log, lines, _ = tapped
    log.debug("nobody wants to know")
    log.info("the password is %s, and api_key=abcdef0123456789", "hunter22")
    try:
        raise OSError("hunter22 refused")
    except OSError:
        log.exception("it failed")
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("info", "voiced.somewhere"),
        ("error", "voiced.somewhere"),
    ]
    assert lines[1]["message"] == "it failed: OSError: *** refused"
    assert not any(secret in json.dumps(lines) for secret in ("hunter22", "abcdef0123456789"))


def test_a_line_that_cannot_be_told_whole_fails_nobody(tapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # it would show the mistake on standard error
    log, lines, _ = tapped
    (tap,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, LogTap)]
    monkeypatch.setattr(log, "handlers", [tap])
    monkeypatch.setattr(log, "propagate", False)  # who runs tests in several processes cannot pass such a name on
    log.warning("no file %s", os.fsdecode(b"/tmp/\xfc.wav"))
    log.warning("%d seconds", "two")
    log.warning("later")
    assert [line["message"] for line in lines] == ["no file /tmp/?.wav", "later"]


def test_a_flood_is_cut_and_counted(tapped: Any) -> None:
    log, lines, clock = tapped
    for number in range(MOST + 25):
        log.warning("%d", number)
    clock.now += 1
    log.warning("later")
    assert [line["message"] for line in lines[MOST:]] == ["25 lines of the log were left out", "later"]


def test_who_sends_is_not_told_of(tapped: Any) -> None:
    _, lines, _ = tapped
    for name in ("voiced.edge.paholink", "voiced.edge.broker", "paho.mqtt", "asyncio"):
        logging.getLogger(name).error("sending failed")
    assert lines == []


async def test_the_log_goes_to_the_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct-horse\n")
    config = Config(
        device=DeviceConfig(id="kitchen"),
        mqtt=mqtt_config(mosquitto.port).model_copy(update={"log": "warning", "password_file": str(secret)}),
    )
    log = logging.getLogger("voiced.somewhere")
    async with make_broker(mosquitto.port) as broker, Neighbour(mosquitto.port) as neighbour:
        await connected(broker)
        with log_told(config, {}, broker):
            log.info("quiet")
            log.warning("correct-horse does not open")
            await eventually(lambda: neighbour.on(KITCHEN.own("log")), "the line arrives")
        log.warning("too late")
        broker.tell("event/error", "{}")
        await eventually(lambda: neighbour.on(KITCHEN.own("event/error")), "what comes after it")
    (line,) = [json.loads(line) for line in neighbour.on(KITCHEN.own("log"))]
    assert (line["level"], line["message"]) == ("warning", "*** does not open")
