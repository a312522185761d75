"""The dialect of today: OpenAI's Realtime API and Azure's ``/openai/v1/realtime``.

Source: ``openai`` 3.52.0, ``openai/types/realtime``, and the documents of both services as of November 2026.
"""

from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime import decoding, encoding
from voiced.core.realtime.events import ClientEvent, ServerEvent
from voiced.core.realtime.settings import Retention, ServerVad, SessionSettings

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
    heard: encoding.Json = {
        **encoding.present(
            {"format": _PCM, "transcription": _transcription(settings), "noise_reduction": _noise(settings)}
        ),
        "turn_detection": _turn_detection(settings),
    }
    audio: encoding.Json = {"input": heard}
    if settings.speaks:
        audio["output"] = encoding.present({"format": _PCM, "voice": settings.voice, "speed": settings.speed})
    effort = settings.reasoning_effort
    return encoding.over(
        settings.further,
        {
            "type": "realtime",
            "output_modalities": ["audio"] if settings.speaks else ["text"],  # never both: speech has its transcript
            "instructions": settings.instructions,
            "audio": audio,
            **encoding.present(
                {
                    "max_output_tokens": settings.max_output_tokens,
                    "truncation": _truncation(settings),
                    "reasoning": None if effort is None else {"effort": effort},
                }
            ),
            **encoding.tools(settings),
        },
    )


def _turn_detection(settings: SessionSettings) -> encoding.Json | None:
    turns = encoding.turn_detection(settings)
    if turns is not None and isinstance(settings.turn_detection, ServerVad):
        return {**turns, **encoding.present({"idle_timeout_ms": settings.turn_detection.idle_timeout_ms})}
    return turns


def _transcription(settings: SessionSettings) -> encoding.Json | None:
    if (wanted := settings.transcription) is None:
        return None
    return encoding.present(
        {
            "model": wanted.model,
            "language": wanted.language,
            "prompt": wanted.prompt,
            "keywords": list(wanted.keywords) or None,
            "delay": wanted.delay,
        }
    )


def _noise(settings: SessionSettings) -> encoding.Json | None:
    if settings.noise_reduction is None:
        return None
    return encoding.present({"type": settings.noise_reduction, "strength": settings.noise_strength})


def _truncation(settings: SessionSettings) -> encoding.Json | str | None:
    match settings.truncation:
        case Retention(ratio, tokens):
            limits = None if tokens is None else {"post_instructions": tokens}
            return encoding.present({"type": "retention_ratio", "retention_ratio": ratio, "token_limits": limits})
        case truncation:
            return truncation
