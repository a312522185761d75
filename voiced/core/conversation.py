"""The mind: the only place where the daemon changes its mind, as a table over frozen states.

::

    Idle ──Woken, Asked──► Connecting ──SessionReady──► Listening ──SpeechStarted──► Hearing
     ▲                                                   ▲     ▲                        │ SpeechStopped
     │ silence, end, lost                      follow-up │     └──────────┐             ▼
     └───────────────────────────── Finishing ◄──done── Responding ◄──sound, text── Processing
                                            └─ speech? ─► Paused ─ yes: Hearing, no: as before

Where the session is opened only when somebody speaks, :class:`Attending` comes before Connecting. A recording is heard
in :class:`Sounding`, which knows no session, between two moments of Idle. Where a session dies before it answers,
:class:`Reopening` stands for Listening, Hearing or Processing until another one is there.

Time is an argument. Every state but :class:`Idle` has a moment, ``until``, at which a :class:`Tick` ends it. Whatever
is not in the table is late or early, and harmless. Events of a session that is over must not be passed in; the app
drops them by session number.

Parts of the table that stand elsewhere: :mod:`~voiced.core.calling` (somebody wants something),
:mod:`~voiced.core.holding` (push to talk), :mod:`~voiced.core.asking` (a question that somebody is to answer),
:mod:`~voiced.core.doubting` (is somebody really talking?), :mod:`~voiced.core.turning` (what many states share),
:mod:`~voiced.core.renewing` (sessions that die or grow old).
"""

from dataclasses import replace

from voiced.core import asking, calling, doubting, holding, renewing, turning
from voiced.core.effects import (
    BeginTurn,
    Cut,
    Deafen,
    Effect,
    GoOn,
    Hear,
    LetGo,
    Pause,
    Play,
    Resume,
    Send,
    Skip,
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
from voiced.core.frames import SERVICE_RATE
from voiced.core.realtime import events as wire
from voiced.core.states import (
    Active,
    Attending,
    Connecting,
    Finishing,
    Hearing,
    Idle,
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
    going_on,
    hears,
    is_going_on,
    is_near,
    is_surely_near,
)
from voiced.core.tools import GOODBYE


def step(state: State, event: Event, now: float, rules: Rules) -> Step:
    """Return the next state and the effects of ``event``; never raises."""
    after, effects = _led(state, event, now, rules)
    after, renewed = renewing.in_pause(after, now, rules)
    effects = (*effects, *renewed)
    is_cut = any(isinstance(effect, Cut) for effect in effects)
    tail_s = rules.tail_s if is_cut else 0.0
    effects = asking.unanswered(state, after, effects)
    if _forgets(state, after, effects):
        effects = (LetGo(said=False), *effects)
    if isinstance(state, Paused) and not isinstance(after, Paused) and not is_cut:
        effects = (Resume(), *effects)
    elif isinstance(after, Paused) and (is_cut or not isinstance(state, Paused)):
        effects = (*effects, Pause())
    if _waits(after) and not _waits(state) and not rules.full_duplex:
        effects = (*effects, Skip(tail_s))  # our own voice
    heard, hearing = hears(state, rules), hears(after, rules)
    if heard and not hearing:
        return after, (Deafen(), *effects)
    if hearing and not heard and not any(isinstance(effect, Hear) for effect in effects):
        return after, (*effects, _hear(after, tail_s, rules))
    return after, effects


def _forgets(before: State, after: State, effects: tuple[Effect, ...]) -> bool:
    """Return whether a turn that was held is over without its end, and its session goes on."""
    if isinstance(before, Idle) or isinstance(after, Idle) or after.talk.session != before.talk.session:
        return False
    is_over = holding.is_held(before) and not holding.is_held(after)
    return is_over and not any(isinstance(effect, LetGo) for effect in effects)


def _waits(state: State) -> bool:
    shown = going_on(state)
    return isinstance(shown, Listening) and shown.follow_up


def _hear(state: State, tail_s: float, rules: Rules) -> Hear:
    """Return from where on the service is to hear what it was not sent until now."""
    if isinstance(state, Reopening) and not _waits(state):
        return Hear(resume=True)
    if isinstance(state, Idle) or not (_waits(state) or isinstance(going_on(state), Responding | Finishing)):
        return Hear(after_s=tail_s)
    if state.talk.near is None:
        return Hear(resume=True)
    return Hear(max(0, state.talk.near.since - rules.near_overlap))


def _led(state: State, event: Event, now: float, rules: Rules) -> Step:
    if isinstance(state, Reopening):
        return _going_on(state, event, now, rules)
    match event:
        case Released():
            return holding.released(state, event, now, rules)
        case Called(hold=True) if isinstance(state, Idle | Attending):
            return holding.pressed(state, event, now, rules)
        case SuccessorReady() | SuccessorLost() if not isinstance(state, Idle):
            return replace(state, talk=renewing.of_successor(state.talk, event, now)), ()
        case _:
            return _turned(state, event, now, rules)


def _turned(state: State, event: Event, now: float, rules: Rules) -> Step:
    if isinstance(state, Idle):
        return calling.at_rest(state, event, now, rules)
    if isinstance(state, Attending):
        return _going_on(state, event, now, rules)
    match event:
        case Asked() | Recording() if refused := calling.refused(state, event):
            return state, refused
        case Ended() | Woken() | Called() | Asked() | Recording() | Stopped():
            if isinstance(state, Paused):
                answer, forgotten = doubting.undoubted(state, now)
                after, effects = _wanted(answer, event, now, rules)
                return after, (*forgotten, *effects)
            return _wanted(state, event, now, rules)
        case SessionLost():
            return renewing.lost(state, event, now, rules)
        case _ if (over := turning.overdue(state, event, now)) is not None:
            return over
        case Near():
            state = replace(state, talk=replace(state.talk, near=None if event.speech == "none" else event))
        case wire.SpeechStarted() if not state.talk.follows:  # in a session that was sent no sound
            return state, ()
        case _:
            if (late := doubting.late(state.talk, event)) is not None:
                talk, effects = late
                return replace(state, talk=talk), effects
    if rules.spent and turning.costs_more(state, event):
        return turning.spent(state)
    return _going_on(state, event, now, rules)


def _wanted(
    state: Active, event: Ended | Woken | Called | Asked | Recording | Stopped, now: float, rules: Rules
) -> Step:
    if isinstance(event, Called) and event.hold:
        return holding.pressed(state, event, now, rules)
    if isinstance(event, Ended):
        return turning.rest(state, event.reason, *calling.accepted(event.request))
    return calling.called(state, event, now, rules)


def _going_on(state: Active, event: Event, now: float, rules: Rules) -> Step:
    if (answer := asking.answering(state, event, now, rules)) is not None:
        return answer
    match state:
        case Attending():
            return calling.attending(state, event, now, rules)
        case Connecting():
            return _connecting(state, event, now, rules)
        case Listening():
            return _listening(state, event, now, rules)
        case Hearing():
            return _hearing(state, event, now, rules)
        case Processing():
            return _processing(state, event, now, rules)
        case Responding():
            return _responding(state, event, now, rules)
        case Finishing():
            return _finishing(state, event, now, rules)
        case Paused():
            return _paused(state, event, now, rules)
        case Sounding():
            return calling.sounding(state, event, now)
        case Reopening():
            return renewing.reopening(state, event, now, rules, _led)


def _connecting(state: Connecting, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case SessionReady() if state.held == "down":
            return Hearing(state.talk, now + rules.utterance_s, held=True), ()
        case SessionReady() if state.first or state.held == "up":
            return Processing(state.talk, now + rules.answer_s), tuple(Send(first) for first in state.first)
        case SessionReady():
            return Listening(state.talk, min(now + state.talk.wait_s, state.talk.ends)), ()
        case Tick() if now >= state.until:
            return turning.lost(state, SessionLost("timeout", f"no session within {rules.connect_s:g} s"), rules)
        case _:
            return state, ()


def _listening(state: Listening, event: Event, now: float, rules: Rules) -> Step:
    talk = state.talk
    match event:
        case wire.SpeechStarted() if state.follow_up and state.spoke is None and not is_near(talk, rules):
            return replace(state, talk=replace(talk, suspect=event)), ()
        case wire.SpeechStarted() if state.follow_up:
            return turning.begin(replace(talk, near=state.spoke or talk.near), "follow_up", now, rules)
        case wire.SpeechStarted():
            return turning.begin(talk, talk.source, now, rules)
        case Near() if state.follow_up and is_near(talk, rules) and talk.suspect is not None:
            return turning.begin(talk, "follow_up", now, rules, (talk.suspect,))
        case Near() if state.follow_up and is_near(talk, rules):
            first = state.spoke is None
            until = min(max(state.until, now + rules.notice_s), talk.ends) if first else state.until
            return replace(state, until=until, spoke=event if first or event.sure else state.spoke), ()
        case wire.ResponseStarted():  # of the service's own accord
            begun = replace(talk, turn=talk.turn + 1, asked=(wire.CreateResponse(),), tries=0)
            return Processing(begun, now + rules.answer_s, event.response_id), (BeginTurn(begun.turn, "follow_up"),)
        case Tick() if now >= state.until:
            return turning.rest(state, "silence")
        case _:
            return state, ()


def _hearing(state: Hearing, event: Event, now: float, rules: Rules) -> Step:
    match event:
        case wire.SpeechStopped() if not state.held:
            return Processing(state.talk, now + rules.answer_s), ()
        case wire.ResponseStarted(response_id):  # to what was said before the person went on
            talk = turning.voided(state.talk, response_id)
            return replace(state, talk=talk), (Send(wire.CancelResponse(response_id)),)
        case Tick() if now >= state.until:
            return turning.rest(state, "endless_speech")
        case _:
            return state, ()


def _processing(state: Processing, event: Event, now: float, rules: Rules) -> Step:
    talk = state.talk
    match event:
        case wire.SpeechStarted() if not is_going_on(talk, rules):
            return replace(state, talk=replace(talk, suspect=event)), ()
        case wire.SpeechStarted():
            return _heard_on(state, (), now, rules)
        case Near() if talk.suspect is not None and is_going_on(talk, rules):
            return _heard_on(state, (GoOn((talk.suspect,)),), now, rules)
        case wire.ResponseStarted() if state.response is None:
            return replace(state, response=event.response_id, until=now + rules.answer_s, owed=False), ()
        case wire.ItemAdded(kind="message") if event.response_id == state.response:
            return replace(state, items=(*state.items, event.item_id)), ()
        case wire.AudioDelta() | wire.TextDelta() if event.response_id == state.response:
            spoke = talk.near if is_surely_near(talk) else None
            begun = Responding(talk, state.until, event.response_id, items=state.items, spoke=spoke)
            return _responding(begun, event, now, rules)
        case wire.FunctionCall() if event.response_id == state.response:
            return _tool_called(state, event)
        case wire.ServiceProblem(code=wire.ANOTHER_ANSWER) if state.response is None:
            return replace(state, owed=True), ()
        case wire.ResponseDone() if state.owed:
            asked_again = replace(state, owed=False, until=now + rules.answer_s)
            return asked_again, (Send(_request(state.talk)),)
        case wire.ResponseDone() if event.response_id == state.response:
            return turning.answered(state, event, now, rules)
        case Tick() if now >= state.until:
            return renewing.lost(state, SessionLost("timeout", f"no answer within {rules.answer_s:g} s"), now, rules)
        case _:
            return state, ()


def _request(talk: Talk) -> wire.ClientEvent:
    """Return what asks for the answer that is awaited."""
    if talk.question is not None and talk.question.left_to_model:
        return wire.CreateResponse(report=talk.question)
    return talk.asked[-1] if talk.asked else wire.CreateResponse()


def _heard_on(state: Processing, told: tuple[Effect, ...], now: float, rules: Rules) -> Step:
    """Let the person go on: what was to be answered was but the beginning."""
    talk, unheard = turning.unheard(state)
    return Hearing(replace(talk, suspect=None), now + rules.utterance_s), (*unheard, *told)


def _responding(state: Responding, event: Event, now: float, rules: Rules) -> Step:
    if (over := doubting.talked_over(state, event, now, rules)) is not None:
        return over
    match event:
        case wire.AudioDelta() if event.response_id == state.response:
            length = len(event.pcm) / 2 / SERVICE_RATE
            heard = max(now, state.sounds_until or now) + length
            until = max(now + rules.answer_s, heard + rules.speaker_s)
            return replace(state, until=until, sounds_until=heard, heard=True), (_played(event, state.talk),)
        case wire.TextDelta() if event.response_id == state.response:
            return replace(state, until=max(state.until, now + rules.answer_s)), ()
        case wire.ItemAdded(kind="message") if event.response_id == state.response:
            return replace(state, items=(*state.items, event.item_id)), ()
        case wire.FunctionCall() if event.response_id == state.response:
            return _tool_called(state, event)
        case Drained():
            return replace(state, sounds_until=None), ()
        case wire.ResponseDone() if event.response_id == state.response:
            return turning.answered(state, event, now, rules)
        case Tick() if now >= state.until:
            stalled = SessionLost("timeout", f"the answer stopped for {rules.answer_s:g} s")
            return renewing.lost(state, stalled, now, rules)
        case _:
            return state, ()


def _finishing(state: Finishing, event: Event, now: float, rules: Rules) -> Step:
    is_over = renewing.talked_over if turning.is_lost(state) else doubting.talked_over
    if (over := is_over(state, event, now, rules)) is not None:
        return over
    match event:
        case Drained():
            return renewing.after_answer(state.died, turning.follow(state, (state.ended,), now, rules), now, rules)
        case Tick() if now >= state.until:  # the speaker never said it was done
            told = (turning.cut_off(state), state.ended)
            return renewing.after_answer(state.died, turning.follow(state, told, now, rules), now, rules)
        case _:
            return state, ()


def _paused(state: Paused, event: Event, now: float, rules: Rules) -> Step:
    """Decide whether somebody talks; meanwhile the answer goes on to come in."""
    verdict = doubting.judged(state, event, now, rules)
    if verdict is None:
        answer = replace(state.answer, talk=state.talk)
        answer_after, effects = _going_on(answer, event, now, rules)
        if isinstance(answer_after, Responding | Finishing):
            return replace(state, talk=answer_after.talk, answer=answer_after), effects
        if not isinstance(answer_after, Listening):
            return answer_after, effects
        after, begun, early = doubting.over(state, answer_after.talk, now, rules)
    else:
        after, begun, early = verdict
        effects = ()
    effects = (*effects, *begun)
    for told in early:
        after, more = _turned(after, told, now, rules)
        effects = (*effects, *more)
    return after, _with_early(effects, early, after)


def _played(sound: wire.AudioDelta, talk: Talk) -> Play:
    return Play(sound, announced=True, percent=talk.percent) if talk.literal else Play(sound)


def _with_early(effects: tuple[Effect, ...], early: tuple[wire.ServerEvent, ...], after: State) -> tuple[Effect, ...]:
    """Add to the turn that begins what the service told of it before; not of answers that were cancelled."""
    response = getattr(after, "response", None)
    said = tuple(event for event in early if getattr(event, "response_id", response) == response)
    return tuple(
        replace(effect, said=(*effect.said, *said)) if isinstance(effect, BeginTurn) else effect for effect in effects
    )


def _tool_called(state: Processing | Responding, call: wire.FunctionCall) -> Step:
    """Take the model's goodbye; it is answered, so that the conversation could go on."""
    if call.name != GOODBYE:
        return state, ()
    return replace(state, talk=replace(state.talk, goodbye=True)), (Send(wire.CreateToolOutput(call.call_id, "{}")),)
