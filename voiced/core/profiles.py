"""What the configuration means: for a session, for the conversation, for the settings at the start."""

from collections.abc import Mapping

from voiced.config import Config
from voiced.core.mqtt import payloads
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


def rules(config: Config) -> Rules:
    """Return what the configuration means for the conversation."""
    talk = config.conversation
    return Rules(
        follow_up_s=talk.follow_up_s,
        no_speech_s=talk.no_speech_s,
        max_s=talk.max_s,
        full_duplex=config.audio.echo_cancellation == "off",
    )


def remembered(config: Config, saved: Mapping[str, object]) -> payloads.Settings:
    """Return the settings as last set, where they still make sense, else as configured."""
    mute, volume = saved.get("mute"), saved.get("volume")
    word = config.wake.words[0]
    return payloads.Settings(
        mute=mute if isinstance(mute, bool) else False,
        volume=volume if isinstance(volume, int) and 0 <= volume <= 100 else config.audio.volume,
        wake_sensitivity=config.wake.sensitivity,
        wake_word=word.model,
        persona=word.profile,
        voice=config.profiles[word.profile].voice,
    )
