"""What happens, as the mind is told of it; all plain values.

What the service says is in :mod:`voiced.core.realtime.events`.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from voiced.core.effects import Source
from voiced.core.questions import Question
from voiced.core.realtime import events as wire
from voiced.core.wake import Wake


@dataclass(frozen=True, slots=True)
class Woken:
    """A wake word was heard."""

    wake: Wake
    profile: str


@dataclass(frozen=True, slots=True)
class Called:
    """Somebody asked the daemon to listen, as if woken."""

    source: Source
    profile: str
    timeout_s: float | None = None
    request: int | None = None
    hold: bool = False
    """Whether they say themselves when they are done: :class:`Released`."""


@dataclass(frozen=True, slots=True)
class Released:
    """Whoever held the microphone open is done; ``said``: whether there was a voice."""

    request: int | None = None
    said: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A text turn. ``literal``: the text is to be spoken as it is."""

    text: str
    profile: str
    literal: bool = False
    instructions: str | None = None
    listen_after: bool = False
    interrupt: bool = False
    request: int | None = None
    voice: str | None = None
    """Whose, if not the profile's: then it has a session of its own."""
    percent: int | None = None
    """How loud it is, of the volume; ``None``: as announcements are."""
    question: Question | None = None
    """What somebody is to answer then, in a session that is there for it alone."""
    chime: bool = False
    """Whether a short sound goes before it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound is to be heard, without the service."""

    pcm: bytes
    """24 kHz, 16-bit, mono."""
    request: int
    interrupt: bool = False
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """Stop speaking; the turn is over."""

    request: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """End the conversation. ``reason`` is published."""

    reason: str
    request: int | None = None


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The session takes sound; ``model`` answers, where the service says so."""

    model: str | None = None
    lasts_s: float | None = None
    """Seconds until the service ends it, where it says so."""


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session could not be opened, or is over."""

    code: str
    message: str
    again: bool = True
    """Whether another one may do better."""
    refused: bool = False
    """Whether the service said no, and will again until somebody changes something."""


@dataclass(frozen=True, slots=True)
class SuccessorReady:
    """The session that was opened beside the one going on could take its place."""

    ready: SessionReady = SessionReady()


@dataclass(frozen=True, slots=True)
class SuccessorLost:
    """That session could not be opened, or is over."""


@dataclass(frozen=True, slots=True)
class Drained:
    """The speaker has nothing left: all that was played has been heard."""


@dataclass(frozen=True, slots=True)
class Near:
    """By our own evidence somebody near speaks, or does not any more."""

    speech: Literal["none", "some", "enough"]
    """``some``: it may be one; ``enough``: it is one."""
    since: int = 0
    """Position in the microphone's sound at which it began."""
    sure: bool = True
    """Whether it stands out from what the room sounds like anyway; a television does not."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = (
    Woken
    | Called
    | Released
    | Asked
    | Recording
    | Stopped
    | Ended
    | SessionReady
    | SessionLost
    | SuccessorReady
    | SuccessorLost
    | Drained
    | Near
    | Tick
    | wire.ServerEvent
)
