"""What came of an answer, and what the service is told when it is cut short.

The service believes that everything it sent was heard. Answers come faster than they are spoken, so at a cut most of
what was sent may never sound: it is taken out of the service's memory, item by item and part by part.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from voiced.core.frames import SERVICE_RATE, milliseconds
from voiced.core.playout import Part
from voiced.core.realtime import events as wire

MARGIN_MS = 85
"""By so much the service's own count of an answer may be shorter than the sound it sent; beyond it, it refuses to cut.

Source: measured by a public project at the live service, 2026.
"""


_WORD = re.compile(r"(?<!\s)\s*\S+")
"""With the space before it; no space is looked at twice, or many of them took hours."""


@dataclass(slots=True)
class Spoken:
    """A part of an answer, as far as it came."""

    samples: int = 0
    """At 24 kHz."""
    text: str = ""
    is_written: bool = False
    """Whether it is text that nobody speaks."""

    @property
    def ms(self) -> int:
        """Milliseconds of it that came."""
        return milliseconds(self.samples, SERVICE_RATE)

    def heard(self, heard_ms: int) -> str:
        """Return the words of it that were heard; a word counts if half of it was.

        An estimate: words are as long as they are written.
        """
        if self.is_written or 0 < self.ms <= heard_ms:
            return self.text
        reach = len(self.text) * heard_ms / self.ms if self.ms else 0
        words = takewhile(lambda word: (word.start() + word.end()) / 2 <= reach, _WORD.finditer(self.text))
        return "".join(word.group() for word in words)


@dataclass(slots=True)
class Answer:
    """What came of the answers of a turn, in order."""

    parts: dict[Part, Spoken] = field(default_factory=dict)
    is_whole: bool = False
    """Whether nothing more is to come."""

    def note(self, event: wire.AudioDelta | wire.TextDelta | wire.ResponseDone) -> None:
        """Take the next piece, or the end."""
        self.is_whole = isinstance(event, wire.ResponseDone)
        if isinstance(event, wire.ResponseDone):
            return
        part = self.parts.setdefault((event.item_id, event.content_index), Spoken())
        if isinstance(event, wire.AudioDelta):
            part.samples += len(event.pcm) // 2
        else:
            part.text += event.text
            part.is_written = not event.spoken

    @property
    def ms(self) -> int:
        """Milliseconds of sound that came."""
        return milliseconds(sum(part.samples for part in self.parts.values()), SERVICE_RATE)

    @property
    def text(self) -> str:
        """All that is said in it."""
        return _joined((name, part.text) for name, part in self.parts.items())

    def own(self, heard: Mapping[Part, int]) -> dict[Part, int]:
        """Return what was heard of it; before its first sound the speaker still counts the answer before."""
        return {part: ms for part, ms in heard.items() if part in self.parts}

    def heard(self, heard: Mapping[Part, int]) -> str:
        """Return what was heard of the text, with an ellipsis where it was cut.

        Args:
            heard: As in :meth:`truncations`. What came before all that is named there was heard long ago.

        """
        pieces: list[tuple[Part, str]] = []
        is_long_ago = bool(heard)
        for name, part in self.parts.items():
            is_long_ago = is_long_ago and name not in heard
            pieces.append((name, part.text if is_long_ago else part.heard(heard.get(name, 0))))
        told = _joined(pieces)
        return told if told == self.text or not told else f"{told}…"

    def truncations(self, heard: Mapping[Part, int], items: Sequence[str] = ()) -> tuple[wire.ClientEvent, ...]:
        """Return what to tell the service when the answer is cut.

        A part of which all has come, and all but the last :data:`MARGIN_MS` was heard, stays as it is: to cut it would
        cost the service its words. An item of which nothing was heard cannot be cut, so it is deleted.

        Args:
            heard: Milliseconds heard of each part, from :meth:`voiced.ports.Speaker.cut`.
            items: Messages of the answer that have begun, in order, also those of which nothing came yet.

        """
        told: list[wire.ClientEvent] = []
        sounding = list(dict.fromkeys(item_id for item_id, _ in heard))
        silent = [item_id for item_id in items if item_id not in sounding and not self._had(item_id)]
        last = None if silent else next(reversed(list(heard)), None)  # of it more may have been sent
        for item_id in (*sounding, *silent):
            parts = {part: ms for part, ms in heard.items() if part[0] == item_id}
            if any(parts.values()):
                told += [cut for part, ms in parts.items() if (cut := self._cut(part, ms, is_last=part == last))]
            else:
                told.append(wire.DeleteItem(item_id))
        return tuple(told)

    def _had(self, item_id: str) -> bool:
        """Whether an item had something to be heard or read, so that it was, before the last silence."""
        return any(part.samples or part.is_written for (item, _), part in self.parts.items() if item == item_id)

    def _cut(self, part: Part, heard_ms: int, *, is_last: bool) -> wire.TruncateItem | None:
        most = max(0, self.parts.get(part, Spoken()).ms - MARGIN_MS)
        is_whole = self.is_whole or not is_last
        if is_whole and heard_ms >= most:
            return None
        return wire.TruncateItem(*part, min(heard_ms, most))


def _joined(pieces: Iterable[tuple[Part, str]]) -> str:
    """Return the texts one after the other, with a space between two messages."""
    told, before = "", ""
    for (item_id, _), text in pieces:
        is_one = item_id == before or not told or not text or told[-1].isspace() or text[0].isspace()
        told += text if is_one else f" {text}"
        before = item_id
    return told
