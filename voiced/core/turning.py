"""How turns begin, how they end, and what follows: the steps that states of the conversation have in common."""

from dataclasses import replace

from voiced.core.effects import Accept, BeginTurn, Chime, CloseSession, Cut, Deafen, Effect, EndTurn, Hear, Send, Source
from voiced.core.events import Event, SessionLost, Tick
from voiced.core.questions import Question
from voiced.core.realtime import events as wire
from voiced.core.states import (
    OVERTIME_S,
    Active,
    Attending,
    Connecting,
    Finishing,
    Hearing,
    Listening,
    Paused,
    Processing,
    Reopening,
    Responding,
    Rules,
    Sounding,
    State,
    Step,
    Talk,
    hears,
    resting,
)

MOST_VOID = 16
"""Names of what counts for nothing that are remembered; nothing comes of older ones any more."""


def begin(
    talk: Talk, source: Source, now: float, rules: Rules, said: tuple[wire.ServerEvent, ...] = ()
) -> tuple[Hearing, tuple[Effect, ...]]:
    """Begin a turn: somebody speaks.

    Args:
        talk: What is true so far.
        source: Who began it.
        now: The time.
        rules: How long somebody may speak.
        said: What the service told of it before it counted as a turn.

    """
    unsure = talk.unsure
    if source != "follow_up" or (talk.near is not None and talk.near.sure):
        unsure = 0
    elif talk.near is not None:
        unsure += 1
    begun = replace(
        talk,
        turn=talk.turn + 1,
        source="follow_up",
        by_voice=True,
        literal=False,
        suspect=None,
        unsure=unsure,
        goodbye=False,
        asked=(),
        tries=0,
    )
    return Hearing(begun, now + rules.utterance_s), (BeginTurn(begun.turn, source, said=said),)


def answered(state: Processing | Responding, done: wire.ResponseDone, now: float, rules: Rules) -> Step:
    """Take that the answer is all generated, or all there will be of it."""
    turn = state.talk.turn
    is_heard = isinstance(state, Responding) and state.sounds_until is not None
    match done.status:
        case "failed":
            ended = EndTurn(turn, "failed", done.reason or "failed", done.message or "the service could not answer")
            cut = (cut_off(state),) if isinstance(state, Responding) and is_heard else ()
            return follow(state, (*cut, ended, Chime("error")), now, rules)
        case "incomplete":
            told = done.message or "the service broke the answer off"
            ended = EndTurn(turn, "finished", done.reason or "incomplete", told)
        case "cancelled":
            ended = EndTurn(turn, "interrupted")
        case _:
            ended = EndTurn(turn, "finished")
    if isinstance(state, Responding) and state.sounds_until is not None:
        until = max(now, state.sounds_until) + rules.speaker_s
        return Finishing(state.talk, until, ended, state.response, state.items, spoke=state.spoke), ()
    return follow(state, (ended,), now, rules)


def follow(state: Processing | Responding | Finishing, ended: tuple[Effect, ...], now: float, rules: Rules) -> Step:
    """After a turn: listen on, or rest."""
    talk = state.talk
    if isinstance(state, Finishing) and state.lost:
        return resting(talk), ended
    if rules.spent:
        return resting(talk), (*ended, CloseSession(talk.session, "budget"), Chime("budget"))
    if talk.question is not None:
        return _ask(talk, talk.question, ended, now, rules)
    if talk.goodbye:
        return resting(talk), (*ended, CloseSession(talk.session, "goodbye"))
    if not goes_on(talk, now, rules):
        return resting(talk), (*ended, CloseSession(talk.session, "done"))
    until = min(now + rules.follow_up_s, talk.ends)
    return Listening(replace(talk, wait_s=rules.follow_up_s, tries=0), until, follow_up=True), ended


def goes_on(talk: Talk, now: float, rules: Rules) -> bool:
    """Return whether somebody is listened to after the answer."""
    is_wanted = talk.follows and not talk.goodbye and rules.follow_up_s > 0
    return (is_wanted or talk.question is not None) and not rules.spent and now < talk.ends


def _ask(talk: Talk, question: Question, ended: tuple[Effect, ...], now: float, rules: Rules) -> Step:
    """Listen to the answer, once the question was heard."""
    if any(isinstance(effect, EndTurn) and effect.outcome == "failed" for effect in ended):
        return resting(talk), (*ended, CloseSession(talk.session, "failed"))
    wait_s = question.wait_s or rules.no_speech_s
    listening = Listening(replace(talk, literal=False, wait_s=wait_s), min(now + wait_s, talk.ends))
    return listening, (*ended, Hear(after_s=rules.tail_s))


def silenced(state: Active) -> tuple[Talk, tuple[Effect, ...]]:
    """End the turn that is going on, in the middle of it.

    Returns:
        What is true from then on, and the effects; :class:`EndTurn` is the last, if there was a turn.

    """
    talk, ended = state.talk, EndTurn(state.talk.turn, "interrupted")
    match state:
        case Responding():
            return _stopped(talk, state.response), (Send(wire.CancelResponse(state.response)), cut_off(state), ended)
        case Finishing():
            return talk, (cut_off(state), ended)
        case Processing():
            talk, effects = unheard(state)
            return talk, (*effects, ended)
        case Hearing() | Connecting(first=(_, *_)) | Connecting(held="down" | "up"):
            return talk, (ended,)
        case Sounding():
            return talk, (Cut(remembered=False), Accept(state.request, {"outcome": ended.outcome}))
        case Reopening():
            return silenced(state.going_on)
        case _:
            return talk, ()


def rest(state: Active, reason: str, *after: Effect) -> Step:
    """End the conversation on purpose."""
    _, ended = silenced(state)
    is_closed = isinstance(state, Attending | Sounding) or (isinstance(state, Finishing) and state.lost)
    closed = () if is_closed else (CloseSession(state.talk.session, reason),)
    return resting(state.talk), (*ended, *closed, *after)


def spent(state: Active) -> Step:
    """End the conversation at once: nothing may be spent any more."""
    failed = _failed(state, "budget", "the budget is spent")
    return resting(state.talk), (*failed, CloseSession(state.talk.session, "budget"), Chime("budget"))


def overdue(state: Active, event: Event, now: float) -> Step | None:
    """End the conversation if its time is over, or that of an answer which goes on and on; ``None``: it is not."""
    match state:
        case Responding() | Finishing() | Paused():
            return _endless(state, now)
        case Sounding():
            return None
        case _:
            return rest(state, "max_s") if isinstance(event, Tick) and now >= state.talk.ends else None


def _endless(state: Responding | Finishing | Paused, now: float) -> Step | None:
    talk, answer = state.talk, state.answer if isinstance(state, Paused) else state
    sounds_until = answer.sounds_until if isinstance(answer, Responding) else None
    if max(now, sounds_until or now) < talk.ends + OVERTIME_S:  # what came already counts, lest it pile up
        return None
    why = f"the answer goes on for {OVERTIME_S / 60:g} minutes past the end of the conversation (conversation.max_s)"
    failed = _failed(replace(answer, talk=talk), "endless_answer", why)
    is_closed = isinstance(answer, Finishing) and answer.lost
    closed = () if is_closed else (CloseSession(talk.session, "endless_answer", failed=True, message=why),)
    return resting(talk), (*failed, *closed, Chime("error"))


def _failed(state: Active, code: str, why: str) -> tuple[Effect, ...]:
    """End the turn that is going on, if there is one, and say why."""
    _, ended = silenced(state)
    return (*ended[:-1], EndTurn(state.talk.turn, "failed", code, why)) if ended else ()


def lost(state: Active, event: SessionLost, rules: Rules) -> Step:
    """The session is over, no other one can help, and whoever waits for something is told."""
    talk = state.talk
    closed = CloseSession(talk.session, event.code, failed=True, message=event.message, refused=event.refused)
    failed = EndTurn(talk.turn, "failed", event.code, event.message)
    match state:
        case Finishing(lost=True) | Sounding():
            return state, ()
        case Finishing():  # the answer is all here: let it be heard
            return replace(state, lost=True), (closed,)
        case Reopening():
            return lost(state.going_on, event, rules)
        case Attending():
            return resting(talk), ()
        case Listening() if not hears(state, rules):  # nobody speaks
            return resting(talk), (closed,)
        case Responding(sounds_until=float()):
            return resting(talk), (cut_off(state), failed, closed, Chime("error"))
        case Listening() | Connecting(first=(), held=""):
            return resting(talk), (closed, Chime("error"))
        case _:
            return resting(talk), (failed, closed, Chime("error"))


def unheard(state: Processing) -> tuple[Talk, tuple[Effect, ...]]:
    """Cancel an answer of which nothing was heard, and let the service forget it."""
    if state.response is None:
        return state.talk, ()
    items = () if state.talk.literal else state.items
    cancelled = Send(wire.CancelResponse(state.response))
    return _stopped(state.talk, state.response), (cancelled, *(Send(wire.DeleteItem(item)) for item in items))


def cut_off(state: Responding | Finishing) -> Cut:
    """Return what silences the answer."""
    return Cut(remembered=not state.talk.literal, items=state.items)


def _stopped(talk: Talk, response: str) -> Talk:
    """Let nothing more come of an answer; one that is read aloud leaves nothing in the service's memory anyway."""
    return talk if talk.literal else voided(talk, response)


def voided(talk: Talk, *names: str) -> Talk:
    """Let items and answers count for nothing from now on."""
    return replace(talk, void=(*talk.void, *names)[-MOST_VOID:])


def is_lost(state: Active) -> bool:
    """Return whether there is no session any more, or none yet."""
    is_dead = isinstance(state, Finishing) and (state.lost or state.died is not None)
    return is_dead or isinstance(state, Attending | Sounding)


def costs_more(state: Active, event: Event) -> bool:
    """Return whether to go on would cost an answer more than the one that was too many."""
    match state:
        case Processing(response=str()) | Responding():
            return isinstance(event, wire.ResponseDone) and event.response_id != state.response
        case Finishing() | Paused() | Sounding():
            return False
        case _:
            return True


def rules_changed(state: State, before: Rules, after: Rules) -> tuple[Effect, ...]:
    """Return the effects of other rules, in the middle of a state: whether the service is sent the microphone."""
    match hears(state, before), hears(state, after):
        case False, True:
            return (Hear(),)
        case True, False:
            return (Deafen(),)
        case _:
            return ()
