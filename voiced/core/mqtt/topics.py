"""Every topic, in one table: who speaks, what, retained or not.

Subscriptions, publishing, JSON Schemas, the reference in the README and Home Assistant's discovery are made from it.
"""

from dataclasses import dataclass
from typing import Literal

from voiced.config import Config
from voiced.core.mqtt import actions, passing, payloads, updating
from voiced.core.mqtt.actions import JsonSchema
from voiced.core.mqtt.payloads import Payload

CONTRACT = 1
"""Version of topics and payloads. Later ones may add topics and keys without another number."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One line of the table.

    ``name`` is what follows ``<base>/<id>/`` (or ``<base>/all/`` where ``everyone`` is set); ``+`` stands for one word.
    """

    name: str
    direction: Literal["out", "in", "both"]
    meaning: str
    payload: type[Payload] | None = None
    """Model of the JSON payload; ``None`` where it is plain text, or a command."""
    retain: bool = False
    qos: Literal[0, 1] = 1
    everyone: bool = False


SETTINGS = (
    "`set/mute`, `set/wake_enabled`, `set/follow_up` `ON`, `OFF`, `TOGGLE`; `set/volume` 0 to 100; "
    "`set/wake_sensitivity` 0 to 1; `set/wake_word` `all` or a word; `set/persona` a profile; "
    "`set/voice` its voice, from the next conversation on"
)
TABLE = (
    Topic("availability", "out", "`online` or `offline` (last will, 5 s after a crash)", retain=True),
    Topic("state", "out", "what it is doing", payloads.State, retain=True),
    Topic("settings", "out", "what can be changed while it runs", payloads.Settings, retain=True),
    Topic("wake", "out", "the last wake word accepted", payloads.Wake, retain=True),
    Topic("turn", "out", "the last turn; texts as `mqtt.transcripts` says", payloads.Turn, retain=True),
    Topic("usage", "out", "tokens and money, after each turn", payloads.Usage, retain=True),
    Topic("health", "out", "problems, on change and every 60 s", payloads.Health, retain=True),
    Topic("info", "out", "version, provider, wake words", payloads.Info, retain=True),
    Topic("update", "out", "the newest version, with `update.url`", updating.Update, retain=True),
    Topic("event/wake", "out", "a conversation was called for, or a word heard that called nobody", payloads.WakeEvent),
    Topic("event/session", "out", "a session with the service began or ended", payloads.SessionEvent),
    Topic("event/turn", "out", "a turn began or ended", payloads.TurnEvent),
    Topic("event/ducking", "out", "others should be softer now, or as before", passing.DuckingEvent),
    Topic("event/tool", "out", "the model used a tool", passing.ToolEvent),
    Topic("event/error", "out", "something failed, or works again", payloads.ErrorEvent),
    Topic("transcript", "out", "what is being said, with `mqtt.live_transcript`", passing.Transcript, qos=0),
    Topic("ears", "out", "what the ears hear, while somebody watches", passing.Hearing, qos=0),
    Topic("log", "out", "the log, from the level `mqtt.log` on", passing.LogLine, qos=0),
    Topic("response", "out", "answer to a command that named no response topic", payloads.Response),
    Topic("set/+", "in", f"one setting: {SETTINGS}"),
    Topic("set", "in", "settings as a JSON object: all are taken, or none"),
    Topic("get", "in", 'publish again: empty for all, or `{"topics": ["state"]}`'),
    Topic("command/+", "in", "`command/<action>`: empty, text, or a JSON object"),
    Topic("command", "in", '`{"action": "say", "text": "...", "id": "..."}`'),
    Topic("command/+", "in", "the same, to every voiced", everyone=True),
    Topic("set/+", "in", "the same, to every voiced", everyone=True),
    Topic("house/+/claim", "both", "this unit answers a wake word", passing.HouseClaim, qos=0, everyone=True),
    Topic("house/+/speaking", "both", "this unit speaks, or has done", passing.HouseSpeaking, qos=0, everyone=True),
)


SELF_TEST = "command/self_test"
"""Where voiced sends a word to itself, to learn whether the broker's rules let commands through."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one voiced by their full names."""

    base: str
    """``mqtt.base_topic``."""
    id: str
    """``device.id``."""
    discovery_prefix: str = "homeassistant"
    together: str = ""
    """``house.together``."""
    groups: tuple[str, ...] = ()
    """``house.groups``."""
    others: tuple[str, ...] = ()
    """Topics of another contract that is understood as well."""
    birth: str = "homeassistant/status"
    """Where Home Assistant says that it has started: there whatever its discovery prefix is, if nobody changed it."""

    @classmethod
    def of(cls, config: Config) -> "Topics":
        """Return the topics of a configuration."""
        mqtt, house = config.mqtt, config.house
        others: tuple[str, ...] = ()
        if mqtt.hermes:
            from voiced.core.hermes import SUBSCRIBED as others  # noqa: N811, PLC0415 - few want it, and it takes memory
        return cls(
            mqtt.base_topic,
            config.device.id,
            mqtt.discovery_prefix,
            house.together,
            house.groups,
            others,
            mqtt.birth_topic,
        )

    @property
    def root(self) -> str:
        """What all topics of this voiced begin with, without a slash at the end."""
        return f"{self.base}/{self.id}"

    def own(self, name: str) -> str:
        """Return the full name of a topic of this voiced."""
        return f"{self.root}/{name}"

    @property
    def discovery(self) -> str:
        """Where Home Assistant looks for this device."""
        return f"{self.discovery_prefix}/device/voiced_{self.id}/config"

    @property
    def discoveries(self) -> tuple[str, ...]:
        """Filters of all topics where Home Assistant, or who does as it does, may have been told of this device."""
        return (self.discovery, f"{self.discovery_prefix}/+/voiced_{self.id}/+/config")

    def is_foreign(self, topic: str) -> bool:
        """Return whether a topic is none of those that this contract, or Home Assistant's, has us publish on."""
        return not topic.startswith((f"{self.base}/", f"{self.discovery_prefix}/"))

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Filters of all commands, and of what other units say."""
        commands = [topic for topic in TABLE if topic.direction == "in"]
        filters = [self.own(topic.name) for topic in commands if not topic.everyone]
        for place in self._places:
            filters += [f"{self.base}/{place}/{topic.name}" for topic in commands if topic.everyone]
        if self.together:
            filters.append(self.household("+"))
        return (*filters, *self.others)

    def household(self, kind: str) -> str:
        """Return where units that hear each other say this."""
        return f"{self.base}/all/house/{self.together}/{kind}"

    def of_household(self, topic: str) -> str | None:
        """Return what is said on a topic among units that hear each other; ``None``: it is another topic."""
        return topic.removeprefix(self.household("")) if topic.startswith(self.household("")) else None

    @property
    def _places(self) -> tuple[str, ...]:
        return ("all", *(f"group/{group}" for group in self.groups))

    def command(self, topic: str) -> str | None:
        """Return what follows our prefix, or that of everybody or of a group, in the name of a command topic."""
        for prefix in (f"{self.root}/", *(f"{self.base}/{place}/" for place in self._places)):
            if topic.startswith(prefix):
                return topic[len(prefix) :]
        return None


def published(name: str) -> Topic:
    """Return the line of a topic that voiced publishes.

    Raises:
        KeyError: If there is none.

    """
    return _PUBLISHED[name]


_PUBLISHED = {topic.name: topic for topic in TABLE if topic.direction == "out"}

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

RETAINED = tuple(topic.name for topic in TABLE if topic.retain and topic.payload is not None)
"""Names of the topics that hold a latest value, which ``get`` can ask for."""


def schemas() -> dict[str, JsonSchema]:
    """Return the JSON Schema (2020-12) of each JSON payload published, by topic name."""
    return {
        topic.name: {
            "$schema": _DIALECT,
            **topic.payload.model_json_schema(mode="serialization"),
        }
        for topic in TABLE
        if topic.payload is not None
    }


def contract() -> JsonSchema:
    """Return the whole contract as one document: each topic with its schema, and what each command takes."""
    payload_schemas, commands = schemas(), actions.schemas(RETAINED)
    return {
        "contract": CONTRACT,
        "prefix": "<base>/<id>/",
        "topics": {
            topic.name: {
                "direction": topic.direction,
                "meaning": topic.meaning,
                "retained": topic.retain,
                "qos": topic.qos,
                "payload": payload_schemas.get(topic.name),
            }
            for topic in TABLE
            if not topic.everyone or topic.direction == "both"
        },
        "commands": {name: {"$schema": _DIALECT, **schema} for name, schema in commands.items()},
    }


def reference() -> str:
    """Return the table as Markdown, for the README."""
    lines = ["| topic | | payload | retained | QoS |", "| --- | --- | --- | --- | --- |"]
    for topic in TABLE:
        place = "<base>/all" if topic.everyone else "<base>/<id>"
        model = f"{topic.payload.__name__}: " if topic.payload else ""
        retained = "yes" if topic.retain else "no"
        lines.append(
            f"| `{place}/{topic.name}` | {topic.direction} | {model}{topic.meaning} | {retained} | {topic.qos} |"
        )
    return "\n".join(lines) + "\n"
