"""What is said on the Realtime wire, in one vocabulary for both dialects.

The codecs (:mod:`voiced.core.realtime.ga`, :mod:`voiced.core.realtime.preview`) turn these values into JSON text and
back. Only what the daemon acts on is modelled; anything else arrives as :class:`Other`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voiced.core.questions import Question
from voiced.core.realtime.settings import SessionSettings, TurnDetection

# --- client events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """Set the session up; ``event_id`` correlates a refusal."""

    settings: SessionSettings
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class UpdateTurns:
    """Have the service end turns in another way from now on, or (``None``) not at all; all else stays."""

    turn_detection: TurnDetection | None


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
class CreateToolOutput:
    """Tell what a tool that was called came to."""

    call_id: str
    output: str


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """Ask for an answer.

    With ``instructions`` they replace the session's for this answer. With ``literal`` the answer is that text read
    aloud word for word, outside the conversation's memory. With ``report`` it is a call of
    :data:`voiced.core.questions.REPORT` and nothing else: what the person answered to that question.
    """

    instructions: str | None = None
    literal: str | None = None
    report: Question | None = None


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
    | UpdateTurns
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | CreateMessage
    | CreateToolOutput
    | CreateResponse
    | CancelResponse
    | TruncateItem
    | DeleteItem
)

# --- server events ----------------------------------------------------------------------------------------------------

ANOTHER_ANSWER = "conversation_already_has_active_response"
"""Code of the problem that the service cannot answer before another answer is over.

Source: public issues of clients of OpenAI's Realtime API, November 2026.
"""


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
    """When the quota will be whole again."""

    reset_s: Mapping[str, float]
    """Seconds until then, by what is counted: ``requests``, ``tokens``."""


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
