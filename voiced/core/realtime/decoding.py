"""Server events: JSON fields read strictly, and the table of events that both dialects read alike."""

import binascii
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from voiced.core.realtime import events as ev
from voiced.errors import ProtocolError

PRIVATE = frozenset({"delta", "transcript", "arguments", "text", "audio"})
"""Fields that hold what people said; errors are logged, and these must not be."""

MOST = 10**9
"""The largest whole number that makes sense anywhere: eleven days in milliseconds. Behind it neither floats nor an
SQLite file hold what numbers come to."""

Reader: TypeAlias = "Callable[[Table], ev.ServerEvent]"


class Table:
    """One JSON object of an event; knows its path, so that a wrong field can be named.

    Every method raises ProtocolError naming event, field and value.
    """

    __slots__ = ("_fields", "event", "path")

    def __init__(self, fields: dict[str, Any], event: str, path: str = "") -> None:
        self._fields = fields
        self.event = event
        self.path = path

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; ``default``, where given, stands for an absent one or ``null``."""
        value = self._fields.get(name)
        if isinstance(value, str):
            return value if value.isascii() else _encodable(value)
        if value is None and default is not None:
            return default
        raise self.wrong(name, "text")

    def optional_text(self, name: str) -> str | None:
        """Return a text, or nothing where it is absent or ``null``."""
        return None if self._fields.get(name) is None else self.text(name)

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number; some servers write one as ``12.0``."""
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "a whole number")
        if abs(value) > MOST:
            raise self.wrong(name, f"a whole number, {MOST} at most")
        return value

    def count(self, name: str) -> int:
        """Return a whole number that is not below 0; 0 where it is absent or ``null``."""
        value = self.whole(name, 0)
        if value < 0:
            raise self.wrong(name, "a whole number, 0 or more")
        return value

    def optional_number(self, name: str) -> float | None:
        """Return a finite number, or nothing where it is absent or ``null``."""
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:  # JSON has no largest integer, float has
                number = math.inf
            if math.isfinite(number):
                return number
        raise self.wrong(name, "a number")

    def table(self, name: str, *, required: bool = True) -> "Table":
        """Return an object; an empty one where it may be absent or ``null`` and is."""
        value = self._fields.get(name)
        if isinstance(value, dict):
            return Table(value, self.event, f"{self.path}{name}.")
        if value is None and not required:
            return Table({}, self.event, f"{self.path}{name}.")
        raise self.wrong(name, "an object")

    def tables(self, name: str) -> list["Table"]:
        """Return a list of objects."""
        value = self._fields.get(name)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(name, "a list of objects")
        return [Table(one, self.event, f"{self.path}{name}[{at}].") for at, one in enumerate(value)]

    def pcm(self, name: str) -> bytes:
        """Return the sound in a base64 field: standard alphabet, padded, whole 16-bit samples."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "base64 text")
        try:
            pcm = binascii.a2b_base64(value, strict_mode=True)
        except ValueError as exc:  # binascii.Error is one; text beyond ASCII raises the base
            raise self.wrong(name, f"base64 ({exc})") from exc
        if len(pcm) % 2:
            raise ProtocolError(f"{self.event}: {self.path}{name} must hold whole 16-bit samples, not {len(pcm)} bytes")
        return pcm

    def raw(self) -> Mapping[str, Any]:
        """Return the fields as they came."""
        return self._fields

    def wrong(self, name: str, wanted: str) -> ProtocolError:
        """Return the error that names a missing or wrong field."""
        if name not in self._fields:
            return ProtocolError(f"{self.event}: {self.path}{name} is missing; it must be {wanted}")
        value = self._fields[name]
        private = name in PRIVATE and isinstance(value, str)
        shown = f"a text of {len(value)} characters" if private else _elided(value)
        return ProtocolError(f"{self.event}: {self.path}{name} must be {wanted}, not {shown}")


def decode(text: str, readers: Mapping[str, Reader]) -> ev.ServerEvent:
    """Turn the text of one WebSocket message into one server event.

    Raises:
        ProtocolError: If the text is not a JSON object with a ``type``, or if an event we know has a wrong field.

    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as exc:  # not JSON; a number of 5,000 digits; brackets without end
        raise ProtocolError(f"A message of the service is not JSON ({len(text)} characters): {exc}") from exc
    if not isinstance(body, dict):
        raise ProtocolError(f"A message of the service must be a JSON object, not {_elided(body)}")
    kind = Table(body, "A message of the service").text("type")
    read = readers.get(kind)
    return ev.Other(kind) if read is None else read(Table(body, kind))


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 (MQTT, files) cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _elided(value: object) -> str:
    """Show a wrong value; not what is in an object or a list, which may be deep, long or private."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = repr(value[:60] if isinstance(value, str) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


STATUSES = ("completed", "cancelled", "incomplete", "failed")


def _session_created(event: Table) -> ev.ServerEvent:
    session = event.table("session")
    return ev.SessionCreated(session.text("id"), session.optional_text("model"), session.optional_number("expires_at"))


def _session_updated(event: Table) -> ev.ServerEvent:
    session = event.table("session", required=False)
    return ev.SessionUpdated(session.optional_text("id"), session.optional_text("model"))


def _input_transcript(event: Table) -> ev.ServerEvent:
    usage = event.table("usage", required=False)
    return ev.InputTranscript(event.text("item_id"), event.text("transcript"), usage.raw())


def _input_transcript_failed(event: Table) -> ev.ServerEvent:
    error = event.table("error", required=False)
    return ev.InputTranscriptFailed(event.text("item_id"), error.text("message", "no reason given"))


def _item_added(event: Table) -> ev.ServerEvent:
    item = event.table("item")
    return ev.ItemAdded(event.text("response_id"), item.text("id"), item.text("type"))


def _item_done(event: Table) -> ev.ServerEvent:
    """Read tool calls here: preview names the function in no other event that holds the arguments."""
    item = event.table("item")
    if item.text("type") != "function_call" or item.text("status", "completed") != "completed":
        return ev.Other(event.event)  # an incomplete call has arguments cut anywhere
    return ev.FunctionCall(
        response_id=event.text("response_id"),
        item_id=item.text("id"),
        call_id=item.text("call_id"),
        name=item.text("name"),
        arguments=item.text("arguments"),
    )


def _audio(event: Table) -> ev.ServerEvent:
    return ev.AudioDelta(
        event.text("response_id"), event.text("item_id"), event.whole("content_index"), event.pcm("delta")
    )


def _text(event: Table, *, spoken: bool) -> ev.ServerEvent:
    return ev.TextDelta(
        response_id=event.text("response_id"),
        item_id=event.text("item_id"),
        content_index=event.whole("content_index"),
        text=event.text("delta"),
        spoken=spoken,
    )


def _response_done(event: Table) -> ev.ServerEvent:
    response = event.table("response")
    status = response.text("status")
    if status not in STATUSES:
        raise response.wrong("status", "one of " + ", ".join(STATUSES))
    details = response.table("status_details", required=False)
    error = details.table("error", required=False)
    reason = details.optional_text("reason") or error.optional_text("code") or error.optional_text("type")
    return ev.ResponseDone(
        response_id=response.text("id"),
        status=status,  # type: ignore[arg-type]  # narrowed by the test above, which mypy cannot see
        reason=reason,
        message=error.optional_text("message"),
        usage=_usage(response.table("usage", required=False)),
    )


def _usage(usage: Table) -> ev.Usage:
    came_in = usage.table("input_token_details", required=False)
    cached = came_in.table("cached_tokens_details", required=False)
    went_out = usage.table("output_token_details", required=False)
    return ev.Usage(
        total=usage.count("total_tokens"),
        input=usage.count("input_tokens"),
        output=usage.count("output_tokens"),
        input_text=came_in.count("text_tokens"),
        input_audio=came_in.count("audio_tokens"),
        input_image=came_in.count("image_tokens"),
        cached=came_in.count("cached_tokens"),
        cached_text=cached.count("text_tokens"),
        cached_audio=cached.count("audio_tokens"),
        cached_image=cached.count("image_tokens"),
        output_text=went_out.count("text_tokens"),
        output_audio=went_out.count("audio_tokens"),
    )


def _rate_limits(event: Table) -> ev.ServerEvent:
    resets = ((limit.text("name"), limit.optional_number("reset_seconds")) for limit in event.tables("rate_limits"))
    return ev.RateLimits({name: reset_s for name, reset_s in resets if reset_s is not None})


def _problem(event: Table) -> ev.ServerEvent:
    error = event.table("error")
    return ev.ServiceProblem(
        type=error.text("type", "unknown"),
        code=error.optional_text("code"),
        message=error.text("message", "no reason given"),
        param=error.optional_text("param"),
        event_id=error.optional_text("event_id"),
    )


def readers(*, audio: str, transcript: str, text: str) -> dict[str, Reader]:
    """Return the table of a dialect; the arguments are its names for the deltas of an answer."""
    return {
        audio: _audio,
        transcript: lambda event: _text(event, spoken=True),
        text: lambda event: _text(event, spoken=False),
        "session.created": _session_created,
        "session.updated": _session_updated,
        "input_audio_buffer.speech_started": lambda event: ev.SpeechStarted(
            event.text("item_id"), event.whole("audio_start_ms")
        ),
        "input_audio_buffer.speech_stopped": lambda event: ev.SpeechStopped(
            event.text("item_id"), event.whole("audio_end_ms")
        ),
        "input_audio_buffer.committed": lambda event: ev.InputCommitted(event.text("item_id")),
        "conversation.item.input_audio_transcription.delta": lambda event: ev.InputTranscriptDelta(
            event.text("item_id"), event.text("delta", "")
        ),
        "conversation.item.input_audio_transcription.completed": _input_transcript,
        "conversation.item.input_audio_transcription.failed": _input_transcript_failed,
        "response.created": lambda event: ev.ResponseStarted(event.table("response").text("id")),
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.done": _response_done,
        "rate_limits.updated": _rate_limits,
        "error": _problem,
    }
