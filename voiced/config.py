"""What a person may decide: every key of ``config.toml``, its range, unit and default.

Secrets never stand here: ``*_file`` keys name a file, else systemd credentials or the environment hold them.
:mod:`voiced.configfile` reads the file.
"""

import platform
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from voiced.places import is_address, is_place
from voiced.profileconfig import Fraction, Place, ProfileConfig, Section

Provider = Literal["azure", "azure-preview", "voice-live", "openai", "custom", "simulator"]
Percent = Annotated[int, Field(ge=0, le=100)]
Action = Literal["stop", "mute", "listen", "end", "volume_up", "volume_down"]
Cap = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]

_NAME = r"^[a-z0-9_-]+$"


def _is_name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError(f'must be small letters, digits, "_" and "-", not "{value}"')
    return value


Name = Annotated[str, Field(max_length=64, json_schema_extra={"pattern": _NAME}), AfterValidator(_is_name)]

EVERY_WORD = "all"
"""The active wake word, where no single one was chosen."""

_HOUR = r"([01]\d|2[0-3]):[0-5]\d"
_ENDPOINT = "https://RESOURCE.openai.azure.com"


def _device_id() -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", platform.node().split(".")[0].lower()).strip("-") or "voiced"


class DeviceConfig(Section):
    """``[device]``: who this is, on MQTT and in Home Assistant."""

    id: Name = Field(default_factory=_device_id)
    """Small letters, digits, ``_``, ``-``; part of every topic, so not ``all`` or ``group``. Default: the host name."""
    name: str = Field(default="", max_length=64)
    """For people; default: the id."""
    area: str = Field(default="", max_length=64)
    """Room that Home Assistant suggests."""

    @field_validator("id")
    @classmethod
    def _not_everybody(cls, value: str) -> str:
        if value in {"all", "group"}:
            raise ValueError(f'must not be "{value}", which stands for more than one in topics')
        return value


class AudioConfig(Section):
    """``[audio]``: microphone and speaker."""

    input: str = Field(default="default", min_length=1)
    """``default``, a name or USB port from ``voiced devices``, or ``file:PATH`` (a WAV file, paced in real time)."""
    output: str = Field(default="default", min_length=1)
    """``default``, a name from ``voiced devices``, ``file:PATH`` (a WAV file, written) or ``null``."""
    volume: Percent = 60
    """Loudness at the first start, percent; afterwards as last set."""
    chime: bool = True
    """Whether a short sound answers the wake word."""
    chime_volume: Percent = 100
    """Loudness of chimes, percent of the volume."""
    announcement_volume: Percent = 100
    """Loudness of texts read aloud on command (``say``), percent of the volume."""
    quiet_hours: str = ""
    """Hours like ``22:00-07:00``, in the time zone of the machine; empty: none."""
    quiet_volume: Percent = 20
    """The loudest volume within them, percent."""
    media_role: str = Field(default="assistant", pattern=r"^[A-Za-z0-9_-]*$")
    """What the sound server is told that answers are: by its rules it makes other players softer; empty: nothing."""
    echo_cancellation: Literal["auto", "on", "off", "half-duplex"] = "auto"
    """How an answer is kept from being taken for a person. ``auto``: cancelled, and the service hears the microphone
    meanwhile once the cancelling is measured to be good; ``on``: from the beginning; ``half-duplex``: never, only wake
    words are heard; ``off``: the microphone does not hear the speaker (headset), or cancels by itself."""
    input_end: Literal["stop", "silence"] = "stop"
    """What follows a ``file:`` input: the end of the daemon after the last conversation, or silence."""

    @field_validator("quiet_hours")
    @classmethod
    def _are_hours(cls, value: str) -> str:
        if value and not re.fullmatch(f"{_HOUR}-{_HOUR}", value):
            raise ValueError(f'must be hours like "22:00-07:00", not "{value}"')
        return value

    @field_validator("input", "output")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        if value == "file:":
            raise ValueError('"file:" needs a path behind it, like "file:/tmp/speech.wav"')
        return value


class WakeWordConfig(Section):
    """``[[wake.words]]``: one word to listen for."""

    model: str = Field(min_length=1)
    """Name of a model, see ``voiced models``."""
    threshold: Fraction | None = None
    """Score that counts as heard; overrides ``wake.sensitivity``."""
    patience: int | None = Field(default=None, ge=1, le=25)
    """How many of the last ``window`` scores (80 ms each) must reach it; default: what measured best."""
    window: int | None = Field(default=None, ge=1, le=25)
    """Default: ``patience``, so all in a row."""
    verifier: Place = ""
    """File of ``voiced wake verify``: only that person's voice counts."""
    verifier_threshold: Fraction | None = None
    """Probability that it was that voice, which counts; default: what the training proposed."""
    profile: str = "default"
    """Who answers."""
    action: Action | None = None
    """A command word, instead of a profile: acts at once, here, without the service."""

    @model_validator(mode="after")
    def _one_meaning(self) -> "WakeWordConfig":
        if self.action is not None and "profile" in self.model_fields_set:
            raise ValueError("action: a word has a profile or an action; leave one of them out")
        if self.verifier_threshold is not None and not self.verifier:
            raise ValueError("verifier_threshold: needs a verifier, see `voiced wake verify`")
        if self.window is not None and self.window < (self.patience or self.window + 1):
            raise ValueError("window: needs a patience, and must not be less")
        return self


class WakeConfig(Section):
    """``[wake]``: the ears."""

    sensitivity: Fraction = 0.5
    """0 (deaf) to 1 (jumpy)."""
    models_dir: Place = ""
    """Folder with further openWakeWord ``.onnx`` models."""
    gate: Literal["on", "off"] = "on"
    """``off``: the models score silence too, at ten times the cost in a quiet room."""
    near_miss: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of the threshold from which a score that wakes nobody is told."""
    clips: bool = False
    """Whether about 3 s of sound around each wake and near miss are kept as files."""
    clips_max: int = Field(default=50, ge=1, le=10_000)
    """How many; beyond them the oldest are deleted."""
    clips_days: float = Field(default=7.0, gt=0, le=3650)
    """Days after which they are deleted."""
    clips_dir: Place = ""
    """Folder; default: ``clips`` in the state directory."""
    words: tuple[WakeWordConfig, ...] = Field(default=(WakeWordConfig(model="hey_jarvis"),), min_length=1)


class ConversationConfig(Section):
    """``[conversation]``: how long to wait for whom."""

    follow_up_s: float = Field(default=6.0, ge=0, le=120)
    """Seconds to listen on after an answer was heard; 0 ends the conversation with it."""
    no_speech_s: float = Field(default=5.0, ge=1, le=60)
    """Seconds to wait for the first word."""
    max_s: float = Field(default=600.0, ge=10, le=3300)
    """Seconds after which a conversation ends; an answer that sounds then may come to its end within five minutes."""
    memory_turns: int = Field(default=6, ge=0, le=50)
    """The last turns, told to the next session as text."""
    memory_minutes: float = Field(default=10.0, ge=0, le=43_200, allow_inf_nan=False)
    """Minutes after which a turn is forgotten."""
    memory_on_disk: bool = False
    """Whether they are kept on disk, too, and survive a restart."""
    connect: Literal["wake", "speech"] = "wake"
    """When the session is opened: at the wake word, or only when speech follows it."""


class RealtimeConfig(Section):
    """``[realtime]``: where sessions go and how to sign in."""

    provider: Provider = "simulator"
    endpoint: str = ""
    """Azure: ``https://RESOURCE.openai.azure.com``. OpenAI: empty."""
    deployment: str = "gpt-realtime-2.1"
    """Azure: name of the deployment. OpenAI: name of the model."""
    api_version: str = ""
    """``azure-preview`` and ``voice-live`` only."""
    url: str = ""
    """``custom`` only: ws:// or wss:// URL of a server that speaks the protocol."""
    dialect: Literal["ga", "preview"] = "ga"
    """``custom`` only."""
    auth: Literal["auto", "entra", "key"] = "auto"
    """``auto``: a key if one is found, else keyless (Azure only)."""
    scope: str = "https://cognitiveservices.azure.com/.default"
    """What the keyless token is asked for."""
    key_file: Place = ""
    """File that holds the key; else a systemd credential or the environment."""
    ca_file: str = ""
    """Certificates to trust instead of the system's, PEM."""
    transcription_model: str = "auto"
    """Who writes down what the person says: ``auto``, ``off``, or a model (Azure: a deployment)."""
    prepare_at: Fraction = 0.0
    """Fraction of its threshold from which a rising wake score has the connection made (TCP and TLS, nothing else);
    0: never, the service's address is spoken to at a wake only."""
    model_family: str = ""
    """Model behind the deployment, for its price, where the service does not name it: ``gpt-realtime-2.1``."""

    @model_validator(mode="after")
    def _complete(self) -> "RealtimeConfig":
        if self.provider in {"azure", "azure-preview", "voice-live"}:
            if not self.endpoint:
                raise ValueError(
                    f'endpoint: "{self.provider}" needs one, like "{_ENDPOINT}"; AZURE_OPENAI_ENDPOINT sets it too'
                )
            if not re.match(r"^(https?|wss?)://[^/\s]+", self.endpoint):
                raise ValueError(f'endpoint: must be a URL like "{_ENDPOINT}", not "{self.endpoint}"')
        if self.provider == "custom" and not re.match(r"^wss?://[^/\s]+", self.url):
            raise ValueError(f'url: provider "custom" needs a ws:// or wss:// URL, not "{self.url}"')
        return self


class BudgetConfig(Section):
    """``[budget]``: what may be spent. At a cap no session opens, and the one going on ends after its answer."""

    usd_per_session: Cap = None
    usd_per_hour: Cap = None
    usd_per_day: Cap = None
    """Days and months are those of the machine's time zone."""
    usd_per_month: Cap = None
    session_minutes_per_hour: Cap = None
    """Minutes that sessions are open; those of a single one end with ``conversation.max_s``."""
    session_minutes_per_day: Cap = None
    session_minutes_per_month: Cap = None
    warn_at: Fraction = 0.8
    """Share of a cap from which ``health`` warns."""
    cheap_profile: str = ""
    """Profile that answers instead of every other one from then on; empty: none does."""
    prices_file: str = ""
    """Prices of your own, in the form of ``voiced/prices.toml``; its lines win over the shipped ones."""


class MqttConfig(Section):
    """``[mqtt]``: the broker."""

    host: str = Field(default="localhost", pattern=r"^\S*$")
    """Empty: no MQTT."""
    port: int = Field(default=1883, ge=1, le=65535)
    username: str = ""
    password_file: Place = ""
    """File that holds the password; else a systemd credential ``mqtt_password`` or ``VOICED_MQTT_PASSWORD``."""
    tls: bool = False
    ca_file: str = ""
    """Certificates to trust instead of the system's, PEM."""
    cert_file: str = ""
    """Certificate that this client shows, PEM; needs ``tls``."""
    key_file: str = ""
    """Its key, PEM and not encrypted; empty: it stands in the same file."""
    transport: Literal["tcp", "websockets"] = "tcp"
    ws_path: str = Field(default="/mqtt", pattern=r"^/\S*$")
    """``websockets`` only."""
    base_topic: str = Field(default="voiced", pattern=r"^[^#+/\s]+(/[^#+/\s]+)*$")
    discovery: bool | Literal["components"] = True
    """Whether Home Assistant is told; ``components``: by a message for each entity, as older software wants it."""
    discovery_prefix: str = Field(default="homeassistant", pattern=r"^[^#+/\s]+(/[^#+/\s]+)*$")
    birth_topic: str = Field(default="homeassistant/status", pattern=r"^[^#+/\s]+(/[^#+/\s]+)*$")
    """Where Home Assistant says that it has started; its default, whatever the discovery prefix is."""
    transcripts: Literal["retained", "live", "off"] = "retained"
    """Texts of turns: kept by the broker, only passed on, or never sent."""
    media: tuple[str, ...] = ()
    """Folders and beginnings of URLs from which ``announce`` may play sound files; empty: none. Whoever may publish
    could otherwise have the daemon read and fetch what they cannot reach themselves."""
    live_transcript: bool = False
    """Whether texts are also passed on while they are being said."""
    log: Literal["off", "debug", "info", "warning", "error"] = "off"
    """From which level on the log is passed on, without secrets; ``log.level`` comes first."""
    hermes: bool = False
    """Whether Hermes clients (Rhasspy, Snips) are understood and told."""
    hermes_site_id: str = Field(default="", max_length=64)
    """Our ``siteId``; empty: ``device.id``. What names no site is for "default"."""
    outbox_turns: int = Field(default=1000, ge=1, le=100_000)
    """Finished turns kept on disk until the broker has confirmed them; beyond them the oldest are dropped."""
    outbox_days: float = Field(default=7.0, gt=0, le=365)
    """Days after which they are dropped."""

    @field_validator("media")
    @classmethod
    def _are_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for place in value:
            if not is_place(place):
                raise ValueError(f'"{place}" is no whole path of a folder, and no beginning of an http or https URL')
        return value

    @model_validator(mode="after")
    def _certificates_need_tls(self) -> "MqttConfig":
        for key in ("ca_file", "cert_file", "key_file"):
            if getattr(self, key) and not self.tls:
                raise ValueError(f"{key}: is of no use without tls; set mqtt.tls = true")
        if self.live_transcript and self.transcripts == "off":
            raise ValueError('live_transcript: tells texts, and mqtt.transcripts is "off"; change one of them')
        if self.key_file and not self.cert_file:
            raise ValueError("key_file: needs the certificate that it belongs to, in mqtt.cert_file")
        return self


class HouseConfig(Section):
    """``[house]``: other units at the same broker."""

    together: Annotated[str, Field(pattern=r"^[a-z0-9_-]*$", max_length=64)] = "house"
    """Units of one name hear each other: one of them answers a wake word, none while another speaks. Empty: alone."""
    window_ms: int = Field(default=0, ge=0, le=2000)
    """Wait so long for a unit that heard the word better; 0: the first to hear it answers at once."""
    groups: tuple[Name, ...] = ()
    """Commands to ``<base>/group/NAME`` are for this unit, too."""


class HistoryConfig(Section):
    """``[history]``: finished turns that this machine remembers, for ``voiced turns``."""

    turns: int = Field(default=100, ge=0, le=500)
    """How many; 0: none."""
    texts: bool = False
    """Whether what was said is kept with them."""


class UpdateConfig(Section):
    """``[update]``: whether there is a newer version."""

    url: str = ""
    """Address that knows, asked once a day: PyPI's JSON of a package, or the latest release at GitHub, Gitea or
    Forgejo. Empty: nobody is asked."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not is_address(value):
            raise ValueError(f'must be an http or https URL without a user name, not "{value}"')
        return value


class LogConfig(Section):
    """``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """The whole of ``config.toml``."""

    device: DeviceConfig = Field(default_factory=DeviceConfig)
    audio: AudioConfig = Field(default_factory=AudioConfig)
    wake: WakeConfig = Field(default_factory=WakeConfig)
    conversation: ConversationConfig = Field(default_factory=ConversationConfig)
    realtime: RealtimeConfig = Field(default_factory=RealtimeConfig)
    profiles: dict[Name, ProfileConfig] = Field(default_factory=lambda: {"default": ProfileConfig()})
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    mqtt: MqttConfig = Field(default_factory=MqttConfig)
    house: HouseConfig = Field(default_factory=HouseConfig)
    history: HistoryConfig = Field(default_factory=HistoryConfig)
    update: UpdateConfig = Field(default_factory=UpdateConfig)
    log: LogConfig = Field(default_factory=LogConfig)

    @model_validator(mode="after")
    def _parts_agree(self) -> "Config":
        if problems := [*self._words_disagree(), *self._profiles_disagree()]:
            raise ValueError("\n".join(problems))
        return self

    def _words_disagree(self) -> Iterator[str]:
        seen: set[str] = set()
        for number, word in enumerate(self.wake.words):
            where = f"wake.words[{number}]"
            if word.model in seen:
                yield f'{where}.model: "{word.model}" stands there twice'
            seen.add(word.model)
            if word.model == EVERY_WORD:
                yield f'{where}.model: no word may be called "{EVERY_WORD}"; rename the file'
            if word.profile not in self.profiles:
                yield f"{where}.profile: {self._no_such_profile(word.profile)}"

    def _profiles_disagree(self) -> Iterator[str]:
        if self.budget.cheap_profile and self.budget.cheap_profile not in self.profiles:
            yield f"budget.cheap_profile: {self._no_such_profile(self.budget.cheap_profile)}"
        for name, profile in self.profiles.items():
            for key in ("turn_detection", "noise_reduction"):
                value = getattr(profile, key)
                if value.startswith("azure") and self.realtime.provider != "voice-live":
                    yield f'profiles.{name}.{key}: only provider "voice-live" has "{value}"'

    def _no_such_profile(self, name: str) -> str:
        return f'there is no "{name}"; there are: {", ".join(sorted(self.profiles))}'

    def unmet(self) -> list[str]:
        """Return a sentence for each wish that this version cannot fulfil."""
        wishes = []
        if self.realtime.provider in {"custom", "simulator"} and any(one.deployment for one in self.profiles.values()):
            wishes.append(f'provider "{self.realtime.provider}" has one model; the deployment of a profile is ignored')
        if self.update.url and not self.mqtt.host:
            wishes.append("update.url: the newest version is told by MQTT, and mqtt.host is empty; nobody is asked")
        return wishes
