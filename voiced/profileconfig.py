"""``[profiles.NAME]``: who answers, and everything a session with the service can be told about it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

Fraction = Annotated[float, Field(ge=0, le=1)]


def _has_a_home(value: str) -> str:
    try:
        Path(value).expanduser()
    except RuntimeError as exc:
        raise ValueError(f'there is no home folder "{Path(value).parts[0]}"; write the whole path') from exc
    return value


Place = Annotated[str, AfterValidator(_has_a_home)]
"""A file or folder; ``~`` is the home folder of the daemon's user."""


class Section(BaseModel):
    """Frozen and strict; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class VoiceLiveConfig(Section):
    """``[profiles.NAME.voice_live]``: what only provider ``voice-live`` has."""

    echo_cancellation: bool = False
    """Whether the service takes its own voice out of what the microphone hears."""
    input_rate: Literal[16_000, 24_000] = 24_000
    """Samples per second sent; 16,000 is what the microphone gives, and a third less to send."""
    auto_truncate: bool = False
    """Whether the service by itself forgets what was not heard of an answer that the person interrupts."""
    speech_ms: int | None = Field(default=None, ge=0, le=5000)
    """``azure_semantic_vad``: how much speech begins a turn."""
    remove_filler_words: bool = False
    """``azure_semantic_vad``: whether an "um" interrupts nothing."""
    languages: tuple[str, ...] = ()
    """``azure_semantic_vad``, ``azure_semantic_vad_multilingual``: languages spoken, like ``["en", "de"]``."""
    end_of_utterance: Literal[
        "", "semantic_detection_v1", "semantic_detection_v1_en", "semantic_detection_v1_multilingual"
    ] = ""
    """Model that judges whether a sentence is complete; not with ``semantic_vad``."""
    end_of_utterance_level: Literal["default", "low", "medium", "high"] = "default"
    """How sure it must be."""
    end_of_utterance_timeout_ms: int | None = Field(default=None, ge=0, le=10_000)
    """How long it may take; default: the service's own."""


class ProfileConfig(Section):
    """``[profiles.NAME]``: who answers."""

    voice: str | dict[str, Any] = "marin"
    """A name; with ``voice-live`` also of an Azure voice; or a table as the service documents it."""
    speed: float | None = Field(default=None, ge=0.25, le=1.5)
    """Of the voice, 1 is usual."""
    instructions: str = Field(
        default="You are a voice assistant in somebody's home. Answer in one or two short, friendly sentences.",
        max_length=32_000,
    )
    language: str = Field(default="en", pattern=r"^([a-z]{2,3})?$")
    """What the person speaks, ISO 639-1; empty: not said."""
    deployment: str = ""
    """Azure: a deployment, OpenAI: a model; empty: ``realtime.deployment``."""
    chime: bool | None = None
    """Overrides ``audio.chime``."""
    history: Literal["shared", "own"] = "shared"
    """Whose turns a new session is told: those of all profiles that share, or its own alone, told to no other."""
    turn_detection: Literal[
        "server_vad",
        "semantic_vad",
        "local",
        "azure_semantic_vad",
        "azure_semantic_vad_en",
        "azure_semantic_vad_multilingual",
    ] = "server_vad"
    """Who ends a turn, and how; ``local``: the daemon; those with ``azure`` are for provider ``voice-live``."""
    vad_threshold: Fraction = 0.5
    """How loud speech must be; not with ``semantic_vad``."""
    vad_prefix_ms: int = Field(default=300, ge=0, le=5000)
    """Sound kept from before speech was noticed; not with ``semantic_vad``."""
    vad_silence_ms: int = Field(default=500, ge=100, le=10_000)
    """Silence that ends a turn; not with ``semantic_vad``."""
    vad_idle_ms: int | None = Field(default=None, ge=5000, le=30_000)
    """``server_vad`` of the GA protocol: silence after an answer at which the service speaks up by itself."""
    vad_eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    """``semantic_vad``: how soon a pause ends a turn: at most after 8 (``low``), 4 or 2 s (``high``)."""
    noise_reduction: Literal["", "near_field", "far_field", "azure_deep_noise_suppression"] = ""
    """By the service: for a headset, for a microphone in the room, or Azure's (``voice-live``); empty: none."""
    noise_strength: Fraction | None = None
    """How much of it, GA protocol; default: the service's own."""
    transcription_model: str = ""
    """Overrides ``realtime.transcription_model``."""
    transcription_prompt: str = Field(default="", max_length=4000)
    """What helps whoever writes down what the person says; not with ``voice-live``."""
    transcription_keywords: tuple[str, ...] = ()
    """Names and rare words to expect; not in the preview protocol."""
    transcription_delay: Literal["", "minimal", "low", "medium", "high", "xhigh"] = ""
    """Sooner or better, GA protocol; empty: the service's own."""
    max_output_tokens: int | None = Field(default=None, ge=1, le=4096)
    """Of one answer, about 20 a second; default: no limit."""
    truncation: Literal["", "auto", "disabled", "retention_ratio"] = ""
    """What happens to a conversation that has become too long, GA protocol; empty: the service's own."""
    truncation_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    """``retention_ratio``: share of it that is kept."""
    truncation_tokens: int | None = Field(default=None, ge=1000)
    """``retention_ratio``: what is too long, in tokens behind the instructions; default: what the model takes."""
    reasoning_effort: Literal["", "minimal", "low", "medium", "high", "xhigh"] = ""
    """For models that reason; not in the preview protocol."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Preview protocol (0.6 to 1.2) and ``voice-live``: how varied answers are."""
    modalities: tuple[Literal["audio", "text"], ...] = ("audio",)
    """``["audio"]``, or ``["text"]``: transcripts only, nothing is spoken."""
    tools: tuple[Literal["goodbye"], ...] = ("goodbye",)
    """What the model may do: ``goodbye``: end the conversation when the person has said goodbye."""
    voice_live: VoiceLiveConfig = Field(default_factory=VoiceLiveConfig)
    session: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the session, as the service documents them; what a key above sets wins."""

    @property
    def voice_name(self) -> str:
        """What other systems call the voice."""
        if isinstance(self.voice, str):
            return self.voice
        return str(self.voice.get("name") or self.voice.get("id") or "own")

    @field_validator("modalities")
    @classmethod
    def _one_modality(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) != 1:
            raise ValueError('must be ["audio"] or ["text"]')
        return value
