"""What voiced says while it happens, never kept: tools, live text, its log, what units of a house tell each other."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from voiced.core.mqtt.payloads import Count, Payload, Share, Time

Ducking: TypeAlias = Literal["began", "ended"]


class ToolEvent(Payload):
    """``event/tool``: the model used a tool."""

    event_type: Literal["called", "finished", "failed"]
    time: Time
    turn: Count
    name: str
    arguments: str | None = None
    """JSON text as the model wrote it; ``None`` where no texts are published."""
    duration_ms: Count | None = None
    """``None`` while it runs."""


class DuckingEvent(Payload):
    """``event/ducking``: from now on other players should be softer, or as before; never the same twice in a row."""

    event_type: Ducking
    time: Time


class Transcript(Payload):
    """``transcript``: what is being said, as far as it is known."""

    turn: Count
    session: str
    role: Literal["user", "assistant"]
    text: str
    """The whole so far. An answer's text runs ahead of its sound; the final one is what was heard."""
    final: bool
    seq: Count
    """Counts the messages of a turn from 0, so that a gap is seen."""


class LogLine(Payload):
    """``log``: a line of the log, without secrets."""

    time: Time
    level: Literal["debug", "info", "warning", "error"]
    logger: str
    message: str


class Hearing(Payload):
    """``ears``: what the ears hear; the highest since the last message."""

    time: Time
    level_db: float
    """Of the sound, relative to full scale."""
    gate: bool
    """Whether it is let through to the wake models."""
    scores: Mapping[str, Share]
    """Of each wake word."""


class HouseClaim(Payload):
    """``house/+/claim``: a unit has heard a wake word and answers; the better one goes on."""

    unit: str
    word: str
    quality: Share
    """How far the word stood out of the room, or without a window its score."""
    talking: bool = False
    """Whether it is in a conversation already: then the word is for it."""


class HouseSpeaking(Payload):
    """``house/+/speaking``: a unit begins to speak, goes on, or has done."""

    unit: str
    speaking: bool
