"""A question put to somebody in the room, and how the model is asked what they answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from voiced.core.sentences import Answer, match

REPORT = "report_answer"
"""The tool by which the model says what was answered."""
_NONE = "(none)"

Told: TypeAlias = Mapping[str, object]
"""What is told of an answer: its id, if it is one of those expected, the whole text, and what stood for the names."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked; nobody has answered yet."""

    request: int
    """Who asked is told under this number."""
    text: str
    answers: tuple[Answer, ...] = ()
    """What is expected; none: anything is an answer."""
    wait_s: float | None = None
    """Seconds to wait for the first word; ``None``: as after a wake word."""
    said: str = ""
    """What was said so far."""
    unwritten: int = 0
    """Pieces of what was said whose transcript is to come."""
    left_to_model: bool = False
    """Whether the model was asked what the person said."""


def understood(question: Question, text: str) -> Told:
    """Return what is told of an answer: its ``id`` as ``answer``, ``None`` if it is none of those expected."""
    found = match(text, question.answers)
    return {"answer": found and found.id, "text": text, "slots": dict(found.slots) if found else {}}


def reported(question: Question, arguments: str) -> Told | None:
    """Return what is told of an answer that the model heard; ``None``: it called its tool wrongly."""
    try:
        said = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("text"), str):
        return None
    told = understood(question, said["text"])
    if told["answer"] is None and any(said.get("answer") == answer.id for answer in question.answers):
        return {**told, "answer": said["answer"]}
    return told


def instructions(question: Question) -> str:
    """Return what the model is to do."""
    return (
        f"The person was asked: {json.dumps(question.text, ensure_ascii=False)}. They have just answered by voice. "
        f"Call {REPORT} with what they said. Say nothing yourself."
    )


def tool(question: Question) -> Mapping[str, Any]:
    """Return the tool with which it does so."""
    properties: dict[str, Any] = {"text": {"type": "string", "description": "What the person said, word for word."}}
    if question.answers:
        meanings = "; ".join(f"{answer.id}: {' / '.join(answer.sentences)}" for answer in question.answers)
        properties["answer"] = {
            "type": "string",
            "enum": [*(answer.id for answer in question.answers), _NONE],
            "description": f"Which answer that means. {meanings}; {_NONE}: none of them.",
        }
    return {
        "type": "function",
        "name": REPORT,
        "description": "Reports what the person answered.",
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }
