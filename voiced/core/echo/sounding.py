"""Whether the speaker sounds now, on the microphone's clock."""

from voiced.core.frames import MICROPHONE_RATE, Samples

TAIL = 3 * MICROPHONE_RATE
"""Samples after its last sound in which the speaker counts as sounding: 3 s. An interruption that pauses it is
confirmed, or not, within 2 s."""


class Sounding:
    """Told by the speaker's thread, asked by the one that takes frames."""

    def __init__(self) -> None:
        self._heard = False
        self._until = 0

    def played(self, block: Samples) -> None:
        """Take what goes to the loudspeaker now, silence too; from any thread, never waits."""
        if block.any():
            self._heard = True

    def at(self, position: int) -> bool:
        """Return whether something sounds, or did a moment ago, at a microphone position that never goes back."""
        if self._heard:
            self._heard = False
            self._until = position + TAIL
        return position < self._until
