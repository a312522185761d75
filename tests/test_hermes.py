"""The Hermes bridge: what Rhasspy's side sends and gets, by itself and over a real broker with a whole daemon."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Diary, InstantSpeaker
from tests.mosquitto import Neighbour, connected, make_broker
from tests.stories import QUICK, Home, at_home, config_for_tests
from tests.waiting import eventually
from voiced.config import Config, DeviceConfig, MqttConfig
from voiced.core import hermes
from voiced.core.hermes import Answered, Do, Effect, Event, Published, Received, State, Tell, step
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import Topics
from voiced.edge.mosquitto import Mosquitto
from voiced.hermes import HermesBroker
from voiced.messaging import open_broker
from voiced.simulator import Scenario, Turn

DIALOGUE = "hermes/dialogueManager"
LISTEN = Do("command/listen", "", "p-0")

# --- the table --------------------------------------------------------------------------------------------------------


class Bridge:
    """The bridge told event by event."""

    def __init__(self) -> None:
        self.state = State("kitchen", "p")

    def __call__(self, *events: Event) -> list[Effect]:
        done: list[Effect] = []
        for event in events:
            self.state, effects = step(self.state, event)
            done += effects
        return done


def received(topic: str, site: str | None = "kitchen", **body: Any) -> Received:
    return Received(f"hermes/{topic}", json.dumps({**body, **({"siteId": site} if site else {})}).encode())


def start(kind: str = "notification", site: str | None = "kitchen", **init: Any) -> Received:
    return received("dialogueManager/startSession", site, init={"type": kind, **init}, customData="mine")


def state(to: str, reason: str | None = None) -> Published:
    return Published("state", {"state": to, "reason": reason})


def done(tag: str, code: str | None = None) -> Answered:
    error = {"code": code, "message": "Why not."} if code else None
    return Answered(tag, {"ok": code is None, "error": error})


def names(effects: list[Effect]) -> list[str]:
    return [effect.topic.removeprefix("hermes/") if isinstance(effect, Tell) else effect.name for effect in effects]


WAKE = Published(
    "event/wake",
    {"event_type": "detected", "wake_word": "hey_jarvis", "threshold": 0.9, "source": "mic", "action": None},
)


def test_a_conversation_behind_a_wake_word_is_a_session() -> None:
    bridge = Bridge()
    (detected,) = bridge(WAKE)
    of = {"siteId": "kitchen", "sessionId": "p-0"}
    assert detected == Tell(
        "hermes/hotword/hey_jarvis/detected",
        {"modelId": "hey_jarvis", "modelVersion": "", "modelType": "universal", "currentSensitivity": 0.9, **of},
    )
    assert bridge(state("listening")) == [
        Tell(f"{DIALOGUE}/sessionStarted", {**of, "customData": None}),
        Tell("hermes/asr/startListening", of),
    ]
    assert bridge(state("processing"), state("responding")) == [Tell("hermes/asr/stopListening", of)]
    turn = {
        "event_type": "finished",
        "user": {"text": "What time is it?", "duration_ms": 1500},
        "wake_word": "hey_jarvis",
    }
    captured = {"text": "What time is it?", "likelihood": 1.0, "seconds": 1.5, "wakewordId": "hey_jarvis", **of}
    assert bridge(Published("event/turn", turn)) == [Tell("hermes/asr/textCaptured", captured)]
    assert names(bridge(state("listening"))) == ["asr/startListening"]
    assert bridge(state("idle", "silence")) == [
        Tell("hermes/asr/stopListening", of),
        Tell(f"{DIALOGUE}/sessionEnded", {"termination": {"reason": "nominal"}, **of, "customData": None}),
    ]
    assert names(bridge(WAKE, state("listening"))) == [
        *("hotword/hey_jarvis/detected", "dialogueManager/sessionStarted", "asr/startListening"),
    ]
    assert bridge.state.dialogue is not None
    assert bridge.state.dialogue.id == "p-1"


def test_a_wake_word_that_nobody_answers_is_no_session() -> None:
    """The budget is used up, say."""
    bridge = Bridge()
    assert names(bridge(WAKE, WAKE)) == ["hotword/hey_jarvis/detected"] * 2
    assert names(bridge(start(text="Dinner!"))) == ["dialogueManager/sessionStarted", "command/say"]
    assert names(bridge(state("responding"), state("idle", "done"))) == ["dialogueManager/sessionEnded"]


def test_a_wake_word_while_we_listen_already_is_a_session() -> None:
    bridge = Bridge()
    bridge(state("listening"))
    assert names(bridge(WAKE)) == ["hotword/hey_jarvis/detected", "dialogueManager/sessionStarted"]
    assert names(bridge(state("idle", "silence"))) == ["asr/stopListening", "dialogueManager/sessionEnded"]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("silence", "timeout"),
        ("goodbye", "nominal"),
        ("stopped", "abortedByUser"),
        ("max_s", "timeout"),
        ("closed", "error"),
    ],
)
def test_why_it_ended(reason: str, told: str) -> None:
    bridge = Bridge()
    *_, ended = bridge(WAKE, state("listening"), state("idle", reason))
    assert isinstance(ended, Tell)
    assert ended.payload["termination"] == {"reason": told}


def test_a_question_that_nobody_answers_ends_by_timeout() -> None:
    read_aloud = Published("event/turn", {"event_type": "finished", "user": {"text": None, "duration_ms": 0}})
    bridge = Bridge()
    *_, ended = bridge(start("action", text="Lights?"), state("responding"), read_aloud, state("idle", "silence"))
    assert isinstance(ended, Tell)
    assert ended.payload["termination"] == {"reason": "timeout"}


def test_what_a_command_word_does_is_no_session() -> None:
    word = Published("event/wake", {**WAKE.payload, "wake_word": "hush/now", "action": "stop"})
    (detected,) = Bridge()(word)
    assert isinstance(detected, Tell)
    assert (detected.topic, detected.payload["sessionId"]) == ("hermes/hotword/hush_now/detected", None)


def test_texts_that_are_not_to_be_told_are_not() -> None:
    silent = {"event_type": "finished", "user": {"text": None, "duration_ms": 900}}
    typed = {"event_type": "finished", "user": {"text": "Typed.", "duration_ms": 0}}
    assert Bridge()(WAKE, Published("event/turn", silent), Published("event/turn", typed))[2:] == []


def test_a_notification_is_said_and_ends() -> None:
    bridge = Bridge()
    started, said = bridge(start(text="Dinner!"))
    assert started == Tell(
        f"{DIALOGUE}/sessionStarted", {"sessionId": "p-0", "siteId": "kitchen", "customData": "mine"}
    )
    fields = {"text": "Dinner!", "listen_after": False, "interrupt": False}
    assert said == Do("command/say", json.dumps(fields), "p-0")
    assert names(bridge(state("idle", "done"))) == []  # somebody moved a slider
    assert names(bridge(state("processing"), state("responding"), state("idle", "done"), done("p-0"))) == [
        "dialogueManager/sessionEnded"
    ]


def test_an_action_asks_or_listens() -> None:
    asked = Bridge()(start("action", text="Which room?"))[1]
    assert isinstance(asked, Do)
    assert json.loads(asked.payload) == {"text": "Which room?", "listen_after": True, "interrupt": False}
    assert Bridge()(start("action"))[1] == LISTEN


def test_sessions_wait_for_each_other_unless_they_may_not() -> None:
    bridge = Bridge()
    bridge(WAKE, state("listening"))
    assert names(bridge(start(text="One."), start("action", text="Two."))) == ["dialogueManager/sessionQueued"] * 2
    (refused,) = bridge(start("action", text="Three.", canBeEnqueued=False))
    assert isinstance(refused, Tell)
    assert refused.payload["termination"] == {"reason": "error"}
    assert names(bridge(received("dialogueManager/endSession", sessionId="p-2"))) == ["dialogueManager/sessionEnded"]
    assert names(bridge(state("idle"))) == [
        "asr/stopListening",
        *("dialogueManager/sessionEnded", "dialogueManager/sessionStarted", "command/say"),
    ]


def test_one_that_finds_us_busy_waits_and_one_that_fails_ends() -> None:
    bridge = Bridge()
    bridge(start(text="Dinner!"))
    assert names(bridge(done("p-0", "busy"))) == ["dialogueManager/sessionQueued"]
    assert names(bridge(state("responding"), state("idle"))) == ["dialogueManager/sessionStarted", "command/say"]
    assert names(bridge(done("p-0", "unavailable"))) == ["error/dialogueManager", "dialogueManager/sessionEnded"]
    assert names(bridge(state("idle"))) == []


def test_a_session_goes_on_and_is_ended() -> None:
    bridge = Bridge()
    bridge(start("action", text="Which room?"), state("processing"), state("listening"))
    (more,) = bridge(received("dialogueManager/continueSession", sessionId="p-0", text="And which lamp?"))
    assert isinstance(more, Do)
    assert json.loads(more.payload) == {"text": "And which lamp?", "listen_after": True, "interrupt": True}
    assert names(bridge(received("dialogueManager/endSession", sessionId="p-0"))) == ["command/end"]
    last = bridge(received("dialogueManager/endSession", sessionId="p-0", text="Done."))
    assert names(last) == ["command/end", "command/announce"]
    for other in ("continueSession", "endSession"):
        assert bridge(received(f"dialogueManager/{other}", sessionId="another")) == []


def test_texts_are_said_and_that_is_told() -> None:
    bridge = Bridge()
    (announced,) = bridge(received("tts/say", text="Hello.", id="7", sessionId="s", volume=0.5, lang="en"))
    assert announced == Do("command/announce", json.dumps({"text": "Hello.", "volume": 50, "chime": False}), "say:0")
    of = {"siteId": "kitchen", "sessionId": "s"}
    assert bridge(done("say:0")) == [Tell("hermes/tts/sayFinished", {"id": "7", **of})]
    bridge(received("tts/say", text="Hello."))
    assert names(bridge(done("say:1", "unavailable"))) == ["error/tts", "tts/sayFinished"]  # nobody waits for ever
    assert names(bridge(received("tts/say"))) == ["error/tts", "tts/sayFinished"]


def test_what_goes_wrong_in_a_session_is_told() -> None:
    bridge, wrong = Bridge(), Published("event/error", {"event_type": "error", "code": "closed", "message": "Gone."})
    assert bridge(wrong) == []
    (error,) = bridge(WAKE, state("listening"), wrong)[3:]
    told = {"error": "Gone.", "context": "closed", "siteId": "kitchen", "sessionId": "p-0"}
    assert error == Tell("hermes/error/asr", told)


def test_the_wake_word_is_switched() -> None:
    assert Bridge()(received("hotword/toggleOff", reason="dialogueSession")) == [Do("set/wake_enabled", "OFF", "")]
    assert Bridge()(received("hotword/toggleOn")) == [Do("set/wake_enabled", "ON", "")]


@pytest.mark.parametrize("site", ["bedroom", "default", None])
def test_other_sites_are_none_of_our_business(site: str | None) -> None:
    events = [start(text="x", site=site), received("tts/say", site, text="x"), received("hotword/toggleOff", site)]
    assert Bridge()(*events) == []


def test_who_names_no_site_means_the_default_one() -> None:
    _, effects = step(State("default", "p"), received("hotword/toggleOff", None))
    assert effects == (Do("set/wake_enabled", "OFF", ""),)


VALUES = (
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["p-0", "kitchen", "\ud800", []])
)
BODIES = st.dictionaries(
    st.sampled_from(["text", "id", "sessionId", "volume", "customData", "init", "siteId"]),
    VALUES | st.fixed_dictionaries({"type": st.sampled_from(["action", "notification", 5, [], {}]), "text": VALUES}),
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Received, st.sampled_from(hermes.SUBSCRIBED), st.binary(max_size=9)),
    st.builds(
        lambda topic, body: Received(topic, json.dumps({"siteId": "kitchen", **body}).encode()),
        st.sampled_from(hermes.SUBSCRIBED),
        BODIES,
    ),
    st.builds(start, st.sampled_from(["action", "notification"]), text=VALUES, canBeEnqueued=VALUES),
    st.builds(
        state,
        st.sampled_from(["starting", "idle", "listening", "processing", "responding"]),
        st.sampled_from([None, "silence", "stopped", "closed"]),
    ),
    st.just(WAKE),
    st.builds(
        lambda user: Published("event/turn", {"event_type": "finished", "user": user}),
        st.sampled_from([None, {"text": "Yes.", "duration_ms": 5}]),
    ),
    st.just(Published("event/error", {"event_type": "error", "code": "x", "message": "y"})),
    st.builds(done, st.sampled_from(["p-0", "p-1", "say:0", ""]), st.sampled_from([None, "busy", "failed"])),
)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_comes_sessions_begin_and_end_in_pairs(events: list[Event]) -> None:
    bridge, begun, ended = Bridge(), list[str](), list[str]()
    for effect in bridge(*events, state("responding"), state("idle")):
        if isinstance(effect, Do):
            assert effect.name in {
                "command/say",
                "command/announce",
                "command/listen",
                "command/end",
                "set/wake_enabled",
            }
            effect.payload.encode()
            continue
        json.dumps(effect.payload)
        name = effect.topic.rpartition("/")[2]
        if name == "sessionStarted":
            begun.append(effect.payload["sessionId"])
        elif name == "sessionEnded":
            ended.append(effect.payload["sessionId"])
    assert len(ended) == len(set(ended))
    going_on = [bridge.state.dialogue.id] if bridge.state.dialogue else []
    assert set(begun) - set(ended) == set(going_on)


# --- the whole of it --------------------------------------------------------------------------------------------------


class Both(Diary):
    """A diary that passes on what is told to the bridge."""

    bridge: HermesBroker

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        super().keep(topic, payload)
        self.bridge.keep(topic, payload, expiry_s=expiry_s)

    def tell(self, topic: str, payload: str) -> None:
        super().tell(topic, payload)
        self.bridge.tell(topic, payload)

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        super().answer(topic, payload, correlation)
        self.bridge.answer(topic, payload, correlation)


def configured(**more: Any) -> Config:
    return config_for_tests(mqtt=MqttConfig(host="127.0.0.1", hermes=True, **more), device=DeviceConfig(id="test"))


@asynccontextmanager
async def rhasspy(
    mosquitto: Mosquitto,
    *,
    config: Config | None = None,
    speaker: InstantSpeaker | None = None,
    scenario: Scenario = QUICK,
) -> AsyncIterator[tuple[Home, Neighbour]]:
    """A daemon with the bridge, and somebody at the same broker who plays Rhasspy's side."""
    config, diary = config or configured(), Both()
    topics = Topics.of(config)
    async with make_broker(mosquitto.port, topics=topics) as broker, Neighbour(mosquitto.port) as neighbour:
        await connected(broker)
        bridge = diary.bridge = HermesBroker(broker, topics, config.mqtt.hermes_site_id or topics.id)
        async with at_home(scenario, config, speaker=speaker, diary=diary) as home:
            obeying = asyncio.create_task(bridge.obey(home.daemon.post))
            yield home, neighbour
            obeying.cancel()


def said(neighbour: Neighbour, *but: str) -> list[str]:
    """The topics of Hermes that we spoke on, in order."""
    ours = [heard.topic.removeprefix("hermes/") for heard in neighbour.heard if heard.topic.startswith("hermes/")]
    return [topic for topic in ours if f"hermes/{topic}" not in hermes.SUBSCRIBED and topic not in but]


async def until_said(neighbour: Neighbour, topic: str, count: int = 1) -> dict[str, Any]:
    await eventually(lambda: len(neighbour.on(f"hermes/{topic}")) >= count, f"{topic}; there was {said(neighbour)}")
    told: dict[str, Any] = json.loads(neighbour.on(f"hermes/{topic}")[count - 1])
    return told


@pytest.mark.usefixtures("nothing_left")
async def test_a_conversation_is_heard_by_hermes_clients(mosquitto: Mosquitto) -> None:
    scenario = Scenario(turns=(Turn(user="What time is it?", assistant="Noon.", transcription_delay_ms=0),), pace=0)
    async with rhasspy(mosquitto, scenario=scenario) as (home, neighbour):
        home.speak()
        ended = await until_said(neighbour, "dialogueManager/sessionEnded")
        captured = await until_said(neighbour, "asr/textCaptured")
        started = await until_said(neighbour, "dialogueManager/sessionStarted")
        detected = await until_said(neighbour, "hotword/hey_jarvis/detected")
        assert (captured["text"], captured["wakewordId"]) == ("What time is it?", "hey_jarvis")
        assert captured["seconds"] > 0.5
        assert ended["termination"] == {"reason": "nominal"}
        told = (detected, started, captured, ended)
        assert {one["siteId"] for one in told} == {"test"}
        assert len({one["sessionId"] for one in told}) == 1
        assert said(neighbour, "asr/textCaptured") == [
            *("hotword/hey_jarvis/detected", "dialogueManager/sessionStarted"),
            *("asr/startListening", "asr/stopListening") * 2,
            "dialogueManager/sessionEnded",
        ]


@pytest.mark.usefixtures("nothing_left")
async def test_texts_and_sessions_are_asked_for(mosquitto: Mosquitto) -> None:
    speaker = InstantSpeaker()
    async with rhasspy(mosquitto, config=configured(hermes_site_id="default"), speaker=speaker) as (home, neighbour):
        await neighbour.send("hermes/tts/say", json.dumps({"text": "Hello.", "id": "7", "volume": 0.3}))
        assert await until_said(neighbour, "tts/sayFinished") == {"id": "7", "siteId": "default", "sessionId": None}
        assert (set(speaker.percents), speaker.chimes) == ({30}, 0)

        init = {"type": "notification", "text": "Dinner!"}
        await neighbour.send(f"{DIALOGUE}/startSession", json.dumps({"init": init, "customData": "mine"}))
        ended = await until_said(neighbour, "dialogueManager/sessionEnded")
        assert (ended["customData"], ended["termination"]) == ("mine", {"reason": "nominal"})

        init = {"type": "action", "text": "Which room?"}
        await neighbour.send(f"{DIALOGUE}/startSession", json.dumps({"init": init}))
        started = await until_said(neighbour, "dialogueManager/sessionStarted", 2)
        await until_said(neighbour, "asr/startListening")
        await neighbour.send(f"{DIALOGUE}/endSession", json.dumps({"sessionId": started["sessionId"]}))
        ended = await until_said(neighbour, "dialogueManager/sessionEnded", 2)
        assert (ended["sessionId"], ended["termination"]) == (started["sessionId"], {"reason": "nominal"})

        await neighbour.send("hermes/hotword/toggleOff", json.dumps({"siteId": "default", "reason": "x"}))
        await eventually(lambda: not json.loads(home.diary.kept["settings"])["wake_enabled"], "the ears are shut")
        await neighbour.send("hermes/hotword/toggleOn", b"{}")
        await eventually(lambda: json.loads(home.diary.kept["settings"])["wake_enabled"], "the ears are open")


@pytest.mark.usefixtures("nothing_left")
async def test_with_transcripts_off_hermes_clients_are_told_no_word(mosquitto: Mosquitto) -> None:
    async with rhasspy(mosquitto, config=configured(transcripts="off")) as (home, neighbour):
        home.speak()
        await until_said(neighbour, "dialogueManager/sessionEnded")
        await home.until_told("finished")
        await neighbour.send("hermes/tts/say", json.dumps({"text": "Hello.", "siteId": "test"}))
        await until_said(neighbour, "tts/sayFinished")  # behind which nothing of the conversation comes
        assert "asr/textCaptured" not in said(neighbour)
        assert not any(b"time is it" in heard.payload for heard in neighbour.heard)


@pytest.mark.usefixtures("nothing_left")
async def test_rubbish_and_retained_messages_are_left_alone(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as early:
        stale = json.dumps({"text": "Stale.", "siteId": "test"})
        await early.send("hermes/tts/say", stale, retain=True)
    async with rhasspy(mosquitto) as (home, neighbour):
        for topic in hermes.SUBSCRIBED:
            for rubbish in (b"\xff", b"[]", b"5", b"{" * 500, b'{"init": {"type": "action"}}', b'"x"' * 9):
                await neighbour.send(topic, rubbish)
        await neighbour.send("hermes/tts/say", json.dumps({"text": "Hello.", "siteId": "test", "id": "last"}))
        assert (await until_said(neighbour, "tts/sayFinished"))["id"] == "last"
        assert len(neighbour.on("hermes/tts/sayFinished")) == 1
        assert (await home.command("command/ping"))["ok"]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "fields",
    [
        {"init": {"type": []}},
        {"init": {"type": "notification", "text": "\ud800"}, "customData": "\udfff"},
        {"text": "\ud800", "id": "\udfff", "sessionId": "\ud800"},
    ],
)
async def test_a_hostile_message_harms_nobody(mosquitto: Mosquitto, fields: dict[str, Any]) -> None:
    """No kind of session; and halves of surrogate pairs, which no text may hold."""
    async with rhasspy(mosquitto) as (home, neighbour):
        for topic in hermes.SUBSCRIBED:
            await neighbour.send(topic, json.dumps({"siteId": "test", **fields}))
        await neighbour.send("hermes/tts/say", json.dumps({"text": "Hello.", "siteId": "test", "id": "last"}))
        await eventually(lambda: "last" in "".join(neighbour.on("hermes/tts/sayFinished")), "the text said after it")
        assert (await home.command("command/ping"))["ok"]


@pytest.mark.usefixtures("nothing_left")
async def test_the_daemon_is_opened_with_the_bridge(mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = configured(port=mosquitto.port, discovery=False)
    posted: list[Message] = []
    async with AsyncExitStack() as parts, Neighbour(mosquitto.port) as neighbour:
        broker = await open_broker(config, tmp_path, parts, restarts=False)
        assert isinstance(broker, HermesBroker)
        await eventually(lambda: broker.connected, "connected")
        await neighbour.send("hermes/hotword/toggleOff", json.dumps({"siteId": "test"}))
        await neighbour.send("voiced/test/command/ping", b"")
        obeying = asyncio.create_task(broker.obey(posted.append))
        await eventually(lambda: len(posted) == 2, "both came")
        obeying.cancel()
        assert [(message.topic, message.payload) for message in posted] == [
            ("voiced/test/set/wake_enabled", b"OFF"),
            ("voiced/test/command/ping", b""),
        ]


async def test_without_the_key_hermes_is_not_even_subscribed_to() -> None:
    assert not set(hermes.SUBSCRIBED) & set(Topics.of(config_for_tests()).subscriptions)
    assert set(hermes.SUBSCRIBED) <= set(Topics.of(configured()).subscriptions)
