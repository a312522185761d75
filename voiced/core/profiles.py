"""What the configuration means: for a session, for the conversation, for the settings at the start."""

from voiced.config import Config
from voiced.core.realtime.events import SemanticVad, ServerVad, SessionSettings
from voiced.core.states import Rules

PREVIEW_VOICES = {"marin": "alloy", "cedar": "echo"}
"""Voices that only the GA protocol has, and who speaks for them in the preview.

Source: developers.openai.com, Realtime guide, November 2026.
"""

TRANSCRIBERS = {"openai": "gpt-transcribe", "simulator": "gpt-transcribe"}
"""Who transcribes where ``transcription_model`` is ``auto``. Azure and custom servers name models their own way, and a
wrong name fails every transcript, so there nobody does until one is named."""


def session_settings(config: Config, name: str, dialect: str) -> SessionSettings:
    """Return how to open a session for the profile ``name``, in ``dialect`` (``ga`` or ``preview``)."""
    profile = config.profiles[name]
    turns: ServerVad | SemanticVad
    if profile.turn_detection == "semantic_vad":
        turns = SemanticVad()
    else:
        turns = ServerVad(profile.vad_threshold, profile.vad_prefix_ms, profile.vad_silence_ms)
    return SessionSettings(
        modalities=profile.modalities,
        instructions=profile.instructions,
        voice=PREVIEW_VOICES.get(profile.voice, profile.voice) if dialect == "preview" else profile.voice,
        turn_detection=turns,
        transcription_model=transcriber(config),
        language=profile.language or None,
    )


def transcriber(config: Config) -> str | None:
    """Return the model that writes down what the person says; ``None``: nobody does."""
    wanted = config.realtime.transcription_model
    if wanted == "auto":
        return TRANSCRIBERS.get(config.realtime.provider)
    return None if wanted in {"", "off"} else wanted


def chimes(config: Config, name: str) -> bool:
    """Return whether short sounds are played for the profile ``name``."""
    own = config.profiles[name].chime
    return config.audio.chime if own is None else own


def rules(config: Config, *, follow_up: bool = True, full_duplex: bool = False) -> Rules:
    """Return what the configuration means for the conversation, with or without follow-up turns and full duplex."""
    talk = config.conversation
    # Follow-up turns that were switched on by hand, where the configuration has none, last as long as usual.
    wanted = talk.follow_up_s or Rules().follow_up_s
    return Rules(
        follow_up_s=wanted if follow_up else 0.0,
        no_speech_s=talk.no_speech_s,
        max_s=talk.max_s,
        full_duplex=full_duplex,
    )


def persona_at_first(config: Config) -> str:
    """Return the profile that a conversation started by hand uses, until somebody chooses."""
    return next((word.profile for word in config.wake.words if word.action is None), "default")
