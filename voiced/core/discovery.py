"""What Home Assistant is told: one device discovery message, or one for each entity, made from the table of entities.

Source: MQTT integration of Home Assistant 2025.4 to 2026.11. An unknown key at the top, in ``device`` or ``origin``, an
unknown platform or an entity without ``unique_id`` makes it reject the whole device; an unknown key inside a component
is ignored.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from voiced.core.diagnostics import DIAGNOSTICS
from voiced.core.entities import ENTITIES, Component
from voiced.core.mqtt.topics import Topics

Style: TypeAlias = Literal["device", "components"]
"""One message for the whole device (Home Assistant 2024.11 and later), or one for each entity."""

COMPONENTS = (*ENTITIES, *DIAGNOSTICS)

SUPPORT_URL = "https://github.com/voiced/voiced"
BIRTH_PATIENCE_S = 3.0
"""Home Assistant's start is answered within this time, by each device at its own random moment."""


@dataclass(frozen=True, slots=True)
class Device:
    """What one voiced says about itself."""

    topics: Topics
    version: str
    name: str = ""
    """Default: the id."""
    area: str = ""
    wake_words: tuple[str, ...] = ()
    """All of them, for triggers."""
    active_words: tuple[str, ...] = ()
    """What the active word can be set to."""
    personas: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    restarts: bool = False
    """Whether it would be started again after ``restart``."""
    updates: bool = False
    """Whether it asks for the newest version."""


def announcement(
    device: Device, style: Style | None, known: Mapping[str, object]
) -> tuple[dict[str, str], tuple[str, ...], dict[str, object]]:
    """Return what Home Assistant is told, what it is told no more, and what is to be remembered of it.

    Args:
        device: Who speaks.
        style: How; ``None``: not at all.
        known: What was remembered last time; may be damaged.

    Returns:
        Payloads by full topic. Topics of another style or prefix, which must be emptied some time before, because Home
        Assistant takes no second entity of the same unique id. And style, prefix, and the platform of each component
        that was ever told: those that are no more are taken away at each start anew, for nobody knows who heard it.

    """
    now = components(device)
    gone = {name: platform for name, platform in _known_platforms(known).items() if name not in now}
    platforms = {**gone, **{name: str(component["platform"]) for name, component in now.items()}}
    used = {} if style is None else _messages(device, style, now, gone)
    before = Topics(device.topics.base, device.topics.id, str(known.get("prefix") or device.topics.discovery_prefix))
    every = {} if known.get("style") not in {"device", "components"} else _every_topic(before, platforms)
    old = tuple(topic for topic in every if topic not in used and _is_of(topic, before, known.get("style")))
    remembered: dict[str, object] = {
        "style": style or "off",
        "prefix": device.topics.discovery_prefix,
        "components": platforms,
    }
    return used, old, remembered


def components(device: Device) -> dict[str, dict[str, Any]]:
    """Return the entities and triggers of a device."""
    entities = {
        component.id: _entity(component, device)
        for component in COMPONENTS
        if component.only_if is None or getattr(device, component.only_if)
    }
    return entities | _triggers(device.topics, device.wake_words)


def _messages(
    device: Device, style: Style, now: Mapping[str, dict[str, Any]], gone: Mapping[str, str]
) -> dict[str, str]:
    about = _about(device)
    if style == "device":
        taken_away = {name: {"platform": platform} for name, platform in gone.items()}
        return {device.topics.discovery: _json({**about, "components": {**now, **taken_away}})}
    messages = {_topic(device.topics, name, platform): "" for name, platform in gone.items()}
    for name, component in now.items():
        settings = {key: value for key, value in component.items() if key != "platform"}
        if component["platform"] == "device_automation":  # has no availability of its own
            shared = {key: about[key] for key in ("device", "origin")}
        else:
            shared = about
        messages[_topic(device.topics, name, component["platform"])] = _json({**shared, **settings})
    return messages


def _topic(topics: Topics, name: str, platform: str) -> str:
    return f"{topics.discovery_prefix}/{platform}/voiced_{topics.id}/{name}/config"


def _every_topic(topics: Topics, platforms: Mapping[str, str]) -> list[str]:
    return [topics.discovery, *(_topic(topics, name, platform) for name, platform in platforms.items())]


def _is_of(topic: str, topics: Topics, style: object) -> bool:
    return (topic == topics.discovery) == (style == "device")


def _known_platforms(known: Mapping[str, object]) -> dict[str, str]:
    told = known.get("components")
    if not isinstance(told, dict):
        return {}
    return {
        name: platform
        for name, platform in told.items()
        if isinstance(platform, str) and re.fullmatch("[a-z_]+", platform) and re.fullmatch("[a-z0-9_-]+", name)
    }


def _json(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def _about(device: Device) -> dict[str, Any]:
    """Return what all components share."""
    topics = device.topics
    about = {
        "identifiers": [f"voiced_{topics.id}"],
        "name": device.name or topics.id,
        "manufacturer": "voiced",
        "model": "Voice daemon",
        "sw_version": device.version,
    }
    if device.area:
        about["suggested_area"] = device.area
    return {
        "device": about,
        "origin": {"name": "voiced", "sw_version": device.version, "support_url": SUPPORT_URL},
        "availability_topic": topics.own("availability"),
        "payload_available": "online",
        "payload_not_available": "offline",
    }


def _entity(component: Component, device: Device) -> dict[str, Any]:
    topics = device.topics
    unique = f"voiced_{topics.id}_{component.id}"
    entity: dict[str, Any] = {
        "platform": component.platform,
        "unique_id": unique,
        # object_id up to 2026.3, default_entity_id since 2025.10: with both, ids are the same in all versions
        "object_id": unique,
        "default_entity_id": f"{component.platform}.{unique}",
        "name": component.name,
        "icon": component.icon,
        # for commands, too; Home Assistant takes it from the top of the message and then makes no use of it
        "qos": 1,
    }
    if component.state is not None:
        entity["state_topic"] = topics.own(component.state)
    if component.template is not None:
        entity["value_template"] = component.template
    if component.attributes is not None and component.state is not None:
        entity["json_attributes_topic"] = topics.own(component.state)
        if component.attributes != "*":
            entity["json_attributes_template"] = component.attributes
    if component.command is not None:
        entity["command_topic"] = topics.own(component.command)
    if component.category is not None:
        entity["entity_category"] = component.category
    if component.options is not None:
        entity["options"] = list(dict.fromkeys(getattr(device, component.options)))
    return {**entity, **component.more}


def _triggers(topics: Topics, wake_words: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return device triggers: what automations offer in words."""
    detected = "{{ value_json.wake_word if value_json.event_type == 'detected' }}"
    any_word = "{{ value_json.event_type if value_json.wake_word }}"  # not where a button, or MQTT, called
    rows = [("wake_word_detected", "any", "event/wake", "detected", any_word)]
    rows += [("wake_word_detected", word, "event/wake", word, detected) for word in wake_words]
    rows += [("turn", kind, "event/turn", kind, "{{ value_json.event_type }}") for kind in ("finished", "failed")]
    rows += [("error", "error", "event/error", "error", "{{ value_json.event_type }}")]
    return {
        f"trigger_{kind}_{re.sub('[^a-z0-9_-]', '_', subtype.lower())}": {
            "platform": "device_automation",
            "automation_type": "trigger",
            "type": kind,
            "subtype": subtype,
            "topic": topics.own(topic),
            "payload": payload,
            "value_template": template,
            "qos": 1,
        }
        for kind, subtype, topic, payload, template in rows
    }
