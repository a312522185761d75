"""What the configuration means: for a session, for the conversation, for the settings at the start."""

import re
from dataclasses import replace
from typing import Literal

from voiced.config import Config
from voiced.core.echo.ladder import Policy
from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime.codec import Dialect
from voiced.core.realtime.settings import (
    AzureVad,
    EndOfUtterance,
    LocalVad,
    Retention,
    SemanticVad,
    ServerVad,
    SessionSettings,
    Transcription,
    TurnDetection,
)
from voiced.core.realtime.voice_live import is_azure_voice
from voiced.core.states import Rules
from voiced.core.tools import TOOLS
from voiced.profileconfig import ProfileConfig

PREVIEWED = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse")
"""Voices that all services have.

Source: developers.openai.com, Realtime guide, November 2026.
"""

ECHO_CANCELLING = re.compile(r"echo.?cancel", re.IGNORECASE)
"""Microphones that cancel echo and say so: PulseAudio's and PipeWire's module-echo-cancel name their source
``echo-cancel``, ``echo-cancel-source`` or ``effect_input.echo-cancel``, or after the microphone with ``.echo-cancel``
behind it; describe it as ``Echo-Cancel Source`` or ``(echo cancelled with ...)``; and PulseAudio names the driver.

Source: PipeWire manual, Echo Cancel; PulseAudio documentation, module-echo-cancel.
"""

PREVIEW_VOICES = {"marin": "alloy", "cedar": "echo"}
"""Voices that only the GA protocol has, and who speaks for them in the preview.

Source: developers.openai.com, Realtime guide, November 2026.
"""

TRANSCRIBERS = {"openai": "gpt-transcribe", "simulator": "gpt-transcribe"}
"""Who transcribes where ``transcription_model`` is ``auto``. Azure and custom servers name models their own way, and a
wrong name fails every transcript, so there nobody does until one is named."""

ELSEWHERE: dict[str, tuple[Dialect, ...]] = {
    "vad_idle_ms": ("ga",),
    "noise_strength": ("ga",),
    "transcription_prompt": ("ga", "preview"),
    "transcription_keywords": ("ga", "voice-live"),
    "transcription_delay": ("ga",),
    "truncation": ("ga",),
    "reasoning_effort": ("ga", "voice-live"),
    "temperature": ("preview", "voice-live"),
    "voice_live": ("voice-live",),
}
"""Keys of a profile that not every dialect has, and those that do."""


def voices(config: Config) -> tuple[str, ...]:
    """Return the voices that can be chosen: those every service has, and those that profiles use."""
    preview = config.realtime.provider in {"azure-preview", "voice-live"}
    usual = PREVIEWED if preview else (*PREVIEWED, *PREVIEW_VOICES)
    return tuple(dict.fromkeys((*usual, *(profile.voice_name for profile in config.profiles.values()))))


def session_settings(
    config: Config, name: str, dialect: Dialect, *, voice_name: str | None = None, answers: bool = True
) -> SessionSettings:
    """Return how to open a session for the profile ``name``, in ``dialect``.

    Args:
        config: The profile, and all others.
        name: Its name.
        dialect: Of the service.
        voice_name: Instead of its own.
        answers: Whether the service answers what the person says, as soon as they said it.

    """
    profile = config.profiles[name]
    live = profile.voice_live
    turns = _turn_detection(profile, dialect)
    voice = profile.voice if voice_name in {None, profile.voice_name} else voice_name
    return SessionSettings(
        modalities=profile.modalities,
        instructions=profile.instructions,
        voice=PREVIEW_VOICES.get(voice, voice) if isinstance(voice, str) and dialect != "ga" else voice,
        speed=profile.speed,
        turn_detection=turns if answers else _unanswered(turns),
        transcription=_transcription(config, name),
        noise_reduction=profile.noise_reduction or None,
        noise_strength=profile.noise_strength,
        max_output_tokens=profile.max_output_tokens,
        truncation=_truncation(profile),
        reasoning_effort=profile.reasoning_effort or None,
        temperature=profile.temperature,
        echo_cancellation=live.echo_cancellation,
        tools=tuple(TOOLS[tool] for tool in profile.tools),
        further=profile.session,
        input_rate=live.input_rate if dialect == "voice-live" else SERVICE_RATE,
    )


def _turn_detection(profile: ProfileConfig, dialect: Dialect) -> TurnDetection:
    if profile.turn_detection == "semantic_vad":
        return SemanticVad(profile.vad_eagerness)
    threshold, prefix_ms, silence_ms = profile.vad_threshold, profile.vad_prefix_ms, profile.vad_silence_ms
    if profile.turn_detection == "local":
        return LocalVad(threshold, prefix_ms, silence_ms)
    if dialect != "voice-live":
        return ServerVad(threshold, prefix_ms, silence_ms, idle_timeout_ms=profile.vad_idle_ms)
    live = profile.voice_live
    end = None
    if live.end_of_utterance:
        end = EndOfUtterance(live.end_of_utterance, live.end_of_utterance_level, live.end_of_utterance_timeout_ms)
    return AzureVad(
        profile.turn_detection,
        threshold,
        prefix_ms,
        silence_ms,
        speech_duration_ms=live.speech_ms,
        remove_filler_words=live.remove_filler_words or None,
        languages=live.languages,
        end_of_utterance=end,
        auto_truncate=live.auto_truncate or None,
    )


def _unanswered(turns: TurnDetection) -> TurnDetection:
    return replace(turns, answered=False) if isinstance(turns, LocalVad) else replace(turns, create_response=False)


def _transcription(config: Config, name: str) -> Transcription | None:
    model, profile = transcriber(config, name), config.profiles[name]
    if model is None:
        return None
    return Transcription(
        model,
        profile.language or None,
        profile.transcription_prompt or None,
        profile.transcription_keywords,
        profile.transcription_delay or None,
    )


def _truncation(profile: ProfileConfig) -> Literal["auto", "disabled"] | Retention | None:
    match profile.truncation:
        case "retention_ratio":
            return Retention(profile.truncation_ratio, profile.truncation_tokens)
        case "auto" | "disabled" as wanted:
            return wanted
        case _:
            return None


def ignored(config: Config, dialect: Dialect) -> list[str]:
    """Return a sentence for each key of a profile that the service of ``dialect`` does not have."""
    sentences = []
    usual = ProfileConfig()
    for name, profile in config.profiles.items():
        for key, dialects in ELSEWHERE.items():
            if dialect not in dialects and getattr(profile, key) != getattr(usual, key):
                sentences.append(f"profiles.{name}.{key}: this service has no such setting; it is ignored")
        if profile.speed is not None and dialect == "voice-live" and not is_azure_voice(profile.voice):
            sentences.append(f"profiles.{name}.speed: Voice Live changes the speed of Azure voices only; it is ignored")
    return sentences


def deployment(config: Config, word: str) -> str:
    """Return what the profile of a wake word answers with; empty where that is the usual one."""
    return next((config.profiles[each.profile].deployment for each in config.wake.words if each.model == word), "")


def transcriber(config: Config, name: str) -> str | None:
    """Return the model that writes down what the person says to the profile ``name``; ``None``: nobody does."""
    wanted = config.profiles[name].transcription_model or config.realtime.transcription_model
    if wanted == "auto":
        return TRANSCRIBERS.get(config.realtime.provider)
    return None if wanted in {"", "off"} else wanted


def chimes(config: Config, name: str) -> bool:
    """Return whether short sounds are played for the profile ``name``."""
    own = config.profiles[name].chime
    return config.audio.chime if own is None else own


def rules(config: Config, *, follow_up: bool = True, full_duplex: bool = False, answer_s: float = 15.0) -> Rules:
    """Return what the configuration means for the conversation, with or without follow-up turns and full duplex."""
    talk = config.conversation
    # Follow-up turns that were switched on by hand, where the configuration has none, last as long as usual.
    wanted = talk.follow_up_s or Rules().follow_up_s
    return Rules(
        follow_up_s=wanted if follow_up else 0.0,
        no_speech_s=talk.no_speech_s,
        max_s=talk.max_s,
        connects=talk.connect,
        written=frozenset(name for name in config.profiles if transcriber(config, name) is not None),
        full_duplex=full_duplex,
        answer_s=answer_s,
    )


def echo_policy(config: Config, default_source: str = "") -> Policy | Literal["open"]:
    """Return who is trusted to keep the speaker's sound from the service; ``open``: nobody needs to.

    Args:
        config: What the user wants.
        default_source: What the sound server calls its default microphone, where that is the one used.

    """
    match config.audio.echo_cancellation:
        case "off":
            return "open"
        case "auto" if config.realtime.provider == "voice-live" and all(
            profile.voice_live.echo_cancellation for profile in config.profiles.values()
        ):
            return "service"
        case "auto" if ECHO_CANCELLING.search(config.audio.input) or ECHO_CANCELLING.search(default_source):
            return "device"
        case wanted:
            return wanted


def persona_at_first(config: Config) -> str:
    """Return the profile that a conversation started by hand uses, until somebody chooses."""
    return next((word.profile for word in config.wake.words if word.action is None), "default")
