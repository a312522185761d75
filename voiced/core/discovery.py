"""What Home Assistant is told: one device discovery message, made from one table.

Source: MQTT integration of Home Assistant 2025.4 to 2026.11. An unknown key at the top, in ``device`` or ``origin``, an
unknown platform or an entity without ``unique_id`` makes it reject the whole device; an unknown key inside a component
is ignored.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from voiced.core.mqtt.payloads import SessionEvent, State, TurnEvent, WakeEvent
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


@dataclass(frozen=True, slots=True)
class Component:
    """One entity; topics are names below ``<base>/<id>/``."""

    id: str
    platform: str
    name: str | None
    """``None``: the main entity, named as the device."""
    icon: str
    state: str | None = None
    template: str | None = None
    attributes: str | None = None
    """Template of the attributes, made from the state topic; ``*`` stands for the whole payload."""
    command: str | None = None
    category: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the platform, as Home Assistant names them."""


def _options(model: type[State | WakeEvent | SessionEvent | TurnEvent], key: str) -> list[str]:
    return list(get_args(model.model_fields[key].annotation))


def _on_if(condition: str) -> str:
    return f"{{{{ 'ON' if {condition} else 'OFF' }}}}"


def _said(who: str) -> str:
    # the recorder drops attributes of more than 16 KiB: 8,000 characters are safe, the topic has the whole text
    return (
        "{{ {"
        f"'text': (value_json.{who}.text | default('', true))[:8000], "
        "'turn': value_json.turn, 'session': value_json.session, 'language': value_json.user.language, "
        "'outcome': value_json.outcome} | tojson }}"
    )


_TEXT = '{"text": {{ value | tojson }} }'

COMPONENTS = (
    Component(
        "state",
        "sensor",
        None,
        "mdi:account-voice",
        state="state",
        template="{{ value_json.state }}",
        attributes="*",
        more={"device_class": "enum", "options": _options(State, "state")},
    ),
    Component(
        "last_user_text",
        "sensor",
        "You said",
        "mdi:account-voice",
        state="turn",
        template="{{ (value_json.user.text | default('', true))[:255] }}",
        attributes=_said("user"),
    ),
    Component(
        "last_reply",
        "sensor",
        "Reply",
        "mdi:message-reply-text",
        state="turn",
        template="{{ value_json.assistant.text | default('', true) | truncate(255, true, '…') }}",
        attributes=_said("assistant"),
    ),
    Component(
        "last_wake",
        "sensor",
        "Last wake word",
        "mdi:ear-hearing",
        state="wake",
        template="{{ value_json.time }}",
        attributes="*",
        more={"device_class": "timestamp"},
    ),
    Component(
        "listening",
        "binary_sensor",
        "Listening",
        "mdi:microphone-message",
        state="state",
        template=_on_if("value_json.state == 'listening'"),
    ),
    Component(
        "speaking",
        "binary_sensor",
        "Speaking",
        "mdi:volume-high",
        state="state",
        template=_on_if("value_json.state == 'responding'"),
        more={"device_class": "sound"},
    ),
    Component(
        "conversation",
        "binary_sensor",
        "Conversation",
        "mdi:forum",
        state="state",
        template=_on_if("value_json.state in ['listening', 'processing', 'responding']"),
        more={"device_class": "running"},
    ),
    Component(
        "wake",
        "event",
        "Wake word",
        "mdi:ear-hearing",
        state="event/wake",
        more={"event_types": _options(WakeEvent, "event_type")},
    ),
    Component(
        "turn",
        "event",
        "Turn",
        "mdi:swap-horizontal",
        state="event/turn",
        more={"event_types": _options(TurnEvent, "event_type")},
    ),
    Component(
        "session",
        "event",
        "Session",
        "mdi:transit-connection-variant",
        state="event/session",
        more={"event_types": _options(SessionEvent, "event_type")},
    ),
    Component(
        "mute",
        "switch",
        "Mute",
        "mdi:microphone-off",
        state="settings",
        template=_on_if("value_json.mute"),
        command="set/mute",
    ),
    Component(
        "volume",
        "number",
        "Volume",
        "mdi:volume-medium",
        state="settings",
        template="{{ value_json.volume }}",
        command="set/volume",
        more={"min": 0, "max": 100, "step": 1, "mode": "slider", "unit_of_measurement": "%"},
    ),
    Component("listen", "button", "Listen", "mdi:microphone", command="command/listen"),
    Component("stop", "button", "Stop", "mdi:stop-circle", command="command/stop"),
    Component("end", "button", "End conversation", "mdi:forum-remove", command="command/end"),
    Component("ask", "notify", "Ask", "mdi:chat-question", command="command/ask", more={"command_template": _TEXT}),
    Component(
        "say",
        "text",
        "Say",
        "mdi:bullhorn",
        state="state",
        template="{{ '' }}",  # empties the box after each sentence
        command="command/say",
        more={"min": 0, "max": 255, "command_template": _TEXT},
    ),
    Component(
        "problem",
        "binary_sensor",
        "Problem",
        "mdi:alert-circle",
        state="health",
        template=_on_if("value_json.problems"),
        attributes="{{ {'problems': value_json.problems} | tojson }}",
        category="diagnostic",
        more={"device_class": "problem"},
    ),
    Component(
        "cloud",
        "binary_sensor",
        "Cloud",
        "mdi:cloud",
        state="health",
        template=_on_if("value_json.cloud == 'ok'"),
        category="diagnostic",
        more={"device_class": "connectivity"},
    ),
    Component(
        "latency",
        "sensor",
        "Latency",
        "mdi:timer-outline",
        state="turn",
        template="{{ value_json.latency_ms.end_of_speech_to_first_audio }}",
        category="diagnostic",
        attributes="{{ value_json.latency_ms | tojson }}",
        more={
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "state_class": "measurement",
            "suggested_display_precision": 0,
        },
    ),
    Component(
        "wake_score",
        "sensor",
        "Wake score",
        "mdi:gauge",
        state="wake",
        template="{{ value_json.score }}",
        category="diagnostic",
        more={
            "state_class": "measurement",
            "suggested_display_precision": 2,
            "enabled_by_default": False,
        },
    ),
    Component(
        "last_error",
        "sensor",
        "Last error",
        "mdi:alert",
        state="health",
        template="{{ (value_json.last_error or {}).message | default('', true) | truncate(255, true, '…') }}",
        category="diagnostic",
        attributes="{{ (value_json.last_error or {}) | tojson }}",
    ),
    Component(
        "started",
        "sensor",
        "Started",
        "mdi:clock-start",
        state="info",
        template="{{ value_json.started }}",
        category="diagnostic",
        attributes="*",
        more={"device_class": "timestamp"},
    ),
)


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
    components = {component.id: _entity(component, topics) for component in COMPONENTS}
    return {
        "device": about,
        "origin": {"name": "voiced", "sw_version": device.version, "support_url": SUPPORT_URL},
        "availability_topic": topics.own("availability"),
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "components": components | _triggers(topics, device.wake_words),
    }


def _entity(component: Component, topics: Topics) -> dict[str, Any]:
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
