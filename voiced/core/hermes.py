"""The Hermes protocol of Snips and Rhasspy, translated to our own commands and from what we publish.

One table of what is understood, :data:`SUBSCRIBED`, and a step over frozen states, as the conversation has. A dialogue
is what somebody asks for, or says behind a wake word: from the first state that is not idle to the next that is. The
model understands and answers; there are no intents. Source: https://rhasspy.readthedocs.io/en/latest/reference.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

MOST_WAITING = 20
"""Dialogues that wait; more are refused."""
MOST_SAYING = 50
LARGEST_PAYLOAD = 65_536
LONGEST_NAME = 1_000
"""Characters of an id, or of what a client wants to see again."""

Json: TypeAlias = dict[str, Any]

# --- what happens, and what is to be done -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """Somebody said this to us."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """We published this below ``<base>/<id>/``."""

    name: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """A command of :class:`Do` was answered."""

    tag: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """Publish, on a full topic."""

    topic: str
    payload: Json


@dataclass(frozen=True, slots=True)
class Do:
    """Obey a command of our own contract; the answer comes back with ``tag``."""

    name: str
    """Below ``<base>/<id>/``."""
    payload: str
    tag: str


Event: TypeAlias = Received | Published | Answered
Effect: TypeAlias = Tell | Do

# --- what is known ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation, as Hermes sees it: a session."""

    id: str
    kind: Literal["voice", "action", "notification"] = "voice"
    text: str | None = None
    custom: str | None = None
    """``customData``, which the client wants to see again."""
    waits: bool = True
    """Whether it may wait for its turn."""
    active: bool = False
    """Whether our state is, or was, anything but idle in it."""
    turns: int = 0


@dataclass(frozen=True, slots=True)
class Saying:
    """A text of ``hermes/tts/say`` that is not over."""

    tag: str
    id: str | None
    session: str | None


@dataclass(frozen=True, slots=True)
class State:
    """All that the bridge knows."""

    site: str
    prefix: str
    """What names of dialogues begin with; another one in each run."""
    number: int = 0
    busy: bool = False
    listening: bool = False
    dialogue: Dialogue | None = None
    called: Dialogue | None = None
    """What a wake word called for; it begins once our state says that somebody answers."""
    last: str | None = None
    """Name of the last dialogue."""
    waiting: tuple[Dialogue, ...] = ()
    sayings: tuple[Saying, ...] = ()


Step: TypeAlias = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> Step:
    """Return the next state, and what is to be done; never raises."""
    match event:
        case Received():
            return _received(state, event)
        case Published("state", payload):
            return _moved(state, str(payload.get("state")), payload.get("reason"))
        case Published("event/wake", payload) if payload.get("event_type") == "detected":
            return _woken(state, payload)
        case Published("event/turn", payload) if payload.get("event_type") != "started":
            return _turned(state, payload)
        case Published("event/error", payload) if payload.get("event_type") == "error" and state.dialogue:
            return state, (_error(state, "asr", str(payload.get("message")), str(payload.get("code"))),)
        case Answered():
            return _answered(state, event)
        case _:
            return state, ()


# --- what others ask for ----------------------------------------------------------------------------------------------


def _received(state: State, event: Received) -> Step:
    body = _object(event.payload)
    handle = _HANDLERS.get(event.topic)
    if body is None or handle is None or (_name(body.get("siteId")) or "default") != state.site:
        return state, ()
    return handle(state, body)


def _toggled(word: str) -> Callable[[State, Json], Step]:
    return lambda state, _: (state, (Do("set/wake_enabled", word, ""),))


def _say(state: State, body: Json) -> Step:
    text, volume = _text(body.get("text")), body.get("volume")
    session = _name(body.get("sessionId"))
    saying = Saying(f"say:{state.number}", _name(body.get("id")), session)
    state = replace(state, number=state.number + 1)
    if text is None or len(state.sayings) >= MOST_SAYING:
        return state, _said(state, saying, "there is no text, or too many wait")
    fields: Json = {"text": text}
    if isinstance(volume, int | float) and not isinstance(volume, bool) and 0 <= volume <= 1:
        fields["volume"] = round(volume * 100)
    if state.dialogue is not None and session == state.dialogue.id:
        done = Do("command/say", _json({**fields, "interrupt": True, "listen_after": True}), saying.tag)
    else:
        done = Do("command/announce", _json({**fields, "chime": False}), saying.tag)
    return replace(state, sayings=(*state.sayings, saying)), (done,)


def _start(state: State, body: Json) -> Step:
    init = body.get("init")
    if not isinstance(init, dict) or init.get("type") not in ("action", "notification"):
        return state, ()
    kind: Literal["action", "notification"] = "action" if init["type"] == "action" else "notification"
    dialogue = Dialogue(
        f"{state.prefix}-{state.number}",
        kind,
        _text(init.get("text")),
        _name(body.get("customData")),
        waits=kind == "notification" or init.get("canBeEnqueued", True) is True,
    )
    state = replace(state, number=state.number + 1)
    if kind == "notification" and dialogue.text is None:
        return state, (_ended(state, dialogue, "error"),)
    if not state.busy and state.dialogue is None:
        return _begin(state, dialogue)
    if not dialogue.waits or len(state.waiting) >= MOST_WAITING:
        return state, (_ended(state, dialogue, "error"),)
    return replace(state, waiting=(*state.waiting, dialogue)), (_of(state, "sessionQueued", dialogue),)


def _end(state: State, body: Json) -> Step:
    name, text = _name(body.get("sessionId")), _text(body.get("text"))
    found = [dialogue for dialogue in state.waiting if dialogue.id == name]
    if found:
        waiting = tuple(dialogue for dialogue in state.waiting if dialogue.id != name)
        return replace(state, waiting=waiting), (_ended(state, found[0], "abortedByUser"),)
    if state.dialogue is None or state.dialogue.id != name:
        return state, ()
    if text is not None:  # without listen_after it ends with what is said
        return state, (Do("command/end", "", ""), Do("command/announce", _json({"text": text, "chime": False}), ""))
    return state, (Do("command/end", "", ""),)


def _continue(state: State, body: Json) -> Step:
    if state.dialogue is None or state.dialogue.id != _name(body.get("sessionId")):
        return state, ()
    return state, (_lead(replace(state.dialogue, text=_text(body.get("text"))), interrupt=True),)


_HANDLERS: Mapping[str, Callable[[State, Json], Step]] = {
    "hermes/hotword/toggleOn": _toggled("ON"),
    "hermes/hotword/toggleOff": _toggled("OFF"),
    "hermes/tts/say": _say,
    "hermes/dialogueManager/startSession": _start,
    "hermes/dialogueManager/endSession": _end,
    "hermes/dialogueManager/continueSession": _continue,
}
SUBSCRIBED = tuple(_HANDLERS)
"""Topics that are understood."""

# --- what we do -------------------------------------------------------------------------------------------------------


def _woken(state: State, payload: Mapping[str, Any]) -> Step:
    effects: list[Effect] = []
    dialogue, called = state.dialogue, None
    if dialogue is not None and dialogue.kind == "notification":
        effects.append(_ended(state, dialogue, "abortedByUser"))
        dialogue = None
    if dialogue is None and payload.get("action") is None:
        called = Dialogue(f"{state.prefix}-{state.number}")
        state = replace(state, number=state.number + 1)
    state = replace(state, dialogue=dialogue, called=called)
    if (word := payload.get("wake_word")) is not None:
        of = dialogue or called
        detected = {
            "modelId": word,
            "modelVersion": "",
            "modelType": "universal",
            "currentSensitivity": payload.get("threshold"),
            "siteId": state.site,
            "sessionId": of.id if of else None,
        }
        effects.append(Tell(f"hermes/hotword/{re.sub('[/+#]', '_', word)}/detected", detected))
    if state.busy:
        state, begun = _begin_called(state)
        effects += begun
    return state, tuple(effects)


def _begin_called(state: State) -> Step:
    """Begin what a wake word called for, if anything."""
    if state.called is None or state.dialogue is not None:
        return replace(state, called=None), ()
    dialogue = replace(state.called, active=True)
    state = replace(state, dialogue=dialogue, called=None, last=dialogue.id)
    return state, (_of(state, "sessionStarted", dialogue),)


def _moved(state: State, to: str, reason: object) -> Step:
    """Take that our state is another one."""
    effects: list[Effect] = []
    busy, listening = to not in {"idle", "starting", "error"}, to == "listening"
    if busy:
        state, begun = _begin_called(state)
        effects += begun
    dialogue = state.dialogue
    if dialogue is not None and busy:
        dialogue = replace(dialogue, active=True)
    if listening != state.listening:
        name = "startListening" if listening else "stopListening"
        session = dialogue.id if dialogue else state.last
        effects.append(Tell(f"hermes/asr/{name}", {"siteId": state.site, "sessionId": session}))
    state = replace(state, busy=busy, listening=listening, dialogue=dialogue)
    if not busy and dialogue is not None and dialogue.active:
        effects.append(_ended(state, dialogue, _reason(reason, dialogue)))
        state = replace(state, dialogue=None)
    if not busy and state.dialogue is None and state.waiting:
        state, begun = _begin(replace(state, waiting=state.waiting[1:]), state.waiting[0])
        effects += begun
    return state, tuple(effects)


def _turned(state: State, payload: Mapping[str, Any]) -> Step:
    user = payload.get("user") or {}
    if state.dialogue is not None and (user.get("text") or user.get("duration_ms")):  # not just read aloud
        state = replace(state, dialogue=replace(state.dialogue, turns=state.dialogue.turns + 1))
    if not user.get("text") or not user.get("duration_ms"):  # not to be told, or not said by voice
        return state, ()
    captured = {
        "text": user["text"],
        "likelihood": 1.0,
        "seconds": user["duration_ms"] / 1000,
        "siteId": state.site,
        "sessionId": state.dialogue.id if state.dialogue else state.last,
        "wakewordId": payload.get("wake_word"),
    }
    return state, (Tell("hermes/asr/textCaptured", captured),)


def _answered(state: State, event: Answered) -> Step:
    is_done = event.payload.get("ok") is True
    error = event.payload.get("error") or {}
    why = None if is_done else str(error.get("message"))
    for saying in state.sayings:
        if saying.tag == event.tag:
            state = replace(state, sayings=tuple(other for other in state.sayings if other != saying))
            return state, _said(state, saying, why)
    dialogue = state.dialogue
    if why is None or dialogue is None or dialogue.id != event.tag or dialogue.active:
        return state, ()
    state = replace(state, dialogue=None)
    if error.get("code") == "busy" and dialogue.waits and len(state.waiting) < MOST_WAITING:
        return replace(state, waiting=(dialogue, *state.waiting)), (_of(state, "sessionQueued", dialogue),)
    return state, (
        _error(state, "dialogueManager", why, str(error.get("code")), dialogue.id),
        _ended(state, dialogue, "error"),
    )


# --- parts ------------------------------------------------------------------------------------------------------------


def _begin(state: State, dialogue: Dialogue) -> Step:
    state = replace(state, dialogue=dialogue, last=dialogue.id)
    return state, (_of(state, "sessionStarted", dialogue), _lead(dialogue))


def _lead(dialogue: Dialogue, *, interrupt: bool = False) -> Do:
    """Return what begins a dialogue, or goes on with it."""
    if dialogue.text is None:
        return Do("command/listen", "", dialogue.id)
    listens = dialogue.kind != "notification"
    return Do(
        "command/say", _json({"text": dialogue.text, "listen_after": listens, "interrupt": interrupt}), dialogue.id
    )


def _of(state: State, name: str, dialogue: Dialogue, **more: object) -> Tell:
    told = {"sessionId": dialogue.id, "siteId": state.site, "customData": dialogue.custom}
    return Tell(f"hermes/dialogueManager/{name}", {**more, **told})


def _ended(state: State, dialogue: Dialogue, reason: str) -> Tell:
    return _of(state, "sessionEnded", dialogue, termination={"reason": reason})


def _reason(reason: object, dialogue: Dialogue) -> str:
    match reason:
        case "silence" if not dialogue.turns and dialogue.kind != "notification":
            return "timeout"
        case None | "silence" | "done" | "goodbye" | "command" | "answered":
            return "nominal"
        case "stopped" | "interrupted" | "muted" | "wake_word" | "another_unit":
            return "abortedByUser"
        case "max_s" | "endless_speech":
            return "timeout"
        case _:
            return "error"


def _said(state: State, saying: Saying, why: str | None) -> tuple[Effect, ...]:
    finished = Tell("hermes/tts/sayFinished", {"id": saying.id, "siteId": state.site, "sessionId": saying.session})
    return (finished,) if why is None else (_error(state, "tts", why, "say", saying.session), finished)


def _error(state: State, part: str, error: str, context: str, session: str | None = None) -> Tell:
    session = session or (state.dialogue.id if state.dialogue else None)
    told = {"error": error, "context": context, "siteId": state.site, "sessionId": session}
    return Tell(f"hermes/error/{part}", told)


def _object(payload: bytes) -> Json | None:
    if len(payload) > LARGEST_PAYLOAD:
        return None
    try:
        body = json.loads(payload or b"{}")
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME else None


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _json(value: Json) -> str:
    return json.dumps(value)  # in ASCII: a text from outside may hold half of a surrogate pair
