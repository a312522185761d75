"""What Home Assistant is told: one device discovery message, made from the table of entities.

Source: MQTT integration of Home Assistant 2025.4 to 2026.11. An unknown key at the top, in ``device`` or ``origin``, an
unknown platform or an entity without ``unique_id`` makes it reject the whole device; an unknown key inside a component
is ignored.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from voiced.core.entities import COMPONENTS, Component
from voiced.core.mqtt.topics import Topics

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


def device_message(device: Device) -> str:
    """Return the payload for :attr:`Topics.discovery`, JSON without spaces."""
    return json.dumps(_device_message(device), ensure_ascii=False, separators=(",", ":"))


def _device_message(device: Device) -> dict[str, Any]:
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
    components = {component.id: _entity(component, device) for component in COMPONENTS}
    return {
        "device": about,
        "origin": {"name": "voiced", "sw_version": device.version, "support_url": SUPPORT_URL},
        "availability_topic": topics.own("availability"),
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "components": components | _triggers(topics, device.wake_words),
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
    rows = [("wake_word_detected", "any", "event/wake", "detected", "{{ value_json.event_type }}")]
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
        }
        for kind, subtype, topic, payload, template in rows
    }
