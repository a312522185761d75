"""What a session of the Realtime service is opened with, in one vocabulary for all dialects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voiced.core.frames import SERVICE_RATE


@dataclass(frozen=True, slots=True)
class ServerVad:
    """The service ends the turn by silence. Every value is sent: documented and real defaults differ."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = False  # the daemon knows better what was said over an answer
    idle_timeout_ms: int | None = None
    """Silence after an answer at which the service speaks up; the GA protocol alone has it."""


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """The service ends the turn when the sentence sounds complete."""

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    create_response: bool = True
    interrupt_response: bool = False  # the daemon knows better what was said over an answer


@dataclass(frozen=True, slots=True)
class LocalVad:
    """The daemon ends the turn by silence; the service's own detection is off."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: Literal[False] = False
    """By the service."""
    answered: bool = True
    """Whether the daemon has each turn answered."""


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
    interrupt_response: bool = False
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


TurnDetection: TypeAlias = ServerVad | SemanticVad | AzureVad | LocalVad


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
