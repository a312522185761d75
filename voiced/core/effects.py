"""What the mind wants done: plain values that the app carries out in their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from voiced.core.realtime import events as wire

Source = Literal["wake_word", "button", "mqtt", "follow_up"]
Outcome = Literal["finished", "interrupted", "failed", "timeout"]
ChimeKind = Literal["wake", "error", "budget"]
Resend = Literal["text", "rest", "sound", "held", "turn"]
"""How a session is told what one before it was: not as sound; what there may be behind the last answer; what is being
said; the same, in a turn that the person holds; or a whole turn, which is to be answered."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Connect, under this number."""

    session: int
    profile: str
    voice: str | None = None
    """Whose, if not the profile's."""
    answers: bool = True
    """Whether the service answers what the person says."""


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Leave the session; ``failed`` where nobody wanted that, ``message`` says why."""

    session: int
    reason: str
    failed: bool = False
    message: str | None = None
    refused: bool = False
    """Whether no other session will open until somebody changes something."""


@dataclass(frozen=True, slots=True)
class OpenSuccessor:
    """Connect as before, under this number, beside the session going on.

    ``tries``: how many have died over what is being said; it is waited the longer.
    """

    session: int
    tries: int = 0


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Let the successor take the place of the session going on, which is left: the conversation goes on.

    It is told of the turns before, as soon as it is ready, and of what the session before was sent since it answered.
    """

    session: int
    resend: Resend
    code: str | None = None
    """Why the session before it died; ``None``: it did not."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Hear:
    """Send what the microphone hears: from a position on, from where it was last held back, or (neither) from now.

    ``after_s``: not from now, but from so many seconds ahead on.
    """

    since: int | None = None
    resume: bool = False
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Deafen:
    """Send nothing more of the microphone."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Never send what the microphone hears before now, or before so many seconds from now."""

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Send:
    """Tell the service."""

    event: wire.ClientEvent


@dataclass(frozen=True, slots=True)
class Hold:
    """Make one turn of all that the service is sent from now on, without its turn detection.

    ``fresh``: nothing that it was sent before belongs to it.
    """

    fresh: bool = True


@dataclass(frozen=True, slots=True)
class LetGo:
    """End the turn that was held: have it answered once all of it is sent, or forgotten. Turns end as usual then."""

    said: bool = True


@dataclass(frozen=True, slots=True)
class Play:
    """Let this be heard."""

    sound: wire.AudioDelta
    announced: bool = False
    """Whether it was to be heard on command, which has a loudness of its own."""
    percent: int | None = None
    """Another one, of the volume."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Fall silent now, also where it is paused, and tell the service what was heard, if it remembers the answer."""

    remembered: bool = True
    items: tuple[str, ...] = ()
    """Messages of the answer that the service has begun."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Fall silent for a moment; keep what waits to be heard."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on from where it paused."""


@dataclass(frozen=True, slots=True)
class Chime:
    """A short sound."""

    kind: ChimeKind


@dataclass(frozen=True, slots=True)
class BeginTurn:
    """A turn begins."""

    turn: int
    source: Source
    request: int | None = None
    text: str | None = None
    """What the person said, where it was typed."""
    said: tuple[wire.ServerEvent, ...] = ()
    """What the service told of it before it counted as a turn."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """The person goes on with the turn: what the service told of that before counts as theirs."""

    said: tuple[wire.ServerEvent, ...]


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The turn is over."""

    turn: int
    outcome: Outcome
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """Tell who asked that it is done, and what came of it."""

    request: int
    result: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell who asked that it cannot be."""

    request: int
    message: str
    code: Literal["busy", "unavailable", "failed", "interrupted", "no_answer"] = "busy"


Effect: TypeAlias = (
    OpenSession
    | CloseSession
    | OpenSuccessor
    | TakeOver
    | Hear
    | Deafen
    | Skip
    | Send
    | Hold
    | LetGo
    | Play
    | Cut
    | Pause
    | Resume
    | Chime
    | BeginTurn
    | GoOn
    | EndTurn
    | Accept
    | Refuse
)
