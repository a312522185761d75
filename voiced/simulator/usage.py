"""What an answer costs in tokens, counted from the real sound and text of the conversation.

Source: OpenAI's guide on Realtime costs: a token is 100 ms of the person's sound or 50 ms of the model's; the whole
conversation is read again for every answer, and what was read before is cached in steps of 64 tokens.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from voiced.simulator.conversation import Item

CACHE_STEP = 64


@dataclass(frozen=True, slots=True)
class Tokens:
    """Counts of text and sound."""

    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.text + self.audio

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio)

    def cached(self) -> "Tokens":
        """Return what a later answer finds in the cache."""
        return Tokens(self.text // CACHE_STEP * CACHE_STEP, self.audio // CACHE_STEP * CACHE_STEP)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; ``cached`` is part of ``read``."""

    read: Tokens = Tokens()
    cached: Tokens = Tokens()
    written: Tokens = Tokens()


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has: four letters each."""
    return (len(text) + 3) // 4


def spoken_tokens(milliseconds: int) -> int:
    """Return the tokens of the model's sound."""
    return (milliseconds + 49) // 50


def heard_tokens(milliseconds: int) -> int:
    """Return the tokens of the person's sound."""
    return (milliseconds + 99) // 100


def item_tokens(item: Item) -> Tokens:
    """Return what it takes to read an item."""
    if item.kind != "message":
        return Tokens(text=text_tokens(item.name + item.arguments + item.output))
    count = spoken_tokens if item.role == "assistant" else heard_tokens
    tokens = Tokens()
    for part in item.parts:
        # the model's own transcript is read again; the person's is made beside and is not
        written = part.text if part.kind == "text" or item.role != "assistant" else part.transcript or ""
        tokens += Tokens(text_tokens(written), count(part.milliseconds))
    return tokens


def input_tokens(instructions: str, tools: list[Any], items: Iterable[Item]) -> Tokens:
    """Return what the model reads before it answers."""
    tokens = Tokens(text_tokens(instructions) + (text_tokens(json.dumps(tools)) if tools else 0))
    for item in items:
        tokens += item_tokens(item)
    return tokens
