"""One session: takes what the client sends, one event after the other, and does what it says.

Answers and transcripts are tasks beside the reader. A refused event changes nothing, and the session goes on.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed

from voiced.simulator import schema
from voiced.simulator.admission import Admission
from voiced.simulator.checks import Wrong, decoded
from voiced.simulator.dialect import Json
from voiced.simulator.items import item_from_wire
from voiced.simulator.line import Line
from voiced.simulator.listening import Listening
from voiced.simulator.recording import ClientFrame, Recording
from voiced.simulator.replies import Replies
from voiced.simulator.scenario import Connection, Expire, Refusal, Scenario
from voiced.simulator.script import Script
from voiced.simulator.settings import Settings
from voiced.simulator.socket import Socket
from voiced.simulator.speech import Voice


@dataclass(frozen=True, slots=True)
class Stage:
    """What all sessions of a simulator share."""

    scenario: Scenario
    script: Script
    voice: Voice


class Session:
    """A conversation over one WebSocket."""

    def __init__(
        self,
        socket: Socket,
        admission: Admission,
        connection: Connection,
        recording: Recording,
        stage: Stage,
    ) -> None:
        """Prepare a session; nothing is sent before :meth:`run`."""
        scenario = stage.scenario
        self._socket = socket
        self._connection = connection
        self._scenario = scenario
        self._recording = recording
        # the same names in every run, other names in every session
        names = random.Random(f"{scenario.seed}/{recording.number}")  # noqa: S311 - names, no secrets
        self._line = Line(socket, admission.dialect, recording, scenario, names)
        by_name = admission.model if admission.provider in {"openai", "voice-live"} else None
        model = by_name or (scenario.model if admission.dialect.is_ga else scenario.preview_model)
        expires_at = int(time.time() + scenario.session_minutes * 60)
        self._settings = Settings(admission.dialect, self._line.new_id("sess"), model, expires_at)
        self._is_ending = False
        self._line.sent = self._sent
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._replies = Replies(self._line, self._settings, stage.script, stage.voice, self._spawn)
        self._listening = Listening(self._line, self._settings, self._replies, self._spawn)
        self._doing: Mapping[str, Callable[[Json], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
            "output_audio_buffer.clear": self._clear_output,
        }

    async def run(self) -> None:
        """Greet, then do what the client says until the connection is over."""
        try:
            async with self._group:
                with suppress(ConnectionClosed):
                    await self._greet()
                    while True:
                        await self._take(await self._socket.recv())
                for task in self._tasks:
                    task.cancel()
        finally:
            self._recording.note_close(self._socket.close_code or 1006, self._socket.close_reason or "")

    async def refuse(self, refusal: Refusal) -> None:
        """Say why not, and close, as OpenAI's service does."""
        wrong = Wrong(refusal.code, refusal.message)
        reason = ".".join(part for part in (wrong.kind, refusal.code) if part)
        with suppress(ConnectionClosed):
            await self._line.refuse(wrong, None)
            await self._socket.close(refusal.close_code or 3000, reason)
        self._recording.note_close(self._socket.close_code or 1006, self._socket.close_reason or "")

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            with suppress(ConnectionClosed):
                await doing

        task = self._group.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: doing.close())  # one that is cancelled before it began never awaits it

    async def _greet(self) -> None:
        await asyncio.sleep(self._connection.created_delay_ms / 1000)
        await self._line.send("session.created", session=self._settings.wire())
        if self._line.dialect.greets_conversation:
            conversation = {"id": self._line.conversation.id, "object": "realtime.conversation"}
            await self._line.send("conversation.created", conversation=conversation)
        minutes_ms = int(self._scenario.session_minutes * 60_000)
        self._spawn(self._end_later(Expire(kind="expire", after_ms=minutes_ms)))
        if self._connection.ends is not None and not self._connection.ends_at:
            self._spawn(self._end_later(self._connection.ends))

    def _sent(self, name: str) -> None:
        """End the connection after the event that the scenario names."""
        if self._connection.ends is not None and name == self._connection.ends_at and not self._is_ending:
            self._is_ending = True
            self._spawn(self._end_later(self._connection.ends))

    async def _end_later(self, how: Any) -> None:
        await asyncio.sleep(how.after_ms / 1000)
        await self._line.end(how)

    async def _take(self, message: str | bytes) -> None:
        self._recording.note_client(ClientFrame(asyncio.get_running_loop().time(), message))
        event: Any = None
        try:
            event = _parsed(message)
            schema.check_event(self._line.dialect.schema, event)
            await self._doing[event["type"]](event)
        except Wrong as wrong:
            name = event.get("event_id") if isinstance(event, dict) else None
            await self._line.refuse(wrong, name if isinstance(name, str) else None)

    # --- what clients ask for -------------------------------------------------------------------------------------

    async def _update(self, event: Json) -> None:
        change = event["session"]
        try:
            fixed = self._line.spoke or self._connection.voice_fixed
            self._settings.update(change, voice_fixed=fixed, refused=self._connection.refuse_settings)
        except Wrong:
            if not self._connection.unnamed:
                raise
            await self._line.refuse(Wrong("", "The session asks for what this model does not support."), None)
            return
        if "instructions" in change or "tools" in change:
            self._replies.forget_cache()
        self._listening.configure()
        await asyncio.sleep(self._connection.updated_delay_ms / 1000)
        await self._line.send("session.updated", session=self._settings.wire())

    async def _append(self, event: Json) -> None:
        await self._listening.append(decoded(event["audio"], "audio"))

    async def _commit(self, _event: Json) -> None:
        await self._listening.commit()

    async def _clear(self, _event: Json) -> None:
        await self._listening.clear()

    async def _create_item(self, event: Json) -> None:
        item = item_from_wire(event["item"], self._line.new_id("item"))
        called = self._line.conversation.has_call(item.call_id)
        if item.kind == "function_call_output" and not called and not self._line.dialect.is_ga:
            raise Wrong(
                "invalid_tool_call_id", f"Tool call ID '{item.call_id}' not found in conversation.", "item.call_id"
            )
        self._line.conversation.insert(item, event.get("previous_item_id"))
        await self._line.tell_item(item, done=False)
        await self._line.tell_item(item, done=True)

    async def _retrieve_item(self, event: Json) -> None:
        item = self._line.conversation.get(event["item_id"], "retrieve")
        await self._line.send("conversation.item.retrieved", item=self._line.dialect.item(item, sound=True))

    async def _truncate_item(self, event: Json) -> None:
        item_id, index, end_ms = event["item_id"], event["content_index"], event["audio_end_ms"]
        self._line.conversation.truncate(item_id, index, end_ms)
        await self._line.send("conversation.item.truncated", item_id=item_id, content_index=index, audio_end_ms=end_ms)

    async def _delete_item(self, event: Json) -> None:
        self._line.conversation.delete(event["item_id"])
        self._replies.forget_cache()
        await self._line.send("conversation.item.deleted", item_id=event["item_id"])

    async def _create_response(self, event: Json) -> None:
        await self._replies.create(event.get("response") or {})

    async def _clear_output(self, _event: Json) -> None:
        """Say so; over a WebSocket the client holds the sound."""
        await self._line.send("output_audio_buffer.cleared")

    async def _cancel_response(self, event: Json) -> None:
        await self._replies.cancel(event.get("response_id"))


def _parsed(message: str | bytes) -> Any:
    if isinstance(message, bytes):
        raise Wrong("invalid_event", "Binary messages are not supported; send JSON text.")
    try:
        return json.loads(message)
    except ValueError:
        raise Wrong("invalid_json", "The message is not valid JSON.") from None
