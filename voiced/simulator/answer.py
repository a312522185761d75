"""One answer, event by event: the order, the bursts of sound, and all the ways it can end.

Source: recorded GA sessions of September 2026 for order and sizes.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, assert_never

from voiced.simulator import usage
from voiced.simulator.conversation import Item, Part
from voiced.simulator.dialect import Json, Response
from voiced.simulator.scenario import (
    Abort,
    AnswerFault,
    Close,
    End,
    ErrorEvent,
    Expire,
    Failed,
    Incomplete,
    Silence,
    Stall,
    ToolCall,
    Vanish,
)
from voiced.simulator.shapes import RATE

_BURST_MS = (100, 150, 250, 400)
_LARGEST_MS = 500
_WORD_MS = 300
"""How long a word counts where nothing is spoken."""


class Wire(Protocol):
    """What an answer needs of its session."""

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event by its GA name."""

    async def tell_item(self, item: Item, *, done: bool) -> None:
        """Send ``conversation.item.added`` or ``.done``."""

    async def end(self, how: End) -> None:
        """End the connection."""

    def rendered(self, thing: Item | Part | Response) -> Json:
        """Return a value as the session's dialect writes it."""

    def remember(self, item: Item) -> None:
        """Put an item of the answer into the conversation."""

    def new_id(self, prefix: str) -> str:
        """Return a name nobody has."""

    async def tell_limits(self, when: Literal["start", "after"]) -> None:
        """Send ``rate_limits.updated`` if this is when the dialect does."""

    async def tell_unknown(self) -> None:
        """Send an event that nobody knows, if the scenario wants it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an answer will be: a message if it has ``text``, more of them, then the tool calls."""

    text: str
    pcm: bytes
    more: tuple[tuple[str, bytes], ...] = ()
    tools: tuple[ToolCall, ...] = ()
    think_s: float = 0.25
    pace: float = 10.0
    fault: AnswerFault | None = None
    beside: tuple[ErrorEvent, ...] = ()


class _Cut(Exception):  # noqa: N818 - a way to end, no error
    def __init__(self, status: Literal["cancelled", "incomplete"], reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Answer:
    """Generates one response. :meth:`run` is a task; :meth:`cancel` may come at any time."""

    def __init__(self, wire: Wire, response: Response, plan: Plan, read: usage.Usage) -> None:
        """Prepare; ``read`` is what the model reads for it."""
        self.response = response
        self.active = True
        self.sound_ms = 0
        self._wire = wire
        self._plan = plan
        self._read = read
        self._written = usage.Tokens()
        self._cancelled = asyncio.Event()
        self._reason = ""
        self._finished = asyncio.Event()

    async def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Stop generating, and wait until ``response.done`` is sent."""
        if not self._cancelled.is_set():
            self._reason = reason
            self._cancelled.set()
        if not (isinstance(self._plan.fault, Stall) and self._plan.fault.deaf):
            await self._finished.wait()

    async def run(self) -> None:
        """Send the whole answer, from ``response.created`` to ``response.done`` and the limits."""
        try:
            await self._run()
        finally:
            self.active = False
            self._finished.set()

    async def _run(self) -> None:
        fault = self._plan.fault
        if isinstance(fault, Silence):
            return
        if isinstance(fault, ErrorEvent):
            await self._tell(fault)
            return
        if not (isinstance(fault, Failed) and not fault.created):
            await self._wire.send("response.created", response=self._wire.rendered(self.response))
            await self._wire.tell_limits("start")
        for error in self._plan.beside:
            await self._tell(error)
        try:
            await self._pause(self._plan.think_s)
            await self._generate()
            self.response.status = "completed"
        except _Cut as cut:
            self.response.status = cut.status
            self.response.reason = cut.reason
        self.response.usage = usage.Usage(self._read.read, self._read.cached, self._written)
        if isinstance(fault, Failed):
            self.response.status = "failed"
            self.response.error = {"type": fault.type, "code": fault.code, "message": fault.message}
            self.response.usage = usage.Usage()
        # a client may ask for the next answer as soon as it reads this
        self.active = False
        await self._wire.send("response.done", response=self._wire.rendered(self.response))
        self._finished.set()
        await self._wire.tell_limits("after")

    async def _tell(self, fault: ErrorEvent) -> None:
        error = {"type": fault.type, "code": fault.code, "message": fault.message, "param": None, "event_id": None}
        await self._wire.send("error", error=error)

    async def _generate(self) -> None:
        if isinstance(self._plan.fault, Failed):
            return
        if self._plan.text:
            for text, pcm in ((self._plan.text, self._plan.pcm), *self._plan.more):
                await self._message(text, pcm)
            await self._strike_at(None)
        elif self._plan.fault is not None:
            await self._strike(self._plan.fault)
        for call in self._plan.tools:
            await self._call(call)

    # --- messages -------------------------------------------------------------------------------------------------

    async def _message(self, text: str, pcm: bytes) -> None:
        item = Item(self._wire.new_id("item"), "message", "assistant", "in_progress")
        await self._open(item)
        part = Part("audio" if self.response.speaks else "text")
        item.parts.append(part)
        await self._part("response.content_part.added", item, part=self._wire.rendered(part))
        try:
            if self.response.speaks:
                await self._speak(item, part, text, pcm)
            else:
                await self._write(item, part, text)
        except _Cut:
            item.status = "incomplete"
            await self._close_message(item, part)
            raise
        item.status = "completed"
        await self._close_message(item, part)

    async def _speak(self, item: Item, part: Part, text: str, pcm: bytes) -> None:
        part.transcript = ""
        words = _words(text)
        sent = 0
        before_ms, before = self.sound_ms, self._written
        for begin, end in _bursts(len(pcm)):
            # the transcript runs ahead of the sound
            due = len(words) if end == len(pcm) else min(len(words), len(words) * end // len(pcm) + 3)
            for word in words[sent:due]:
                part.transcript += word
                await self._delta("response.output_audio_transcript.delta", item, word)
            sent = max(sent, due)
            await self._strike_at(self.sound_ms)
            part.pcm += pcm[begin:end]
            self.sound_ms = before_ms + part.milliseconds
            await self._part("response.output_audio.delta", item, delta=base64.b64encode(pcm[begin:end]).decode())
            self._count(part, before)
            await self._wire.tell_unknown()
            if end < len(pcm):
                await self._pause((end - begin) / 2 / RATE / self._plan.pace if self._plan.pace else 0)

    async def _write(self, item: Item, part: Part, text: str) -> None:
        before = self._written
        for index, word in enumerate(_words(text)):
            await self._strike_at(index * _WORD_MS)
            part.text += word
            await self._delta("response.output_text.delta", item, word)
            self._count(part, before)
            await self._pause(_WORD_MS / 1000 / self._plan.pace if self._plan.pace else 0)

    async def _close_message(self, item: Item, part: Part) -> None:
        if part.kind == "audio":
            await self._part("response.output_audio.done", item)
            await self._part("response.output_audio_transcript.done", item, transcript=part.transcript or "")
        else:
            await self._part("response.output_text.done", item, text=part.text)
        await self._part("response.content_part.done", item, part=self._wire.rendered(part))
        await self._shut(item)

    def _count(self, part: Part, before: usage.Tokens) -> None:
        """Count what is written so far, ``before`` this part and in it; stop where the limit is reached."""
        text = part.text if part.kind == "text" else part.transcript or ""
        self._written = before + usage.Tokens(usage.text_tokens(text), usage.spoken_tokens(part.milliseconds))
        limit = self.response.max_output_tokens
        if isinstance(limit, int) and self._written.total > limit:
            raise _Cut("incomplete", "max_output_tokens")

    # --- tools ----------------------------------------------------------------------------------------------------

    async def _call(self, call: ToolCall) -> None:
        item = Item(
            self._wire.new_id("item"),
            "function_call",
            "assistant",
            "in_progress",
            call_id=self._wire.new_id("call"),
            name=call.name,
        )
        await self._open(item)
        text = json.dumps(call.arguments)
        place = {**self._place(item), "call_id": item.call_id}
        try:
            for begin in range(0, len(text), 8):
                item.arguments += text[begin : begin + 8]
                await self._wire.send("response.function_call_arguments.delta", **place, delta=text[begin : begin + 8])
                await self._pause(0)
        except _Cut:
            item.status = "incomplete"
            await self._close_call(item, place)
            raise
        item.status = "completed"
        self._written += usage.Tokens(usage.text_tokens(call.name + text))
        await self._close_call(item, place)

    async def _close_call(self, item: Item, place: Json) -> None:
        await self._wire.send(
            "response.function_call_arguments.done", **place, name=item.name, arguments=item.arguments
        )
        await self._shut(item)

    # --- common ---------------------------------------------------------------------------------------------------

    async def _open(self, item: Item) -> None:
        self.response.items.append(item)
        await self._wire.send("response.output_item.added", **self._output(item), item=self._wire.rendered(item))
        if self.response.conversation_id is not None:
            self._wire.remember(item)
            await self._wire.tell_item(item, done=False)

    async def _shut(self, item: Item) -> None:
        if self.response.conversation_id is not None:
            await self._wire.tell_item(item, done=True)
        await self._wire.send("response.output_item.done", **self._output(item), item=self._wire.rendered(item))

    def _output(self, item: Item) -> Json:
        return {"response_id": self.response.id, "output_index": self.response.items.index(item)}

    def _place(self, item: Item) -> Json:
        return {**self._output(item), "item_id": item.id}

    async def _part(self, kind: str, item: Item, **fields: Any) -> None:
        await self._wire.send(kind, **self._place(item), content_index=0, **fields)

    async def _delta(self, kind: str, item: Item, text: str) -> None:
        await self._part(kind, item, delta=text)

    async def _pause(self, seconds: float) -> None:
        """Wait, or stop where somebody cancels."""
        try:
            async with asyncio.timeout(seconds):
                await self._cancelled.wait()
        except TimeoutError:
            return
        raise _Cut("cancelled", self._reason)

    async def _strike_at(self, position_ms: int | None) -> None:
        """Let the fault happen once the sound reaches it; ``None`` is the end of the sound."""
        fault = self._plan.fault
        if fault is None or isinstance(fault, Failed | ErrorEvent | Silence):
            return
        if position_ms is None or position_ms >= fault.after_ms:
            await self._strike(fault)

    async def _strike(self, fault: AnswerFault) -> None:
        match fault:
            case Incomplete():
                raise _Cut("incomplete", fault.reason)
            case Abort() | Close() | Expire() | Vanish():
                await self._wire.end(fault)
                await self._cancelled.wait()
            case Stall():
                await self._cancelled.wait()
                if fault.deaf:
                    await asyncio.Event().wait()
            case Failed() | ErrorEvent() | Silence():
                return
            case _:
                assert_never(fault)
        raise _Cut("cancelled", self._reason)


def _words(text: str) -> list[str]:
    """Return the words of a text, each but the first with the space before it."""
    return [word if index == 0 else f" {word}" for index, word in enumerate(text.split())]


def _bursts(size: int) -> Iterator[tuple[int, int]]:
    """Yield first and last byte of each piece of sound, in the sizes recorded: 100, 150, 250 ... 500 ms."""
    begin = 0
    index = 0
    while begin < size:
        length_ms = _BURST_MS[index] if index < len(_BURST_MS) else _LARGEST_MS
        end = min(size, begin + length_ms * RATE // 1000 * 2)
        yield begin, end
        begin, index = end, index + 1
