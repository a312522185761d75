"""How the same facts look on the wire in each dialect. Event names are the GA ones everywhere else in the simulator.

Source: ``openai`` 3.52.0 (GA types and ``beta.realtime`` types), ``azure-ai-voicelive`` 1.3.1, recorded sessions.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voiced.simulator import schema, shapes
from voiced.simulator.checks import Check
from voiced.simulator.conversation import Item, Part
from voiced.simulator.usage import Usage

Json = dict[str, Any]
Path = tuple[str, ...]

INSTRUCTIONS = "You are a helpful, friendly assistant. Answer in one or two short spoken sentences."
"""What a session is told by default."""

_PREVIEW_NAMES: Mapping[str, str | None] = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
    "conversation.item.done": None,
}
_FLAT_PATHS: Mapping[str, Path] = {
    "modalities": ("modalities",),
    "voice": ("voice",),
    "turn_detection": ("turn_detection",),
    "transcription": ("input_audio_transcription",),
    "max_output_tokens": ("max_response_output_tokens",),
    "output_format": ("output_audio_format",),
    "temperature": ("temperature",),
}
_GA_PATHS: Mapping[str, Path] = {
    "modalities": ("output_modalities",),
    "voice": ("audio", "output", "voice"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "transcription": ("audio", "input", "transcription"),
    "max_output_tokens": ("max_output_tokens",),
    "output_format": ("audio", "output", "format"),
    "temperature": ("temperature",),
}


@dataclass(slots=True)
class Response:
    """An answer and all that is said about it."""

    id: str
    conversation_id: str | None
    modalities: list[str]
    voice: Any
    output_format: Any
    max_output_tokens: int | str = "inf"
    temperature: float = 0.8
    metadata: dict[str, str] | None = None
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"] = "in_progress"
    reason: str | None = None
    error: dict[str, str] | None = None
    items: list[Item] = field(default_factory=list)
    usage: Usage | None = None

    @property
    def speaks(self) -> bool:
        """Whether it is sound."""
        return "audio" in self.modalities


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire form.

    ``paths`` says where a setting stands in ``session`` and in ``response.create``; ``rate_limits`` when they are told;
    ``absent`` which fields an event does not have here.
    """

    name: Literal["ga", "preview", "voice-live"]
    schema: Mapping[str, Check]
    paths: Mapping[str, Path]
    names: Mapping[str, str | None]
    rate_limits: Literal["after", "start", "never"]
    greets_conversation: bool = False
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_ga(self) -> bool:
        """Whether sound settings are nested."""
        return self.name == "ga"

    def event_name(self, ga_name: str) -> str | None:
        """Return an event's name here; ``None`` if there is no such event."""
        return self.names.get(ga_name, ga_name)

    def read(self, settings: Mapping[str, Any], name: str) -> Any:
        """Return a setting out of a session or response object; ``None`` if it is absent."""
        value: Any = settings
        for key in self.paths.get(name, (name,)):
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        return value

    def turn_detection(self, kind: str) -> Json:
        """Return what the service assumes for a kind of turn detection."""
        common = {"create_response": True, "interrupt_response": True}
        if kind == "semantic_vad":
            return {"type": kind, "eagerness": "auto", **common}
        idle = {"idle_timeout_ms": None} if self.is_ga else {}
        # documentation says 500 ms of silence; every recorded session says 200
        vad = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
        return {"type": kind, **vad, **idle, **common}

    def session(self, session_id: str, model: str, expires_at: int) -> Json:
        """Return a session as it is before the client says anything."""
        head: Json = {"object": "realtime.session", "id": session_id, "model": model, "expires_at": expires_at}
        shared: Json = {"instructions": INSTRUCTIONS, "tools": [], "tool_choice": "auto", "tracing": None}
        if self.is_ga:
            sound = {"type": "audio/pcm", "rate": shapes.RATE}
            hears = {"format": sound, "transcription": None, "noise_reduction": None}
            return {
                "type": "realtime",
                **head,
                **shared,
                "output_modalities": ["audio"],
                "max_output_tokens": "inf",
                "truncation": "auto",
                "prompt": None,
                "include": None,
                "audio": {
                    "input": {**hears, "turn_detection": self.turn_detection("server_vad")},
                    "output": {"format": dict(sound), "voice": "marin", "speed": 1.0},
                },
            }
        if self.name == "voice-live":
            del head["object"], shared["tracing"]
        return {
            **head,
            **shared,
            "modalities": ["text", "audio"],
            "voice": "alloy",
            **({} if self.name == "voice-live" else {"speed": 1.0}),
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": None,
            "input_audio_noise_reduction": None,
            "turn_detection": self.turn_detection("server_vad"),
            "temperature": 0.8,
            "max_response_output_tokens": "inf",
        }

    def item(self, item: Item, *, sound: bool = False) -> Json:
        """Return an item, with its sound only where ``sound`` is asked for."""
        wire: Json = {"id": item.id, "object": "realtime.item", "type": item.kind}
        if item.kind == "function_call_output":
            return {**wire, "call_id": item.call_id, "output": item.output}
        wire["status"] = item.status
        if item.kind == "function_call":
            return {**wire, "call_id": item.call_id, "name": item.name, "arguments": item.arguments}
        return {**wire, "role": item.role, "content": [self._content(item, part, sound=sound) for part in item.parts]}

    def _content(self, item: Item, part: Part, *, sound: bool) -> Json:
        prefix = "input_" if item.role != "assistant" else "output_" if self.is_ga else ""
        if part.kind == "text":
            return {"type": f"{prefix}text", "text": part.text}
        wire: Json = {"type": f"{prefix}audio", "transcript": part.transcript}
        if sound and not (self.name == "voice-live" and item.role == "assistant"):  # its SDK has no place for that
            wire["audio"] = base64.b64encode(part.pcm).decode()
        return wire

    def part(self, part: Part) -> Json:
        """Return a part as content part events show it: ``audio`` and ``text`` in both dialects."""
        if part.kind == "text":
            return {"type": "text", "text": part.text}
        return {"type": "audio", "transcript": part.transcript or ""}

    def response(self, response: Response) -> Json:
        """Return an answer with its items, without their sound."""
        details: Json | None = None
        if response.status not in {"in_progress", "completed"}:
            details = {"type": response.status}
            if response.reason is not None:
                details["reason"] = response.reason
            if response.error is not None:
                details["error"] = response.error
        wire: Json = {
            "object": "realtime.response",
            "id": response.id,
            "status": response.status,
            "status_details": details,
            "output": [self.item(item) for item in response.items],
            "conversation_id": response.conversation_id,
            "max_output_tokens": response.max_output_tokens,
            "usage": None if response.usage is None else self.usage(response.usage),
            "metadata": response.metadata,
        }
        if self.is_ga:
            wire["output_modalities"] = response.modalities
            wire["audio"] = {"output": {"format": response.output_format, "voice": response.voice}}
        else:
            wire["modalities"] = response.modalities
            wire["voice"] = response.voice
            wire["output_audio_format"] = response.output_format
            wire["temperature"] = response.temperature
        return wire

    def usage(self, usage: Usage) -> Json:
        """Return the tokens of an answer."""
        read: Json = {
            "text_tokens": usage.read.text,
            "audio_tokens": usage.read.audio,
            "cached_tokens": usage.cached.total,
        }
        written: Json = {"text_tokens": usage.written.text, "audio_tokens": usage.written.audio}
        if self.name != "preview":
            read["image_tokens"] = 0
            read["cached_tokens_details"] = {
                "text_tokens": usage.cached.text,
                "audio_tokens": usage.cached.audio,
                "image_tokens": 0,
            }
        if self.name == "voice-live":
            written["reasoning_tokens"] = 0
        return {
            "total_tokens": usage.read.total + usage.written.total,
            "input_tokens": usage.read.total,
            "output_tokens": usage.written.total,
            "input_token_details": read,
            "output_token_details": written,
        }


GA = Dialect("ga", schema.GA, _GA_PATHS, {}, "after")
PREVIEW = Dialect(
    "preview",
    schema.PREVIEW,
    _FLAT_PATHS,
    _PREVIEW_NAMES,
    "start",
    greets_conversation=True,
    absent={"response.function_call_arguments.done": ("name",)},
)
VOICE_LIVE = Dialect(
    "voice-live",
    schema.VOICE_LIVE,
    _FLAT_PATHS,
    _PREVIEW_NAMES,
    "never",
    absent={"conversation.item.input_audio_transcription.completed": ("usage",)},
)
