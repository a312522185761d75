"""A service that never stops sending its answer: it is cut, said to be endless, and its session is closed."""

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_conversation import BEGINNINGS, EVENTS, RULEBOOKS, STARTED, Story, audio
from voiced.core.effects import BeginTurn, Chime, CloseSession, Cut, EndTurn, OpenSession, Play, Send
from voiced.core.events import Drained, Event, Near, SessionLost
from voiced.core.realtime import events as wire
from voiced.core.states import OVERTIME_S, Finishing, Idle, Paused, Processing, Responding, Rules, going_on

RULES = Rules(max_s=60.0)
LIMIT_S = RULES.max_s + OVERTIME_S
WHY = "the answer goes on for 5 minutes past the end of the conversation (conversation.max_s)"
ENDED = (EndTurn(1, "failed", "endless_answer", WHY), CloseSession(1, "endless_answer", failed=True, message=WHY))


def babble(story: Story, until: float) -> None:
    """Have an answer come in as fast as it is heard."""
    while story.now < until and not isinstance(story.at(), Idle):
        story.tell(audio())
        story.wait(1.0)


def test_an_endless_answer_is_cut_like_an_interruption_and_said_to_be_endless() -> None:
    story = Story(rules=RULES).to_responding()
    babble(story, LIMIT_S - 2)
    assert isinstance(story.at(), Responding)
    babble(story, 2 * LIMIT_S)
    assert story.at() == Idle(1)
    assert story.now <= LIMIT_S + 1
    assert story.did[-5:] == [Send(wire.CancelResponse("r1")), Cut(), *ENDED, Chime("error")]


def test_an_ordinary_answer_comes_to_its_own_end_after_the_end_of_the_conversation() -> None:
    story = Story(rules=RULES).to_responding()
    babble(story, LIMIT_S - 10)
    assert story.tell(wire.ResponseDone("r1", "completed")) == []
    assert story.tell(Drained()) == [EndTurn(1, "finished"), CloseSession(1, "done")]


def test_an_endless_text_is_cut_too() -> None:
    story = Story(rules=RULES).to_responding()
    while story.now < 2 * LIMIT_S and not isinstance(story.at(), Idle):
        story.tell(wire.TextDelta("r1", "i1", 0, "word", spoken=False))
        story.wait(1.0)
    assert story.now <= LIMIT_S + 1
    assert story.did[-3:-1] == [*ENDED]


def test_sound_that_comes_faster_than_it_is_heard_does_not_pile_up() -> None:
    story = Story(rules=RULES).to_responding()
    while story.now < LIMIT_S and not isinstance(story.at(), Idle):
        story.tell(audio(), after=0.01)
    assert sum(isinstance(effect, Play) for effect in story.did) <= LIMIT_S + 1
    assert story.did[-3:-1] == [*ENDED]


@pytest.mark.parametrize("again", [Near("some", 0), STARTED], ids=["evidence", "speech"])
def test_an_endless_answer_that_is_doubted_again_and_again_ends_as_soon(again: Event) -> None:
    story = Story(rules=Rules(max_s=RULES.max_s, full_duplex=True)).to_responding()
    was_paused = False
    while story.now < 2 * LIMIT_S and not isinstance(story.at(), Idle):
        story.tell(audio(), Near("some", 0), STARTED, again)
        was_paused |= isinstance(story.at(), Paused)
        story.wait(1.9)
        story.tell(wire.SpeechStopped("u2", 0))
    assert was_paused
    assert story.now <= LIMIT_S + 2
    assert story.did[-3:-1] == [*ENDED]


def test_an_endless_answer_whose_session_died_meanwhile_is_cut_and_closed_once() -> None:
    story = Story(rules=RULES).to_responding()
    babble(story, LIMIT_S - 10)
    for _ in range(7):
        story.tell(audio())
    story.tell(wire.ResponseDone("r1", "completed"), SessionLost("closed", "gone"))
    assert isinstance(story.at(), Finishing)
    assert story.wait(20)[-2:] == [ENDED[0], Chime("error")]


FROM_THE_SERVICE = EVENTS.filter(
    lambda event: isinstance(event, Near | Drained) or type(event).__module__ == wire.__name__
)


@given(
    BEGINNINGS,
    RULEBOOKS,
    st.lists(st.tuples(st.lists(FROM_THE_SERVICE, max_size=3), st.floats(0.2, 14)), min_size=1, max_size=6),
    st.sampled_from([b"", b"\0\0" * 2400, b"\0\0" * 48_000]),
)
@settings(max_examples=200)
def test_with_a_service_that_sends_for_ever_every_conversation_ends(
    beginning: tuple[Event, ...], rules: Rules, beats: list[tuple[list[Event], float]], pcm: bytes
) -> None:
    """Whatever comes besides, while nobody calls again; sessions and turns are closed."""
    story = Story(rules=rules)
    story.tell(*beginning)
    limit = rules.max_s + OVERTIME_S
    for besides, passed in cycle(beats):
        if isinstance(story.at(), Idle):
            break
        assert story.now <= limit
        answer = going_on(story.at())
        if isinstance(answer, Processing | Responding) and answer.response is not None:
            story.tell(audio(answer.response, pcm=pcm))
        story.tell(*besides)
        story.wait(passed)
    opened = [effect for effect in story.did if isinstance(effect, OpenSession)]
    assert len(opened) == sum(isinstance(effect, CloseSession) for effect in story.did)
    begun = [effect.turn for effect in story.did if isinstance(effect, BeginTurn)]
    assert begun == [effect.turn for effect in story.did if isinstance(effect, EndTurn)]
