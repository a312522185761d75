"""What is said on the Realtime wire, in one vocabulary for both dialects.

The codecs (:mod:`voiced.core.realtime.ga`, :mod:`voiced.core.realtime.preview`) turn these values into JSON text and
back. Only what the daemon acts on is modelled; anything else arrives as :class:`Other`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voiced.core.frames import SERVICE_RATE

# --- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerVad:
    """The service ends the turn by silence. Every value is sent: documented and real defaults differ."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None
    """Silence after an answer at which the service speaks up; the GA protocol alone has it."""


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """The service ends the turn when the sentence sounds complete."""

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True, slots=True)
class EndOfUtterance:
    """A model of Voice Live that judges whether a sentence is complete."""

    model: str
    threshold_level: str = "default"
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AzureVad:
    """Voice Live ends the turn, by silence or by what was said; ``kind`` is ``server_vad`` or an Azure one."""

    kind: str
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    speech_duration_ms: int | None = None
    remove_filler_words: bool | None = None
    languages: tuple[str, ...] = ()
    end_of_utterance: EndOfUtterance | None = None
    auto_truncate: bool | None = None


@dataclass(frozen=True, slots=True)
class Transcription:
    """Who writes down what the person says, and what helps with it."""

    model: str
    language: str | None = None
    """ISO 639-1."""
    prompt: str | None = None
    keywords: tuple[str, ...] = ()
    delay: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How a conversation that became too long is shortened: to a share of ``tokens``, of what the model takes."""

    ratio: float
    tokens: int | None = None


TurnDetection: TypeAlias = ServerVad | SemanticVad | AzureVad


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session is opened with; ``None`` leaves the service's own default.

    Each dialect writes those that it has.
    """

    modalities: tuple[Literal["audio", "text"], ...] = ("audio",)
    instructions: str = ""
    voice: str | Mapping[str, Any] | None = None
    speed: float | None = None
    turn_detection: TurnDetection | None = field(default_factory=ServerVad)
    """``None`` switches it off: the client commits."""
    transcription: Transcription | None = None
    noise_reduction: str | None = None
    noise_strength: float | None = None
    max_output_tokens: int | None = None
    truncation: Literal["auto", "disabled"] | Retention | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    input_rate: int = SERVICE_RATE
    """Samples per second of the sound sent; Voice Live alone takes another."""
    echo_cancellation: bool = False
    """By Voice Live, of its own voice."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """More of the session, as the service documents it; what the fields above write wins."""

    @property
    def speaks(self) -> bool:
        """Whether answers come as sound."""
        return "audio" in self.modalities


# --- client events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """Set the session up; ``event_id`` correlates a refusal."""

    settings: SessionSettings
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """Add sound to the input buffer: PCM16 little endian, mono, at the rate of the session."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class CommitAudio:
    """End the turn by hand."""


@dataclass(frozen=True, slots=True)
class ClearAudio:
    """Forget the input buffer."""


@dataclass(frozen=True, slots=True)
class CreateMessage:
    """Add a text message to the conversation."""

    role: Literal["user", "assistant", "system"]
    text: str


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """Ask for an answer.

    With ``instructions`` they replace the session's for this answer. With ``literal`` the answer is that text read
    aloud word for word, outside the conversation's memory.
    """

    instructions: str | None = None
    literal: str | None = None


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """Stop generating."""

    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """Tell the service how much of an answer was heard."""

    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """Take an item out of the conversation."""

    item_id: str


ClientEvent: TypeAlias = (
    UpdateSession
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | CreateMessage
    | CreateResponse
    | CancelResponse
    | TruncateItem
    | DeleteItem
)

# --- server events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The first event of a session."""

    session_id: str
    model: str | None = None
    expires_at: float | None = None
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """Our settings hold from here on; only now may sound be sent."""

    session_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The service hears speech begin, ``audio_start_ms`` into the sound it was sent."""

    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The service hears speech end, ``audio_end_ms`` into the sound it was sent."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class InputCommitted:
    """The person's turn became an item."""

    item_id: str


@dataclass(frozen=True, slots=True)
class InputTranscriptDelta:
    """A piece of what the person said."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class InputTranscript:
    """What the person said, whole. May come long after the answer."""

    item_id: str
    text: str
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InputTranscriptFailed:
    """What the person said could not be written down; the turn goes on."""

    item_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """An answer begins."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item of an answer begins; ``kind`` is ``message`` or ``function_call`` and so on."""

    response_id: str
    item_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """A piece of spoken answer: PCM16 little endian, 24 kHz, mono."""

    response_id: str
    item_id: str
    content_index: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text: the transcript of speech, or the text itself where nothing is spoken."""

    response_id: str
    item_id: str
    content_index: int
    text: str
    spoken: bool


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A finished call of a tool; ``arguments`` is JSON text as received."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; the cached ones are contained in the input counts."""

    total: int = 0
    input: int = 0
    output: int = 0
    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    cached: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_text: int = 0
    output_audio: int = 0


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """An answer is all generated. ``reason`` and ``message`` explain anything but ``completed``."""

    response_id: str
    status: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: str | None = None
    message: str | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What is left of the quota; seconds until it is whole again."""

    remaining: Mapping[str, float]
    reset_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ServiceProblem:
    """An ``error`` event. Not fatal by itself: a close follows where it is."""

    type: str
    code: str | None
    message: str
    param: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """An event the daemon does not act on; ``type`` as on the wire."""

    type: str


ServerEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | InputCommitted
    | InputTranscriptDelta
    | InputTranscript
    | InputTranscriptFailed
    | ResponseStarted
    | ItemAdded
    | AudioDelta
    | TextDelta
    | FunctionCall
    | ResponseDone
    | RateLimits
    | ServiceProblem
    | Other
)
