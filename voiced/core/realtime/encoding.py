"""Client events: the JSON that both dialects write alike; the ``session`` object is each dialect's own."""

import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from voiced.core import questions
from voiced.core.realtime import events as ev
from voiced.core.realtime.settings import AzureVad, LocalVad, SemanticVad, SessionSettings

Json: TypeAlias = dict[str, Any]

READ_ALOUD = "Read the following text aloud, word for word, exactly as it stands. Say nothing before or after it.\n\n"
"""What precedes a text that must not be changed."""


def encode(
    event: ev.ClientEvent,
    *,
    session: Callable[[SessionSettings], Json],
    assistant_text: str,
) -> str:
    """Turn one client event into the text of one WebSocket message.

    Args:
        event: What is to be said.
        session: Writes the dialect's ``session`` object.
        assistant_text: The dialect's content type of text that the assistant said.

    Raises:
        ValueError: If sound does not consist of whole samples; every later sample would be read shifted by a byte.

    """
    match event:
        case ev.AppendAudio(pcm):  # fifty a second: the only event not built as an object
            if len(pcm) % 2:
                raise ValueError(f"AppendAudio must hold whole 16-bit samples, not {len(pcm)} bytes")
            audio = binascii.b2a_base64(pcm, newline=False).decode("ascii")
            return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'
        case ev.UpdateSession(settings, event_id):
            named = {} if event_id is None else {"event_id": event_id}
            return _json({"type": "session.update", **named, "session": session(settings)})
        case ev.UpdateTurns(turns):
            return _json(
                {"type": "session.update", "session": _turns_alone(session(SessionSettings(turn_detection=turns)))}
            )
        case ev.CommitAudio():
            return _json({"type": "input_audio_buffer.commit"})
        case ev.ClearAudio():
            return _json({"type": "input_audio_buffer.clear"})
        case ev.CreateMessage(role, text):
            content = {"type": assistant_text if role == "assistant" else "input_text", "text": text}
            item = {"type": "message", "role": role, "content": [content]}
            return _json({"type": "conversation.item.create", "item": item})
        case ev.CreateToolOutput(call_id, output):
            item = {"type": "function_call_output", "call_id": call_id, "output": output}
            return _json({"type": "conversation.item.create", "item": item})
        case ev.CreateResponse():
            return _json({"type": "response.create", **_response(event)})
        case ev.CancelResponse(response_id):
            named = {} if response_id is None else {"response_id": response_id}
            return _json({"type": "response.cancel", **named})
        case ev.TruncateItem(item_id, index, end):
            cut = {"item_id": item_id, "content_index": index, "audio_end_ms": end}
            return _json({"type": "conversation.item.truncate", **cut})
        case ev.DeleteItem(item_id):
            return _json({"type": "conversation.item.delete", "item_id": item_id})


def turn_detection(settings: SessionSettings) -> Json | None:
    """Return the turn detection object with every value in it, but for what one dialect alone has."""
    match settings.turn_detection:
        case None | LocalVad():
            return None
        case SemanticVad() as vad:
            return {
                "type": "semantic_vad",
                "eagerness": vad.eagerness,
                "create_response": vad.create_response,
                "interrupt_response": vad.interrupt_response,
            }
        case vad:
            return {
                "type": vad.kind if isinstance(vad, AzureVad) else "server_vad",
                "threshold": vad.threshold,
                "prefix_padding_ms": vad.prefix_padding_ms,
                "silence_duration_ms": vad.silence_duration_ms,
                "create_response": vad.create_response,
                "interrupt_response": vad.interrupt_response,
            }


def tools(settings: SessionSettings) -> Json:
    """Return the key that offers tools, where there are any; the model chooses, unless the profile says otherwise."""
    return {"tools": [dict(tool) for tool in settings.tools]} if settings.tools else {}


def present(fields: Json) -> Json:
    """Return the fields that are not ``None``: an absent key keeps what the service has."""
    return {name: value for name, value in fields.items() if value is not None}


def over(further: Mapping[str, Any], ours: Json) -> Json:
    """Return ``ours`` laid over what else was asked for: objects key by key, and what is ours wins."""
    both = dict(further)
    for name, value in ours.items():
        below = both.get(name)
        both[name] = over(below, value) if isinstance(below, Mapping) and isinstance(value, dict) else value
    return both


def _response(event: ev.CreateResponse) -> Json:
    if event.report is not None:
        # "required" and one tool, because the preview dialect knows no choice by name
        return {
            "response": {
                "instructions": questions.instructions(event.report),
                "tools": [dict(questions.tool(event.report))],
                "tool_choice": "required",
            }
        }
    if event.literal is not None:
        # Out of band, with an empty context: the model has nothing to answer, so it reads.
        instructions = READ_ALOUD + event.literal
        return {
            "response": {
                "conversation": "none",
                "input": [],
                "instructions": instructions,
                "tool_choice": "none",
            }
        }
    return {} if event.instructions is None else {"response": {"instructions": event.instructions}}


def _turns_alone(session: Json) -> Json:
    """Return a ``session`` object with turn detection and nothing else: the rest stays as it is."""
    if "audio" in session:
        return {
            "type": session["type"],
            "audio": {"input": {"turn_detection": session["audio"]["input"]["turn_detection"]}},
        }
    return {"turn_detection": session["turn_detection"]}


def _json(body: Json) -> str:
    return json.dumps(body, separators=(",", ":"), allow_nan=False)
