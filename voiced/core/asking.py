"""A question is asked, and whoever is there answers it by voice: what that adds to the table of the conversation.

The question is read aloud in a session of its own, in which the service answers nothing by itself. What the person says
then is taken from its transcript; where there is none, the model is made to report it.
"""

from dataclasses import replace

from voiced.core import questions
from voiced.core.effects import Accept, CloseSession, Effect, EndTurn, Refuse, Send
from voiced.core.events import Event, SessionLost, Tick
from voiced.core.questions import Question
from voiced.core.realtime import events as wire
from voiced.core.states import Active, Hearing, Idle, Processing, Rules, State, Step, Talk, is_nobodys, resting
from voiced.core.turning import lost, rest

WRITTEN_S = 5.0
"""How long to wait for the transcript of an answer before the model is asked."""


def answering(state: Active, event: Event, now: float, rules: Rules) -> Step | None:
    """Take what the person answers; ``None``: ``event`` says nothing of that."""
    question = state.talk.question
    if question is None or state.talk.literal or not isinstance(state, Hearing | Processing):
        return None
    match event:
        case wire.SpeechStopped() if isinstance(state, Hearing) and not state.held:
            if state.talk.profile in rules.written:
                # What the model was asked before is not the whole any more.
                question = replace(question, left_to_model=False, unwritten=question.unwritten + 1)
                return Processing(replace(state.talk, question=question), now + WRITTEN_S), ()
            return _left_to_model(state.talk, question, now, rules)
        case wire.InputTranscript() | wire.InputTranscriptFailed() if is_nobodys(state.talk, event.item_id):
            return state, ()
        case wire.InputTranscript(text=text):
            said, unwritten = f"{question.said} {text}".strip(), max(0, question.unwritten - 1)
            return _heard(state, replace(question, said=said, unwritten=unwritten))
        case wire.InputTranscriptFailed() | Tick() if isinstance(state, Processing) and not question.left_to_model:
            is_time = isinstance(event, wire.InputTranscriptFailed) or now >= state.until
            return _left_to_model(state.talk, question, now, rules) if is_time else (state, ())
        case wire.FunctionCall(name=questions.REPORT) if isinstance(state, Processing):
            if (told := questions.reported(question, event.arguments)) is None:
                return lost(state, SessionLost("failed", "the model did not report the answer as it was told"), rules)
            return _answered(state, question, told)
        case wire.ResponseDone() if isinstance(state, Processing) and event.response_id == state.response:
            return lost(state, SessionLost("failed", event.message or "the model did not report the answer"), rules)
        case wire.AudioDelta() | wire.TextDelta():
            return state, ()
        case _:
            return None


def unanswered(before: State, after: State, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """Add the answer to who asked, where the question is over without one."""
    question = None if isinstance(before, Idle) else before.talk.question
    left = None if isinstance(after, Idle) else after.talk.question
    if question is None or (left is not None and left.request == question.request):
        return effects
    told = Refuse(question.request, "the question was cut short", "interrupted")
    for effect in effects:
        match effect:
            case Accept(request) | Refuse(request) if request == question.request:
                return effects
            case EndTurn(outcome="failed", message=str(why)) | CloseSession(failed=True, message=str(why)):
                told = Refuse(question.request, why, "failed")
            case CloseSession(reason="silence"):
                told = Refuse(question.request, "nobody answered", "no_answer")
            case CloseSession(reason="budget"):
                told = Refuse(question.request, "the budget is spent", "unavailable")
    return (*effects, told)


def _heard(state: Hearing | Processing, question: Question) -> Step:
    told = questions.understood(question, question.said)
    if told["answer"] is None and (isinstance(state, Hearing) or question.unwritten):  # there is more
        return replace(state, talk=replace(state.talk, question=question)), ()
    if not question.said:
        return rest(state, "silence")
    return _answered(state, question, told)


def _answered(state: Hearing | Processing, question: Question, told: questions.Told) -> Step:
    talk = state.talk
    return resting(talk), (
        EndTurn(talk.turn, "finished"),
        Accept(question.request, told),
        CloseSession(talk.session, "answered"),
    )


def _left_to_model(talk: Talk, question: Question, now: float, rules: Rules) -> Step:
    talk = replace(talk, question=replace(question, left_to_model=True))
    return Processing(talk, now + rules.answer_s), (Send(wire.CreateResponse(report=question)),)
