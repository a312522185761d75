"""The mind: the only place where the daemon changes its mind, as a table over frozen states.

::

    Idle ──Woken, Asked──► Connecting ──SessionReady──► Listening ──SpeechStarted──► Hearing
     ▲                                                   ▲     ▲                        │ SpeechStopped
     │ silence, end, lost                      follow-up │     └──────────┐             ▼
     └───────────────────────────── Finishing ◄──done── Responding ◄──sound, text── Processing

Time is an argument. Every state but :class:`Idle` has a moment, ``until``, at which a :class:`Tick` ends it. Whatever
is not in the table is late or early, and harmless. Events of a session that is over must not be passed in; the app
drops them by session number.
"""

from dataclasses import replace

from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime import events as wire
from voiced.core.states import (
    Accept,
    Active,
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
    Source,
    State,
    Step,
    Stopped,
    Talk,
    Tick,
    Woken,
    costs_more,
    hears,
)


def step(state: State, event: Event, now: float, rules: Rules) -> Step:
    """Return the next state and the effects of ``event``; never raises."""
    after, effects = _turned(state, event, now, rules)
    heard, hearing = hears(state, rules), hears(after, rules)
    if heard and not hearing:
        return after, (Deafen(), *effects)
    if hearing and not heard and not any(isinstance(effect, Hear) for effect in effects):
        is_cut = any(isinstance(effect, Cut) for effect in effects)
        return after, (*effects, Hear(after_s=rules.tail_s if is_cut else 0.0))
    return after, effects


def _turned(state: State, event: Event, now: float, rules: Rules) -> Step:
    if isinstance(state, Idle):
        return _idle(state, event, now, rules)
    match event:
        case Ended():
            return _rest(state, event.reason, *_accepted(event.request))
        case Asked() if event.request is not None and _busy(state, event):
            return state, (Refuse(event.request, "a conversation is going on; try again when it is over"),)
        case Woken() | Called() | Asked() | Stopped():
            return _interrupted(state, event, now, rules)
        case SessionLost():
            return _lost(state, event)
        case Tick() if now >= state.talk.ends and not isinstance(state, Responding | Finishing):
            return _rest(state, "max_s")
    if rules.spent and costs_more(state, event):
        return _spent(state)
    match state:
        case Connecting():
            return _connecting(state, event, now, rules)
        case Listening() | Hearing():
            return _listening(state, event, now, rules)
        case Processing():
            return _processing(state, event, now, rules)
        case Responding():
            return _responding(state, event, now, rules)
        case Finishing():
            return _finishing(state, event, now, rules)


def _idle(state: Idle, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case Woken():
            talk = _talk(state, event, "wake_word", now, rules)
            hear = Hear(max(0, event.wake.end - rules.wake_overlap))
            return Connecting(talk, now + rules.connect_s), (
                OpenSession(talk.session, talk.profile),
                Chime("wake"),
                hear,
            )
        case Called():
            talk = _talk(state, event, event.source, now, rules)
            return Connecting(talk, now + rules.connect_s), (
                OpenSession(talk.session, talk.profile),
                Chime("wake"),
                *_accepted(event.request),
            )
        case Asked():
            talk = _typed(_talk(state, event, "mqtt", now, rules), event)
            talk = replace(talk, follows=event.listen_after)
            return Connecting(talk, now + rules.connect_s, _opening(event)), (
                OpenSession(talk.session, talk.profile),
                BeginTurn(talk.turn, "mqtt", event.request, _typed_text(event)),
            )
        case Stopped() | Ended():
            return state, _accepted(event.request)
        case _:
            return state, ()


def _connecting(state: Connecting, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case SessionReady() if state.first:
            return Processing(state.talk, now + rules.answer_s), tuple(Send(first) for first in state.first)
        case SessionReady():
            return Listening(state.talk, min(now + state.talk.wait_s, state.talk.ends)), ()
        case Tick() if now >= state.until:
            return _lost(state, SessionLost("timeout", f"no session within {rules.connect_s:g} s"))
        case _:
            return state, ()


def _listening(state: Listening | Hearing, event: Event, now: float, rules: Rules) -> Step:
    talk = state.talk
    match event:
        case wire.SpeechStarted() if isinstance(state, Listening):
            return _begin(talk, "follow_up" if state.follow_up else talk.source, now, rules)
        case wire.SpeechStopped() if isinstance(state, Hearing):
            return Processing(talk, now + rules.answer_s), ()
        case wire.ResponseStarted() if isinstance(state, Listening):  # of the service's own accord
            begun = replace(talk, turn=talk.turn + 1)
            return Processing(begun, now + rules.answer_s, event.response_id), (BeginTurn(begun.turn, "follow_up"),)
        case Tick() if now >= state.until and isinstance(state, Hearing):
            return _rest(state, "endless_speech")
        case Tick() if now >= state.until:
            return _rest(state, "silence")
        case _:
            return state, ()


def _processing(state: Processing, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case wire.SpeechStarted():  # the person goes on
            return Hearing(state.talk, now + rules.utterance_s), ()
        case wire.ResponseStarted() if state.response is None:
            return replace(state, response=event.response_id, until=now + rules.answer_s), ()
        case wire.AudioDelta() | wire.TextDelta() if event.response_id == state.response:
            return _responding(Responding(state.talk, state.until, event.response_id), event, now, rules)
        case wire.ResponseDone() if event.response_id == state.response:
            return _answered(state, event, now, rules)
        case Tick() if now >= state.until:
            return _lost(state, SessionLost("timeout", f"no answer within {rules.answer_s:g} s"))
        case _:
            return state, ()


def _responding(state: Responding, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case wire.AudioDelta() if event.response_id == state.response:
            length = len(event.pcm) / 2 / SERVICE_RATE
            heard = max(now, state.sounds_until or now) + length
            until = max(now + rules.answer_s, heard + rules.speaker_s)
            return replace(state, until=until, sounds_until=heard), (Play(event),)
        case wire.TextDelta() if event.response_id == state.response:
            return replace(state, until=max(state.until, now + rules.answer_s)), ()
        case Drained():
            return replace(state, sounds_until=None), ()
        case wire.ResponseDone() if event.response_id == state.response:
            return _answered(state, event, now, rules)
        case wire.SpeechStarted():  # heard before the answer began, or over it in full duplex
            ended = EndTurn(state.talk.turn, "interrupted")
            begun, effects = _begin(state.talk, "follow_up", now, rules)
            return begun, (_cut(state), ended, *effects, *(() if rules.full_duplex else (Hear(resume=True),)))
        case Tick() if now >= state.until:
            return _lost(state, SessionLost("timeout", f"the answer stopped for {rules.answer_s:g} s"))
        case _:
            return state, ()


def _finishing(state: Finishing, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case Drained():
            return _follow(state, (state.ended,), now, rules)
        case wire.SpeechStarted() if not state.lost:
            begun, effects = _begin(state.talk, "follow_up", now, rules)
            held = () if rules.full_duplex else (Hear(resume=True),)
            return begun, (_cut(state), EndTurn(state.talk.turn, "interrupted"), *effects, *held)
        case Tick() if now >= state.until:  # the speaker never said it was done
            return _follow(state, (_cut(state), state.ended), now, rules)
        case _:
            return state, ()


def _answered(state: Processing | Responding, done: wire.ResponseDone, now: float, rules: Rules) -> Step:
    """The answer is all generated, or all there will be of it."""
    turn = state.talk.turn
    is_heard = isinstance(state, Responding) and state.sounds_until is not None
    match done.status:
        case "failed":
            ended = EndTurn(turn, "failed", done.reason or "failed", done.message or "the service could not answer")
            cut = (_cut(state),) if is_heard else ()
            return _follow(state, (*cut, ended, Chime("error")), now, rules)
        case "incomplete":
            told = done.message or "the service broke the answer off"
            ended = EndTurn(turn, "finished", done.reason or "incomplete", told)
        case "cancelled":
            ended = EndTurn(turn, "interrupted")
        case _:
            ended = EndTurn(turn, "finished")
    if isinstance(state, Responding) and state.sounds_until is not None:
        return Finishing(state.talk, max(now, state.sounds_until) + rules.speaker_s, ended), ()
    return _follow(state, (ended,), now, rules)


def _follow(state: Processing | Responding | Finishing, ended: tuple[Effect, ...], now: float, rules: Rules) -> Step:
    """After a turn: listen on, or rest."""
    talk = state.talk
    if isinstance(state, Finishing) and state.lost:
        return Idle(talk.session), ended
    if rules.spent:
        rest, effects = _rest(None, "budget", talk=talk)
        return rest, (*ended, *effects, Chime("error"))
    if not talk.follows or rules.follow_up_s <= 0 or now >= talk.ends:
        rest, effects = _rest(None, "done", talk=talk)
        return rest, (*ended, *effects)
    until = min(now + rules.follow_up_s, talk.ends)
    return Listening(replace(talk, wait_s=rules.follow_up_s), until, follow_up=True), ended


def _interrupted(state: Active, event: Woken | Called | Asked | Stopped, now: float, rules: Rules) -> Step:
    """A person wants something else, or somebody else: by wake word, button, text or stop."""
    talk, effects = state.talk, _silenced(state)
    match event:
        case Woken() if event.profile != talk.profile:
            return _anew(state, event, now, rules)
        case Stopped() if isinstance(state, Responding | Finishing) and not _is_lost(state):
            quiet, after = _follow(state, effects, now, rules)
            return quiet, (*after, *_accepted(event.request))
        case Stopped():
            return _rest(state, "stopped", *_accepted(event.request))
        case Woken() | Called() if not isinstance(state, Responding | Finishing):
            accepted = _accepted(event.request if isinstance(event, Called) else None)
            heard = () if hears(state, rules) else (Chime("wake"), Hear(_since(event, rules)))
            return replace(state, talk=replace(talk, follows=True, by_voice=True)), (*heard, *accepted)
        case Woken() | Called() | Asked() if isinstance(state, Connecting) or _is_lost(state):
            return _anew(state, event, now, rules)
        case Woken() | Called():
            wait_s = _wait_s(event, rules)
            source: Source = "wake_word" if isinstance(event, Woken) else event.source
            talk = replace(talk, follows=True, by_voice=True, literal=False, wait_s=wait_s, source=source)
            accepted = _accepted(event.request if isinstance(event, Called) else None)
            told = (*effects, Chime("wake"), Hear(_since(event, rules)), *accepted)
            return Listening(talk, min(now + wait_s, max(now, talk.ends))), told
        case Asked():
            talk = _typed(talk, event)
            return Processing(talk, now + rules.answer_s), (
                *effects,
                BeginTurn(talk.turn, "mqtt", event.request, _typed_text(event)),
                *(Send(first) for first in _opening(event)),
            )


def _anew(state: Active, event: Woken | Called | Asked, now: float, rules: Rules) -> Step:
    """End this conversation and begin another one, with a session of its own."""
    _, ended = _rest(state, "interrupted")
    again, begun = _idle(Idle(state.talk.session), event, now, rules)
    return again, (*ended, *begun)


def _silenced(state: Active) -> tuple[Effect, ...]:
    """Return what ends the turn that is going on, in the middle of it."""
    ended = EndTurn(state.talk.turn, "interrupted")
    match state:
        case Responding():
            return (Send(wire.CancelResponse(state.response)), _cut(state), ended)
        case Finishing():
            return (_cut(state), ended)
        case Processing(response=str() as response):
            return (Send(wire.CancelResponse(response)), ended)
        case Hearing() | Processing() | Connecting(first=(_, *_)):
            return (ended,)
        case _:
            return ()


def _spent(state: Active) -> Step:
    """End the conversation at once: nothing may be spent any more."""
    failed: tuple[Effect, ...] = ()
    if ended := _silenced(state):
        failed = (*ended[:-1], EndTurn(state.talk.turn, "failed", "budget", "the budget is spent"))
    return Idle(state.talk.session), (*failed, CloseSession(state.talk.session, "budget"), Chime("error"))


def _lost(state: Active, event: SessionLost) -> Step:
    """The session is over, and nobody wanted that."""
    talk = state.talk
    closed = CloseSession(talk.session, event.code, failed=True, message=event.message)
    failed = EndTurn(talk.turn, "failed", event.code, event.message)
    match state:
        case Finishing(lost=True):
            return state, ()
        case Finishing():  # the answer is all here: let it be heard
            return replace(state, lost=True), (closed,)
        case Listening():
            return Idle(talk.session), (closed,)
        case Responding(sounds_until=float()):
            return Idle(talk.session), (_cut(state), failed, closed, Chime("error"))
        case Connecting(first=()):
            return Idle(talk.session), (closed, Chime("error"))
        case _:
            return Idle(talk.session), (failed, closed, Chime("error"))


def _rest(state: Active | None, reason: str, *after: Effect, talk: Talk | None = None) -> Step:
    """End the conversation on purpose."""
    talk = talk or (state.talk if state else None)
    assert talk is not None  # noqa: S101 - one of the two is always given
    ended = _silenced(state) if state is not None else ()
    closed = () if state is not None and _is_lost(state) else (CloseSession(talk.session, reason),)
    return Idle(talk.session), (*ended, *closed, *after)


def _begin(talk: Talk, source: Source, now: float, rules: Rules) -> tuple[Hearing, tuple[Effect, ...]]:
    begun = replace(talk, turn=talk.turn + 1, source="follow_up", by_voice=True, literal=False)
    return Hearing(begun, now + rules.utterance_s), (BeginTurn(begun.turn, source),)


def _talk(state: Idle, event: Woken | Called | Asked, source: Source, now: float, rules: Rules) -> Talk:
    return Talk(
        session=state.session + 1,
        turn=0,
        profile=event.profile,
        source=source,
        ends=now + rules.max_s,
        wait_s=_wait_s(event, rules),
    )


def _wait_s(event: Woken | Called | Asked, rules: Rules) -> float:
    return (event.timeout_s if isinstance(event, Called) else None) or rules.no_speech_s


def _since(event: Woken | Called, rules: Rules) -> int | None:
    """Return from where on the service is to hear somebody who called."""
    return max(0, event.wake.end - rules.wake_overlap) if isinstance(event, Woken) else None


def _cut(state: Active) -> Cut:
    return Cut(remembered=not state.talk.literal)


def _typed(talk: Talk, event: Asked) -> Talk:
    """Return the conversation with one more turn, that nobody speaks."""
    return replace(talk, turn=talk.turn + 1, by_voice=False, literal=event.literal)


def _typed_text(event: Asked) -> str | None:
    return None if event.literal else event.text


def _opening(event: Asked) -> tuple[wire.ClientEvent, ...]:
    if event.literal:
        return (wire.CreateResponse(literal=event.text),)
    return (wire.CreateMessage("user", event.text), wire.CreateResponse(event.instructions))


def _accepted(request: int | None) -> tuple[Accept, ...]:
    return () if request is None else (Accept(request),)


def _busy(state: Active, event: Asked) -> bool:
    return not event.interrupt and not isinstance(state, Listening)


def _is_lost(state: Active) -> bool:
    return isinstance(state, Finishing) and state.lost
