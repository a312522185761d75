"""Home Assistant's discovery message, against Home Assistant's own rules written down again."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.discovery import COMPONENTS, Device, announcement
from voiced.core.mqtt import commands, parsing, topics
from voiced.core.mqtt.topics import Topics

GOLDEN = Path(__file__).with_name("discovery.golden.json")
KITCHEN = Device(
    topics=Topics("voiced", "kitchen"),
    version="0.1.0",
    name="Kitchen voice",
    area="Kitchen",
    wake_words=("hey_jarvis", "alexa"),
    active_words=("all", "hey_jarvis", "alexa"),
    personas=("default", "kid"),
    voices=("alloy", "marin"),
    restarts=True,
    updates=True,
)

# Home Assistant 2025.4: an unknown key at any of these three places rejects the whole device.
TOP = {
    *("device", "origin", "components", "availability", "availability_topic", "availability_mode"),
    *("availability_template", "payload_available", "payload_not_available"),
    *("state_topic", "command_topic", "qos", "encoding"),
}
DEVICE = {
    *("identifiers", "connections", "name", "manufacturer", "model", "model_id", "hw_version", "sw_version"),
    *("serial_number", "suggested_area", "configuration_url", "via_device"),
}
ORIGIN = {"name", "sw_version", "support_url"}
COMMON = {
    *("platform", "unique_id", "object_id", "default_entity_id", "name", "icon", "qos", "entity_category"),
    *("enabled_by_default", "json_attributes_topic", "json_attributes_template", "value_template"),
}
PLATFORMS = {
    "sensor": {
        *("state_topic", "device_class", "options", "unit_of_measurement", "state_class"),
        *("suggested_display_precision", "last_reset_value_template", "expire_after"),
    },
    "binary_sensor": {"state_topic", "device_class"},
    "event": {"state_topic", "event_types"},
    "switch": {"state_topic", "command_topic"},
    "number": {"state_topic", "command_topic", "min", "max", "step", "mode", "unit_of_measurement"},
    "select": {"state_topic", "command_topic", "options"},
    "button": {"command_topic", "device_class"},
    "notify": {"command_topic", "command_template"},
    "update": {"state_topic", "device_class"},
    "text": {"state_topic", "command_topic", "command_template", "min", "max"},
}
TRIGGER = {"platform", "automation_type", "type", "subtype", "topic", "payload", "value_template", "qos"}
CLASSES = {
    "sensor": {"enum", "timestamp", "duration", "monetary", "temperature", "data_size"},
    "button": {"restart"},
    "update": {"firmware"},
    "binary_sensor": {"sound", "running", "problem", "connectivity"},
}
UNITS = {"duration": {"ms", "s"}, "monetary": {"USD"}, "temperature": {"°C"}, "data_size": {"MB"}}


def told(device: Device = KITCHEN) -> Any:
    messages, withdrawn, _ = announcement(device, "device", {})
    assert not withdrawn
    assert list(messages) == [device.topics.discovery]
    return json.loads(messages[device.topics.discovery])


def entities(message: Any) -> dict[str, Any]:
    return {name: c for name, c in message["components"].items() if c["platform"] != "device_automation"}


def test_message_is_the_golden_one() -> None:
    """With VOICED_GOLDEN=write set, writes the file instead; read the difference before committing it."""
    text = json.dumps(told(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("VOICED_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert GOLDEN.read_text(encoding="utf-8") == text


WORDS = st.lists(st.from_regex(r"[a-zA-Z0-9_. -]{1,20}", fullmatch=True), max_size=4).map(tuple)


@given(
    st.builds(
        Device,
        topics=st.builds(Topics, st.just("home/voice"), st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)),
        version=st.just("1"),
        name=st.text(max_size=20),
        area=st.text(max_size=20),
        wake_words=WORDS,
        active_words=WORDS,
        personas=WORDS,
        voices=WORDS,
    )
)
def test_home_assistant_takes_the_whole_device(device: Device) -> None:
    message = told(device)
    assert set(message) <= TOP
    assert set(message["device"]) <= DEVICE
    assert set(message["origin"]) <= ORIGIN
    assert message["origin"]["name"]
    assert message["device"]["identifiers"]
    assert message["device"]["name"]
    assert message["device"].get("suggested_area", "x")
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in message["components"])
    own = {device.topics.own(topic.name) for topic in topics.TABLE}
    unique = set()
    for component in message["components"].values():
        if component["platform"] == "device_automation":
            assert set(component) == TRIGGER
            assert component["topic"] in own
            continue
        assert set(component) <= COMMON | PLATFORMS[component["platform"]]
        unique.add(component["unique_id"])
    assert len(unique) == len(COMPONENTS) - 2  # nobody would start it again, and nobody is asked for updates
    assert len({json.dumps(c) for c in message["components"].values()}) == len(message["components"])


@pytest.mark.parametrize("name", [component.id for component in COMPONENTS])
def test_each_entity_follows_the_rules_of_its_platform(name: str) -> None:
    entity = entities(told())[name]
    platform = entity["platform"]
    assert entity["unique_id"] == entity["object_id"] == f"voiced_kitchen_{name}"
    assert entity["default_entity_id"] == f"{platform}.voiced_kitchen_{name}"
    assert entity["icon"].startswith("mdi:")
    assert entity["qos"] == 1  # Home Assistant takes it from the top of the message, and makes no use of it there
    if "device_class" in entity:
        assert entity["device_class"] in CLASSES[platform]
        assert entity.get("unit_of_measurement") in UNITS.get(entity["device_class"], {None})
    if platform in {"sensor", "binary_sensor"}:
        assert entity.get("entity_category") in {None, "diagnostic"}  # config is refused for what cannot be set
    if platform == "text":
        assert entity["max"] <= 255
    if "json_attributes_template" in entity:
        assert "tojson" in entity["json_attributes_template"]
    assert entity.get("json_attributes_topic", entity.get("state_topic")) == entity.get("state_topic")


def test_topics_are_those_of_the_table() -> None:
    published = {f"voiced/kitchen/{topic.name}": topic for topic in topics.TABLE if topic.direction == "out"}
    for entity in entities(told()).values():
        if "state_topic" in entity:
            assert published[entity["state_topic"]].retain is (entity["platform"] != "event")
        if "command_topic" in entity:
            highest = str(entity.get("max", "")).encode()
            choice = str(entity.get("options", ["hello"])[-1]).encode()
            payload = {"number": highest, "switch": b"ON", "button": b"PRESS"}.get(entity["platform"], choice)
            parsing.parse(commands.Message(entity["command_topic"], payload), KITCHEN.topics)
    triggers = [c for c in told()["components"].values() if c["platform"] == "device_automation"]
    assert all(not published[trigger["topic"]].retain for trigger in triggers)


def test_options_and_event_types_are_what_is_published() -> None:
    found = entities(told())
    schemas = topics.schemas()
    assert found["state"]["options"] == schemas["state"]["properties"]["state"]["enum"]
    for name in ("wake", "turn", "session"):
        assert found[name]["event_types"] == schemas[f"event/{name}"]["properties"]["event_type"]["enum"]


def test_templates_read_keys_that_are_published() -> None:
    schemas = topics.schemas()
    for entity in entities(told()).values():
        if "state_topic" not in entity:
            continue
        schema = schemas[entity["state_topic"].removeprefix("voiced/kitchen/")]
        templates = entity.get("value_template", "") + entity.get("json_attributes_template", "")
        for first, second in re.findall(r"value_json\.(\w+)(?:\.(\w+))?", templates):
            part = schema["properties"][first]
            if second:
                assert second in schema["$defs"][part["$ref"].rpartition("/")[2]]["properties"]


def test_there_is_a_trigger_for_each_wake_word_and_for_any() -> None:
    triggers = {
        (c["type"], c["subtype"]): c for c in told()["components"].values() if c["platform"] == "device_automation"
    }
    assert set(triggers) == {
        ("wake_word_detected", "any"),
        ("wake_word_detected", "hey_jarvis"),
        ("wake_word_detected", "alexa"),
        ("turn", "finished"),
        ("turn", "failed"),
        ("error", "error"),
    }
    assert triggers["wake_word_detected", "alexa"]["payload"] == "alexa"
    assert "if value_json.wake_word }}" in triggers["wake_word_detected", "any"]["value_template"]  # and no button


def test_choices_are_those_of_the_configuration_each_once() -> None:
    found = entities(told())
    assert found["wake_word"]["options"] == ["all", "hey_jarvis", "alexa"]
    assert found["persona"]["options"] == ["default", "kid"]
    assert found["wake_word"]["entity_category"] == "config"


def test_name_and_area_may_be_left_out() -> None:
    message = told(Device(topics=KITCHEN.topics, version="1"))
    assert message["device"]["name"] == "kitchen"
    assert "suggested_area" not in message["device"]


# --- what changes from one start to the next ---


def changed(before: Device, after: Device, *styles: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is told at the second start, and what is told no more."""
    first, second = styles
    _, _, known = announcement(before, first, {})
    messages, withdrawn, _ = announcement(after, second, json.loads(json.dumps(known)))
    return messages, withdrawn


FEWER = dataclasses.replace(KITCHEN, wake_words=("hey_jarvis",), restarts=False, updates=False)


def test_components_that_are_no_more_are_taken_away_and_again_at_each_start() -> None:
    message = json.loads(changed(KITCHEN, FEWER, "device", "device")[0][KITCHEN.topics.discovery])
    gone = {name: c for name, c in message["components"].items() if set(c) == {"platform"}}
    assert gone == {
        "restart": {"platform": "button"},
        "update": {"platform": "update"},
        "trigger_wake_word_detected_alexa": {"platform": "device_automation"},
    }
    _, _, known = announcement(KITCHEN, "device", {})
    for _ in range(2):
        again, _, known = announcement(FEWER, "device", known)
    assert json.loads(again[KITCHEN.topics.discovery]) == message
    back = json.loads(announcement(KITCHEN, "device", known)[0][KITCHEN.topics.discovery])
    assert back == told()


def test_each_component_can_have_a_message_of_its_own() -> None:
    messages, _, _ = announcement(KITCHEN, "components", {})
    assert len(messages) == len(told()["components"])
    for topic, payload in messages.items():
        prefix, platform, node, name, config = topic.split("/")
        assert (prefix, node, config) == ("homeassistant", "voiced_kitchen", "config")
        component = told()["components"][name]
        assert component.pop("platform") == platform
        message = json.loads(payload)
        assert component.items() <= message.items()
        assert message["device"] == told()["device"]
        assert ("availability_topic" in message) == (platform != "device_automation")


def test_another_style_first_clears_what_the_old_one_left() -> None:
    device = KITCHEN.topics.discovery
    to_device, withdrawn = changed(KITCHEN, FEWER, "components", "device")
    assert list(to_device) == [device]
    assert set(withdrawn) == set(announcement(KITCHEN, "components", {})[0])
    to_components, withdrawn = changed(KITCHEN, FEWER, "device", "components")
    assert withdrawn == (device,)
    assert sum(payload == "" for payload in to_components.values()) == 3  # three that are no more
    assert changed(KITCHEN, KITCHEN, "device", None) == ({}, (device,))
    assert changed(KITCHEN, KITCHEN, None, None) == ({}, ())
    moved = dataclasses.replace(KITCHEN, topics=Topics("voiced", "kitchen", "ha"))
    messages, withdrawn = changed(KITCHEN, moved, "device", "device")
    assert (list(messages), withdrawn) == (["ha/device/voiced_kitchen/config"], (device,))


@pytest.mark.parametrize(
    "damaged",
    [
        {"style": 5, "components": ["state"]},
        {"style": "device", "components": {"a/b": "sensor", "x": 5, "y": "../sensor"}},
        {"components": {"state": {}}},
        {"prefix": "", "style": "device"},
    ],
)
def test_a_damaged_memory_is_not_believed(damaged: dict[str, object]) -> None:
    messages, withdrawn, _ = announcement(KITCHEN, "device", damaged)
    assert not withdrawn
    assert json.loads(messages[KITCHEN.topics.discovery]) == told()
    assert list(messages) == [KITCHEN.topics.discovery]
