"""Push to talk, in the mind: rows of its table, and what any history with it keeps."""

import pytest
from hypothesis import given, settings

from tests.test_conversation import (
    BY_SPEECH,
    HISTORIES,
    RULEBOOKS,
    RULES,
    WAKE,
    Story,
    answering,
    audio,
    in_window,
    paused,
)
from voiced.core.effects import (
    Accept,
    BeginTurn,
    Chime,
    CloseSession,
    Cut,
    Deafen,
    EndTurn,
    Hear,
    Hold,
    LetGo,
    OpenSession,
    Refuse,
    Resume,
    Send,
)
from voiced.core.events import Asked, Called, Drained, Ended, Event, Released, SessionLost, SessionReady, Stopped
from voiced.core.holding import NOBODY_HOLDS, NOTHING_SAID, is_held
from voiced.core.realtime import events as wire
from voiced.core.states import Connecting, Hearing, Idle, Listening, Processing, Rules, published

PRESS = Called("mqtt", "default", request=1, hold=True)
RELEASE = Released(2)
EMPTY = Released(2, said=False)


def held() -> Story:
    story = Story()
    story.tell(PRESS, SessionReady())
    hearing = story.at()
    assert isinstance(hearing, Hearing)
    assert hearing.held
    return story


@pytest.mark.parametrize("rules", [RULES, BY_SPEECH])
def test_a_press_at_rest_opens_session_turn_and_microphone(rules: Rules) -> None:
    story = Story(rules=rules)
    assert story.tell(PRESS) == [
        OpenSession(1, "default"),
        BeginTurn(1, "mqtt"),
        Hold(fresh=False),
        Chime("wake"),
        Accept(1),
        Hear(),
    ]
    assert published(story.state) == "listening"
    assert story.tell(SessionReady()) == []
    assert isinstance(story.at(), Hearing)


def test_a_turn_ends_when_it_is_let_go_and_not_before() -> None:
    story = held()
    assert story.tell(wire.SpeechStarted("u1", 0), wire.SpeechStopped("u1", 900), after=3) == []
    assert story.tell(RELEASE) == [Deafen(), LetGo(), Accept(2)]
    assert isinstance(story.at(), Processing)
    story.tell(wire.InputCommitted("u2"), wire.ResponseStarted("r1"), audio())
    assert published(story.state) == "responding"


def test_what_is_let_go_before_there_is_a_session_is_answered_when_there_is() -> None:
    story = Story()
    story.tell(PRESS)
    assert story.tell(RELEASE, after=0.4) == [Deafen(), LetGo(), Accept(2)]
    assert isinstance(story.at(), Connecting)
    assert published(story.state) == "processing"
    assert story.tell(SessionReady()) == []
    assert isinstance(story.at(), Processing)


@pytest.mark.parametrize("opened", [False, True])
def test_nothing_said_is_said_so(opened: bool) -> None:
    story = held() if opened else Story()
    if not opened:
        story.tell(PRESS)
    assert story.tell(EMPTY) == [
        Deafen(),
        EndTurn(1, "failed", "no_speech", NOTHING_SAID),
        CloseSession(1, "silence"),
        Refuse(2, NOTHING_SAID, "unavailable"),
    ]
    assert story.at() == Idle(1)


@pytest.mark.parametrize("story", [Story(), Story().to_responding(), in_window(), paused()])
def test_nobody_can_let_go_what_nobody_holds(story: Story) -> None:
    before = story.at()
    assert story.tell(RELEASE) == [Refuse(2, NOBODY_HOLDS, "unavailable")]
    assert story.at() == before


def test_a_press_over_an_answer_interrupts_it() -> None:
    story = Story().to_responding()
    assert story.tell(PRESS) == [
        Send(wire.CancelResponse("r1")),
        Cut(),
        EndTurn(1, "interrupted"),
        BeginTurn(2, "mqtt"),
        Chime("wake"),
        Hold(),
        Accept(1),
        Hear(after_s=RULES.tail_s),
    ]


def test_a_press_over_an_answer_that_is_all_here_and_one_that_is_paused() -> None:
    whole = answering(whole=True)
    assert whole.tell(PRESS)[:3] == [Cut(items=("i1",)), EndTurn(1, "interrupted"), BeginTurn(2, "mqtt")]
    quiet = paused()
    told = quiet.tell(PRESS)
    assert Cut(items=("i1",)) in told
    assert Resume() not in told
    assert is_held(quiet.at())


def test_a_press_in_the_middle_of_a_sentence_keeps_it() -> None:
    story = Story()
    story.tell(WAKE, SessionReady(), wire.SpeechStarted("u1", 0))
    assert story.tell(PRESS) == [Hold(fresh=False), Accept(1)]
    assert story.tell(wire.SpeechStopped("u1", 900)) == []
    assert story.tell(wire.ResponseStarted("r1")) == [Send(wire.CancelResponse("r1"))]  # to the half that was too early
    assert story.tell(RELEASE) == [Deafen(), LetGo(), Accept(2)]


def test_a_press_in_a_window_begins_a_turn_and_another_press_none() -> None:
    story = in_window()
    told = story.tell(PRESS)
    assert told == [BeginTurn(2, "mqtt"), Chime("wake"), Hold(), Accept(1), Hear()]
    assert story.tell(PRESS) == [Accept(1)]


def test_a_press_while_woken_and_connecting_makes_it_a_held_turn() -> None:
    story = Story()
    story.tell(WAKE)
    assert story.tell(PRESS) == [BeginTurn(1, "mqtt"), Hold(fresh=False), Accept(1)]
    story.tell(SessionReady())
    assert is_held(story.at())


def test_a_text_that_interrupts_takes_the_held_turn_back() -> None:
    story = held()
    told = story.tell(Asked("hello", "default", interrupt=True))
    assert told[:3] == [Deafen(), LetGo(said=False), EndTurn(1, "interrupted")]
    assert isinstance(story.at(), Processing)


@pytest.mark.parametrize("event", [Stopped(), Ended("end"), SessionLost("closed", "gone", again=False)])
def test_whatever_ends_the_conversation_ends_the_held_turn(event: Event) -> None:
    story = held()
    assert any(isinstance(effect, EndTurn) for effect in story.tell(event))
    assert isinstance(story.at(), Idle)


def test_a_key_that_is_stuck_ends_the_conversation() -> None:
    story = held()
    assert story.wait(RULES.utterance_s)[-1] == CloseSession(1, "endless_speech")


def test_after_its_answer_the_conversation_goes_on() -> None:
    story = held()
    story.tell(RELEASE, wire.ResponseStarted("r1"), audio(), wire.ResponseDone("r1", "completed"))
    story.tell(Drained(), after=2)
    assert isinstance(story.at(), Listening)


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_any_hold_is_let_go_once(history: list[tuple[Event, float]], rules: Rules) -> None:
    """The service's turn detection is off while somebody holds, and comes back, unless the session is over."""
    story = Story(rules=rules)
    is_off = False
    for event, passed in history:
        story.now += passed
        for effect in story.tell(event):
            match effect:
                case OpenSession() | CloseSession():
                    is_off = False
                case Hold():
                    assert not is_off
                    is_off = True
                case LetGo():
                    assert is_off
                    is_off = False
        assert is_off == is_held(story.at())
