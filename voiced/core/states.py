"""What the mind works on: rules, and the states that it is in; all plain values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from voiced.core.effects import Effect, EndTurn, Source
from voiced.core.events import Near, SessionLost
from voiced.core.questions import Question
from voiced.core.realtime import events as wire

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
    doubt_s: float = 2.0
    """How long an answer is paused for somebody who may be saying something."""
    notice_s: float = 2.0
    """From the first sound of somebody near to the service's word that it is speech."""
    near_overlap: int = 8_000
    """Samples of sound sent from before the first that was taken for somebody near."""
    connects: Literal["wake", "speech"] = "wake"
    """When the session is opened: as soon as somebody calls, or only when they speak."""
    most_unsure: int = 2
    """Follow-up turns in a row by somebody who may be a television."""
    written: frozenset[str] = frozenset()
    """Profiles for whom the service writes down what the person says: then words can be waited for."""
    full_duplex: bool = False
    """Whether the service may hear the microphone while an answer plays."""
    spent: bool = False
    """Whether the budget is used up: the answer going on is the last one."""
    most_tries: int = 2
    """Further sessions for one thing that a person said; after a time-out one, as nobody waits longer."""
    renews: bool = False
    """Whether the session is to be replaced in the next pause: it ends soon, or has become slow."""
    all_written: bool = False
    """Whether all turns so far are written down, so that another session can be told of them."""


# --- states -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is said; sessions are counted on."""

    session: int = 0
    """Number of the last one."""


@dataclass(frozen=True, slots=True)
class Successor:
    """A session beside the one going on, whose place it is to take."""

    number: int
    ready: bool = False


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
    percent: int | None = None
    """How loud such a text is, of the volume; ``None``: as announcements are."""
    question: Question | None = None
    """What waits for an answer."""
    near: Near | None = None
    """Who seems to speak; ``None``: nobody."""
    unsure: int = 0
    """Follow-up turns until now, in a row, that may have been a television's."""
    suspect: wire.SpeechStarted | None = None
    """Speech that the service hears, that nobody near says, as far as we know, and that is not over."""
    void: tuple[str, ...] = ()
    """Items and answers that count for nothing: what they still bring is taken out of the service's memory."""
    void_next: bool = False
    """Whether the service is about to answer such an item."""
    goodbye: bool = False
    """Whether the answer says goodbye."""
    asked: tuple[wire.ClientEvent, ...] = ()
    """What has the turn going on answered, where nobody spoke."""
    first: int = 0
    """Number of the conversation's first session."""
    tries: int = 0
    """Sessions that died over what the person says."""
    successor: Successor | None = None
    renew_after: float = 0.0
    """Not before then is a successor opened: the last try failed."""


@dataclass(frozen=True, slots=True)
class Attending:
    """Somebody called; there is no session before they speak."""

    talk: Talk
    until: float
    since: int
    """Microphone position from which on the service may hear them."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The session is being opened; what is said meanwhile is kept."""

    talk: Talk
    until: float
    first: tuple[wire.ClientEvent, ...] = ()
    """What opens a text turn."""
    held: Literal["", "down", "up"] = ""
    """Whether the microphone is held open for a turn, or was and that turn is over."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Nobody speaks yet. The microphone is open; in a follow-up window only to somebody near."""

    talk: Talk
    until: float
    follow_up: bool = False
    spoke: Near | None = None
    """Who has spoken near since the window opened, of whom the service has yet to say that it hears speech."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """Somebody speaks."""

    talk: Talk
    until: float
    held: bool = False
    """Whether they hold the microphone open, and the turn ends when they let it go."""


@dataclass(frozen=True, slots=True)
class Processing:
    """The answer is awaited. ``response`` once it has begun."""

    talk: Talk
    until: float
    response: str | None = None
    items: tuple[str, ...] = ()
    """Messages of it that have begun."""
    owed: bool = False
    """Whether the service refused to answer before another answer is over: then it is to be asked once more."""


@dataclass(frozen=True, slots=True)
class Responding:
    """The answer is being generated, and heard."""

    talk: Talk
    until: float
    response: str
    sounds_until: float | None = None
    """When all sound so far will have been heard, if the speaker keeps up; ``None``: nothing is being heard."""
    items: tuple[str, ...] = ()
    """Messages of the answer that have begun."""
    heard: bool = False
    """Whether anything of it was."""
    spoke: Near | None = None
    """Who surely spoke near as it began, of whom the service had yet to say that it hears speech."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """The answer is all here and still being heard. ``lost``: the session is over already."""

    talk: Talk
    until: float
    ended: EndTurn
    """How the turn ends once all is heard."""
    response: str
    items: tuple[str, ...] = ()
    lost: bool = False
    spoke: Near | None = None
    """As in :class:`Responding`."""
    died: SessionLost | None = None
    """How the session came to its end, where another one will take its place once the answer is heard."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The answer is silent for a moment, because somebody may be talking over it."""

    talk: Talk
    until: float
    answer: Responding | Finishing
    """What goes on if nobody is; the session is there. Its ``talk`` is out of date."""
    since: float
    """When it fell silent."""
    started: tuple[wire.SpeechStarted, ...]
    """What the service took for speech; the last may go on."""
    early: tuple[wire.ServerEvent, ...] = ()
    """What the service told of that speech and of an answer to it."""
    stopped: bool = False
    """Whether the last is over."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """A recording is being heard; there is no session."""

    talk: Talk
    until: float
    request: int


@dataclass(frozen=True, slots=True)
class Reopening:
    """The session died before it answered. Another one is being opened, which will be told what was said."""

    talk: Talk
    until: float
    going_on: Listening | Hearing | Processing
    """What goes on once it is there; its ``until`` is out of date."""


Active: TypeAlias = (
    Attending | Connecting | Listening | Hearing | Processing | Responding | Finishing | Paused | Sounding | Reopening
)
State: TypeAlias = Idle | Active
Step: TypeAlias = tuple[State, tuple[Effect, ...]]


OVERTIME_S = 300.0
"""How long an answer may sound past the end of the conversation. One that goes on then is taken for endless."""


def deadline(state: State) -> float | None:
    """Return when ``state`` must end, on the clock given to :func:`voiced.core.conversation.step`; ``None``: never.

    The end of the whole conversation comes first, but an answer that sounds may come to its own.
    """
    match state:
        case Idle():
            return None
        case Sounding():
            return state.until
        case Responding() | Finishing() | Paused():
            return min(state.until, state.talk.ends + OVERTIME_S)
        case _:
            return min(state.until, state.talk.ends)


def published(state: State) -> Literal["idle", "listening", "processing", "responding"]:
    """Return the word that other systems see."""
    match state:
        case Idle():
            return "idle"
        case Attending() | Connecting(first=(), held="" | "down") | Listening() | Hearing():
            return "listening"
        case Connecting() | Processing():
            return "processing"
        case Reopening():
            return published(state.going_on)
        case _:
            return "responding"


def visible(state: State) -> tuple[str, int, int, str]:
    """Return what other systems see of a state: while it is the same, there is no news."""
    if isinstance(state, Idle):
        return "Idle", 0, 0, ""
    shown = going_on(state)
    return type(shown).__name__, state.talk.first, state.talk.turn, state.talk.source


def hears(state: State, rules: Rules) -> bool:
    """Return whether the service is sent what the microphone hears."""
    match state:
        case Listening(follow_up=True, spoke=None):
            return is_near(state.talk, rules) or state.talk.suspect is not None
        case Listening() | Hearing():
            return True
        case Connecting() | Processing():
            return state.talk.by_voice
        case Reopening():
            return hears(state.going_on, rules)
        case Responding() | Finishing(lost=False):
            is_open = is_surely_near(state.talk) or state.talk.suspect is not None
            return rules.full_duplex and state.talk.follows and is_open
        case Paused():
            return rules.full_duplex and state.talk.follows
        case _:
            return False


def is_near(talk: Talk, rules: Rules) -> bool:
    """Return whether somebody seems to speak who may begin a turn: not a television, turn after turn."""
    if talk.near is None or talk.near.sure:
        return talk.near is not None
    return talk.near.speech == "enough" and talk.unsure < rules.most_unsure


def is_surely_near(talk: Talk) -> bool:
    """Return whether somebody seems to speak who may interrupt."""
    return talk.near is not None and talk.near.sure


def is_going_on(talk: Talk, rules: Rules) -> bool:
    """Return whether whoever said the last turn seems to go on with it; one taken for a television's may, too."""
    return is_surely_near(talk) or (talk.unsure > 0 and is_near(talk, rules))


def is_nobodys(talk: Talk, item_id: str) -> bool:
    """Return whether what the service heard as this item counts for nothing, or may not count."""
    return item_id in talk.void or (talk.suspect is not None and talk.suspect.item_id == item_id)


def going_on(state: State) -> State:
    """Return what goes on by all appearances, while a session is replaced or somebody is doubted."""
    match state:
        case Paused():
            return state.answer
        case Reopening():
            return state.going_on
        case _:
            return state


def resting(talk: Talk) -> Idle:
    """Return what comes after a conversation."""
    return Idle(talk.session if talk.successor is None else talk.successor.number)
