"""The dialect of Azure Voice Live: the preview's events, and a session with settings of its own.

Source: ``azure-ai-voicelive`` 1.3.1, ``RequestSession``; Microsoft's "How to use Voice Live"; November 2026.
"""

import re

from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime import encoding, preview
from voiced.core.realtime.events import ClientEvent
from voiced.core.realtime.settings import AzureVad, SessionSettings, Transcription

_AZURE_VOICE = re.compile(r"[a-z]{2,3}-([A-Za-z]+-)+\w[\w:]*")
"""Names like ``en-US-AvaNeural``, ``zh-CN-liaoning-XiaobeiNeural`` and ``en-US-Ava:DragonHDLatestNeural``."""


decode = preview.decode
"""Turn the text of one WebSocket message into one server event; see :func:`decoding.decode`."""


def encode(event: ClientEvent) -> str:
    """Turn one client event into the text of one WebSocket message."""
    return encoding.encode(event, session=_session, assistant_text="text")


def is_azure_voice(voice: object) -> bool:
    """Return whether a voice is one of Azure's: an object, or a name like ``en-US-AvaNeural``."""
    return not isinstance(voice, str) or _AZURE_VOICE.fullmatch(voice) is not None


def _session(settings: SessionSettings) -> encoding.Json:
    noise, written = settings.noise_reduction, settings.transcription
    rate = None if settings.input_rate == SERVICE_RATE else settings.input_rate
    return encoding.over(
        settings.further,
        {
            "modalities": ["text", "audio"] if settings.speaks else ["text"],
            "instructions": settings.instructions,
            "input_audio_format": "pcm16",
            "turn_detection": _turn_detection(settings),
            **encoding.present(
                {
                    "input_audio_sampling_rate": rate,
                    "output_audio_format": "pcm16" if settings.speaks else None,
                    "voice": _voice(settings) if settings.speaks else None,
                    "input_audio_transcription": None if written is None else _transcription(written),
                    "input_audio_noise_reduction": None if noise is None else {"type": noise},
                    "input_audio_echo_cancellation": (
                        {"type": "server_echo_cancellation"} if settings.echo_cancellation else None
                    ),
                    "max_response_output_tokens": settings.max_output_tokens,
                    "temperature": settings.temperature,
                    "reasoning_effort": settings.reasoning_effort,
                }
            ),
            **encoding.tools(settings),
        },
    )


def _voice(settings: SessionSettings) -> object:
    """Return a name of OpenAI's as it is, one of Azure's as an object; there the speed is part of the voice."""
    if not isinstance(settings.voice, str) or not is_azure_voice(settings.voice):
        return settings.voice
    rate = None if settings.speed is None else f"{settings.speed:g}"
    return encoding.present({"type": "azure-standard", "name": settings.voice, "rate": rate})


def _turn_detection(settings: SessionSettings) -> encoding.Json | None:
    turns, wanted = encoding.turn_detection(settings), settings.turn_detection
    if turns is None or not isinstance(wanted, AzureVad):
        return turns
    end = wanted.end_of_utterance
    judged = None
    if end is not None:
        judged = encoding.present(
            {"model": end.model, "threshold_level": end.threshold_level, "timeout_ms": end.timeout_ms}
        )
    return {
        **turns,
        **encoding.present(
            {
                "speech_duration_ms": wanted.speech_duration_ms,
                "remove_filler_words": wanted.remove_filler_words,
                "languages": list(wanted.languages) or None,
                "end_of_utterance_detection": judged,
                "auto_truncate": wanted.auto_truncate,
            }
        ),
    }


def _transcription(wanted: Transcription) -> encoding.Json:
    phrases = list(wanted.keywords) or None
    return encoding.present({"model": wanted.model, "language": wanted.language, "phrase_list": phrases})
