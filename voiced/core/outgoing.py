"""What goes to the broker next: the newest values first, then events and finished turns in the order they happened.

Values are a table, so that only the newest is ever sent. Events grow old within a minute. Finished turns wait for the
broker's word, however long it is away, within bounds of number, size and age; whoever keeps them on disk is told when
one needs no keeping any more.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

WINDOW = 10
"""Messages sent and not yet confirmed; the smallest limit among common brokers."""
EVENTS_KEPT = 200
EVENT_AGE_S = 60.0
TURN_BYTES = 8 * 2**20
"""All finished turns that wait, together."""
SANE_TIME = 1_767_225_600.0
"""2026-01-01. A machine without a clock of its own starts before that: how old its turns are, nobody knows."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait for the broker."""

    turns: int = 1000
    age_s: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A finished turn on its way."""

    id: str
    """Unique; readers know a double by it."""
    topic: str
    payload: str
    time: float
    """Of day, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A message that is to be sent now."""

    topic: str
    payload: str
    retain: bool = False
    expiry_s: int | None = None
    correlation: bytes | None = None
    parcel: str | None = None
    """Id of the finished turn that it is."""


@dataclass(frozen=True, slots=True)
class _Value:
    payload: str
    dies: float | None = None


@dataclass(frozen=True, slots=True)
class _Event:
    number: int
    """Counts events and turns together, so that they keep their order."""
    told: float
    sending: Sending


class Outgoing:
    """The queue before the broker. ``now`` is monotonic seconds: a clock on the wall that is set makes nothing old.

    Args:
        bounds: Of finished turns.
        forget: Called with the id of a turn that is confirmed, or dropped.
        kept: Turns that an earlier run left, oldest first.
        now: As the run begins.
        today: The time of day then, in seconds since 1970, by which the age of ``kept`` is told.

    """

    def __init__(
        self,
        bounds: Bounds = Bounds(),
        *,
        forget: Callable[[str], None] = lambda _: None,
        kept: Iterable[Parcel] = (),
        now: float = 0.0,
        today: float = 0.0,
    ) -> None:
        self._bounds = bounds
        self._forget = forget
        self._latest: dict[str, _Value] = {}
        self._waiting: dict[str, None] = {}  # topics whose latest value is to be sent, in order
        self._events: deque[_Event] = deque()
        self._parcels: dict[str, Parcel] = {}  # all that are not confirmed, oldest first
        self._born: dict[str, float] = {}
        self._unsent: deque[tuple[int, str]] = deque()
        self._bytes = 0
        self._flying: dict[int, Sending] = {}
        self._number = 0
        self.dropped_events = 0
        self.dropped_turns = 0
        for parcel in kept:
            age_s = max(0.0, today - parcel.time) if parcel.time > SANE_TIME else 0.0
            self._take(parcel, now - age_s)

    @property
    def turns(self) -> int:
        """How many finished turns the broker has not confirmed."""
        return len(self._parcels)

    @property
    def is_empty(self) -> bool:
        """Whether all was sent and confirmed, but for events."""
        return not (self._flying or self._waiting or self._unsent)

    # --- what there is to say -----------------------------------------------------------------------------------------

    def set(self, topic: str, payload: str, *, dies: float | None = None) -> None:
        """Send a latest value, instead of one that still waits; after ``dies`` it is not sent any more."""
        self._latest[topic] = _Value(payload, dies)
        self._waiting[topic] = None

    def drop(self, topic: str) -> None:
        """Forget the value of a topic."""
        self._latest.pop(topic, None)
        self._waiting.pop(topic, None)

    def again(self, topics: Iterable[str] | None = None) -> None:
        """Send latest values once more: those named as far as there are any, or all."""
        self._waiting.update(
            dict.fromkeys(topic for topic in (self._latest if topics is None else topics) if topic in self._latest)
        )

    def add(self, sending: Sending, now: float) -> None:
        """Send an event, within a minute or not at all."""
        self._number += 1
        self._events.append(_Event(self._number, now, sending))

    def deliver(self, parcel: Parcel, now: float) -> None:
        """Send a finished turn, and again until the broker has confirmed it."""
        if parcel.id not in self._parcels:
            self._take(parcel, now)
        self.tidy(now)

    def tidy(self, now: float) -> None:
        """Drop what is too old or too much; the oldest go first."""
        while len(self._events) > EVENTS_KEPT:
            self._events.popleft()
            self.dropped_events += 1
        while self._parcels:
            oldest = next(iter(self._parcels))
            is_old = now - self._born[oldest] > self._bounds.age_s
            if not is_old and len(self._parcels) <= self._bounds.turns and self._bytes <= TURN_BYTES:
                return
            self._remove(oldest)
            self.dropped_turns += 1

    # --- sending ------------------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Begin again with the turns that were refused; what is on its way is repeated by the link itself."""
        self._waiting.clear()
        flying = {sending.parcel for sending in self._flying.values()}
        ahead = {parcel: number for number, parcel in self._unsent}
        self._unsent = deque((ahead.get(parcel, 0), parcel) for parcel in self._parcels if parcel not in flying)

    def next(self, now: float, *, window: int = WINDOW) -> Sending | None:
        """Return what is to be sent now; ``None``: nothing, or ``window`` messages are not confirmed yet."""
        if len(self._flying) >= window:
            return None
        self.tidy(now)
        return self._value(now) or self._event(now)

    def sent(self, number: int, sending: Sending) -> None:
        """Note that a message is on its way, under the link's number."""
        self._flying[number] = sending

    def confirmed(self, number: int, *, refused: bool = False) -> None:
        """Note that the broker has a message, or refused it: a refused turn waits for the next connection."""
        sending = self._flying.pop(number, None)
        if sending is not None and sending.parcel is not None and not refused:
            self._remove(sending.parcel)

    def topic(self, number: int) -> str | None:
        """Return where a message on its way goes."""
        sending = self._flying.get(number)
        return None if sending is None else sending.topic

    def unsendable(self, sending: Sending) -> None:
        """Note that a message can never be sent, so that a turn does not come back for ever."""
        if sending.parcel is None:
            self.dropped_events += not sending.retain
        else:
            self._remove(sending.parcel)
            self.dropped_turns += 1

    def lost(self) -> None:
        """Forget what is on its way: the link does, too, and the turns among it are sent again."""
        self._flying.clear()

    def _take(self, parcel: Parcel, born: float) -> None:
        self._number += 1
        self._parcels[parcel.id] = parcel
        self._born[parcel.id] = born
        self._unsent.append((self._number, parcel.id))
        self._bytes += len(parcel.payload)

    def _remove(self, parcel: str) -> None:
        gone = self._parcels.pop(parcel, None)
        if gone is not None:
            del self._born[parcel]
            self._bytes -= len(gone.payload)
            self._forget(parcel)

    def _value(self, now: float) -> Sending | None:
        while self._waiting:
            topic = next(iter(self._waiting))
            del self._waiting[topic]
            value = self._latest[topic]
            left = None if value.dies is None else math.ceil(value.dies - now)
            if left is None or left > 0:
                return Sending(topic, value.payload, retain=True, expiry_s=left)
        return None

    def _event(self, now: float) -> Sending | None:
        while self._unsent and self._unsent[0][1] not in self._parcels:
            self._unsent.popleft()  # dropped meanwhile
        while self._events and now - self._events[0].told > EVENT_AGE_S:
            self._events.popleft()
            self.dropped_events += 1
        if self._unsent and (not self._events or self._unsent[0][0] < self._events[0].number):
            parcel = self._parcels[self._unsent.popleft()[1]]
            return Sending(parcel.topic, parcel.payload, parcel=parcel.id)
        return self._events.popleft().sending if self._events else None
