"""The mind: rows of its table, stories, and promises that any history keeps."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiced.core import conversation as mind
from voiced.core.realtime import events as wire
from voiced.core.states import (
    Accept,
    Asked,
    BeginTurn,
    Called,
    Chime,
    CloseSession,
    Connecting,
    Cut,
    Deafen,
    Drained,
    Effect,
    Ended,
    EndTurn,
    Event,
    Finishing,
    Hear,
    Hearing,
    Idle,
    Listening,
    OpenSession,
    Play,
    Processing,
    Refuse,
    Responding,
    Rules,
    Send,
    SessionLost,
    SessionReady,
    State,
    Stopped,
    Tick,
    Woken,
    deadline,
    hears,
    published,
)
from voiced.core.wake import Wake

RULES = Rules()
WAKE = Woken(Wake("hey_jarvis", 0.9, 0.5, 100_000), "default")
KID = Woken(Wake("alexa", 0.9, 0.5, 300_000), "kid")
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
    assert story.tell(Drained(), after=1.1) == [EndTurn(1, "finished"), Hear()]
    listening = story.at()
    assert isinstance(listening, Listening)
    assert listening.follow_up
    assert listening.until == story.now + RULES.follow_up_s
    assert story.tell(wire.SpeechStarted("u2", 3000), after=2) == [BeginTurn(2, "follow_up")]
    story.tell(wire.SpeechStopped("u2", 4000), wire.ResponseStarted("r2"), audio("r2", "i2"))
    story.tell(wire.ResponseDone("r2", "completed"), Drained())
    assert story.wait(10) == [Deafen(), CloseSession(1, "silence")]
    assert story.at() == Idle(1)


def test_the_sound_may_drain_before_the_service_says_done() -> None:
    story = Story().to_responding()
    story.tell(Drained(), after=2)
    assert story.tell(wire.ResponseDone("r1", "completed")) == [EndTurn(1, "finished"), Hear()]


def test_a_gap_in_the_answer_is_not_its_end() -> None:
    story = Story().to_responding()
    story.tell(Drained(), after=2)
    story.tell(audio(), after=1)
    story.tell(wire.ResponseDone("r1", "completed"))
    assert isinstance(story.at(), Finishing)


def test_full_duplex_keeps_the_microphone_open() -> None:
    story = Story(rules=Rules(full_duplex=True)).to_responding()
    assert Deafen() not in story.did
    assert hears(story.at(), story.rules)
    told = story.tell(wire.SpeechStarted("u2", 5000))
    assert told == [Cut(), EndTurn(1, "interrupted"), BeginTurn(2, "follow_up")]
    assert isinstance(story.at(), Hearing)


def test_speech_from_just_before_the_answer_takes_the_turn_back() -> None:
    story = Story().to_responding()
    told = story.tell(wire.SpeechStarted("u2", 5000))
    assert told[-1] == Hear(resume=True)
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
    assert speaking.tell(Stopped(request=7))[-2:] == [Accept(7), Hear(after_s=RULES.tail_s)]
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
    assert here.tell(SessionLost("closed", "gone")) == [CloseSession(1, "closed", failed=True, message="gone")]
    assert here.tell(Drained()) == [EndTurn(1, "finished")]
    assert here.at() == Idle(1)


def test_a_failed_answer_is_told_and_the_person_may_try_again() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900))
    told = story.tell(wire.ResponseStarted("r1"), wire.ResponseDone("r1", "failed", "rate_limit_exceeded", "slow down"))
    assert told == [EndTurn(1, "failed", "rate_limit_exceeded", "slow down"), Chime("error")]
    assert isinstance(story.at(), Listening)


def test_a_television_does_not_keep_a_session_open() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0))
    assert story.wait(RULES.utterance_s)[-1] == CloseSession(1, "endless_speech")


def test_no_conversation_is_longer_than_the_rules_say() -> None:
    """A television keeps the service hearing, turn after turn; an answer that sounds may end."""
    story = Story(rules=Rules(max_s=30.0))
    story.tell(WAKE, SessionReady())
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
        Hear(after_s=RULES.tail_s),
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
    ),
    st.builds(Stopped, REQUESTS),
    st.builds(Ended, st.just("end"), REQUESTS),
    st.just(SessionLost("closed", "gone")),
    st.just(wire.SpeechStarted("u", 0)),
    st.just(wire.SpeechStopped("u", 0)),
    st.builds(wire.ResponseStarted, RESPONSES),
    st.builds(audio, RESPONSES, ITEMS, st.sampled_from([b"", b"\0\0" * 2400, SECOND_OF_SOUND])),
    st.builds(wire.TextDelta, RESPONSES, ITEMS, st.just(0), st.just("word"), st.booleans()),
    st.builds(
        wire.ResponseDone, RESPONSES, st.sampled_from(["completed", "cancelled", "incomplete", "failed"]), st.none()
    ),
    st.just(wire.Other("x")),
)
HISTORIES = st.lists(st.tuples(EVENTS, st.floats(0, 20)), max_size=60)
RULEBOOKS = st.builds(
    Rules, follow_up_s=st.sampled_from([0.0, 6.0]), max_s=st.sampled_from([10.0, 600.0]), full_duplex=st.booleans()
)


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_any_history_keeps_the_promises(history: list[tuple[Event, float]], rules: Rules) -> None:
    """Sessions and turns open and close in pairs, every request is answered at once or by its turn, nothing but idle
    lasts for ever."""
    story = Story(rules=rules)
    sessions: list[int] = []
    turns: list[int] = []
    for event, passed in history:
        story.now += passed
        asked = getattr(event, "request", None)
        answers = 0
        for effect in story.tell(event):
            match effect:
                case OpenSession(number):
                    assert not sessions
                    sessions.append(number)
                case CloseSession(number):
                    assert sessions == [number]
                    sessions.clear()
                case BeginTurn(number, _, request):
                    assert not turns
                    turns.append(number)
                    answers += request is not None
                case EndTurn(number):
                    assert turns == [number]
                    turns.clear()
                case Accept(request) | Refuse(request):
                    assert request == asked
                    answers += 1
        assert answers == (asked is not None)
        lost = isinstance(story.state, Finishing) and story.state.lost
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
                    assert sound.response_id not in cut
                    played.add(sound.response_id)
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


def test_called_twice_is_accepted_twice() -> None:
    story = Story()
    assert Accept(1) in story.tell(Called("mqtt", "default", request=1))
    assert story.tell(Called("mqtt", "default", request=2)) == [Accept(2)]
