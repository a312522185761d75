"""The entities that Home Assistant shows, in one table; those for diagnosis stand in :mod:`voiced.core.diagnostics`.

:mod:`voiced.core.discovery` makes the messages from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from voiced.core.mqtt.passing import ToolEvent
from voiced.core.mqtt.payloads import SessionEvent, State, TurnEvent, WakeEvent


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
    only_if: Literal["restarts", "updates"] | None = None
    """It is there only if this field of the device is true."""
    options: Literal["active_words", "personas", "voices"] | None = None
    """Where a ``select`` has its options from: a field of :class:`voiced.core.discovery.Device`."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the platform, as Home Assistant names them."""


def _options(model: type[State | WakeEvent | SessionEvent | TurnEvent | ToolEvent], key: str) -> list[str]:
    return list(get_args(model.model_fields[key].annotation))


def on_if(condition: str) -> str:
    """Return a template that gives ``ON`` or ``OFF``."""
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


ENTITIES = (
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
        template=on_if("value_json.state == 'listening'"),
    ),
    Component(
        "speaking",
        "binary_sensor",
        "Speaking",
        "mdi:volume-high",
        state="state",
        template=on_if("value_json.state == 'responding'"),
        more={"device_class": "sound"},
    ),
    Component(
        "conversation",
        "binary_sensor",
        "Conversation",
        "mdi:forum",
        state="state",
        template=on_if("value_json.state in ['listening', 'processing', 'responding']"),
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
        "tool",
        "event",
        "Tool",
        "mdi:tools",
        state="event/tool",
        category="diagnostic",
        more={"event_types": _options(ToolEvent, "event_type"), "enabled_by_default": False},
    ),
    Component(
        "mute",
        "switch",
        "Mute",
        "mdi:microphone-off",
        state="settings",
        template=on_if("value_json.mute"),
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
    Component(
        "wake_enabled",
        "switch",
        "Wake word",
        "mdi:ear-hearing",
        state="settings",
        template=on_if("value_json.wake_enabled"),
        command="set/wake_enabled",
        category="config",
    ),
    Component(
        "follow_up",
        "switch",
        "Follow-up questions",
        "mdi:message-reply",
        state="settings",
        template=on_if("value_json.follow_up"),
        command="set/follow_up",
        category="config",
    ),
    Component(
        "wake_sensitivity",
        "number",
        "Wake word sensitivity",
        "mdi:tune-variant",
        state="settings",
        template="{{ value_json.wake_sensitivity }}",
        command="set/wake_sensitivity",
        category="config",
        more={"min": 0, "max": 1, "step": 0.05, "mode": "slider"},
    ),
    Component(
        "wake_word",
        "select",
        "Active wake word",
        "mdi:account-voice",
        state="settings",
        template="{{ value_json.wake_word }}",
        command="set/wake_word",
        category="config",
        options="active_words",
    ),
    Component(
        "persona",
        "select",
        "Persona",
        "mdi:account-switch",
        state="settings",
        template="{{ value_json.persona }}",
        command="set/persona",
        category="config",
        options="personas",
    ),
    Component(
        "voice",
        "select",
        "Voice",
        "mdi:account-tie-voice",
        state="settings",
        template="{{ value_json.voice }}",
        command="set/voice",
        category="config",
        options="voices",
    ),
    Component("listen", "button", "Listen", "mdi:microphone", command="command/listen"),
    Component("stop", "button", "Stop", "mdi:stop-circle", command="command/stop"),
    Component("end", "button", "End conversation", "mdi:forum-remove", command="command/end"),
    Component("new_conversation", "button", "New conversation", "mdi:forum-plus", command="command/new_conversation"),
    Component(
        "restart",
        "button",
        "Restart",
        "mdi:restart",
        command="command/restart",
        category="config",
        only_if="restarts",
        more={"device_class": "restart"},
    ),
    Component(
        "announce",
        "notify",
        "Announce",
        "mdi:bullhorn-variant",
        command="command/announce",
        more={"command_template": _TEXT},
    ),
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
)
