"""Dialogues with a television between the turns: what the daemon takes for a turn, and what not.

The reference listens in each window to whoever the service hears, as most assistants do.
"""

from typing import Any

from tests.dialogues import WAYS, tell


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Tell 50 dialogues, in turn with each way to keep the speaker's sound out."""
    count = 8 if quick else 50
    told = [tell(seed, WAYS[seed % 3]) for seed in range(count)]
    reference = [tell(seed, WAYS[seed % 3], judges=False) for seed in range(0, count, 5)]
    return {
        "dialogues": count,
        "turns_said": sum(one.said for one in told),
        "turns_heard": sum(one.heard for one in told),
        "television_turns_in_windows": sum(one.television - one.afterwards for one in told),
        "television_turns_after": sum(one.afterwards for one in told),
        "longest_s_after_the_last_word": round(max(one.tail_s for one in told), 1),
        "reference": "windows open to everybody",
        "reference_dialogues": len(reference),
        "reference_television_turns": sum(one.television for one in reference),
        "reference_longest_s": round(max(one.tail_s for one in reference), 1),
    }
