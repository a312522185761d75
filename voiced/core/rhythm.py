"""When to look for sound that arrives with a beat, in pieces of which nobody says how long they are."""

_EARLIER_S = 0.0005
"""By how much sooner each look comes than the one before, until one comes too soon."""

_HASTE = 0.25
"""How much of a backlog (what waits beyond half a piece) each look makes up for."""


class Rhythm:
    """Finds the moment at which a piece has just arrived: a look then finds it, and none was in vain.

    A device hands its sound on in pieces of its own (a sound server 40 ms at a time). To wait for as long as the sound
    lasts that is missing leads to a look between two of those pieces nearly every second time. This waits as long as
    from one look to the next, a little less each time; after a look that came too soon, ``poll_s`` more.

    Args:
        poll_s: Seconds to wait after a look that came too soon.

    """

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._length_s = 0.0
        self._aim: float | None = None
        self._in_step = False

    def first(self, now: float, length_s: float, missing_s: float) -> float:
        """Return the seconds to wait before the first look for a piece of ``length_s``, of which so much is missing."""
        self._in_step = self._aim is not None and length_s == self._length_s
        self._length_s = length_s
        if missing_s <= 0:
            self._aim = None
            return 0.0
        if self._aim is not None and self._in_step:
            backlog_s = max(0.0, length_s / 2 - missing_s)
            self._aim += length_s - _EARLIER_S - _HASTE * backlog_s
        else:
            self._aim = now + missing_s + self._poll_s
        return max(0.0, self._aim - now)

    def again(self, now: float, missing_s: float) -> float:
        """Return the seconds to wait after a look that came too soon."""
        wait = self._poll_s if self._in_step else self._poll_s + missing_s
        self._in_step = False  # if that was not enough, the beat has changed
        self._aim = now + wait
        return wait
