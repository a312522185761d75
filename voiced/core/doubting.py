"""Is somebody really talking? Speech that the service hears counts where our own evidence agrees, or words come.

Over an answer, the service's word and a little evidence pause it; more evidence, or words, make it an interruption;
neither in time, and it goes on as if nothing had been. What the service made of nothing is taken out of its memory.
"""

from dataclasses import replace
from typing import TypeAlias

from voiced.core.effects import Effect, Hear, Send
from voiced.core.events import Event, Near, Tick
from voiced.core.realtime import events as wire
from voiced.core.states import Finishing, Hearing, Idle, Paused, Responding, Rules, State, Step, Talk, is_surely_near
from voiced.core.turning import begin, silenced, voided

Verdict: TypeAlias = tuple[State, tuple[Effect, ...], tuple[wire.ServerEvent, ...]]
"""State, effects, and what the service told before, which is to be looked at again in that state."""


def talked_over(state: Responding | Finishing, event: Event, now: float, rules: Rules) -> Step | None:
    """Look for somebody who talks over an answer; ``None``: ``event`` says nothing of that."""
    talk = state.talk
    match event:
        case wire.SpeechStarted() if not rules.full_duplex and state.spoke is not None:
            # In sound sent just before the answer began, behind which nobody can be told from it.
            return _interrupted(state, event, now, rules, Hear(resume=True))
        case wire.SpeechStarted() if not is_surely_near(talk):
            return replace(state, talk=replace(talk, suspect=event)), ()
        case wire.SpeechStarted() if talk.near is not None and talk.near.speech == "enough":
            return _interrupted(state, event, now, rules)
        case wire.SpeechStarted():
            return _paused(state, event, now, rules), ()
        case Near("enough", sure=True) if talk.suspect is not None and rules.full_duplex:
            return _interrupted(state, talk.suspect, now, rules)
        case Near("some", sure=True) if talk.suspect is not None and rules.full_duplex:
            return _paused(state, talk.suspect, now, rules), ()
        case wire.ResponseStarted() if event.response_id != state.response:  # to something that was not said
            voiding = voided(talk, event.response_id)
            return replace(state, talk=voiding), (Send(wire.CancelResponse(event.response_id)),)
        case _:
            return None


def judged(state: Paused, event: Event, now: float, rules: Rules) -> Verdict | None:
    """Decide whether it was something; ``None``: ``event`` concerns the answer that is paused."""
    match event:
        case Near("enough", sure=True):
            return _confirmed(state, now, rules)
        case wire.InputTranscriptDelta() | wire.InputTranscript() if event.text.strip() and _is_of(state, event):
            return _confirmed(state, now, rules)
        case wire.InputTranscript() | wire.InputTranscriptFailed() if state.stopped and _is_of(state, event):
            return (*undoubted(state, now), ())
        case wire.SpeechStarted():
            early = (*state.early, event)
            return replace(state, started=(*state.started, event), early=early, stopped=False), (), ()
        case wire.SpeechStopped():
            stopped = replace(state, early=(*state.early, event), stopped=True)
            return (stopped, (), ()) if state.talk.profile in rules.written else (*undoubted(stopped, now), ())
        case Tick() if now >= state.until:
            return (*undoubted(state, now), ())
        case wire.InputCommitted() | wire.ServiceProblem(code=wire.ANOTHER_ANSWER):
            return replace(state, early=(*state.early, event)), (), ()
        case (
            wire.ResponseStarted()
            | wire.ItemAdded()
            | wire.AudioDelta()
            | wire.TextDelta()
            | wire.FunctionCall()
            | wire.ResponseDone()
        ) if event.response_id != state.answer.response:
            return replace(state, early=(*state.early, event)), (), ()
        case _:
            return None


def undoubted(state: Paused, now: float) -> tuple[Responding | Finishing, tuple[Effect, ...]]:
    """Return the answer as it goes on, and what makes the service forget what it took for speech."""
    talk = voided(state.talk, *(started.item_id for started in state.started))
    if not state.stopped:
        going_on = state.started[-1]
        talk = replace(talk, suspect=going_on, void=tuple(name for name in talk.void if name != going_on.item_id))
    cancelled: list[Effect] = []
    deleted: list[Effect] = []
    for event in state.early:
        match event:
            case wire.InputCommitted(item_id):
                deleted.append(Send(wire.DeleteItem(item_id)))
                talk = replace(talk, void_next=True)
            case wire.ResponseStarted(response_id):
                talk = replace(voided(talk, response_id), void_next=False)
                if not any(isinstance(e, wire.ResponseDone) and e.response_id == response_id for e in state.early):
                    cancelled.append(Send(wire.CancelResponse(response_id)))
            case wire.ItemAdded():
                deleted.append(Send(wire.DeleteItem(event.item_id)))
            case wire.ServiceProblem():
                talk = replace(talk, void_next=False)
    return _later(replace(state.answer, talk=talk), min(now, state.until) - state.since), (*cancelled, *deleted)


def over(state: Paused, talk: Talk, now: float, rules: Rules) -> Verdict:
    """Take that the paused answer came to its end all the same: whoever talked has the next turn."""
    hearing, begun = begin(talk, "follow_up", now, rules, state.started[:1])
    return hearing, begun, state.early


def late(talk: Talk, event: Event) -> tuple[Talk, tuple[Effect, ...]] | None:
    """Take out of the service's memory what counts for nothing; ``None``: ``event`` is about something else."""
    match event:
        case wire.SpeechStopped(item_id) if talk.suspect is not None and item_id == talk.suspect.item_id:
            return replace(voided(talk, item_id), suspect=None), ()
        case wire.InputCommitted(item_id) if item_id in talk.void:
            return replace(talk, void_next=True), (Send(wire.DeleteItem(item_id)),)
        case wire.ResponseStarted(response_id) if talk.void_next:
            return replace(voided(talk, response_id), void_next=False), (Send(wire.CancelResponse(response_id)),)
        case wire.ServiceProblem(code=wire.ANOTHER_ANSWER) if talk.void_next:
            return replace(talk, void_next=False), ()
        case wire.ItemAdded() if event.response_id in talk.void:
            return talk, (Send(wire.DeleteItem(event.item_id)),)
        case _:
            return None


def is_doubtful(
    event: wire.ResponseStarted | wire.SpeechStarted | wire.SpeechStopped | wire.InputCommitted, state: State
) -> bool:
    """Return whether ``event``, that led to ``state``, belongs to no turn: not yet, or never."""
    if isinstance(state, Idle | Paused):
        return isinstance(state, Paused)
    if isinstance(event, wire.ResponseStarted):
        return event.response_id in state.talk.void and not isinstance(state, Hearing)
    return event == state.talk.suspect or event.item_id in state.talk.void


def _paused(state: Responding | Finishing, started: wire.SpeechStarted, now: float, rules: Rules) -> Paused:
    talk = replace(state.talk, suspect=None)
    return Paused(talk, now + rules.doubt_s, state, now, (started,))


def _interrupted(
    state: Responding | Finishing, started: wire.SpeechStarted, now: float, rules: Rules, *heard: Effect
) -> Step:
    talk, effects = silenced(state)
    hearing, begun = begin(talk, "follow_up", now, rules, (started,))
    return hearing, (*effects, *begun, *heard)


def _confirmed(state: Paused, now: float, rules: Rules) -> Verdict:
    talk, effects = silenced(replace(state.answer, talk=state.talk))
    hearing, begun = begin(talk, "follow_up", now, rules, state.started[:1])
    return hearing, (*effects, *begun), state.early


def _later(answer: Responding | Finishing, by_s: float) -> Responding | Finishing:
    """Return the answer with all it is waited for so much later."""
    if isinstance(answer, Responding) and answer.sounds_until is not None:
        answer = replace(answer, sounds_until=answer.sounds_until + by_s)
    return replace(answer, until=answer.until + by_s)


def _is_of(state: Paused, event: wire.InputTranscriptDelta | wire.InputTranscript | wire.InputTranscriptFailed) -> bool:
    return any(started.item_id == event.item_id for started in state.started)
