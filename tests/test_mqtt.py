"""Topics, payloads and commands of the MQTT contract."""

import json
import math
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from voiced.config import Config, MqttConfig
from voiced.core.mqtt import actions, commands, passing, payloads, topics, updating
from voiced.core.mqtt.commands import (
    Announce,
    Ask,
    End,
    Get,
    Listen,
    Message,
    NewConversation,
    Ping,
    RefusedCommandError,
    Release,
    Reply,
    Restart,
    Say,
    SetSettings,
    Stop,
)
from voiced.core.mqtt.parsing import parse
from voiced.core.mqtt.topics import Topics
from voiced.errors import CommandError
from voiced.mqttcommands import SCHEMA

KITCHEN = Topics("voiced", "kitchen")
OURS = Reply("voiced/kitchen/response")
NOON = datetime(2026, 11, 20, 12, 0, 0, 123_900, tzinfo=UTC)
VALIDATORS = {
    name: jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for name, schema in topics.schemas().items()
}

# Written down from the contract, not from the code.
KEYS = {
    "state": "state since session turn follow_up muted wake_enabled reason source",
    "settings": "mute wake_enabled follow_up volume wake_sensitivity wake_word persona voice",
    "wake": "time wake_word score threshold action",
    "turn": (
        "id turn session time source wake_word outcome user assistant latency_ms timeline_ms tools usage cost error"
    ),
    "usage": "since turns sessions tokens cost uploaded_s",
    "health": "time problems cloud microphone speaker overruns underruns rss_mb cpu_percent cpu_temperature mqtt"
    " last_error wake echo",
    "info": "contract id version started host platform provider model base_topic wake_words voices personas features",
    "update": "installed_version latest_version title release_url release_summary in_progress update_percentage",
    "event/wake": "event_type time wake_word score source threshold action reason",
    "event/session": "event_type time session reason turns",
    "event/turn": (
        "event_type id turn session time source wake_word outcome user assistant latency_ms timeline_ms tools usage"
        " cost error"
    ),
    "event/ducking": "event_type time",
    "event/tool": "event_type time turn name arguments duration_ms",
    "event/error": "event_type time code message",
    "transcript": "turn session role text final seq",
    "log": "time level logger message",
    "ears": "time level_db gate scores",
    "house/+/claim": "unit word quality talking",
    "house/+/speaking": "unit speaking",
    "response": "id action ok result error time",
}
RETAINED = {"availability", "state", "settings", "wake", "turn", "usage", "health", "info", "update"}

TIMES = st.integers(10**6, 32 * 10**12).map(
    lambda ms: payloads.moment(ms / 1000).astimezone(timezone(timedelta(hours=ms % 25 - 12)))
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def schema_of(model: type[payloads.Payload]) -> str:
    return next(topic.name for topic in topics.TABLE if topic.payload is model)


def sent(payload: payloads.Payload) -> Any:
    """Return what a reader gets, after checking it against the published schema and the contract's keys."""
    text = payload.json_text()
    value = json.loads(text)
    assert not re.search(r"\s", re.sub(r'"(\\.|[^"\\])*"', "", text))  # no space between its parts
    name = schema_of(type(payload))
    VALIDATORS[name].validate(value)
    assert set(value) == set(KEYS[name].split())
    return value


def make_turn(**changes: Any) -> payloads.Turn:
    turn = payloads.Turn(
        id="sess_1-2",
        turn=2,
        session="sess_1",
        time=NOON,
        source="wake_word",
        wake_word="hey_jarvis",
        outcome="finished",
        user=payloads.User(text="What time is it?", language="en", duration_ms=1200),
        assistant=payloads.Assistant(text="Noon.", duration_ms=700),
        latency_ms=payloads.Latency(wake_to_listen=80, end_of_speech_to_first_audio=450, total=3000),
        tools=(payloads.ToolCall(name="clock", ok=True, duration_ms=3),),
        usage=payloads.TokenCount(input=100, output=20, cached=64, audio_input=80, audio_output=15),
        cost=0.0123,
    )
    return turn.model_copy(update=changes)


# --- payloads ---


@given(
    state=st.sampled_from(["starting", "idle", "listening", "processing", "responding", "error"]),
    since=TIMES,
    session=st.none() | TEXTS,
    turn=st.none() | st.integers(0, 10**6),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_every_state_fits_its_schema(
    state: Any, since: datetime, session: str | None, turn: int | None, flags: tuple[bool, bool, bool]
) -> None:
    follow_up, muted, wake_enabled = flags
    value = sent(
        payloads.State(
            state=state,
            since=since,
            session=session,
            turn=turn,
            follow_up=follow_up,
            muted=muted,
            wake_enabled=wake_enabled,
            reason=session,
            source="mqtt" if turn else None,
        )
    )
    assert value["since"].endswith("Z")
    assert len(value["since"]) == len("2026-11-20T12:00:00.123Z")
    # milliseconds are cut off, never more
    assert timedelta(0) <= since - datetime.fromisoformat(value["since"]) < timedelta(milliseconds=1)


@given(TEXTS, TEXTS, st.integers(0, 10**9), st.none() | st.floats(0, 1000), TIMES)
def test_every_turn_fits_its_schema_live_and_retained(
    said: str, answered: str, number: int, cost: float | None, time: datetime
) -> None:
    turn = make_turn(
        time=time, turn=number, cost=cost, user=payloads.User(text=said), assistant=payloads.Assistant(text=answered)
    )
    for mode, retained, live in (("retained", True, True), ("live", False, True), ("off", False, False)):
        kept, told = turn.as_published(mode)  # type: ignore[arg-type] # a str from a table of three modes
        for shown, payload in ((retained, sent(kept)), (live, sent(payloads.TurnEvent.ended(told)))):
            assert payload["user"]["text"] == (said if shown else None)
            assert payload["assistant"]["text"] == (answered if shown else None)
            assert payload["turn"] == number


@pytest.mark.parametrize(
    ("outcome", "event"),
    [("finished", "finished"), ("interrupted", "interrupted"), ("failed", "failed"), ("timeout", "failed")],
)
def test_a_turn_ends_with_the_event_of_its_outcome(outcome: str, event: str) -> None:
    value = sent(payloads.TurnEvent.ended(make_turn(outcome=outcome)))
    assert (value["event_type"], value["outcome"]) == (event, outcome)
    assert value["usage"] == {"input": 100, "output": 20, "cached": 64, "audio_input": 80, "audio_output": 15}


SAMPLES = [
    passing.DuckingEvent(event_type="began", time=NOON),
    passing.ToolEvent(event_type="called", time=NOON, turn=1, name="end_conversation", arguments="{}"),
    passing.Transcript(turn=1, session="sess_1", role="user", text="What", final=False, seq=0),
    passing.Hearing(time=NOON, level_db=-42.5, gate=True, scores={"hey_jarvis": 0.12}),
    passing.LogLine(time=NOON, level="info", logger="voiced.app", message="Woken: Idle -> Connecting"),
    payloads.Settings(
        mute=False, volume=60, wake_sensitivity=0.5, wake_word="hey_jarvis", persona="default", voice="marin"
    ),
    payloads.Wake(time=NOON, wake_word="hey_jarvis", score=0.93, threshold=0.5),
    make_turn(),
    make_turn(outcome="failed", error=payloads.Cause(code="refused", message="The service said no.")),
    payloads.Usage(
        since=NOON,
        turns=3,
        sessions=2,
        tokens=payloads.TokenSums(total=900, input=600, output=300, cached=64, audio_input=400, audio_output=250),
        cost=payloads.Spent(today=0.02, total=1.5, day_start=NOON, limit_day=1.0),
        uploaded_s=12.5,
    ),
    payloads.Health(
        time=NOON,
        problems=(payloads.Problem(code="broker", message="It is away.", since=NOON),),
        cloud="down",
        microphone="silent",
        speaker="missing",
        overruns=3,
        underruns=2,
        rss_mb=88.5,
        cpu_percent=4.2,
        cpu_temperature=51.0,
        mqtt=payloads.BrokerHealth(reconnects=1, dropped_events=2),
        last_error=payloads.LastError(code="x", message="y", time=NOON),
        wake=payloads.WakeCount(detected=7, near_misses=3, vetoed=1, rejected=2),
        echo=payloads.EchoHealth(mode="full-duplex", by="canceller", why="It is good.", attenuation_db=23.5),
    ),
    payloads.Health(time=NOON, cloud="ok", microphone="ok", speaker="ok", rss_mb=0, cpu_percent=0),
    payloads.Info(
        contract=topics.CONTRACT,
        id="kitchen",
        version="0.1.0",
        started=NOON,
        host="pi",
        platform="Linux",
        provider="azure",
        model="gpt-realtime-2.1",
        base_topic="voiced",
        wake_words=("hey_jarvis",),
    ),
    updating.Update(
        installed_version="0.1.0", latest_version="0.2.0", title="voiced", release_url="https://v.example/2"
    ),
    payloads.WakeEvent(event_type="detected", time=NOON, wake_word="hey_jarvis", score=0.9),
    payloads.WakeEvent(event_type="detected", time=NOON, source="mqtt"),
    payloads.WakeEvent(event_type="near_miss", time=NOON, wake_word="alexa", score=0.3, threshold=0.5),
    payloads.WakeEvent(event_type="rejected", time=NOON, wake_word="alexa", score=0.9, threshold=0.5, reason="voice"),
    payloads.WakeEvent(event_type="detected", time=NOON, wake_word="hush", score=0.9, threshold=0.5, action="stop"),
    payloads.SessionEvent(event_type="ended", time=NOON, session="sess_1", reason="no_speech", turns=2),
    payloads.TurnEvent(event_type="started", id="sess_1-1", turn=1, session="sess_1", time=NOON, source="wake_word"),
    payloads.ErrorEvent(event_type="error", time=NOON, code="refused", message="The service said no."),
    passing.HouseClaim(unit="kitchen", word="hey_jarvis", quality=0.9),
    passing.HouseSpeaking(unit="kitchen", speaking=True),
    commands.failed(None, CommandError("No.", code="busy"), NOON),
    commands.succeeded(Ping(OURS), NOON, {"version": "0.1.0"}),
]


@pytest.mark.parametrize("payload", SAMPLES, ids=lambda payload: type(payload).__name__)
def test_payloads_have_the_keys_of_the_contract(payload: payloads.Payload) -> None:
    sent(payload)
    assert type(payload).model_validate_json(payload.json_text()[:-1] + ',"new_in_2030":1}') is not None


def test_samples_cover_every_payload() -> None:
    assert {schema_of(type(payload)) for payload in SAMPLES} | {"state"} == set(KEYS) == set(topics.schemas())


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        payloads.Health(time=NOON, cloud="ok", microphone="ok", speaker="ok", rss_mb=number, cpu_percent=0)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        payloads.Wake(time=datetime(2026, 1, 1), wake_word="x", score=1, threshold=0.5)  # noqa: DTZ001 - the fault tested
    assert payloads.moment(0).isoformat() == "1970-01-01T00:00:00+00:00"


# --- topics ---


def test_retained_are_states_and_nothing_else() -> None:
    assert {topic.name for topic in topics.TABLE if topic.retain} == RETAINED
    assert {topic.name for topic in topics.TABLE if topic.qos == 0} == {
        "house/+/claim",
        "house/+/speaking",
        "transcript",
        "log",
        "ears",
    }


def test_subscriptions_are_commands_only() -> None:
    assert set(KITCHEN.subscriptions) == {
        "voiced/kitchen/set/+",
        "voiced/kitchen/set",
        "voiced/kitchen/get",
        "voiced/kitchen/command/+",
        "voiced/kitchen/command",
        "voiced/all/command/+",
        "voiced/all/set/+",
    }


def test_reference_names_every_topic() -> None:
    lines = topics.reference().splitlines()
    assert len(lines) == 2 + len(topics.TABLE)
    assert "| `<base>/<id>/state` | out | State: what it is doing | yes | 1 |" in lines
    assert all(line.count("|") == 6 for line in lines)


def test_discovery_follows_the_prefix_and_birth_does_not() -> None:
    topics = Topics("home/voice", "attic-2", "ha")
    assert topics.discovery == "ha/device/voiced_attic-2/config"
    assert topics.birth == "homeassistant/status"  # of Home Assistant, where only the prefix was changed
    assert Topics.of(Config(mqtt=MqttConfig(birth_topic="ha/here"))).birth == "ha/here"
    assert topics.own("state") == "home/voice/attic-2/state"
    assert topics.command("home/voice/all/command/stop") == "command/stop"
    assert topics.command("home/voice/attic-22/command/stop") is None


def test_the_contract_is_shipped() -> None:
    """With VOICED_GOLDEN=write set, writes the file instead. A change that breaks readers needs another CONTRACT."""
    text = json.dumps(topics.contract(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("VOICED_GOLDEN") == "write":
        SCHEMA.write_text(text, encoding="utf-8")
    assert SCHEMA.read_text(encoding="utf-8") == text


def test_the_readme_has_the_reference() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert topics.reference() in readme
    assert actions.reference() in readme


COMMANDS = topics.contract()["commands"]


def test_each_command_has_a_schema() -> None:
    assert set(COMMANDS) == {"set", "get", *(f"command/{action.name}" for action in actions.ACTIONS)}
    for schema in COMMANDS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", COMMANDS)
@settings(max_examples=30)
@given(data=st.data())
def test_what_fits_the_schema_of_a_command_is_understood(name: str, data: st.DataObject) -> None:
    schema = COMMANDS[name]
    either = [part["required"][0] for part in schema.get("oneOf", ())]
    needed = {*schema.get("required", ()), *([data.draw(st.sampled_from(either))] if either else [])}
    fields = {
        key: data.draw(valid(part))
        for key, part in schema["properties"].items()
        if key in needed or (key not in either and data.draw(st.booleans()))
    }
    if name == "set":
        fields = {"volume": 5, **fields}
    jsonschema.Draft202012Validator(schema).validate(fields)
    try:
        command = parse(Message(f"voiced/kitchen/{name}", json.dumps(fields).encode()), KITCHEN)
    except RefusedCommandError as exc:
        said = str(exc)
    else:
        said = "" if not command.reply.ignored else "ignored"
    assert not said or re.search(
        r"NUL|is empty|is no sentence|must be a sentence|two answers|\"id\" must", said
    )  # which a schema cannot say


def valid(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit one of our own small schemas."""
    if "anyOf" in schema:
        return st.one_of(*(valid(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        return st.fixed_dictionaries({key: valid(part) for key, part in schema["properties"].items()})
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    low, high = schema.get("minimum"), schema.get("maximum")
    made = {
        "string": st.text(st.characters(exclude_categories=["Cs"]), min_size=schema.get("minLength", 0), max_size=40),
        "number": st.floats(low, high, allow_nan=False, allow_infinity=False),
        "integer": st.integers(-(10**17) if low is None else low, 10**17 if high is None else high),
        "null": st.none(),
        "array": st.lists(valid(schema["items"]), min_size=1, max_size=3) if "items" in schema else st.nothing(),
    }
    return st.one_of(*(made[kind] for kind in kinds))


# --- commands ---


@pytest.mark.parametrize(
    ("topic", "payload", "command"),
    [
        ("command/listen", "", Listen(OURS)),
        ("command/listen", "PRESS", Listen(OURS)),
        ("command/listen", '{"timeout_s": 8, "profile": "guest"}', Listen(OURS, 8.0, "guest")),
        ("command/listen", '{"persona": "guest", "timeout_s": null}', Listen(OURS, None, "guest")),
        ("command/listen", '{"hold": true}', Listen(OURS, hold=True)),
        ("command/release", "PRESS", Release(OURS)),
        ("command/stop", "PRESS", Stop(OURS)),
        ("command/stop", "{}", Stop(OURS)),
        ("command/end", "press", End(OURS)),
        ("command/new_conversation", "PRESS", NewConversation(OURS)),
        ("command/restart", "", Restart(OURS)),
        ("command/ping", "", Ping(OURS)),
        ("command/ping", '{"id": 42}', Ping(Reply(OURS.topic, None, "42"))),
        ("command/say", " Grüße, Küche! \n", Say(OURS, "Grüße, Küche!")),
        ("command/say", "PRESS", Say(OURS, "PRESS")),
        ("command/say", '{"text": "a", "voice": "cedar", "volume": 40}', Say(OURS, "a", voice="cedar", volume=40)),
        ("command/announce", '{"media": "/a/b c.wav"}', Announce(OURS, media="/a/b c.wav")),
        ("command/announce", '{"media": "/a/b.wav", "chime": 0}', Announce(OURS, media="/a/b.wav", chime=False)),
        ("command/announce", '{"media": "https://h/x", "volume": null}', Announce(OURS, media="https://h/x")),
        ("command/say", "5", Say(OURS, "5")),
        ("command/say", '"quoted"', Say(OURS, '"quoted"')),
        ("command/say", '{"text": "hi", "interrupt": true}', Say(OURS, "hi", interrupt=True)),
        ("command/announce", "Dinner!", commands.Announce(OURS, "Dinner!")),
        (
            "command/announce",
            '{"text": "Who is hungry?", "listen_after": true}',
            commands.Announce(OURS, "Who is hungry?", listen_after=True),
        ),
        (
            "command/announce",
            '{"text": "Fire!", "chime": "OFF", "priority": "high", "interrupt": true}',
            commands.Announce(OURS, "Fire!", chime=False, urgent=True, interrupt=True),
        ),
        ("command/cancel_announcements", "PRESS", commands.CancelAnnouncements(OURS)),
        ("command/ask", "what?", Ask(OURS, "what?")),
        (
            "command/ask",
            '{"text": "q", "instructions": "be brief", "listen_after": "ON", "id": "a1"}',
            Ask(Reply(OURS.topic, None, "a1"), "q", "be brief", listen_after=True),
        ),
        ("command", '{"action": "say", "text": "hi"}', Say(OURS, "hi")),
        ("command", '{"action": "stop", "id": "7"}', Stop(Reply(OURS.topic, None, "7"))),
        ("set/mute", "ON", SetSettings(OURS, mute=True)),
        ("set/mute", "false", SetSettings(OURS, mute=False)),
        ("set/mute", "1", SetSettings(OURS, mute=True)),
        ("set/mute", "TOGGLE", SetSettings(OURS, mute="toggle")),
        ("set/volume", "50.0", SetSettings(OURS, volume=50)),
        ("set/volume", "0", SetSettings(OURS, volume=0)),
        ("set", '{"mute": "off", "volume": 100}', SetSettings(OURS, mute=False, volume=100)),
        ("set", '{"mute": true, "id": "x"}', SetSettings(Reply(OURS.topic, None, "x"), mute=True)),
        ("set/wake_enabled", "OFF", SetSettings(OURS, wake_enabled=False)),
        ("set/follow_up", "toggle", SetSettings(OURS, follow_up="toggle")),
        ("set/wake_sensitivity", "0.35", SetSettings(OURS, wake_sensitivity=0.35)),
        ("set/wake_sensitivity", "1", SetSettings(OURS, wake_sensitivity=1.0)),
        ("set/wake_sensitivity", str(0.55 + 0.05), SetSettings(OURS, wake_sensitivity=0.6000000000000001)),
        ("set/wake_sensitivity", "5e-05", SetSettings(OURS, wake_sensitivity=0.00005)),
        ("set/wake_word", "all", SetSettings(OURS, wake_word="all")),
        ("set/persona", " kid ", SetSettings(OURS, persona="kid")),
        ("set/voice", "cedar", SetSettings(OURS, voice="cedar")),
        ("set", '{"persona": "kid", "wake_sensitivity": 0}', SetSettings(OURS, persona="kid", wake_sensitivity=0.0)),
        ("get", "", Get(OURS)),
        ("get", "PRESS", Get(OURS)),
        ("get", '{"topics": ["state", "turn", "state"]}', Get(OURS, ("state", "turn"))),
    ],
)
def test_commands_are_understood(topic: str, payload: str, command: commands.Command) -> None:
    assert parse(Message(f"voiced/kitchen/{topic}", payload.encode()), KITCHEN) == command
    if topic.startswith(("command/", "set/")):
        assert parse(Message(f"voiced/all/{topic}", payload.encode()), KITCHEN) == command


@pytest.mark.parametrize(
    ("topic", "payload", "code", "says"),
    [
        (
            "command/fly",
            "",
            "unknown_action",
            "known are listen, release, stop, end, new_conversation, say, announce, cancel_announcements, ask, ask",
        ),
        ("command/set", "{}", "unknown_action", "no action set"),
        ("command", '{"action": "fly"}', "unknown_action", "no action fly"),
        ("command", "", "invalid", '"action" is missing'),
        ("command", "[]", "invalid", "not an object"),
        ("command", '{"action": 5}', "invalid", '"action" must be a text, not 5'),
        ("command", '{"action": ["say"]}', "invalid", "not a list"),
        ("command/say", "", "invalid", "the text is empty"),
        ("command/say", "{}", "invalid", '"text" is missing'),
        ("command/say", '{"text": "x"', "invalid", "not valid JSON"),
        ("command/say", '{"text": 5}', "invalid", '"text" must be a text'),
        ("command/say", '{"text": "x", "interrupt": "perhaps"}', "invalid", "send ON or OFF"),
        ("command/say", '{"text": "x", "interrupt": []}', "invalid", "send ON or OFF"),
        ("command/say", '{"text": "\\ud800"}', "invalid", "surrogate"),
        ("command/announce", '{"text": "x", "priority": 1}', "invalid", 'send "normal" or "high"'),
        ("command/announce", '{"text": "x", "priority": "now"}', "invalid", 'send "normal" or "high"'),
        ("command/announce", '{"media": "bell.wav"}', "invalid", "send the whole path"),
        ("command/announce", '{"media": "ftp://h/bell.wav"}', "invalid", "begins with http"),
        ("command/announce", '{"media": "http://h/a bell.wav"}', "invalid", "begins with http"),
        ("command/announce", '{"media": "/bell.wav", "text": "x"}', "invalid", "send one of them"),
        ("command/say", '{"text": "x", "volume": 101}', "invalid", "0 to 100"),
        ("command/say", '{"text": "x", "voice": 1}', "invalid", '"voice" must be a text'),
        ("command/say", "a\0b", "invalid", "NUL"),
        ("command/say", "x" * 8_001, "invalid", "at most 8000"),
        ("command/say", "x" * 65_537, "invalid", "more than 65536 bytes"),
        ("command/say", '{"text": ' + "[" * 30_000 + "]" * 30_000 + "}", "invalid", "nested too deep"),
        ("command/say", '{"text": "x", "id": true}', "invalid", '"id" must be a text'),
        ("command/say", '{"n": ' + "9" * 5_000 + "}", "invalid", "thousands of digits"),
        ("command/listen", "now", "invalid", "listen takes no text"),
        ("command/listen", '{"timeout_s": 0}', "invalid", "from 1 to 60"),
        ("command/listen", '{"hold": "down"}', "invalid", "send ON or OFF"),
        ("command/release", "now", "invalid", "release takes no text"),
        ("command/listen", '{"timeout_s": true}', "invalid", "from 1 to 60"),
        ("command/listen", '{"timeout_s": NaN}', "invalid", "from 1 to 60"),
        ("command/listen", '{"profile": 1}', "invalid", '"profile" must be a text'),
        ("set/volume", "loud", "invalid", "volume is loud"),
        ("set/volume", "101", "invalid", "0 to 100"),
        ("set/volume", "-1", "invalid", "0 to 100"),
        ("set/volume", "5.5", "invalid", "whole number"),
        ("set/volume", "inf", "invalid", "0 to 100"),
        ("set/volume", "", "invalid", "volume is ; send"),
        ("set/mute", "perhaps", "invalid", "ON, OFF or TOGGLE"),
        ("set/colour", "red", "invalid", "known are mute, wake_enabled"),
        ("set", "{}", "invalid", "no setting is named"),
        ("set", '{"mute": true, "colour": 1}', "invalid", "no setting colour"),
        ("set", '{"volume": true}', "invalid", "volume is True"),
        ("set", '{"volume": 1e999}', "invalid", "volume is inf"),
        ("set/wake_enabled", "perhaps", "invalid", "wake_enabled is perhaps; send ON, OFF or TOGGLE"),
        ("set/wake_sensitivity", "1.01", "invalid", "a number from 0 to 1"),
        ("set/wake_sensitivity", "nan", "invalid", "a number from 0 to 1"),
        ("set", '{"wake_sensitivity": true}', "invalid", "wake_sensitivity is True"),
        ("set", '{"wake_sensitivity": NaN}', "invalid", "wake_sensitivity is nan"),
        ("set/wake_word", "", "invalid", "wake_word is empty"),
        ("set/persona", "x" * 129, "invalid", "at most 128"),
        ("get", '{"topics": []}', "invalid", "state, settings"),
        ("get", '{"topics": ["moon"]}', "invalid", "state, settings"),
        ("get", '{"topics": [["state"]]}', "invalid", "state, settings"),
        ("get", '{"topics": "state"}', "invalid", "state, settings"),
    ],
)
def test_bad_commands_are_refused_with_a_remedy(topic: str, payload: str, code: str, says: str) -> None:
    with pytest.raises(RefusedCommandError) as refused:
        parse(Message(f"voiced/kitchen/{topic}", payload.encode()), KITCHEN)
    assert refused.value.code == code
    assert str(refused.value).startswith(f"voiced/kitchen/{topic}: ")
    assert says in str(refused.value)


def test_an_unknown_key_is_ignored_and_named_in_the_answer() -> None:
    command = parse(Message("voiced/kitchen/command/say", b'{"text": "hi", "pitch": "x", "id": "9"}'), KITCHEN)
    assert command == Say(Reply(OURS.topic, None, "9", ("pitch",)), "hi")
    assert sent(commands.succeeded(command, NOON)) == {
        "id": "9",
        "action": "say",
        "ok": True,
        "result": {"ignored": ["pitch"]},
        "error": None,
        "time": "2026-11-20T12:00:00.123Z",
    }


def test_the_answer_goes_where_it_is_wanted() -> None:
    message = Message("voiced/kitchen/command/fly", b'{"id": "9"}', "app/answers", b"\x00\xff")
    with pytest.raises(RefusedCommandError) as refused:
        parse(message, KITCHEN)
    assert refused.value.reply == Reply("app/answers", b"\x00\xff", "9")
    answer = sent(commands.failed(None, refused.value, NOON))
    assert (answer["id"], answer["action"], answer["ok"]) == ("9", "fly", False)
    assert answer["error"]["code"] == "unknown_action"
    busy = sent(
        commands.failed(Say(Reply("x", None, "3"), "hi"), CommandError("A turn is running.", code="busy"), NOON)
    )
    assert (busy["id"], busy["action"], busy["error"]) == (
        "3",
        "say",
        {"code": "busy", "message": "A turn is running."},
    )


@pytest.mark.parametrize(
    "topic",
    [
        *("voiced/kitchen/state", "voiced/all/command/say", "voiced/group/up/command/listen"),
        *("voiced/kitchen/responses", "$CONTROL/dynamic-security/v1", "a/+", "#", "", "x" * 600),
    ],
)
def test_nobody_makes_us_speak_on_a_topic_of_state_or_a_pattern(topic: str) -> None:
    with pytest.raises(RefusedCommandError, match="response topic") as refused:
        parse(Message("voiced/kitchen/command/ping", b"", topic), KITCHEN)
    assert refused.value.reply == OURS


def test_an_answer_below_our_own_response_topic_is_fine() -> None:
    message = Message("voiced/kitchen/command/ping", b"", "voiced/kitchen/response/cli-1")
    assert parse(message, KITCHEN) == Ping(Reply("voiced/kitchen/response/cli-1"))


def test_settings_are_applied() -> None:
    before = payloads.Settings(mute=True, volume=60, wake_sensitivity=0.5, wake_word="w", persona="p", voice="v")
    after = SetSettings(OURS, mute="toggle", volume=10).applied(before)
    assert after == before.model_copy(update={"mute": False, "volume": 10})
    assert SetSettings(OURS, mute=True).applied(before) == before
    other = SetSettings(OURS, wake_enabled="toggle", persona="toggle", wake_sensitivity=0.0)
    assert other.applied(before) == before.model_copy(
        update={"wake_enabled": False, "persona": "toggle", "wake_sensitivity": 0.0}
    )
    assert other.named == ("wake_enabled", "wake_sensitivity", "persona")


WILD = st.text(st.characters() | st.characters(categories=["Cs", "Cc"]), max_size=20)  # half surrogate pairs too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WILD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WILD, inner, max_size=3),
    max_leaves=8,
)
KNOWN_KEYS = (
    *("action", "id", "text", "interrupt", "instructions", "listen_after"),
    *("timeout_s", "profile", "persona", "topics", "mute", "volume", "wake_sensitivity", "wake_word", "x"),
)
FIELDS = st.dictionaries(
    st.sampled_from(KNOWN_KEYS), JSON | st.sampled_from(["say", "ask", "listen", "ON", "toggle", 50, ["state"]])
)
PAYLOADS = (
    st.binary(max_size=200)
    | WILD.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | (JSON | FIELDS | st.fixed_dictionaries({"text": WILD})).map(lambda value: json.dumps(value).encode())
)
COMMAND_TOPICS = st.sampled_from(
    [
        f"voiced/kitchen/{name}"
        for name in ["command", "set", "get", "set/mute", "set/volume", "set/wake_sensitivity", "set/persona", "set/x"]
    ]
    + [f"voiced/all/command/{name}" for name in ["listen", "stop", "end", "say", "ask", "ping", "get", "x"]]
) | WILD.map(lambda name: f"voiced/kitchen/command/{name}")


@given(COMMAND_TOPICS, PAYLOADS, st.none() | st.text(max_size=30), st.none() | st.binary(max_size=20))
def test_any_bytes_give_a_command_or_a_refusal_that_can_be_answered(
    topic: str, payload: bytes, response_topic: str | None, correlation: bytes | None
) -> None:
    message = Message(topic, payload, response_topic, correlation)
    try:
        command = parse(message, KITCHEN)
    except RefusedCommandError as refused:
        reply = refused.reply
        answer = sent(commands.failed(None, refused, NOON))
        assert answer["error"]["message"]
        assert len(answer["error"]["message"]) < 1000
    else:
        reply = command.reply
        answer = sent(commands.succeeded(command, NOON))
        if isinstance(command, SetSettings):
            assert command.named
            assert command.wake_sensitivity is None or 0 <= command.wake_sensitivity <= 1
            assert command.volume is None or 0 <= command.volume <= 100
        if isinstance(command, Say | Ask):
            assert command.text
            assert command.text.encode()
    assert reply.correlation == correlation
    assert reply.topic in {response_topic, "voiced/kitchen/response"}
    assert len(answer["action"]) <= 128


@given(st.sampled_from(["say", "ask"]), WILD)
def test_any_text_is_taken_as_it_is_or_refused(action: str, text: str) -> None:
    message = Message(f"voiced/kitchen/command/{action}", json.dumps({"text": text, "id": "1"}).encode())
    try:
        command = parse(message, KITCHEN)
    except RefusedCommandError:
        assert not text.strip() or "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text)
    else:
        assert isinstance(command, Say | Ask)
        assert command.text == text.strip()
        assert command.text.encode()
