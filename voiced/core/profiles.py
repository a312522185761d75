"""From a profile to the settings of a session."""

from voiced.config import Config
from voiced.core.realtime.events import SemanticVad, ServerVad, SessionSettings

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
