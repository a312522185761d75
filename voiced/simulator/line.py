"""The outgoing side of a session: events under their names, and all the ways to hang up."""

import asyncio
import json
import random
import string
from collections.abc import Callable
from typing import Any, Literal

from voiced.simulator.checks import Wrong
from voiced.simulator.conversation import Conversation, Item, Part
from voiced.simulator.dialect import Dialect, Json, Response
from voiced.simulator.recording import Recording, ServerFrame
from voiced.simulator.scenario import Abort, Close, End, Expire, Scenario, Vanish
from voiced.simulator.socket import Socket

_LETTERS = string.ascii_letters + string.digits
_OBFUSCATED = ("response.output_text.delta", "response.output_audio_transcript.delta")


class Line:
    """Sends a session's events, records them, and names things."""

    def __init__(
        self,
        socket: Socket,
        dialect: Dialect,
        recording: Recording,
        scenario: Scenario,
        names: random.Random,
    ) -> None:
        self.dialect = dialect
        self.scenario = scenario
        self.recording = recording
        self.sent: Callable[[str], None] = lambda _: None
        """Told the name of each event that was sent."""
        self.spoke = False
        """Whether the session has sent sound, which fixes its voice."""
        self._sounding: dict[str, float] = {}
        self._socket = socket
        self._names = names
        self.conversation = recording.memory = Conversation(self.new_id("conv"))

    def new_id(self, prefix: str) -> str:
        """Return a name nobody has, at most 32 letters long."""
        return f"{prefix}_{''.join(self._names.choices(_LETTERS, k=21))}"

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event by its GA name; one that the dialect does not have is left out."""
        name = self.dialect.event_name(kind)
        if name is None:
            return
        for absent in self.dialect.absent.get(kind, ()):
            del fields[absent]
        if self.dialect.is_ga and kind in _OBFUSCATED:
            fields["obfuscation"] = "".join(self._names.choices(_LETTERS, k=9))
        if (delay_ms := self.scenario.delays_ms.get(name)) is not None:
            await asyncio.sleep(delay_ms / 1000)
        if kind == "response.output_audio.delta":
            self.spoke = True
            self._sounding.setdefault(fields["item_id"], asyncio.get_running_loop().time())
        event = {"type": name, "event_id": self.new_id("event"), **fields}
        self.recording.note_server(ServerFrame(asyncio.get_running_loop().time(), event))
        await self._socket.send(json.dumps(event))
        self.sent(name)

    async def refuse(self, wrong: Wrong, event_id: str | None) -> None:
        """Answer a client event with an ``error``."""
        error = {
            "type": wrong.kind,
            "code": wrong.code or None,
            "message": wrong.message,
            "param": wrong.param,
            "event_id": None if self.scenario.null_event_ids else event_id,
        }
        await self.send("error", error=error)

    async def tell_item(self, item: Item, *, done: bool) -> None:
        """Send ``conversation.item.added`` or ``.done``, naming the item after which it stands."""
        kind = "conversation.item.done" if done else "conversation.item.added"
        await self.send(kind, previous_item_id=self.conversation.before(item.id), item=self.rendered(item))

    async def forget_unheard(self) -> None:
        """Cut the newest answer to what may have been heard of it, as Voice Live does: as if played when sent."""
        if not self._sounding:
            return
        item_id, began = next(reversed(self._sounding.items()))
        item = self.conversation.find(item_id)
        heard_ms = int((asyncio.get_running_loop().time() - began) * 1000)
        if item is not None and heard_ms < sum(part.milliseconds for part in item.parts):
            self.conversation.truncate(item_id, 0, heard_ms)
            await self.send("conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=heard_ms)

    async def tell_limits(self, when: Literal["start", "after"]) -> None:
        """Send ``rate_limits.updated`` if this is when the dialect does."""
        if when != self.dialect.rate_limits:
            return
        tokens = {"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.5}
        requests = {"name": "requests", "limit": 1_000, "remaining": 999, "reset_seconds": 0.06}
        await self.send("rate_limits.updated", rate_limits=[tokens] if self.dialect.is_ga else [requests, tokens])

    async def tell_unknown(self) -> None:
        """Send an event that nobody knows, if the scenario wants it."""
        if self.scenario.unknown_events:
            await self.send("response.hologram.delta", hologram={"angle": 0.5})

    async def end(self, how: End) -> None:
        """End the connection."""
        match how:
            case Abort():
                self._socket.transport.abort()
            case Close():
                await self._socket.close(how.code, how.reason)
            case Vanish():
                self._socket.vanish()
            case Expire():
                message = f"Your session hit the maximum duration of {self.scenario.session_minutes:g} minutes."
                expired = Wrong("session_expired", message)
                await self.refuse(expired, None)
                await self._socket.close(1001, message)

    def remember(self, item: Item) -> None:
        """Put an item at the end of the conversation."""
        self.conversation.insert(item)

    def rendered(self, thing: Item | Part | Response) -> Json:
        """Return a value as the dialect writes it."""
        match thing:
            case Item():
                return self.dialect.item(thing)
            case Part():
                return self.dialect.part(thing)
            case Response():
                return self.dialect.response(thing)
