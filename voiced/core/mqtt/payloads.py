"""What voiced publishes: one model for each payload, all keys always present.

Times are zone-aware :class:`~datetime.datetime` values, written as ISO 8601 UTC with milliseconds. Readers must ignore
keys they do not know, so later versions may add some.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from voiced.errors import Code


def moment(unix_s: float) -> datetime:
    """Return the time that lies ``unix_s`` seconds behind 1970-01-01 UTC."""
    return datetime.fromtimestamp(unix_s, UTC)


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time: TypeAlias = Annotated[
    AwareDatetime,
    PlainSerializer(_written, return_type=str),
    Field(json_schema_extra={"format": "date-time"}),
]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Percent: TypeAlias = Annotated[int, Field(ge=0, le=100)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, Field(ge=0)]

Source: TypeAlias = Literal["wake_word", "button", "mqtt", "follow_up"]
Action: TypeAlias = Literal["stop", "mute", "listen", "end", "volume_up", "volume_down"]
Outcome: TypeAlias = Literal["finished", "interrupted", "failed", "timeout"]


class Payload(BaseModel):
    """Base of all payloads."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, json_schema_serialization_defaults_required=True)

    def json_text(self) -> str:
        """Return the payload as JSON without spaces."""
        return self.model_dump_json()


class State(Payload):
    """``state``: what voiced is doing, in Home Assistant's words."""

    state: Literal["starting", "idle", "listening", "processing", "responding", "error"]
    since: Time
    session: str | None = None
    turn: Count | None = None
    """Number of the turn within its conversation, from 1."""
    follow_up: bool = False
    """Whether it listens for a follow-up turn, without the wake word."""
    muted: bool = False
    wake_enabled: bool = True
    reason: str | None = None
    """In ``error`` the code of the problem, ``microphone`` or ``service``; else why the last conversation ended."""
    source: Source | None = None


class Settings(Payload):
    """``settings``: what can be changed while it runs."""

    mute: bool
    wake_enabled: bool = True
    follow_up: bool = True
    volume: Percent
    wake_sensitivity: Share
    """For words without a threshold of their own."""
    wake_word: str
    """The word that is listened to, or ``all``; command words always are."""
    persona: str
    """The profile that a conversation started by hand uses."""
    voice: str
    """Of that profile."""


class Wake(Payload):
    """``wake``: the last wake word accepted."""

    time: Time
    wake_word: str
    score: Share
    threshold: Share
    action: Action | None = None
    """What a command word did; ``None``: it called somebody."""


class Cause(Payload):
    """What went wrong: a stable code and a sentence."""

    code: str
    message: str


class LastError(Cause):
    """The latest error."""

    time: Time


class Problem(Cause):
    """Something that is wrong now."""

    since: Time


class User(Payload):
    """What the person said in a turn."""

    text: str | None = None
    """``None``: nothing understood yet, or texts are not published."""
    language: str | None = None
    duration_ms: Count = 0


class Assistant(Payload):
    """What was answered in a turn."""

    text: str | None = None
    duration_ms: Count = 0
    interrupted_at_ms: Count | None = None
    """How much of the answer was heard, where it was cut short."""


class Latency(Payload):
    """Where the time of a turn went, in milliseconds."""

    wake_to_listen: Count | None = None
    end_of_speech_to_first_audio: Count | None = None
    total: Count = 0


class Timeline(Payload):
    """When things happened in a turn, in milliseconds since its first moment; ``None``: they did not."""

    called: Count | None = None
    """A wake word, a button or MQTT called; in the first turn of a conversation."""
    ready: Count | None = None
    """The session took sound, in that turn."""
    began: Count = 0
    """The person began."""
    said: Count | None = None
    """The person had done."""
    answered: Count | None = None
    """The first piece of the answer came."""
    sounded: Count | None = None
    """It could be heard."""
    over: Count = 0


class ToolCall(Payload):
    """A tool used in a turn."""

    name: str
    ok: bool
    duration_ms: Count


class TokenCount(Payload):
    """Tokens of one turn; the cached ones are part of ``input``."""

    input: Count = 0
    output: Count = 0
    cached: Count = 0
    audio_input: Count = 0
    audio_output: Count = 0


class _TurnBody(Payload):
    id: str
    """Unique; a turn that comes twice over MQTT is known by it."""
    turn: Count
    session: str
    time: Time
    source: Source
    wake_word: str | None = None
    user: User = User()
    assistant: Assistant = Assistant()
    latency_ms: Latency = Latency()
    timeline_ms: Timeline = Timeline()
    tools: tuple[ToolCall, ...] = ()
    usage: TokenCount = TokenCount()
    cost: Amount | None = None
    """US dollars; ``None`` where the price is not known."""
    error: Cause | None = None


class Turn(_TurnBody):
    """``turn``: the last turn."""

    outcome: Outcome

    def without_texts(self) -> "Turn":
        """Return the turn with nothing of what was said."""
        return self.model_copy(
            update={
                "user": self.user.model_copy(update={"text": None}),
                "assistant": self.assistant.model_copy(update={"text": None}),
            }
        )

    def as_published(self, transcripts: Literal["retained", "live", "off"]) -> tuple["Turn", "Turn"]:
        """Return the turn for the retained topic, and for the event, as ``mqtt.transcripts`` wants it."""
        bare = self.without_texts()
        return (self if transcripts == "retained" else bare, bare if transcripts == "off" else self)


Rejection: TypeAlias = Literal["unit", "voice", "speaker"]
"""Why a wake word that was heard is not answered: another unit answers it, or may have said it; another voice than the
word's verifier knows said it; this unit's own speaker said it."""


class WakeEvent(Payload):
    """``event/wake``: a wake word, another way to start a conversation, a near miss, or a word that is not answered.

    Word, score and threshold only from the microphone.
    """

    event_type: Literal["detected", "rejected", "near_miss"]
    time: Time
    wake_word: str | None = None
    score: Share | None = None
    source: Literal["mic", "button", "mqtt"] = "mic"
    threshold: Share | None = None
    action: Action | None = None
    """What a command word did."""
    reason: Rejection | None = None
    """Why it was rejected."""


class SessionEvent(Payload):
    """``event/session``: a session with the service opened or closed."""

    event_type: Literal["started", "ended"]
    time: Time
    session: str
    reason: str | None = None
    turns: Count = 0


class TurnEvent(_TurnBody):
    """``event/turn``: a turn began or is over; ``outcome`` is null while it runs."""

    event_type: Literal["started", "finished", "interrupted", "failed"]
    outcome: Outcome | None = None

    @classmethod
    def ended(cls, turn: Turn) -> "TurnEvent":
        """Return the event for a turn that is over."""
        kind = "failed" if turn.outcome == "timeout" else turn.outcome
        return cls.model_validate({**dict(turn), "event_type": kind})


class ErrorEvent(Payload):
    """``event/error``: something failed, or works again."""

    event_type: Literal["error", "recovered"]
    time: Time
    code: str
    message: str


class TokenSums(TokenCount):
    """Tokens of all turns."""

    total: Count = 0


class Spent(Payload):
    """What was paid, in US dollars, as far as prices are known."""

    today: Amount = 0.0
    total: Amount = 0.0
    currency: Literal["USD"] = "USD"
    day_start: Time
    limit_day: Amount | None = None


class Usage(Payload):
    """``usage``: sums since the ledger was begun, after each turn."""

    since: Time
    turns: Count = 0
    sessions: Count = 0
    tokens: TokenSums = TokenSums()
    cost: Spent
    uploaded_s: Amount = 0.0
    """Seconds of sound sent to the service."""


class BrokerHealth(Payload):
    """How the way to the broker has been since the start."""

    reconnects: Count = 0
    dropped_events: Count = 0
    """Events older than a minute, or too many, while the broker was away."""
    waiting_turns: Count = 0
    """Finished turns that the broker has not confirmed; they are on disk."""
    dropped_turns: Count = 0
    """Finished turns that waited too long, or were too many."""


class WakeCount(Payload):
    """How often wake words were heard since the start."""

    detected: Count = 0
    near_misses: Count = 0
    """Scores that came near the threshold and did not wake."""
    vetoed: Count = 0
    """Wakes dropped because the speaker said the word."""
    rejected: Count = 0
    """Wakes dropped because another voice than the word's verifier knows said the word."""


class EchoHealth(Payload):
    """How the speaker's own sound is kept from being taken for a person's."""

    mode: Literal["full-duplex", "half-duplex"]
    """Whether the service hears the microphone while an answer plays."""
    by: Literal["nothing", "canceller", "device", "service"] = "nothing"
    """Who takes the speaker's sound out of the microphone's."""
    why: str = ""
    attenuation_db: float | None = None
    """How much softer the speaker's sound became, as last measured."""
    evidence_db: float | None = None
    """The same for the sound that tells whether somebody really speaks; ``None``: nothing tells, or not measured."""


class Health(Payload):
    """``health``: on change, and every 60 s."""

    time: Time
    problems: tuple[Problem, ...] = ()
    cloud: Literal["ok", "connecting", "down"]
    microphone: Literal["ok", "missing", "silent"]
    speaker: Literal["ok", "missing"]
    overruns: Count = 0
    """How often sound was lost since the start."""
    underruns: Count = 0
    """How often the speaker had nothing to play in the midst of it, since the start."""
    rss_mb: Amount
    cpu_percent: Amount
    cpu_temperature: float | None = None
    """Degrees Celsius; ``None`` where the machine does not tell."""
    mqtt: BrokerHealth = BrokerHealth()
    last_error: LastError | None = None
    wake: WakeCount = WakeCount()
    echo: EchoHealth = EchoHealth(mode="half-duplex")


class Info(Payload):
    """``info``: what does not change while it runs."""

    contract: int
    """Version of topics and payloads, see ``voiced mqtt schema``."""
    id: str
    version: str
    started: Time
    host: str
    platform: str
    provider: str
    model: str
    base_topic: str
    wake_words: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    personas: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


class Refusal(Payload):
    """Why a command was not obeyed."""

    code: Code
    message: str


class Response(Payload):
    """``response``: what became of a command."""

    id: str | None = None
    action: str
    ok: bool
    result: Mapping[str, Any] | None = None
    error: Refusal | None = None
    time: Time
