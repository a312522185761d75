"""The dialect of the preview API: Azure's ``/openai/realtime?api-version=...-preview``.

Source: ``openai`` 3.52.0, ``openai/types/beta/realtime``; November 2026.
"""

from voiced.core.realtime import decoding, encoding
from voiced.core.realtime.events import ClientEvent, ServerEvent
from voiced.core.realtime.settings import SessionSettings, Transcription

_PCM = "pcm16"

_READERS = decoding.readers(
    audio="response.audio.delta",
    transcript="response.audio_transcript.delta",
    text="response.text.delta",
)


def encode(event: ClientEvent) -> str:
    """Turn one client event into the text of one WebSocket message."""
    return encoding.encode(event, session=_session, assistant_text="text")


def decode(text: str) -> ServerEvent:
    """Turn the text of one WebSocket message into one server event; see :func:`decoding.decode`."""
    return decoding.decode(text, _READERS)


def _session(settings: SessionSettings) -> encoding.Json:
    spoken: encoding.Json = {}
    if settings.speaks:
        spoken = {"output_audio_format": _PCM, "voice": settings.voice, "speed": settings.speed}
    noise, written = settings.noise_reduction, settings.transcription
    return encoding.over(
        settings.further,
        {
            "modalities": ["text", "audio"] if settings.speaks else ["text"],  # "audio" alone is refused
            "instructions": settings.instructions,
            "input_audio_format": _PCM,
            "turn_detection": encoding.turn_detection(settings),
            **encoding.present(
                {
                    **spoken,
                    "input_audio_transcription": None if written is None else _transcription(written),
                    "input_audio_noise_reduction": None if noise is None else {"type": noise},
                    "max_response_output_tokens": settings.max_output_tokens,
                    "temperature": settings.temperature,
                }
            ),
            **encoding.tools(settings),
        },
    )


def _transcription(wanted: Transcription) -> encoding.Json:
    return encoding.present({"model": wanted.model, "language": wanted.language, "prompt": wanted.prompt})
