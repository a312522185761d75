"""What a session remembers: items in their order, and the sound and text in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from voiced.simulator.checks import Wrong
from voiced.simulator.shapes import RATE

Status = Literal["in_progress", "completed", "incomplete"]


@dataclass(slots=True)
class Part:
    """A piece of a message: written text, or sound with its transcript.

    ``transcript`` is ``None`` while nobody wrote it down, and after a truncation.
    """

    kind: Literal["text", "audio"]
    text: str = ""
    transcript: str | None = None
    pcm: bytes = b""
    rate: int = RATE

    @property
    def milliseconds(self) -> int:
        """How long the sound lasts."""
        return len(self.pcm) // 2 * 1000 // self.rate


@dataclass(slots=True)
class Item:
    """A message, a tool call or its result."""

    id: str
    kind: Literal["message", "function_call", "function_call_output"]
    role: Literal["system", "user", "assistant"] = "user"
    status: Status = "completed"
    parts: list[Part] = field(default_factory=list)
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str = ""

    @property
    def text(self) -> str:
        """All that is written in it, or said in it as far as transcribed."""
        return " ".join(part.text or part.transcript or "" for part in self.parts).strip()


class Conversation:
    """The items of a session, oldest first."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def find(self, item_id: str) -> Item | None:
        """Return the item of that name, if it is there."""
        return next((item for item in self._items if item.id == item_id), None)

    def before(self, item_id: str) -> str | None:
        """Return the name of the item before another; ``None`` for the first, and for one no longer there."""
        known = [item.id for item in self._items]
        place = known.index(item_id) if item_id in known else 0
        return known[place - 1] if place else None

    def get(self, item_id: str, doing: str) -> Item:
        """Return an item that a client named.

        Raises:
            Wrong: If there is none; ``doing`` is ``retrieve``, ``truncate`` or ``delete``.

        """
        item = self.find(item_id)
        if item is None:
            raise Wrong(
                f"item_{doing}_invalid_item_id",
                f"Error {doing.removesuffix('e')}ing item: the item with id '{item_id}' does not exist.",
                "item_id",
            )
        return item

    def insert(self, item: Item, after: str | None = None) -> str | None:
        """Put an item at the end, or behind another (``root``: at the start); return what it stands behind.

        Raises:
            Wrong: If the name is taken, or there is no item ``after``.

        """
        if self.find(item.id) is not None:
            raise Wrong(
                "item_create_invalid_item_id",
                f"Error adding item: an item with id '{item.id}' already exists.",
                "item.id",
            )
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            known = [each.id for each in self._items]
            if after not in known:
                raise Wrong(
                    "item_create_invalid_previous_item_id",
                    f"Error adding item: the previous item with id '{after}' does not exist.",
                    "previous_item_id",
                )
            place = known.index(after) + 1
        self._items.insert(place, item)
        return self._items[place - 1].id if place else None

    def delete(self, item_id: str) -> None:
        """Take an item out.

        Raises:
            Wrong: If there is none.

        """
        self._items.remove(self.get(item_id, "delete"))

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut the sound of an answer to what was heard; its transcript goes with it.

        Raises:
            Wrong: If there is no such sound, or it is shorter than that.

        """
        item = self.get(item_id, "truncate")
        spoken = item.role == "assistant" and any(part.kind == "audio" and part.pcm for part in item.parts)
        if item.kind != "message" or not spoken:
            raise Wrong("unsupported_content_type", "Only model output audio messages can be truncated", "item_id")
        if content_index >= len(item.parts):
            raise Wrong("invalid_value", f"The item has no content part {content_index}.", "content_index")
        part = item.parts[content_index]
        if audio_end_ms > part.milliseconds:
            raise Wrong(
                "invalid_value",
                f"Audio content of {part.milliseconds}ms is already shorter than {audio_end_ms}ms",
                "audio_end_ms",
            )
        part.pcm = part.pcm[: audio_end_ms * part.rate // 1000 * 2]
        part.transcript = None

    def has_call(self, call_id: str) -> bool:
        """Whether a tool call of that name was made."""
        return any(item.kind == "function_call" and item.call_id == call_id for item in self._items)
