"""Somebody wants something that is not said into an open conversation: by wake word, button, text or ``stop``."""

from dataclasses import replace

from voiced.core.effects import (
    Accept,
    BeginTurn,
    Chime,
    Cut,
    Effect,
    Hear,
    OpenSession,
    Play,
    Refuse,
    Send,
    Source,
)
from voiced.core.events import Asked, Called, Drained, Ended, Event, Near, Recording, Stopped, Tick, Woken
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE
from voiced.core.realtime import events as wire
from voiced.core.states import (
    Active,
    Attending,
    Connecting,
    Finishing,
    Idle,
    Listening,
    Processing,
    Responding,
    Rules,
    Sounding,
    Step,
    Talk,
    hears,
    is_near,
    resting,
)
from voiced.core.turning import follow, is_lost, rest, silenced


def at_rest(state: Idle, event: Event, now: float, rules: Rules) -> Step:
    """Begin a conversation, if that is what somebody wants."""
    match event:
        case Woken() | Called() if rules.connects == "speech":
            source: Source = "wake_word" if isinstance(event, Woken) else event.source
            talk = _talk(state, event, source, now, rules)
            since = _since(event, rules) or 0
            return Attending(talk, now + talk.wait_s, since), (Chime("wake"), *accepted(_request(event)))
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
                *accepted(event.request),
            )
        case Asked():
            talk = _typed(_talk(state, event, "mqtt", now, rules), event)
            talk = replace(talk, follows=event.listen_after)
            return Connecting(talk, now + rules.connect_s, _opening(event)), (
                OpenSession(talk.session, talk.profile, event.voice, answers=event.question is None),
                *((Chime("wake"),) if event.chime else ()),
                BeginTurn(talk.turn, "mqtt", None if event.question else event.request, _typed_text(event)),
            )
        case Recording():
            return _sounding(state, event, now, rules)
        case Stopped() | Ended():
            return state, accepted(event.request)
        case _:
            return state, ()


def attending(state: Attending, event: Event, now: float, rules: Rules) -> Step:
    """Open the session when somebody speaks, or rest."""
    talk = state.talk
    match event:
        case Near():
            state = replace(state, talk=replace(talk, near=None if event.speech == "none" else event))
            if not is_near(state.talk, rules):
                return state, ()
            spoke = event.since - rules.near_overlap
            at_once = spoke - state.since < MICROPHONE_RATE  # then nothing between the word and the speech is left out
            hear = Hear(state.since if at_once else spoke)
            return Connecting(state.talk, now + rules.connect_s), (OpenSession(talk.session, talk.profile), hear)
        case Woken() | Called() | Asked() | Recording():
            return at_rest(resting(talk), event, now, rules)
        case Stopped() | Ended():
            return resting(talk), accepted(event.request)
        case Tick() if now >= min(state.until, talk.ends):
            return resting(talk), ()
        case _:
            return state, ()


def called(state: Active, event: Woken | Called | Asked | Recording | Stopped, now: float, rules: Rules) -> Step:
    """Do in the middle of a conversation what somebody wants, or somebody else."""
    talk, effects = silenced(state)
    match event:
        case Recording():
            return anew(state, event, now, rules)
        case Asked() if event.voice is not None or event.question is not None:  # a session keeps its voice
            return anew(state, event, now, rules)
        case Woken() | Called() | Asked() if isinstance(state, Sounding) or talk.question is not None:
            return anew(state, event, now, rules)
        case Stopped() if talk.question is not None:
            return rest(state, "stopped", *accepted(event.request))
        case Woken() if event.profile != talk.profile:
            return anew(state, event, now, rules)
        case Stopped() if isinstance(state, Responding | Finishing) and not is_lost(state):
            state = replace(state, talk=replace(talk, goodbye=False))
            quiet, after = follow(state, effects, now, rules)
            return quiet, (*after, *accepted(event.request))
        case Stopped():
            return rest(state, "stopped", *accepted(event.request))
        case Woken() | Called() if not isinstance(state, Responding | Finishing):
            heard = () if hears(state, rules) else (Chime("wake"), Hear(_since(event, rules)))
            return _listening_on(state, heard, event, now, rules)
        case Woken() | Called() | Asked() if isinstance(state, Connecting) or is_lost(state):
            return anew(state, event, now, rules)
        case Woken() | Called():
            wait_s = _wait_s(event, rules)
            source: Source = "wake_word" if isinstance(event, Woken) else event.source
            talk = replace(talk, by_voice=True, literal=False, wait_s=wait_s, source=source)
            # Who pressed a button is heard from behind the answer's tail on; a word stands before it.
            hear = (Hear(_since(event, rules)),) if isinstance(event, Woken) else ()
            told = (*effects, Chime("wake"), *hear, *accepted(_request(event)))
            return Listening(_anew_in(talk), min(now + wait_s, max(now, talk.ends))), told
        case Asked():
            is_about_to_begin = isinstance(state, Processing) and state.response is None and not state.owed
            talk = _typed(replace(talk, void_next=talk.void_next or is_about_to_begin), event)
            return Processing(talk, now + rules.answer_s), (
                *effects,
                BeginTurn(talk.turn, "mqtt", event.request, _typed_text(event)),
                *(Send(first) for first in _opening(event)),
            )


def accepted(request: int | None) -> tuple[Accept, ...]:
    """Return the answer to who asked, if anybody did."""
    return () if request is None else (Accept(request),)


def refused(state: Active, event: Asked | Recording) -> tuple[Refuse, ...]:
    """Return the answer to who asked, if a text turn, or a recording, would disturb."""
    if event.request is None or event.interrupt:
        return ()
    is_open = isinstance(state, Listening) and state.talk.question is None
    if is_open and isinstance(event, Asked) and event.question is None:
        return ()
    return (Refuse(event.request, "a conversation is going on; try again when it is over"),)


def sounding(state: Sounding, event: Event, now: float) -> Step:
    """Let a recording be heard to its end."""
    match event:
        case Drained():
            return resting(state.talk), (Accept(state.request, {"outcome": "finished"}),)
        case Tick() if now >= state.until:
            told = "the speaker never said that it was heard"
            return resting(state.talk), (Cut(remembered=False), Refuse(state.request, told, "failed"))
        case _:
            return state, ()


def _sounding(state: Idle, event: Recording, now: float, rules: Rules) -> Step:
    number = state.session + 1  # as if there were a session: nothing of the last one is taken for it
    until = now + len(event.pcm) / 2 / SERVICE_RATE + rules.speaker_s
    sound = wire.AudioDelta("", f"recording-{number}", 0, event.pcm)
    talk = Talk(number, 0, "", "mqtt", ends=until, follows=False, by_voice=False, literal=True, first=number)
    return Sounding(talk, until, event.request), (Play(sound, announced=True, percent=event.percent),)


def _listening_on(state: Active, heard: tuple[Effect, ...], event: Woken | Called, now: float, rules: Rules) -> Step:
    """Go on with who called; a window that waits for somebody near need not wait any more."""
    talk = replace(_anew_in(state.talk), by_voice=True)
    effects = (*heard, *accepted(_request(event)))
    if not isinstance(state, Listening) or not state.follow_up:
        return replace(state, talk=talk), effects
    wait_s = _wait_s(event, rules)
    talk = replace(talk, wait_s=wait_s, source="wake_word" if isinstance(event, Woken) else event.source)
    return Listening(talk, min(now + wait_s, max(now, talk.ends))), effects


def anew(state: Active, event: Woken | Called | Asked | Recording, now: float, rules: Rules) -> Step:
    """End this conversation and begin another one, with a session of its own."""
    _, ended = rest(state, "interrupted")
    again, begun = at_rest(resting(state.talk), event, now, rules)
    return again, (*ended, *begun)


def _anew_in(talk: Talk) -> Talk:
    """Return the conversation as it goes on once somebody called again: nobody is suspected, nobody says goodbye."""
    return replace(talk, follows=True, unsure=0, suspect=None, goodbye=False)


def _talk(state: Idle, event: Woken | Called | Asked, source: Source, now: float, rules: Rules) -> Talk:
    return Talk(
        session=state.session + 1,
        turn=0,
        profile=event.profile,
        source=source,
        ends=now + rules.max_s,
        wait_s=_wait_s(event, rules),
        first=state.session + 1,
    )


def _wait_s(event: Woken | Called | Asked, rules: Rules) -> float:
    return (event.timeout_s if isinstance(event, Called) else None) or rules.no_speech_s


def _since(event: Woken | Called, rules: Rules) -> int | None:
    """Return from where on the service is to hear somebody who called."""
    return max(0, event.wake.end - rules.wake_overlap) if isinstance(event, Woken) else None


def _request(event: Woken | Called) -> int | None:
    return event.request if isinstance(event, Called) else None


def _typed(talk: Talk, event: Asked) -> Talk:
    """Return the conversation with one more turn, that nobody speaks."""
    return replace(
        talk,
        turn=talk.turn + 1,
        by_voice=False,
        literal=event.literal,
        percent=event.percent,
        question=event.question,
        goodbye=False,
        asked=_opening(event),
        tries=0,
    )


def _typed_text(event: Asked) -> str | None:
    return None if event.literal else event.text


def _opening(event: Asked) -> tuple[wire.ClientEvent, ...]:
    if event.literal:
        return (wire.CreateResponse(literal=event.text),)
    return (wire.CreateMessage("user", event.text), wire.CreateResponse(event.instructions))
