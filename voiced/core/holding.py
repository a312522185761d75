"""Push to talk: somebody holds the microphone open, and says themselves when they are done."""

from dataclasses import replace

from voiced.core.calling import accepted, at_rest
from voiced.core.effects import BeginTurn, Chime, Effect, EndTurn, Hold, LetGo, Refuse
from voiced.core.events import Called, Released
from voiced.core.states import (
    Active,
    Attending,
    Connecting,
    Hearing,
    Idle,
    Processing,
    Reopening,
    Rules,
    State,
    Step,
    going_on,
    hears,
    resting,
)
from voiced.core.turning import begin, is_lost, rest, silenced

NOBODY_HOLDS = 'nobody holds the microphone open; send listen with "hold": true first'
NOTHING_SAID = "nothing was said while the microphone was held open"


def pressed(state: Idle | Active, event: Called, now: float, rules: Rules) -> Step:
    """Begin a turn that lasts until it is let go, over whatever is going on."""
    match state:
        case Idle():
            again, opened = at_rest(state, replace(event, hold=False), now, replace(rules, connects="wake"))
            return _connecting(again, opened, event)
        case Connecting(held="down") | Hearing(held=True):
            return state, accepted(event.request)
        case Hearing():  # the turn goes on, but only they end it
            held = replace(state, until=now + rules.utterance_s, held=True)
            return held, (Hold(fresh=False), *accepted(event.request))
        case Connecting(first=(), held=""):
            return _connecting(state, accepted(event.request), event)
        case _ if isinstance(state, Attending | Connecting | Reopening) or is_lost(state):
            _, ended = rest(state, "interrupted")
            again, begun = pressed(resting(state.talk), event, now, rules)
            return again, (*ended, *begun)
        case _:
            talk, ended = silenced(state)
            chime = () if hears(state, rules) else (Chime("wake"),)
            talk = replace(talk, follows=True, suspect=None)
            hearing, begun = begin(talk, event.source, now, rules)
            return replace(hearing, held=True), (*ended, *begun, *chime, Hold(), *accepted(event.request))


def released(state: Idle | Active, event: Released, now: float, rules: Rules) -> Step:
    """End that turn: it is to be answered, if anything was said."""
    if not isinstance(state, Connecting | Hearing) or not is_held(state):
        return state, () if event.request is None else (Refuse(event.request, NOBODY_HOLDS, "unavailable"),)
    if not event.said:
        talk = state.talk
        _, (_, *closed) = rest(state, "silence")
        told = EndTurn(talk.turn, "failed", "no_speech", NOTHING_SAID)
        refused = () if event.request is None else (Refuse(event.request, NOTHING_SAID, "unavailable"),)
        return resting(talk), (told, *closed, *refused)
    talk = replace(state.talk, by_voice=False)
    effects: tuple[Effect, ...] = (LetGo(), *accepted(event.request))
    if isinstance(state, Connecting):
        return replace(state, talk=talk, held="up"), effects
    return Processing(talk, now + rules.answer_s), effects


def is_held(state: State) -> bool:
    """Return whether somebody holds the microphone open."""
    shown = going_on(state)
    return (isinstance(shown, Connecting) and shown.held == "down") or (isinstance(shown, Hearing) and shown.held)


def _connecting(state: State, effects: tuple[Effect, ...], event: Called) -> Step:
    """Begin the turn while the session is being opened; what is said meanwhile is kept."""
    if not isinstance(state, Connecting):
        raise TypeError(state)
    talk = replace(state.talk, turn=state.talk.turn + 1, by_voice=True)
    begun = (BeginTurn(talk.turn, event.source), Hold(fresh=False))
    at = next((n for n, effect in enumerate(effects) if isinstance(effect, Chime)), 0)
    return replace(state, talk=talk, held="down"), (*effects[:at], *begun, *effects[at:])
