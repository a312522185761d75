"""The last finished turns, for a person who looks back."""

from collections import deque
from collections.abc import Mapping

from pydantic import ValidationError

from voiced.core.mqtt.payloads import Turn

LONGEST = 1_000
"""Characters of a text that is kept."""


class History:
    """A bounded memory of turns.

    Args:
        most: How many are kept; 0: none.
        texts: Whether what was said is kept with them.
        saved: What :meth:`saved` gave an earlier run. What is damaged or of another version is left out, and texts
            are, where they may not be kept any more.

    """

    def __init__(self, most: int, *, texts: bool, saved: Mapping[str, object] | None = None) -> None:
        self._texts = texts
        self._turns: deque[Turn] = deque(maxlen=most)
        kept = (saved or {}).get("turns")
        for one in kept if isinstance(kept, list) else ():
            try:
                self.add(Turn.model_validate(one))
            except ValidationError:
                continue

    def add(self, turn: Turn) -> bool:
        """Take a turn; return whether it is kept."""
        self._turns.append(_shortened(turn) if self._texts else turn.without_texts())
        return len(self._turns) > 0

    def last(self, count: int) -> list[Turn]:
        """Return the last ``count`` turns, oldest first."""
        return list(self._turns)[-count:]

    def saved(self) -> dict[str, object]:
        """Return all of it as a JSON object."""
        return {"turns": [turn.model_dump(mode="json") for turn in self._turns]}


def _shortened(turn: Turn) -> Turn:
    def cut(text: str | None) -> str | None:
        return text if text is None or len(text) <= LONGEST else text[: LONGEST - 1] + "…"

    user = turn.user.model_copy(update={"text": cut(turn.user.text)})
    return turn.model_copy(
        update={"user": user, "assistant": turn.assistant.model_copy(update={"text": cut(turn.assistant.text)})}
    )
