"""A conversation outlives its sessions: rows of the table, and promises that any history keeps."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from tests.test_conversation import (
    HISTORIES,
    KID,
    RULEBOOKS,
    STARTED,
    WAKE,
    Story,
    audio,
)
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
    Hear,
    LetGo,
    OpenSession,
    OpenSuccessor,
    Play,
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
    Released,
    SessionLost,
    SessionReady,
    Stopped,
    SuccessorLost,
    SuccessorReady,
    Woken,
)
from voiced.core.questions import Question
from voiced.core.realtime import events as wire
from voiced.core.sentences import Answer
from voiced.core.states import (
    Finishing,
    Hearing,
    Idle,
    Listening,
    Processing,
    Reopening,
    Rules,
    going_on,
    hears,
    published,
)
from voiced.core.wake import Wake

SPOKE = wire.SpeechStarted("u1", 0)
STOPPED = wire.SpeechStopped("u1", 900)
DIED = SessionLost("closed", "gone")
WHOLE = wire.ResponseDone("r1", "completed")
HELD = Called("mqtt", "default", hold=True)
ASK = (wire.CreateMessage("user", "hello"), wire.CreateResponse())


def told(*events: Event, rules: Rules | None = None) -> Story:
    story = Story(rules=rules or Rules())
    story.tell(*events)
    return story


def opened(session: int, resend: str, tries: int = 1) -> list[Effect]:
    return [
        OpenSuccessor(session, tries),
        TakeOver(session, resend, "closed", "gone"),  # type: ignore[arg-type]  # one of its words
    ]


# --- a session that died ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "resend", "state"),
    [
        ((WAKE, SessionReady()), "rest", Listening),
        ((WAKE, SessionReady(), SPOKE), "sound", Hearing),
        ((WAKE, SessionReady(), SPOKE, STOPPED), "turn", Processing),
        ((WAKE, SessionReady(), SPOKE, STOPPED, wire.ResponseStarted("r1")), "turn", Processing),
        ((HELD, SessionReady()), "held", Hearing),
        ((HELD, SessionReady(), Released()), "turn", Processing),
    ],
)
def test_what_was_said_goes_to_another_session(before: tuple[Event, ...], resend: str, state: type) -> None:
    story = told(*before)
    seen = published(story.at())
    assert story.tell(DIED) == opened(2, resend)
    assert isinstance(story.at(), Reopening)
    assert published(story.at()) == seen
    assert story.tell(STARTED, audio()) == []  # nothing of the session that died counts any more
    assert story.tell(SessionReady(), after=1.0) == []
    assert isinstance(story.at(), state)
    assert (BeginTurn(1, "wake_word") in story.tell(SPOKE)) == (state is Listening)


def test_an_answer_of_which_only_words_came_is_asked_for_again() -> None:
    story = told(WAKE, SessionReady(), SPOKE, STOPPED, wire.ResponseStarted("r1"))
    assert story.tell(wire.TextDelta("r1", "i1", 0, "It is", spoken=True)) == [Deafen()]
    assert story.tell(DIED) == [*opened(2, "turn"), Hear(resume=True)]
    story.tell(SessionReady(), wire.ResponseStarted("r2"))
    assert story.tell(audio("r2", "i2")) == [Deafen(), Play(audio("r2", "i2"))]


def test_what_somebody_answers_to_a_question_is_heard_again_and_answers_it() -> None:
    question = Question(1, "Yes or no?", (Answer("no", ("no",)),))
    asked = Asked(question.text, "default", literal=True, listen_after=True, question=question, request=1)
    story = told(asked, SessionReady(), wire.ResponseStarted("r1"))
    assert story.tell(DIED) == opened(2, "text")  # the question itself
    assert story.tell(SessionReady()) == [Send(wire.CreateResponse(literal=question.text))]
    story.tell(wire.ResponseStarted("r1"), audio(), wire.ResponseDone("r1", "completed"), Drained(), SPOKE, STOPPED)
    assert isinstance(story.at(), Processing)
    assert story.tell(DIED) == opened(3, "sound", 1)
    story.tell(SessionReady())
    assert isinstance(story.at(), Hearing)
    (sent,) = story.tell(STOPPED)
    assert isinstance(sent, Send)
    assert isinstance(sent.event, wire.CreateResponse)
    assert sent.event.report is not None


def in_question(*events: Event) -> Story:
    """Somebody was asked, by a service that writes down what they say."""
    question = Question(1, "Yes or no?", (Answer("no", ("no",)),))
    asked = Asked(question.text, "default", literal=True, listen_after=True, question=question, request=1)
    story = Story(rules=Rules(written=frozenset({"default"})))
    story.tell(asked, SessionReady(), wire.ResponseStarted("r1"), audio(), wire.ResponseDone("r1", "completed"))
    story.tell(Drained(), *events)
    return story


def test_an_answer_in_two_pieces_is_not_over_when_only_the_first_is_written() -> None:
    story = in_question(SPOKE, STOPPED, Near("enough", 90_000), STARTED, wire.SpeechStopped("u2", 6000))
    assert story.tell(wire.InputTranscript("u1", "Well")) == []
    assert isinstance(story.at(), Processing)
    answer: dict[str, object] = {"answer": None, "text": "Well I think not", "slots": {}}
    assert Accept(1, answer) in story.tell(wire.InputTranscript("u2", "I think not"))


def test_what_was_heard_before_a_session_died_is_not_heard_twice() -> None:
    story = in_question(SPOKE, STOPPED, Near("enough", 90_000), STARTED, wire.InputTranscript("u1", "Well"))
    assert isinstance(story.at(), Hearing)
    story.tell(DIED, SessionReady(), wire.SpeechStopped("u1", 6000))
    answer: dict[str, object] = {"answer": None, "text": "Well I do not know", "slots": {}}
    assert Accept(1, answer) in story.tell(wire.InputTranscript("u1", "Well I do not know"))


def test_an_answer_that_has_begun_to_sound_is_not_given_twice() -> None:
    for drained in ((), (Drained(),)):
        story = Story().to_responding()
        effects = story.tell(*drained, DIED)
        assert EndTurn(1, "failed", "closed", "gone") in effects
        assert effects[-1] == Chime("error")
        assert story.at() == Idle(1)


def test_a_text_is_asked_again() -> None:
    story = told(Asked("hello", "default"), SessionReady(), wire.ResponseStarted("r1"))
    assert story.tell(DIED) == opened(2, "text")
    assert story.tell(SessionReady()) == [Send(asked) for asked in ASK]
    story.tell(wire.ResponseStarted("r1"), audio(), wire.ResponseDone("r1", "completed"))
    assert story.tell(Drained()) == [EndTurn(1, "finished"), CloseSession(2, "done")]


def test_nobody_waits_for_ever_for_a_service_that_always_dies() -> None:
    story = told(WAKE, SessionReady(), SPOKE, STOPPED)
    for tries in (1, 2):
        assert story.tell(DIED) == opened(1 + tries, "turn", tries)
        story.tell(SessionReady())
    assert story.tell(DIED)[1:] == [
        EndTurn(1, "failed", "closed", "gone"),
        CloseSession(3, "closed", failed=True, message="gone"),
        Chime("error"),
    ]
    assert story.at() == Idle(3)


def test_a_service_that_does_not_answer_is_asked_twice() -> None:
    story = told(WAKE, SessionReady(), SPOKE, STOPPED)
    assert any(isinstance(effect, TakeOver) for effect in story.tell(SessionLost("timeout", "late")))
    story.tell(SessionReady())
    assert story.tell(SessionLost("timeout", "late"))[-1] == Chime("error")


@pytest.mark.parametrize("rules", [Rules(spent=True), Rules(most_tries=0)])
def test_where_nothing_more_may_be_spent_the_person_is_told(rules: Rules) -> None:
    story = told(WAKE, SessionReady(), SPOKE)
    story.rules = rules
    assert story.tell(DIED)[-1] == Chime("error")


def test_where_another_session_is_useless_the_person_is_told() -> None:
    story = told(WAKE, SessionReady(), SPOKE)
    assert story.tell(replace(DIED, again=False))[-1] == Chime("error")
    waiting = told(WAKE, SessionReady())
    assert waiting.tell(replace(DIED, again=False))[-1] == Chime("error")


def test_a_session_that_cannot_be_opened_fails_the_turn() -> None:
    for how in (SessionLost("unreachable", "nobody", again=False), None):
        story = told(WAKE, SessionReady(), SPOKE, DIED)
        effects = story.tell(how) if how is not None else story.wait(Rules().connect_s)
        assert [type(effect) for effect in effects] == [Deafen, EndTurn, CloseSession, Chime]


def test_the_turn_after_one_that_was_saved_has_all_its_tries() -> None:
    story = told(WAKE, SessionReady(), SPOKE, STOPPED, DIED, SessionReady(), DIED, SessionReady())
    story.tell(wire.ResponseStarted("r1"), audio(), wire.ResponseDone("r1", "completed"), Drained())
    story.tell(Near("enough", 0), STARTED)
    assert story.tell(DIED) == opened(4, "sound", 1)


def test_an_answer_is_heard_to_its_end_and_then_somebody_is_listened_to() -> None:
    story = Story().to_responding()
    assert story.tell(WHOLE, DIED) == []
    assert isinstance(story.at(), Finishing)
    assert story.tell(Drained()) == [EndTurn(1, "finished"), *opened(2, "rest"), Skip()]
    assert story.tell(Near("enough", 500_000)) == [Hear(500_000 - Rules().near_overlap)]  # said while it is opened
    assert story.tell(SessionReady()) == []
    assert story.tell(STARTED) == [BeginTurn(2, "follow_up")]


def test_a_dead_session_cannot_take_somebody_who_talks_over_its_answer() -> None:
    story = Story(rules=Rules(full_duplex=True)).to_responding()
    story.tell(WHOLE, Near("some", 500_000), DIED, STARTED)
    assert isinstance(story.at(), Finishing)
    effects = story.tell(Near("enough", 500_000))
    assert effects == [Cut(), EndTurn(1, "interrupted"), *opened(2, "rest")]
    assert story.tell(SessionReady(), STARTED) == [BeginTurn(2, "follow_up")]


def test_a_goodbye_needs_no_other_session() -> None:
    story = told(Asked("hello", "default"), SessionReady(), wire.ResponseStarted("r1"), audio())
    story.tell(WHOLE)
    assert story.tell(DIED) == [CloseSession(1, "closed", failed=True, message="gone")]
    assert story.tell(Drained()) == [EndTurn(1, "finished")]


def test_a_window_in_which_nobody_speaks_is_opened_again_quietly() -> None:
    story = Story().to_responding()
    story.tell(WHOLE, Drained())
    assert story.tell(DIED) == opened(2, "rest")
    assert story.tell(replace(DIED, again=False)) == [CloseSession(2, "closed", failed=True, message="gone")]


# --- what somebody wants meanwhile ------------------------------------------------------------------------------------


def reopening(*before: Event) -> Story:
    return told(*(before or (WAKE, SessionReady(), SPOKE)), DIED)


def test_stopping_ends_it() -> None:
    assert reopening().tell(Stopped()) == [Deafen(), EndTurn(1, "interrupted"), CloseSession(2, "stopped")]
    assert reopening().tell(Ended("muted")) == [Deafen(), EndTurn(1, "interrupted"), CloseSession(2, "muted")]


def test_who_lets_go_meanwhile_is_answered() -> None:
    story = reopening(HELD, SessionReady())
    assert story.tell(Released()) == [Deafen(), LetGo()]
    assert published(story.at()) == "processing"
    story.tell(SessionReady())
    assert isinstance(story.at(), Processing)
    assert story.tell(DIED) == opened(3, "turn", 2)


def test_who_presses_anew_has_a_session_without_what_was_said_before() -> None:
    story = reopening(HELD, SessionReady(), Released())
    assert story.tell(HELD)[:3] == [
        EndTurn(1, "interrupted"),
        CloseSession(2, "interrupted"),
        OpenSession(3, "default"),
    ]


def test_a_word_of_another_profile_begins_its_own_conversation() -> None:
    effects = reopening().tell(KID)
    assert effects[:3] == [EndTurn(1, "interrupted"), CloseSession(2, "interrupted"), OpenSession(3, "kid")]


def test_a_text_waits_or_begins_anew() -> None:
    story = reopening()
    assert not any(
        isinstance(effect, TakeOver | OpenSession) for effect in story.tell(Asked("x", "default", request=1))
    )
    assert isinstance(story.at(), Reopening)
    assert OpenSession(3, "default") in story.tell(Asked("x", "default", interrupt=True))


def test_the_same_word_again_changes_nothing() -> None:
    story = reopening()
    assert story.tell(Woken(Wake("hey_jarvis", 0.9, 0.5, 200_000), "default")) == []
    assert isinstance(story.at(), Reopening)


# --- a session that is to be replaced ---------------------------------------------------------------------------------

OLD = Rules(renews=True)
WRITTEN = replace(OLD, all_written=True)


def test_a_successor_stands_ready_before_the_answer_is_over_and_takes_over_in_the_pause() -> None:
    story = Story(rules=OLD).to_responding()
    assert story.tell(WHOLE) == [OpenSuccessor(2)]
    assert story.tell(SuccessorReady()) == []
    assert story.tell(Drained()) == [EndTurn(1, "finished"), Skip()]  # its transcript is still to come
    story.rules = replace(WRITTEN, renews=False)
    assert story.tell(Drained()) == [TakeOver(2, "rest")]
    listening = story.at()
    assert isinstance(listening, Listening)
    assert listening.talk.session == 2
    assert story.tell(Near("some", 150_000)) == [Hear(150_000 - OLD.near_overlap)]
    assert story.wait(60)[-1] == CloseSession(2, "silence")


def test_whoever_speaks_before_is_heard_to_the_end_by_the_old_session() -> None:
    story = Story(rules=WRITTEN).to_responding()
    story.tell(WHOLE, Drained(), Near("enough", 150_000))
    assert story.tell(SuccessorReady()) == []
    assert story.tell(STARTED, wire.SpeechStopped("u2", 1), wire.ResponseStarted("r2"), audio("r2", "i2"))[
        0
    ] == BeginTurn(2, "follow_up")
    story.tell(Near("none"), wire.ResponseDone("r2", "completed"))
    assert story.tell(Drained()) == [EndTurn(2, "finished"), TakeOver(2, "rest"), Skip()]


def test_a_session_that_ends_before_a_pause_came_hands_over_what_was_said() -> None:
    story = Story(rules=WRITTEN).to_responding()
    story.tell(WHOLE, Drained(), Near("enough", 150_000), SuccessorReady(), STARTED)
    assert story.tell(SessionLost("expired", "60 minutes")) == [TakeOver(2, "sound", "expired", "60 minutes")]
    assert isinstance(story.at(), Hearing)
    late = Story(rules=OLD).to_responding()
    late.tell(WHOLE, Drained(), Near("enough", 150_000), STARTED)
    assert late.tell(DIED) == [TakeOver(2, "sound", "closed", "gone")]  # it is being opened already
    assert isinstance(late.at(), Reopening)


def test_a_successor_that_fails_is_tried_again_later_and_harms_nobody() -> None:
    story = Story(rules=OLD).to_responding()
    story.tell(WHOLE)
    assert story.tell(SuccessorLost()) == []
    story.tell(Drained())
    assert story.tell(Near("enough", 150_000), STARTED)[-1] == BeginTurn(2, "follow_up")
    story.tell(wire.SpeechStopped("u2", 1), wire.ResponseStarted("r2"), audio("r2", "i2"), after=11)
    assert story.tell(Near("none"), wire.ResponseDone("r2", "completed")) == [OpenSuccessor(2)]


def test_numbers_of_sessions_are_never_used_twice() -> None:
    story = Story(rules=OLD).to_responding()
    story.tell(WHOLE)
    assert story.tell(KID)[-3] == OpenSession(3, "kid")


# --- promises ---------------------------------------------------------------------------------------------------------


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_no_session_is_told_the_same_thing_twice(history: list[tuple[Event, float]], rules: Rules) -> None:
    """Each has a number of its own, hears what was said once, and is asked once for the answer to a text."""
    story = Story(rules=rules)
    session = turn = 0
    successor: int | None = None
    asked: set[tuple[int, int]] = set()
    for event, passed in history:
        story.now += passed
        if event == SuccessorLost():
            successor = None
        for effect in story.tell(event):
            match effect:
                case OpenSuccessor(number):
                    assert successor is None
                    successor = number
                case CloseSession():
                    successor = None
                case OpenSession(number) | TakeOver(number):
                    assert number > session
                    assert successor == (number if isinstance(effect, TakeOver) else None)
                    session, successor = number, None
                case BeginTurn(number):
                    turn = number
                case Send(wire.CreateMessage()):
                    assert (session, turn) not in asked
                    asked.add((session, turn))


@given(HISTORIES, RULEBOOKS)
@settings(max_examples=600)
def test_nothing_said_is_dropped_without_a_word(history: list[tuple[Event, float]], rules: Rules) -> None:
    """A session that dies over it has another one take its place, which is told of it; or the person is told."""
    story = Story(rules=rules)
    for event, passed in history:
        story.now += passed
        before = story.at()
        effects = story.tell(event)
        if not isinstance(event, SessionLost):
            continue
        taken = next((effect for effect in effects if isinstance(effect, TakeOver)), None)
        after = going_on(story.at())
        is_said = isinstance(going_on(before), Hearing | Processing) or (
            isinstance(before, Listening) and hears(before, rules)
        )
        if is_said and taken is not None:
            assert not isinstance(after, Idle)
            assert taken.resend != "text" or after.talk.asked
        elif is_said:
            assert Chime("error") in effects
        for ended in effects:
            if isinstance(ended, EndTurn):
                assert (ended.outcome, ended.code, ended.message) == ("failed", event.code, event.message)
                assert Chime("error") in effects


def test_a_successor_of_a_conversation_that_is_over_means_nothing() -> None:
    assert mind.step(Idle(4), SuccessorReady(), 0.0, Rules()) == (Idle(4), ())
