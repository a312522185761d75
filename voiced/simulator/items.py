"""Items as clients write them."""

import base64
from collections.abc import Mapping
from typing import Any

from voiced.simulator.conversation import Item, Part


def item_from_wire(wire: Mapping[str, Any], new_id: str) -> Item:
    """Return the item that a checked ``conversation.item.create`` describes, named ``new_id`` if it has no name."""
    kind = wire.get("type", "message")
    item = Item(wire.get("id") or new_id, kind)
    if kind == "function_call_output":
        item.call_id, item.output = wire["call_id"], wire["output"]
    elif kind == "function_call":
        item.role = "assistant"
        item.call_id, item.name, item.arguments = wire["call_id"], wire["name"], wire["arguments"]
    else:
        item.role = wire["role"]
        item.parts = [_part(each) for each in wire["content"]]
    return item


def _part(wire: Mapping[str, Any]) -> Part:
    if wire["type"] == "input_audio":
        return Part("audio", transcript=wire.get("transcript"), pcm=base64.b64decode(wire.get("audio", "")))
    return Part("text", text=wire.get("text", "(an image)"))
