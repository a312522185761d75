"""A conversation outlives its sessions: one that dies before it answers, and one that is about to end or has got slow.

What a person said is sent again to the session that takes the place of one that died, at most so many times; where
that cannot help, they are told. A session that is to be replaced is left in a pause, once another one stands ready
beside it: whatever is said before that, it still hears to the end.

Source: OpenAI's and Microsoft's guides to the Realtime API, November 2026: a session lasts an hour, gives no warning
before its end, and cannot be taken up again.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from voiced.core import calling, holding, turning
from voiced.core.effects import EndTurn, OpenSuccessor, Resend, Send, TakeOver
from voiced.core.events import (
    Asked,
    Called,
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
from voiced.core.states import (
    Active,
    Finishing,
    Hearing,
    Idle,
    Listening,
    Paused,
    Processing,
    Reopening,
    Responding,
    Rules,
    State,
    Step,
    Successor,
    Talk,
    hears,
)

News = TypeVar("News")

AGAIN_S = 10.0
"""From a successor that failed to the next."""


# --- a session that died ----------------------------------------------------------------------------------------------


def lost(state: Active, event: SessionLost, now: float, rules: Rules) -> Step:
    """The session is over, and nobody wanted that: go on in another one where that can help, or say so."""
    if isinstance(state, Paused):
        return lost(replace(state.answer, talk=state.talk), event, now, rules)
    if not _helps(state.talk, event, now, rules):
        return turning.lost(state, event, rules)
    talk = state.talk
    match state:
        case Finishing(lost=False, died=None) if turning.goes_on(talk, now, rules):
            return replace(state, died=event), ()
        case Listening():
            return _reopened(state, event, "rest", now, rules)
        case Hearing():
            return _reopened(state, event, "held" if state.held else "sound", now, rules)
        case Processing() if talk.question is not None and not talk.literal:  # what they answered is to be heard again
            return _reopened(Hearing(talk, state.until), event, "sound", now, rules)
        case Processing() | Responding(heard=False):
            unanswered = Processing(replace(talk, goodbye=False), state.until)
            as_asked: Resend = "sound" if talk.by_voice else "text"
            return _reopened(unanswered, event, as_asked if talk.asked else "turn", now, rules)
        case _:
            return turning.lost(state, event, rules)


def after_answer(died: SessionLost | None, step: Step, now: float, rules: Rules) -> Step:
    """Take what comes after an answer, whose session may have died while it was heard."""
    after, effects = step
    if died is None or not isinstance(after, Listening):
        return step
    reopening, more = _reopened(after, died, "rest", now, rules)
    return reopening, (*effects, *more)


def talked_over(state: Finishing, event: Event, now: float, rules: Rules) -> Step | None:
    """Look for somebody who talks over an answer whose session died; ``None``: ``event`` says nothing of that."""
    if state.died is None or not rules.full_duplex or not (isinstance(event, Near) and event.speech == "enough"):
        return None
    if not event.sure:
        return None
    ended = (turning.cut_off(state), EndTurn(state.talk.turn, "interrupted"))
    after, effects = turning.follow(state, ended, now, rules)
    if isinstance(after, Listening):
        after = replace(after, spoke=event)
    return after_answer(state.died, (after, effects), now, rules)


def reopening(
    state: Reopening, event: Event, now: float, rules: Rules, step: Callable[[State, Event, float, Rules], Step]
) -> Step:
    """Wait for the session; what concerns the conversation goes on meanwhile, as ``step`` has it."""
    match event:
        case SessionReady():
            return _ready(state, now, rules)
        case SessionLost():
            return turning.lost(state, event, rules)
        case Tick() if now >= state.until:
            late = SessionLost("timeout", f"no session within {rules.connect_s:g} s")
            return turning.lost(state, late, rules)
        case Tick() if now < state.talk.ends:
            return state, ()
        case Asked() | Recording() if refused := calling.refused(state.going_on, event):
            return state, refused
        case Asked() | Recording():
            return calling.anew(state, event, now, rules)
        case Called(hold=True) if isinstance(state.going_on, Processing):
            return holding.pressed(state, event, now, rules)
        case Woken() | Called() | Released() | Stopped() | Ended() | Near() | Tick():
            after, effects = step(state.going_on, event, now, rules)
            if not isinstance(after, Listening | Hearing | Processing):
                return after, effects
            return Reopening(after.talk, state.until, after), effects
        case _:
            return state, ()


def _helps(talk: Talk, event: SessionLost, now: float, rules: Rules) -> bool:
    most = min(1, rules.most_tries) if event.code == "timeout" else rules.most_tries
    return event.again and talk.tries < most and not rules.spent and now < talk.ends


def _reopened(
    going_on: Listening | Hearing | Processing,
    died: SessionLost,
    resend: Resend,
    now: float,
    rules: Rules,
) -> Step:
    """Have the successor take over, or one that is opened now."""
    talk = going_on.talk
    successor = talk.successor or Successor(talk.session + 1)
    opened = () if talk.successor else (OpenSuccessor(successor.number, talk.tries + 1),)
    talk = replace(_taken_over(talk, successor), tries=talk.tries + 1)
    state = Reopening(talk, now + rules.connect_s, replace(going_on, talk=talk))
    taken = TakeOver(successor.number, resend, died.code, died.message)
    after, more = _ready(state, now, rules) if successor.ready else (state, ())
    return after, (*opened, taken, *more)


def _ready(state: Reopening, now: float, rules: Rules) -> Step:
    talk = state.talk
    match state.going_on:
        case Listening():
            return replace(state.going_on, until=min(now + talk.wait_s, talk.ends)), ()
        case Hearing():
            return replace(state.going_on, until=now + rules.utterance_s), ()
        case Processing():  # what was said must go up once more first
            until = now + 2 * rules.answer_s
            return Processing(talk, until), tuple(Send(asked) for asked in talk.asked)


def _taken_over(talk: Talk, successor: Successor) -> Talk:
    """Return the conversation in its new session, which knows nothing of what the old one heard."""
    question = talk.question and replace(talk.question, said="", unwritten=0, left_to_model=False)
    return replace(
        talk, session=successor.number, successor=None, suspect=None, void=(), void_next=False, question=question
    )


# --- a session that is to be replaced ---------------------------------------------------------------------------------


def in_pause(state: State, now: float, rules: Rules) -> Step:
    """Open a successor where one is due and nobody speaks, or have it take over."""
    if not isinstance(state, Listening | Finishing):
        return state, ()
    talk = state.talk
    match state, talk.successor:
        case Listening(follow_up=False) | Finishing(lost=True), _:
            return state, ()
        case _, None if rules.renews and now >= talk.renew_after and turning.goes_on(talk, now, rules):
            successor = Successor(talk.session + 1)
            opened = OpenSuccessor(successor.number)
            return replace(state, talk=replace(talk, successor=successor)), (opened,)
        case Listening(), Successor(ready=True) as successor if rules.all_written and not hears(state, rules):
            return replace(state, talk=_taken_over(talk, successor)), (TakeOver(successor.number, "rest"),)
        case _:
            return state, ()


def of_successor(talk: Talk, event: SuccessorReady | SuccessorLost, now: float) -> Talk:
    """Note what became of the successor."""
    if talk.successor is None:
        return talk
    if isinstance(event, SuccessorReady):
        return replace(talk, successor=replace(talk.successor, ready=True))
    return replace(talk, successor=None, renew_after=now + AGAIN_S)


def of_session(state: State, session: int, news: News) -> News | SuccessorReady | SuccessorLost | None:
    """Return what news of a session say to the conversation; ``None``: it is over, or has nothing to do with it."""
    if isinstance(state, Idle):
        return None
    talk = state.talk
    if session == talk.session:
        return news
    if talk.successor is not None and session == talk.successor.number:
        match news:
            case SessionReady():
                return SuccessorReady(news)
            case SessionLost():
                return SuccessorLost()
            case _:
                return None
    # Who is near does not depend on the session.
    return news if isinstance(news, Near) and talk.first <= session < talk.session else None
