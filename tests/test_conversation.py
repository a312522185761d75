"""The mind: rows of its table, stories, and promises that any history keeps."""

import math
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiced.core import conversation as mind
from voiced.core.effects import (
    Accept,
    BeginTurn,
    Chime,
    CloseSession,
    Cut,
    Deafen,
    Effect,
    EndTurn,
    GoOn,
    Hear,
    OpenSession,
    Pause,
    Play,
    Refuse,
    Resume,
    Send,
    Skip,
    TakeOver,
)
from voiced.core.events import (
    Asked,
    Called,
    Drained,
    Ended,
    Event,
    Near,
    Recording,
    Released,
    SessionLost,
    SessionReady,
    Stopped,
    SuccessorLost,
    SuccessorReady,
    Tick,
    Woken,
)
from voiced.core.questions import REPORT, Question
from voiced.core.realtime import events as wire
from voiced.core.sentences import Answer
from voiced.core.states import (
    Attending,
    Connecting,
    Finishing,
    Hearing,
    Idle,
    Listening,
    Paused,
    Processing,
    Responding,
    Rules,
    Sounding,
    State,
    deadline,
    hears,
    published,
)
from voiced.core.tools import GOODBYE
from voiced.core.wake import Wake

RULES = Rules()
WAKE = Woken(Wake("hey_jarvis", 0.9, 0.5, 100_000), "default")
KID = Woken(Wake("alexa", 0.9, 0.5, 300_000), "kid")
STARTED = wire.SpeechStarted("u2", 5000)
STOPPED = wire.SpeechStopped("u2", 6000)
SECOND_OF_SOUND = b"\0\0" * 24_000


def audio(response: str = "r1", item: str = "i1", pcm: bytes = SECOND_OF_SOUND) -> wire.AudioDelta:
    return wire.AudioDelta(response, item, 0, pcm)


@dataclass
class Story:
    """A conversation told event by event; what was done is kept."""

    rules: Rules = RULES
    state: State = field(default_factory=Idle)
    now: float = 0.0
    did: list[Effect] = field(default_factory=list)

    def tell(self, *events: Event, after: float = 0.0) -> list[Effect]:
        self.now += after
        new: list[Effect] = []
        for event in events:
            self.state, effects = mind.step(self.state, event, self.now, self.rules)
            new += effects
        self.did += new
        return new

    def at(self) -> State:
        """The state; a call, so that mypy does not remember an older one."""
        return self.state

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass, with a tick at each deadline as the app gives them."""
        end, new = self.now + seconds, []
        while (until := deadline(self.state)) is not None and until <= end:
            self.now = max(self.now, until)
            new += self.tell(Tick())
        self.now = end
        return new

    def to_responding(self) -> "Story":
        self.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
        self.tell(wire.ResponseStarted("r1"), audio())
        assert isinstance(self.at(), Responding)
        return self


def test_a_whole_conversation_with_a_follow_up() -> None:
    story = Story()
    assert story.tell(WAKE) == [OpenSession(1, "default"), Chime("wake"), Hear(100_000 - RULES.wake_overlap)]
    assert story.tell(SessionReady(), after=0.5) == []
    assert story.tell(wire.SpeechStarted("u1", 10)) == [BeginTurn(1, "wake_word")]
    story.tell(wire.SpeechStopped("u1", 1200), after=1.5)
    assert published(story.state) == "processing"
    story.tell(wire.ResponseStarted("r1"), after=0.2)
    assert story.tell(audio()) == [Deafen(), Play(audio())]
    assert published(story.state) == "responding"
    story.tell(wire.ResponseDone("r1", "completed"))
    assert isinstance(story.at(), Finishing)
    assert story.tell(Drained(), after=1.1) == [EndTurn(1, "finished"), Skip()]
    listening = story.at()
    assert isinstance(listening, Listening)
    assert listening.follow_up
    assert listening.until == story.now + RULES.follow_up_s
    assert story.tell(Near("some", 150_000), after=2) == [Hear(150_000 - RULES.near_overlap)]
    assert story.tell(wire.SpeechStarted("u2", 3000)) == [BeginTurn(2, "follow_up")]
    story.tell(wire.SpeechStopped("u2", 4000), wire.ResponseStarted("r2"), audio("r2", "i2"))
    story.tell(Near("none"), wire.ResponseDone("r2", "completed"), Drained())
    assert story.wait(10) == [CloseSession(1, "silence")]
    assert story.at() == Idle(1)


def test_the_sound_may_drain_before_the_service_says_done() -> None:
    story = Story().to_responding()
    story.tell(Drained(), after=2)
    assert story.tell(wire.ResponseDone("r1", "completed")) == [EndTurn(1, "finished"), Skip()]


def test_a_gap_in_the_answer_is_not_its_end() -> None:
    story = Story().to_responding()
    story.tell(Drained(), after=2)
    story.tell(audio(), after=1)
    story.tell(wire.ResponseDone("r1", "completed"))
    assert isinstance(story.at(), Finishing)


def thinking(rules: Rules = RULES) -> Story:
    """Somebody has asked, and the answer has begun without a sound."""
    story = Story(rules=rules)
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    story.tell(wire.InputCommitted("u1"), wire.ResponseStarted("r1"), Near("none"))
    return story


@pytest.mark.parametrize("rules", [RULES, Rules(full_duplex=True)])
def test_a_television_that_begins_while_an_answer_is_awaited_leaves_it_alone(rules: Rules) -> None:
    story = thinking(rules)
    assert story.tell(STARTED, Near("enough", 90_000, sure=False)) == []
    assert isinstance(story.at(), Processing)
    story.tell(audio())
    assert isinstance(story.at(), Responding)
    story.tell(STOPPED)
    assert story.tell(wire.InputCommitted("u2"), ANSWER_REFUSED) == [Send(wire.DeleteItem("u2"))]
    assert story.tell(wire.ResponseDone("r1", "completed"), Near("none"), Drained())[0] == EndTurn(1, "finished")
    listening = story.at()
    assert isinstance(listening, Listening)
    assert not hears(listening, rules)


@pytest.mark.parametrize("late", [False, True])
def test_whoever_goes_on_while_an_answer_is_awaited_has_it_wait(*, late: bool) -> None:
    story = thinking()
    told = story.tell(STARTED, Near("some", 90_000)) if late else story.tell(Near("some", 90_000), STARTED)
    assert told == [Send(wire.CancelResponse("r1")), *([GoOn((STARTED,))] if late else [])]
    hearing = story.at()
    assert isinstance(hearing, Hearing)
    assert hearing.talk.turn == 1
    assert hearing.talk.suspect is None
    story.tell(STOPPED, wire.InputCommitted("u2"), wire.ResponseStarted("r2"))
    assert story.tell(audio("r2", "i2"))[-1] == Play(audio("r2", "i2"))


def test_whoever_has_a_doubtful_turn_may_go_on_with_it() -> None:
    story = Story().to_responding()
    story.tell(wire.ResponseDone("r1", "completed"), Near("none"), Drained(), TELEVISION, STARTED, STOPPED)
    story.tell(Near("none"), TELEVISION, wire.SpeechStarted("u3", 7_000))
    assert isinstance(story.at(), Hearing)


def test_speech_from_just_before_the_answer_takes_the_turn_back_where_somebody_near_said_it() -> None:
    assert Story().to_responding().tell(STARTED) == []
    story = thinking()
    assert story.tell(Near("some", 90_000), audio(), Near("none"))[0] == Deafen()
    told = story.tell(STARTED)
    assert told == [
        Send(wire.CancelResponse("r1")),
        Cut(),
        EndTurn(1, "interrupted"),
        BeginTurn(2, "follow_up", said=(STARTED,)),
        Hear(resume=True),
    ]
    assert isinstance(story.at(), Hearing)


def test_a_wake_word_interrupts_the_answer() -> None:
    story = Story().to_responding()
    told = story.tell(Woken(Wake("hey_jarvis", 0.9, 0.5, 200_000), "default"))
    assert told == [
        Send(wire.CancelResponse("r1")),
        Cut(),
        EndTurn(1, "interrupted"),
        Chime("wake"),
        Hear(200_000 - RULES.wake_overlap),
    ]
    assert isinstance(story.at(), Listening)
    assert story.tell(audio(), wire.ResponseDone("r1", "cancelled")) == []  # late


def test_a_button_interrupts_the_answer_and_its_tail_is_not_sent() -> None:
    story = Story().to_responding()
    told = story.tell(Called("button", "default"))
    assert told == [
        Send(wire.CancelResponse("r1")),
        Cut(),
        EndTurn(1, "interrupted"),
        Chime("wake"),
        Hear(after_s=RULES.tail_s),
    ]


def test_a_word_of_another_profile_ends_this_conversation_and_begins_its_own() -> None:
    story = Story().to_responding()
    assert story.tell(KID) == [
        Send(wire.CancelResponse("r1")),
        Cut(),
        EndTurn(1, "interrupted"),
        CloseSession(1, "interrupted"),
        OpenSession(2, "kid"),
        Chime("wake"),
        Hear(300_000 - RULES.wake_overlap),
    ]
    story.tell(SessionReady())
    assert story.tell(KID) == []  # it listens already
    assert story.tell(WAKE)[:2] == [CloseSession(2, "interrupted"), OpenSession(3, "default")]


@given(st.lists(st.sampled_from([WAKE, KID, SessionReady(), Stopped(), Drained(), Tick(), audio()]), max_size=20))
def test_whoever_was_called_last_is_who_listens(history: list[Event]) -> None:
    story = Story()
    for event in history:
        story.tell(event, after=0.1)
        if isinstance(event, Woken):
            state = story.at()
            assert not isinstance(state, Idle)
            assert state.talk.profile == event.profile


def test_stop_while_speaking_listens_on_and_while_thinking_rests() -> None:
    speaking = Story().to_responding()
    assert speaking.tell(Stopped(request=7))[-2:] == [Accept(7), Skip(RULES.tail_s)]
    assert isinstance(speaking.at(), Listening)
    thinking = Story()
    thinking.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    assert thinking.tell(Stopped()) == [Deafen(), EndTurn(1, "interrupted"), CloseSession(1, "stopped")]


def test_a_text_turn_opens_asks_and_rests() -> None:
    story = Story()
    assert story.tell(Asked("hello", "default", request=3)) == [
        OpenSession(1, "default"),
        BeginTurn(1, "mqtt", 3, "hello"),
    ]
    assert story.tell(SessionReady()) == [Send(wire.CreateMessage("user", "hello")), Send(wire.CreateResponse())]
    story.tell(wire.ResponseStarted("r1"))
    assert story.tell(audio()) == [Play(audio())]
    assert story.tell(wire.ResponseDone("r1", "completed"), Drained()) == [
        EndTurn(1, "finished"),
        CloseSession(1, "done"),
    ]


@pytest.mark.parametrize("full_duplex", [False, True])
def test_a_service_that_was_sent_no_sound_cannot_open_the_microphone(*, full_duplex: bool) -> None:
    story = Story(rules=Rules(full_duplex=full_duplex))
    story.tell(Asked("hello", "default"), SessionReady(), STARTED, wire.ResponseStarted("r1"), SOME, STARTED)
    assert isinstance(story.at(), Processing)
    story.tell(audio(), STARTED, ENOUGH)
    assert isinstance(story.at(), Responding)
    assert not any(isinstance(effect, Hear) for effect in story.did)
    assert story.tell(wire.ResponseDone("r1", "completed"), Drained())[-1] == CloseSession(1, "done")


def test_a_text_answer_plays_nothing() -> None:
    story = Story()
    story.tell(Asked("hello", "default"), SessionReady(), wire.ResponseStarted("r1"))
    story.tell(wire.TextDelta("r1", "i1", 0, "Hi", spoken=False))
    assert published(story.state) == "responding"
    assert story.tell(wire.ResponseDone("r1", "completed"))[0] == EndTurn(1, "finished")
    assert not any(isinstance(effect, Play) for effect in story.did)


def test_saying_something_is_literal_and_listens_after_when_asked_to() -> None:
    story = Story()
    story.tell(Asked("dinner is ready", "default", literal=True, listen_after=True))
    assert story.tell(SessionReady())[0] == Send(wire.CreateResponse(literal="dinner is ready"))
    story.tell(wire.ResponseStarted("r1"), audio(), wire.ResponseDone("r1", "completed"), Drained())
    assert isinstance(story.at(), Listening)


def test_asking_while_busy_is_refused_and_interrupting_is_not() -> None:
    story = Story().to_responding()
    assert isinstance(story.tell(Asked("hello", "default", request=4))[0], Refuse)
    assert isinstance(story.at(), Responding)
    told = story.tell(Asked("hello", "default", interrupt=True, request=5))
    assert told[:4] == [
        Send(wire.CancelResponse("r1")),
        Cut(),
        EndTurn(1, "interrupted"),
        BeginTurn(2, "mqtt", 5, "hello"),
    ]


@pytest.mark.parametrize("seconds", [0.1, 14.9])
def test_a_slow_connection_is_waited_for(seconds: float) -> None:
    story = Story()
    story.tell(WAKE)
    story.wait(seconds)
    story.tell(SessionReady())
    assert isinstance(story.at(), Listening)


def test_no_connection_ends_in_an_error_chime() -> None:
    story = Story()
    story.tell(WAKE)
    assert story.wait(15) == [
        Deafen(),
        CloseSession(1, "timeout", failed=True, message="no session within 15 s"),
        Chime("error"),
    ]
    assert story.at() == Idle(1)


def test_a_lost_session_fails_the_turn_but_not_an_answer_that_is_all_here() -> None:
    story = Story().to_responding()
    told = story.tell(SessionLost("closed", "the network is gone"))
    assert EndTurn(1, "failed", "closed", "the network is gone") in told
    assert story.at() == Idle(1)
    here = Story().to_responding()
    here.tell(wire.ResponseDone("r1", "completed"))
    told = here.tell(SessionLost("closed", "gone", again=False))
    assert told == [CloseSession(1, "closed", failed=True, message="gone")]
    assert here.tell(Drained()) == [EndTurn(1, "finished")]
    assert here.at() == Idle(1)


def test_a_failed_answer_is_told_and_the_person_may_try_again() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    told = story.tell(wire.ResponseStarted("r1"), wire.ResponseDone("r1", "failed", "rate_limit_exceeded", "slow down"))
    assert told == [
        Deafen(),
        EndTurn(1, "failed", "rate_limit_exceeded", "slow down"),
        Chime("error"),
        Skip(),
    ]
    assert isinstance(story.at(), Listening)


def test_a_television_does_not_keep_a_session_open() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0))
    assert story.wait(RULES.utterance_s)[-1] == CloseSession(1, "endless_speech")


def test_no_conversation_is_longer_than_the_rules_say() -> None:
    """Somebody talks on and on, and is never answered; an answer that sounds may end."""
    story = Story(rules=Rules(max_s=30.0))
    story.tell(WAKE, SessionReady(), Near("enough", 0))
    while not isinstance(story.at(), Idle):
        story.tell(wire.SpeechStarted("u", 0))
        story.wait(4)
        story.tell(wire.SpeechStopped("u", 4000))
        story.wait(1)
    assert story.now <= 30.0 + 5
    assert story.did[-1] == CloseSession(1, "max_s")


def test_an_answer_that_fails_while_it_is_heard_is_cut_before_anybody_is_listened_to() -> None:
    story = Story().to_responding()
    told = story.tell(wire.ResponseDone("r1", "failed", "server_error", "Sorry."))
    assert told == [
        Cut(),
        EndTurn(1, "failed", "server_error", "Sorry."),
        Chime("error"),
        Skip(RULES.tail_s),
    ]


def test_an_answer_that_is_broken_off_is_heard_to_its_end_and_said_to_be() -> None:
    story = Story().to_responding()
    assert story.tell(wire.ResponseDone("r1", "incomplete", "content_filter")) == []
    assert story.tell(Drained())[0] == EndTurn(1, "finished", "content_filter", "the service broke the answer off")


def test_what_is_read_aloud_is_not_cut_in_a_memory_that_does_not_have_it() -> None:
    story = Story()
    story.tell(Asked("dinner is ready", "default", literal=True), SessionReady(), wire.ResponseStarted("r1"), audio())
    assert Cut(remembered=False) in story.tell(Stopped())


def test_a_wake_word_in_a_text_turn_is_listened_to_from_there() -> None:
    connecting = Story()
    connecting.tell(Asked("hello", "default"))
    told = connecting.tell(WAKE)
    assert told == [Chime("wake"), Hear(100_000 - RULES.wake_overlap)]
    assert hears(connecting.at(), RULES)
    waiting = Story()
    waiting.tell(Asked("hello", "default", listen_after=True), SessionReady())
    assert not hears(waiting.at(), RULES)
    assert waiting.tell(WAKE) == [Chime("wake"), Hear(100_000 - RULES.wake_overlap)]


def test_the_longest_conversation_ends_after_its_turn() -> None:
    story = Story().to_responding()
    story.tell(wire.ResponseDone("r1", "completed"))
    assert story.tell(Drained(), after=RULES.max_s) == [EndTurn(1, "finished"), CloseSession(1, "done")]


def test_a_speaker_that_never_says_done_is_not_waited_for() -> None:
    story = Story().to_responding()
    story.tell(wire.ResponseDone("r1", "completed"))
    told = story.wait(1 + RULES.speaker_s)
    assert told[:2] == [Cut(), EndTurn(1, "finished")]


RESPONSES = st.sampled_from(["r1", "r2", "r3"])
ITEMS = st.sampled_from(["i1", "i2"])
SAID = st.sampled_from(["u1", "u2"])
REQUESTS = st.none() | st.integers(0, 3)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.just(WAKE),
    st.just(KID),
    st.just(SessionReady()),
    st.just(Drained()),
    st.just(Tick()),
    st.builds(Called, st.sampled_from(["button", "mqtt"]), st.just("default"), st.none() | st.floats(1, 20), REQUESTS),
    st.builds(
        Asked,
        st.just("hello"),
        st.just("default"),
        literal=st.booleans(),
        listen_after=st.booleans(),
        interrupt=st.booleans(),
        request=REQUESTS,
        voice=st.sampled_from([None, None, "cedar"]),
    ),
    st.builds(
        Asked,
        st.just("Yes or no?"),
        st.just("default"),
        literal=st.just(value=True),
        listen_after=st.just(value=True),
        interrupt=st.booleans(),
        request=st.just(10),
        question=st.just(Question(10, "Yes or no?", (Answer("no", ("no",)),))),
    ),
    st.builds(Recording, st.sampled_from([b"", b"\0\0" * 240]), st.just(10), st.booleans()),
    st.builds(Called, st.just("mqtt"), st.just("default"), request=REQUESTS, hold=st.just(value=True)),
    st.builds(Released, REQUESTS, st.booleans()),
    st.builds(Stopped, REQUESTS),
    st.builds(Ended, st.just("end"), REQUESTS),
    st.builds(SessionLost, st.sampled_from(["closed", "timeout"]), st.just("gone"), st.booleans()),
    st.sampled_from([SuccessorReady(), SuccessorLost()]),
    st.builds(Near, st.sampled_from(["none", "some", "enough"]), st.integers(0, 10**6), st.booleans()),
    st.builds(wire.SpeechStarted, SAID, st.just(0)),
    st.builds(wire.SpeechStopped, SAID, st.just(0)),
    st.builds(wire.InputCommitted, SAID),
    st.builds(wire.InputTranscript, SAID, st.sampled_from(["", "No."])),
    st.builds(wire.InputTranscriptDelta, SAID, st.just("No")),
    st.builds(wire.InputTranscriptFailed, SAID, st.just("what?")),
    st.builds(wire.ServiceProblem, st.just("x"), st.sampled_from([None, wire.ANOTHER_ANSWER]), st.just("No.")),
    st.builds(
        wire.FunctionCall,
        RESPONSES,
        ITEMS,
        st.just("c"),
        st.sampled_from([GOODBYE, "x", REPORT]),
        st.sampled_from(["{}", '{"text": "No"}']),
    ),
    st.builds(wire.ItemAdded, RESPONSES, ITEMS, st.sampled_from(["message", "function_call"])),
    st.builds(wire.ResponseStarted, RESPONSES),
    st.builds(audio, RESPONSES, ITEMS, st.sampled_from([b"", b"\0\0" * 24, b"\0\0" * 240])),
    st.builds(wire.TextDelta, RESPONSES, ITEMS, st.just(0), st.just("word"), st.booleans()),
    st.builds(
        wire.ResponseDone, RESPONSES, st.sampled_from(["completed", "cancelled", "incomplete", "failed"]), st.none()
    ),
    st.just(wire.Other("x")),
)
SAYS = (wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900), wire.ResponseStarted("r1"))
HEARD: tuple[Event, ...] = (WAKE, Near("some", 0), SessionReady(), *SAYS, audio(pcm=b"\0\0" * 240), Near("none"))
DOUBTED: tuple[Event, ...] = (*HEARD, Near("some", 0), wire.SpeechStarted("u2", 0))
WHOLE = wire.ResponseDone("r1", "completed")
TALKED_OVER: tuple[Event, ...] = (
    *(*HEARD, Near("enough", 0), wire.SpeechStarted("u2", 0), wire.SpeechStopped("u2", 0)),
    *(wire.ResponseStarted("r2"), audio("r2", "i2", pcm=b"\0\0" * 240)),
)
WATCHED: tuple[Event, ...] = (
    *(*HEARD, WHOLE, Drained()),
    *2
    * (
        *(Near("enough", 0, sure=False), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 0)),
        *(wire.ResponseStarted("r1"), Near("none"), wire.ResponseDone("r1", "completed")),
    ),
)
"""A television has had its two turns."""
HELD: tuple[Event, ...] = (*HEARD, WHOLE, Drained(), Called("mqtt", "default", hold=True))
TELEVISED: tuple[Event, ...] = (*WATCHED, Near("enough", 0, sure=False), wire.SpeechStarted("u1", 0))
GONE = SessionLost("closed", "gone")
DIED: tuple[tuple[Event, ...], ...] = (
    (*HEARD[:3], GONE),
    (*HEARD[:4], GONE),
    (*HEARD[:6], GONE),
    (*HEARD, WHOLE, GONE),
    (*HEARD, WHOLE, GONE, Drained()),
    (Asked("hello", "default"), SessionReady(), GONE),
    (*HELD, GONE),
)
BEGINNINGS = st.sampled_from(
    [
        *((), HEARD, DOUBTED, (*HEARD, WHOLE), (*HEARD, WHOLE, *DOUBTED[-2:]), (*HEARD, WHOLE, Drained())),
        *(TALKED_OVER, (*TALKED_OVER, audio(pcm=b"\0\0" * 240)), WATCHED, TELEVISED, HELD),
        *((Called("mqtt", "default", hold=True),), (*HEARD, Called("mqtt", "default", hold=True))),
        *DIED,
    ]
)
"""Random events alone seldom lead anywhere; a history goes on from one of these."""
HISTORIES: st.SearchStrategy[list[tuple[Event, float]]] = st.builds(
    lambda beginning, further: [*((event, 0.1) for event in beginning), *further],
    BEGINNINGS,
    st.lists(st.tuples(EVENTS, st.floats(0, 1) | st.floats(0, 20)), max_size=40),
)
RULEBOOKS = st.builds(
    Rules,
    follow_up_s=st.sampled_from([0.0, 6.0]),
    connects=st.sampled_from(["wake", "speech"]),
    max_s=st.sampled_from([10.0, 600.0]),
    full_duplex=st.booleans(),
    written=st.sampled_from([frozenset[str](), frozenset({"default"})]),
    renews=st.booleans(),
    all_written=st.booleans(),
)


def numbered(event: Event, number: int) -> Event:
    """Give what is answered later, when it is over, a number that no other request has."""
    if isinstance(event, Recording):
        return replace(event, request=number)
    if isinstance(event, Asked) and event.question is not None:
        return replace(event, request=number, question=replace(event.question, request=number))
    return event


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_any_history_keeps_the_promises(history: list[tuple[Event, float]], rules: Rules) -> None:
    """Sessions and turns open and close in pairs, every request is answered at once or by its turn, nothing but idle
    lasts for ever."""
    story = Story(rules=rules)
    sessions: list[int] = []
    turns: list[int] = []
    heard: list[int] = []
    for number, (told, passed) in enumerate(history, 10):
        story.now += passed
        event = numbered(told, number)
        is_later = event is not told
        asked = getattr(event, "request", None)
        answers = 0
        owed = [*heard, *([asked] if is_later else [])]
        for effect in story.tell(event):
            match effect:
                case OpenSession(session):
                    assert not sessions
                    sessions.append(session)
                case CloseSession(session):
                    assert sessions == [session]
                    sessions.clear()
                case TakeOver(session):
                    sessions = [session]
                case BeginTurn(turn, _, request):
                    assert not turns
                    turns.append(turn)
                    answers += request is not None
                case EndTurn(turn):
                    assert turns == [turn]
                    turns.clear()
                case Accept(request) | Refuse(request) if request in owed:
                    owed.remove(request)
                case Accept(request) | Refuse(request):
                    assert request == asked
                    answers += 1
        assert answers == (asked is not None and not is_later)
        heard = [story.state.request] if isinstance(story.state, Sounding) else []
        if not isinstance(story.state, Idle) and story.state.talk.question is not None:
            heard = [story.state.talk.question.request]
        assert owed == heard
        lost = isinstance(story.state, Attending | Sounding) or (
            isinstance(story.state, Finishing) and story.state.lost
        )
        assert bool(sessions) == (not isinstance(story.state, Idle) and not lost)
        assert bool(turns) <= (not isinstance(story.state, Idle))
        until = deadline(story.state)
        assert (until is None) == isinstance(story.state, Idle)
        assert until is None or math.isfinite(until)
    for _ in range(6):
        story.now = 1e9
        story.tell(Tick())
    assert isinstance(story.at(), Idle)


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_nothing_plays_after_it_was_cut(history: list[tuple[Event, float]], rules: Rules) -> None:
    """The service never reuses the id of an answer, so a cut one is never heard again."""
    story = Story(rules=rules)
    begun: set[str] = set()
    played: set[str] = set()
    cut: set[str] = set()
    for event, passed in history:
        story.now += passed
        if isinstance(event, wire.ResponseStarted):
            if event.response_id in begun:
                continue
            begun.add(event.response_id)
        for effect in story.tell(event):
            match effect:
                case Play(sound):
                    assert (sound.response_id or sound.item_id) not in cut
                    played.add(sound.response_id or sound.item_id)
                case Cut():
                    cut |= played


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=300)
def test_the_microphone_is_sent_only_while_a_session_listens(history: list[tuple[Event, float]], rules: Rules) -> None:
    """``Hear`` and ``Deafen`` tell the same as the state does; idle is always deaf."""
    story = Story(rules=rules)
    sent = False
    for event, passed in history:
        story.now += passed
        for effect in story.tell(event):
            if isinstance(effect, Hear | Deafen):
                sent = isinstance(effect, Hear)
        assert sent == hears(story.state, rules)


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_the_speaker_is_paused_only_while_somebody_may_be_talking(
    history: list[tuple[Event, float]], rules: Rules
) -> None:
    """It is never left paused, not even for long, and never cut or let go without need."""
    story = Story(rules=rules)
    is_paused = False
    for event, passed in history:
        story.now += passed
        for effect in story.tell(event):
            match effect:
                case Pause():
                    assert not is_paused
                    is_paused = True
                case Resume():
                    assert is_paused
                    is_paused = False
                case Cut():
                    is_paused = False
        assert is_paused == isinstance(story.state, Paused)
        if isinstance(story.state, Paused):
            until = deadline(story.state)
            assert until is not None
            assert until <= story.now + rules.doubt_s


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_a_follow_up_turn_begins_by_somebody_near(history: list[tuple[Event, float]], rules: Rules) -> None:
    """Not by a television, more than so many times in a row; nor does one interrupt."""
    story = Story(rules=rules)
    unsure = 0
    near: Near | None = None
    doubted: Near | None = None
    for event, passed in history:
        story.now += passed
        before = story.at()
        was_heard = near
        if isinstance(event, Near):
            near = None if event.speech == "none" else event
        effects = story.tell(event)
        if any(isinstance(effect, Pause) for effect in effects):
            doubted = near or was_heard
            assert doubted is not None
            assert doubted.sure
        for effect in effects:
            match effect:
                case BeginTurn(_, "follow_up") if not isinstance(event, wire.ResponseStarted):
                    over_answer = isinstance(before, Responding | Finishing | Paused)
                    spoke = before.spoke if isinstance(before, Listening) else None
                    by = (doubted if isinstance(before, Paused) else None) or spoke or near or was_heard
                    assert by is not None or (over_answer and not rules.full_duplex)
                    if over_answer and rules.full_duplex:
                        assert by is not None
                        assert by.sure
                    unsure = unsure + 1 if by is not None and not by.sure else (0 if by else unsure)
                    assert unsure <= rules.most_unsure
                case OpenSession() | BeginTurn(_, "wake_word" | "button" | "mqtt"):
                    unsure = 0
        if isinstance(event, Woken | Called):
            unsure = 0
        if isinstance(story.at(), Idle):
            near = None


def test_idle_never_ends_by_itself() -> None:
    assert deadline(Idle()) is None
    assert mind.step(Idle(3), Tick(), 1e9, RULES) == (Idle(3), ())


def test_a_wake_during_a_text_turn_makes_it_a_conversation() -> None:
    story = Story()
    story.tell(Asked("hello", "default"), WAKE)
    connecting = story.at()
    assert isinstance(connecting, Connecting)
    assert connecting.talk.follows
    story.tell(SessionReady())
    assert isinstance(story.at(), Processing)


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        (Asked("What now?", "default", instructions="Be brief."), wire.CreateResponse("Be brief.")),
        (Asked("Dinner!", "default", literal=True), wire.CreateResponse(literal="Dinner!")),
    ],
)
def test_what_the_service_could_not_answer_yet_is_asked_again_as_it_was(asked: Asked, again: wire.ClientEvent) -> None:
    story = Story()
    story.tell(asked, SessionReady())
    assert story.tell(ANSWER_REFUSED) == []
    assert story.tell(wire.ResponseDone("r0", "cancelled")) == [Send(again)]


def test_an_answer_that_was_about_to_begin_is_not_taken_for_the_next_one() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    story.tell(Asked("Dinner!", "default", literal=True, interrupt=True))
    assert story.tell(wire.ResponseStarted("r1")) == [Send(wire.CancelResponse("r1"))]
    assert story.tell(audio("r1"), wire.ResponseDone("r1", "cancelled")) == []
    assert Play in map(type, story.tell(wire.ResponseStarted("r2"), audio("r2", "i2")))


def test_called_twice_is_accepted_twice() -> None:
    story = Story()
    assert Accept(1) in story.tell(Called("mqtt", "default", request=1))
    assert story.tell(Called("mqtt", "default", request=2)) == [Accept(2)]


# --- talking over an answer -------------------------------------------------------------------------------------------

DUPLEX = Rules(full_duplex=True, written=frozenset({"default"}))
SOME, ENOUGH, NOBODY = Near("some", 90_000), Near("enough", 90_000), Near("none")
TELEVISION = Near("enough", 90_000, sure=False)
ANSWER_REFUSED = wire.ServiceProblem("invalid_request_error", wire.ANOTHER_ANSWER, "Wait.")


def answering(rules: Rules = DUPLEX, *, whole: bool = False) -> Story:
    """An answer sounds; generated to its end if ``whole``."""
    story = Story(rules=rules)
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    story.tell(wire.InputCommitted("u1"), wire.ResponseStarted("r1"), wire.ItemAdded("r1", "i1", "message"), audio())
    if whole:
        story.tell(wire.ResponseDone("r1", "completed"))
    assert not hears(story.state, story.rules)
    return story


def paused(*, whole: bool = False, rules: Rules = DUPLEX) -> Story:
    story = answering(rules, whole=whole)
    assert story.tell(SOME) == [Hear(90_000 - RULES.near_overlap)]
    assert story.tell(STARTED) == [Pause()]
    assert isinstance(story.at(), Paused)
    return story


def test_somebody_near_and_the_services_word_interrupt_at_once() -> None:
    story = answering()
    story.tell(SOME, ENOUGH)
    assert story.tell(STARTED) == [
        Send(wire.CancelResponse("r1")),
        Cut(items=("i1",)),
        EndTurn(1, "interrupted"),
        BeginTurn(2, "follow_up", said=(STARTED,)),
    ]
    assert isinstance(story.at(), Hearing)
    assert story.tell(audio(), wire.ResponseDone("r1", "cancelled")) == []  # late
    assert story.tell(wire.ItemAdded("r1", "i2", "message")) == [Send(wire.DeleteItem("i2"))]


def test_a_little_evidence_pauses_and_more_interrupts() -> None:
    story = paused()
    assert published(story.state) == "responding"
    assert story.tell(audio()) == [Play(audio())]  # still queued behind the pause
    told = story.tell(ENOUGH, after=0.2)
    assert told[:3] == [Send(wire.CancelResponse("r1")), Cut(items=("i1",)), EndTurn(1, "interrupted")]
    assert isinstance(story.at(), Hearing)


@pytest.mark.parametrize("words", [wire.InputTranscriptDelta("u2", "No"), wire.InputTranscript("u2", "No.")])
def test_words_interrupt_too_and_the_answer_to_them_is_not_lost(words: wire.ServerEvent) -> None:
    story = paused(whole=True)
    early = (STOPPED, wire.InputCommitted("u2"), wire.ResponseStarted("r2"), audio("r2", "i2"))
    assert story.tell(*early, after=0.5) == []
    told = story.tell(words, after=0.5)
    assert told == [
        Cut(items=("i1",)),
        EndTurn(1, "interrupted"),
        BeginTurn(2, "follow_up", said=(STARTED, *early)),
        Play(audio("r2", "i2")),
    ]
    responding = story.at()
    assert isinstance(responding, Responding)
    assert responding.response == "r2"


def test_no_words_in_two_seconds_and_the_answer_goes_on_where_it_stopped() -> None:
    story = paused()
    before = story.at()
    assert isinstance(before, Paused)
    assert story.wait(2) == [Resume()]
    after = story.at()
    assert isinstance(after, Responding)
    assert isinstance(before.answer, Responding)
    assert before.answer.sounds_until is not None
    assert after.sounds_until == before.answer.sounds_until + 2
    assert after.talk.suspect == STARTED
    assert story.tell(STOPPED, wire.InputCommitted("u2")) == [Send(wire.DeleteItem("u2"))]
    assert story.tell(wire.ResponseStarted("r2")) == [Send(wire.CancelResponse("r2"))]
    assert story.tell(audio("r2", "i2"), wire.ItemAdded("r2", "i2", "message")) == [Send(wire.DeleteItem("i2"))]
    assert story.tell(audio()) == [Play(audio())]


@pytest.mark.parametrize(
    "nothing", [wire.InputTranscript("u2", " "), wire.InputTranscriptFailed("u2", "unintelligible")]
)
def test_speech_without_words_was_nothing_and_is_forgotten(nothing: wire.ServerEvent) -> None:
    story = paused(whole=True)
    story.tell(STOPPED, wire.InputCommitted("u2"), wire.ResponseStarted("r2"), after=0.6)
    story.tell(wire.ItemAdded("r2", "i2", "message"), audio("r2", "i2"))
    told = story.tell(nothing, after=0.4)
    assert told == [
        Resume(),
        Send(wire.CancelResponse("r2")),
        Send(wire.DeleteItem("u2")),
        Send(wire.DeleteItem("i2")),
    ]
    assert isinstance(story.at(), Finishing)
    assert story.tell(audio("r2", "i2"), wire.ResponseDone("r2", "cancelled")) == []
    assert story.tell(Near("none"), Drained())[:2] == [Deafen(), EndTurn(1, "finished")]


def test_where_nobody_writes_down_words_the_end_of_speech_decides() -> None:
    story = paused(rules=Rules(full_duplex=True))
    assert story.tell(STOPPED, after=0.6) == [Resume()]
    assert story.tell(wire.InputCommitted("u2")) == [Send(wire.DeleteItem("u2"))]
    assert story.tell(ANSWER_REFUSED) == []  # r1 was not done yet
    assert story.tell(wire.ResponseDone("r1", "completed")) == []
    assert isinstance(story.at(), Finishing)


def test_speech_that_nobody_near_says_is_ignored_and_forgotten() -> None:
    story = answering(whole=True)
    assert story.tell(STARTED) == [Hear(resume=True)]  # or it would never be over
    assert isinstance(story.at(), Finishing)
    assert story.tell(STOPPED, after=1) == [Deafen()]
    assert story.tell(wire.InputCommitted("u2")) == [Send(wire.DeleteItem("u2"))]
    assert story.tell(wire.ResponseStarted("r2")) == [Send(wire.CancelResponse("r2"))]


@pytest.mark.parametrize(("evidence", "then"), [(SOME, Paused), (ENOUGH, Hearing)])
def test_evidence_that_comes_a_little_later_counts(evidence: Near, then: type[State]) -> None:
    story = answering()
    story.tell(STARTED)
    story.tell(evidence, after=0.3)
    assert isinstance(story.at(), then)


def test_a_television_does_not_interrupt() -> None:
    story = answering()
    assert story.tell(TELEVISION) == []
    story.tell(STARTED)
    assert isinstance(story.at(), Responding)


def test_in_half_duplex_nobody_is_heard_over_an_answer() -> None:
    story = answering(RULES)
    assert story.tell(SOME, ENOUGH) == []
    assert isinstance(story.at(), Responding)


@pytest.mark.parametrize(
    "event", [Stopped(), WAKE, KID, Called("button", "default"), Ended("end"), SessionLost("closed", "gone")]
)
def test_nothing_that_happens_leaves_the_speaker_paused(event: Event) -> None:
    for whole in (False, True):
        story = paused(whole=whole)
        told = story.tell(event)
        assert any(isinstance(effect, Resume | Cut) for effect in told)
        assert not isinstance(story.at(), Paused)


def test_a_refused_answer_is_asked_for_again_when_the_cut_one_is_over() -> None:
    story = answering()
    story.tell(ENOUGH, STARTED, STOPPED, wire.InputCommitted("u2"))
    assert story.tell(ANSWER_REFUSED) == []
    assert story.tell(wire.ResponseDone("r1", "cancelled")) == [Send(wire.CreateResponse())]
    story.tell(wire.ResponseStarted("r2"), audio("r2", "i2"))
    assert isinstance(story.at(), Responding)


def test_an_answer_to_half_a_sentence_is_cancelled_when_the_person_goes_on() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    story.tell(wire.ResponseStarted("r1"), wire.ItemAdded("r1", "i1", "message"), SOME)
    assert story.tell(STARTED) == [Send(wire.CancelResponse("r1")), Send(wire.DeleteItem("i1"))]
    assert isinstance(story.at(), Hearing)
    assert story.tell(audio()) == []
    late = Story()
    late.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900), SOME, STARTED)
    assert late.tell(wire.ResponseStarted("r1")) == [Send(wire.CancelResponse("r1"))]


# --- follow-up --------------------------------------------------------------------------------------------------------


def in_window(rules: Rules = RULES) -> Story:
    story = answering(rules, whole=True)
    story.tell(Drained(), after=1)
    assert isinstance(story.at(), Listening)
    return story


def test_a_window_is_open_to_nobody_but_somebody_near() -> None:
    story = in_window()
    assert not hears(story.at(), RULES)
    assert story.wait(RULES.follow_up_s) == [CloseSession(1, "silence")]


def test_a_window_waits_for_the_services_word_but_once() -> None:
    story = in_window()
    story.wait(RULES.follow_up_s - 0.1)
    assert story.tell(SOME) == [Hear(90_000 - RULES.near_overlap)]
    story.wait(1)
    assert story.tell(NOBODY, SOME) == []
    assert isinstance(story.at(), Listening)
    assert story.wait(RULES.notice_s)[-1] == CloseSession(1, "silence")


def test_a_short_word_may_be_over_before_the_service_says_that_it_heard_it() -> None:
    story = in_window()
    story.tell(SOME, NOBODY)
    assert story.tell(STARTED) == [BeginTurn(2, "follow_up")]


def test_a_television_has_two_turns_and_no_third() -> None:
    story = in_window()
    for turn in (2, 3):
        assert story.tell(TELEVISION)[-1] == Hear(90_000 - RULES.near_overlap)
        assert story.tell(wire.SpeechStarted(f"u{turn}", 0)) == [BeginTurn(turn, "follow_up")]
        story.tell(wire.SpeechStopped(f"u{turn}", 9), wire.ResponseStarted(f"r{turn}"), audio(f"r{turn}"))
        story.tell(NOBODY, wire.ResponseDone(f"r{turn}", "completed"), Drained())
    assert story.tell(TELEVISION) == []
    assert story.wait(RULES.follow_up_s) == [CloseSession(1, "silence")]


def test_a_person_in_between_gives_a_doubtful_turn_back() -> None:
    story = in_window()
    for near in (TELEVISION, ENOUGH, TELEVISION, TELEVISION):
        story.tell(near, STARTED)
        assert isinstance(story.at(), Hearing)
        story.tell(STOPPED, wire.ResponseStarted("r9"), audio("r9"), NOBODY)
        story.tell(wire.ResponseDone("r9", "completed"), Drained())
    assert story.tell(TELEVISION) == []


def test_a_wake_word_opens_the_window_to_all() -> None:
    story = in_window()
    assert story.tell(WAKE) == [Chime("wake"), Hear(100_000 - RULES.wake_overlap)]
    assert story.tell(STARTED) == [BeginTurn(2, "wake_word")]


def test_the_model_may_say_goodbye() -> None:
    story = answering()
    call = wire.FunctionCall("r1", "i2", "c1", GOODBYE, "{}")
    assert story.tell(call) == [Send(wire.CreateToolOutput("c1", "{}"))]
    story.tell(wire.ResponseDone("r1", "completed"))
    assert story.tell(Drained()) == [EndTurn(1, "finished"), CloseSession(1, "goodbye")]


def test_whoever_talks_over_a_goodbye_is_listened_to() -> None:
    story = answering()
    story.tell(wire.FunctionCall("r1", "i2", "c1", GOODBYE, "{}"), ENOUGH, STARTED, STOPPED)
    story.tell(wire.ResponseStarted("r2"), audio("r2"), wire.ResponseDone("r2", "completed"), Drained())
    assert isinstance(story.at(), Listening)


def test_a_goodbye_without_a_word_ends_the_conversation_too() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    story.tell(wire.ResponseStarted("r1"), wire.FunctionCall("r1", "i1", "c1", GOODBYE, "{}"))
    assert story.tell(wire.ResponseDone("r1", "completed"))[-1] == CloseSession(1, "goodbye")


# --- no session before somebody speaks --------------------------------------------------------------------------------

BY_SPEECH = Rules(connects="speech")


def test_a_wake_word_and_nothing_behind_it_opens_no_session() -> None:
    story = Story(rules=BY_SPEECH)
    assert story.tell(WAKE) == [Chime("wake")]
    assert published(story.state) == "listening"
    assert story.wait(BY_SPEECH.no_speech_s) == []
    assert story.at() == Idle(1)


@pytest.mark.parametrize(
    ("since", "heard"), [(95_000, 100_000 - BY_SPEECH.wake_overlap), (190_000, 190_000 - BY_SPEECH.near_overlap)]
)
def test_speech_behind_a_wake_word_opens_one_and_is_sent_whole(since: int, heard: int) -> None:
    story = Story(rules=BY_SPEECH)
    story.tell(WAKE)
    assert story.tell(Near("some", since), after=1) == [OpenSession(1, "default"), Hear(heard)]
    story.tell(SessionReady())
    assert story.tell(wire.SpeechStarted("u1", 0)) == [BeginTurn(1, "wake_word")]


@pytest.mark.parametrize("event", [Ended("end", 3), Stopped(3)])
def test_whoever_waits_for_speech_can_be_told_to_stop(event: Event) -> None:
    story = Story(rules=BY_SPEECH)
    story.tell(WAKE)
    assert story.tell(event) == [Accept(3)]
    assert story.at() == Idle(1)


def test_another_word_or_a_text_begins_anew_while_nobody_has_spoken() -> None:
    story = Story(rules=BY_SPEECH)
    assert story.tell(WAKE, KID) == [Chime("wake"), Chime("wake")]
    attending = story.at()
    assert isinstance(attending, Attending)
    assert (attending.talk.session, attending.talk.profile) == (2, "kid")
    assert story.tell(Asked("hello", "default", request=4))[0] == OpenSession(3, "default")
