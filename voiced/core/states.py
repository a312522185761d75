"""What the mind works on: rules, what happens, what is to be done, and the states between; all plain values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from voiced.core.realtime import events as wire
from voiced.core.wake import Wake

Source = Literal["wake_word", "button", "mqtt", "follow_up"]
Outcome = Literal["finished", "interrupted", "failed", "timeout"]
ChimeKind = Literal["wake", "error"]

# --- what a person may decide -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How long to wait for whom, in seconds."""

    follow_up_s: float = 6.0
    no_speech_s: float = 5.0
    max_s: float = 600.0
    connect_s: float = 15.0
    utterance_s: float = 60.0
    """One sentence of a person; a television talks longer."""
    answer_s: float = 15.0
    """From the end of speech, or from one piece of an answer, to the next piece."""
    speaker_s: float = 5.0
    """What the speaker may be late with sound that it has."""
    wake_overlap: int = 12_000
    """Samples of sound sent from before the decision of a wake word. Scores cross up to 310 ms after the end of the
    word, with some voices 550; 200 ms more keep the first syllable behind it whole."""
    tail_s: float = 0.25
    """How long a cut answer still sounds: fade, sound card, room. Measured 0.14 to 0.18 s."""
    full_duplex: bool = False
    """Whether the service hears the person while an answer plays."""
    spent: bool = False
    """Whether the budget is used up: the answer going on is the last one."""


# --- what happens -----------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session could not be opened, or is over."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Drained:
    """The speaker has nothing left: all that was played has been heard."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = (
    Woken | Called | Asked | Stopped | Ended | SessionReady | SessionLost | Drained | Tick | wire.ServerEvent
)

# --- what is to be done -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Connect, under this number."""

    session: int
    profile: str


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Leave the session; ``failed`` where nobody wanted that, ``message`` says why."""

    session: int
    reason: str
    failed: bool = False
    message: str | None = None


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
class Send:
    """Tell the service."""

    event: wire.ClientEvent


@dataclass(frozen=True, slots=True)
class Play:
    """Let this be heard."""

    sound: wire.AudioDelta


@dataclass(frozen=True, slots=True)
class Cut:
    """Fall silent now, and tell the service what was heard, if it remembers the answer."""

    remembered: bool = True


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


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The turn is over."""

    turn: int
    outcome: Outcome
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """Tell who asked that it is done."""

    request: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell who asked that it cannot be."""

    request: int
    message: str


Effect: TypeAlias = (
    OpenSession | CloseSession | Hear | Deafen | Send | Play | Cut | Chime | BeginTurn | EndTurn | Accept | Refuse
)

# --- states -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is said; sessions are counted on."""

    session: int = 0
    """Number of the last one."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What is true during a whole conversation."""

    session: int
    turn: int
    """Number of the last turn begun, from 1; 0 before the first."""
    profile: str
    source: Source
    ends: float
    """When the conversation must be over."""
    follows: bool = True
    """Whether to listen on after an answer."""
    wait_s: float = 0.0
    """Seconds to wait for the first word."""
    by_voice: bool = True
    """Whether the person speaks, rather than types: then the microphone is open while an answer is awaited."""
    literal: bool = False
    """Whether the answer is a text read aloud, which the service does not remember."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The session is being opened; what is said meanwhile is kept."""

    talk: Talk
    until: float
    first: tuple[wire.ClientEvent, ...] = ()
    """What opens a text turn."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The microphone is open, nobody speaks yet."""

    talk: Talk
    until: float
    follow_up: bool = False


@dataclass(frozen=True, slots=True)
class Hearing:
    """Somebody speaks."""

    talk: Talk
    until: float


@dataclass(frozen=True, slots=True)
class Processing:
    """The answer is awaited. ``response`` once it has begun."""

    talk: Talk
    until: float
    response: str | None = None


@dataclass(frozen=True, slots=True)
class Responding:
    """The answer is being generated, and heard."""

    talk: Talk
    until: float
    response: str
    sounds_until: float | None = None
    """When all sound so far will have been heard, if the speaker keeps up; ``None``: nothing is being heard."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """The answer is all here and still being heard. ``lost``: the session is over already."""

    talk: Talk
    until: float
    ended: EndTurn
    """How the turn ends once all is heard."""
    lost: bool = False


Active: TypeAlias = Connecting | Listening | Hearing | Processing | Responding | Finishing
State: TypeAlias = Idle | Active
Step: TypeAlias = tuple[State, tuple[Effect, ...]]


def deadline(state: State) -> float | None:
    """Return when ``state`` must end, on the clock given to :func:`step`; ``None``: never.

    The end of the whole conversation comes first, but an answer that sounds may come to its own.
    """
    match state:
        case Idle():
            return None
        case Responding() | Finishing():
            return state.until
        case _:
            return min(state.until, state.talk.ends)


def published(state: State) -> Literal["idle", "listening", "processing", "responding"]:
    """Return the word that other systems see."""
    match state:
        case Idle():
            return "idle"
        case Connecting(first=()) | Listening() | Hearing():
            return "listening"
        case Connecting() | Processing():
            return "processing"
        case _:
            return "responding"


def hears(state: State, rules: Rules) -> bool:
    """Return whether the service is sent what the microphone hears."""
    match state:
        case Listening() | Hearing():
            return True
        case Connecting() | Processing():
            return state.talk.by_voice
        case Responding() | Finishing(lost=False):
            return rules.full_duplex and state.talk.follows
        case _:
            return False


def rules_changed(state: State, before: Rules, after: Rules) -> tuple[Effect, ...]:
    """Return the effects of other rules, in the middle of a state: whether the service is sent the microphone."""
    match hears(state, before), hears(state, after):
        case False, True:
            return (Hear(),)
        case True, False:
            return (Deafen(),)
        case _:
            return ()


def visible(state: State) -> tuple[str, int, int, str]:
    """Return what other systems see of a state: while it is the same, there is no news."""
    if isinstance(state, Idle):
        return "Idle", 0, 0, ""
    return type(state).__name__, state.talk.session, state.talk.turn, state.talk.source


def costs_more(state: Active, event: Event) -> bool:
    """Return whether to go on would cost an answer more than the one that was too many."""
    match state:
        case Processing(response=str()) | Responding():
            return isinstance(event, wire.ResponseDone) and event.response_id != state.response
        case Finishing():
            return False
        case _:
            return True
