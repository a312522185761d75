"""The dialect of today: OpenAI's Realtime API and Azure's ``/openai/v1/realtime``.

Source: ``openai`` 3.52.0, ``openai/types/realtime``, and the documents of both services as of November 2026.
"""

from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime import decoding, encoding
from voiced.core.realtime.events import ClientEvent, ServerEvent, SessionSettings

_PCM = {"type": "audio/pcm", "rate": SERVICE_RATE}

_READERS = decoding.readers(
    audio="response.output_audio.delta",
    transcript="response.output_audio_transcript.delta",
    text="response.output_text.delta",
)


def encode(event: ClientEvent) -> str:
    """Turn one client event into the text of one WebSocket message."""
    return encoding.encode(event, session=_session, assistant_text="output_text")


def decode(text: str) -> ServerEvent:
    """Turn the text of one WebSocket message into one server event; see :func:`decoding.decode`."""
    return decoding.decode(text, _READERS)


def _session(settings: SessionSettings) -> encoding.Json:
    heard = encoding.present(
        {
            "format": _PCM,
            "transcription": encoding.transcription(settings),
            "noise_reduction": encoding.noise_reduction(settings),
        }
    )
    audio: encoding.Json = {"input": {**heard, "turn_detection": encoding.turn_detection(settings)}}
    if settings.speaks:
        audio["output"] = encoding.present({"format": _PCM, "voice": settings.voice, "speed": settings.speed})
    return {
        "type": "realtime",
        "output_modalities": ["audio"] if settings.speaks else ["text"],  # never both: speech brings its transcript
        "instructions": settings.instructions,
        "audio": audio,
        **encoding.present({"max_output_tokens": settings.max_output_tokens}),
        **encoding.tools(settings),
    }
