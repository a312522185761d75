"""The book: what was spent when, and what may still be spent.

Money is whole nano-dollars. Times are Unix seconds; days and months are those of the zone of the ``now`` that is given.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from voiced.core.prices import NANO
from voiced.core.realtime.events import Usage

QUARTER_S = 900
"""Money is summed by quarters of an hour: every zone's hours and days begin with one."""

AHEAD_S = 86_400
"""What is dated later than now, by so much at most, counts as spent now: a clock set back buys nothing."""

RECENT_S = 40 * 86_400
"""Caps look back a month; sums by quarters of an hour are kept in memory for as long."""

Kind = Literal["response", "transcript", "span"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the book: an answer, a transcript, or a span of an open session."""

    time: float
    session: str
    kind: Kind
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    """That the session was open in this span, or that were transcribed."""
    uploaded_s: float = 0.0
    """Sound sent in this span."""
    turns: int = 0
    """That ended in this span."""
    nano: int | None = 0
    """``None``: the price is not known."""
    estimated: bool = False


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums since the book was begun."""

    total: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    audio_input: int = 0
    audio_output: int = 0
    turns: int = 0
    sessions: int = 0
    uploaded_s: float = 0.0
    nano: int = 0


@dataclass(slots=True, kw_only=True)
class Book:
    """What all entries come to."""

    since: float
    """When the first entry was made, or could have been."""
    totals: Totals = field(default_factory=Totals)
    nano: dict[int, int] = field(default_factory=dict)
    """Nano-dollars of earlier runs by quarter of an hour."""
    seconds: dict[int, float] = field(default_factory=dict)
    """Seconds of their open sessions by quarter of an hour."""
    last_session: str = ""
    run: dict[int, tuple[int, float]] = field(default_factory=dict)
    """What :meth:`add` took of both, as far as caps look back: dated by the clock of this run, which may be set."""

    def add(self, entry: Entry) -> None:
        """Take an entry."""
        totals, usage = self.totals, entry.usage
        if entry.kind == "response":
            totals.total += max(usage.total, usage.input + usage.output)
            totals.input += usage.input
            totals.output += usage.output
            totals.cached += usage.cached
            totals.audio_input += usage.input_audio
            totals.audio_output += usage.output_audio
        elif entry.kind == "span":
            totals.turns += entry.turns
            totals.uploaded_s += entry.uploaded_s
            if entry.session != self.last_session:
                totals.sessions += 1
                self.last_session = entry.session
        totals.nano += entry.nano or 0
        when, seconds = quarter(entry.time), entry.seconds if entry.kind == "span" else 0.0
        if when not in self.run:
            self.run = {then: sums for then, sums in self.run.items() if then >= when - RECENT_S // QUARTER_S}
        nano, open_s = self.run.get(when, (0, 0.0))
        self.run[when] = (nano + (entry.nano or 0), open_s + seconds)

    def redate(self, quarters: int) -> None:
        """Date what this run has added so many quarters of an hour later: the clock on the wall was set."""
        self.run = {when + quarters: sums for when, sums in self.run.items()}

    def spent(self, start: datetime, end: datetime, now: datetime) -> int:
        """Return nano-dollars spent from ``start`` to ``end``, also what is dated up to a day after ``now``."""
        first, last = _quarters(start, end, now)
        earlier = sum(nano for when, nano in self.nano.items() if first <= when < last)
        return earlier + sum(nano for when, (nano, _) in self.run.items() if first <= when < last)

    def open_s(self, start: datetime, end: datetime, now: datetime) -> float:
        """Return seconds that sessions were open in the same time."""
        first, last = _quarters(start, end, now)
        earlier = sum(seconds for when, seconds in self.seconds.items() if first <= when < last)
        return earlier + sum(seconds for when, (_, seconds) in self.run.items() if first <= when < last)


def _quarters(start: datetime, end: datetime, now: datetime) -> tuple[int, int]:
    return quarter(start.timestamp()), max(quarter(end.timestamp()), quarter(now.timestamp() + AHEAD_S) + 1)


def quarter(time: float) -> int:
    """Return the number of the quarter of an hour that ``time`` lies in."""
    return int(time // QUARTER_S)


def day_start(now: datetime) -> datetime:
    """Return the midnight before ``now``, in its zone."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What may be spent; ``None``: as much as you like."""

    usd_per_session: float | None = None
    usd_per_hour: float | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None
    session_minutes_per_hour: float | None = None
    session_minutes_per_day: float | None = None
    session_minutes_per_month: float | None = None
    warn_at: float = 0.8
    """Share of a cap from which there is a warning."""

    @property
    def in_dollars(self) -> bool:
        """Whether any cap needs prices to hold."""
        dollars = (self.usd_per_session, self.usd_per_hour, self.usd_per_day, self.usd_per_month)
        return any(cap is not None for cap in dollars)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one cap stands."""

    key: str
    used: float
    limit: float
    resets: datetime | None
    """``None``: with the next session."""

    @property
    def reached(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.limit

    def sentence(self, now: datetime) -> str:
        """Return how it stands, for a person."""
        if self.key.startswith("session_minutes"):
            used = f"{self.used:.0f} of {self.limit:g} minutes of sessions"
        else:
            used = f"{self.used:.{2 if self.limit >= 1 else 4}f} of {self.limit:g} US dollars"
        period = self.key.rsplit("_", 1)[1]
        article = "an" if period == "hour" else "a"
        said = f"{used} {article} {period} are used (budget.{self.key})"
        return said if self.resets is None else f"{said}; it starts again {_when(self.resets, now)}"


def standings(book: Book, caps: Caps, now: datetime, *, session: int | None = None) -> list[Standing]:
    """Return how each cap stands, the longest period first.

    Args:
        book: What was spent.
        caps: What may be.
        now: In the zone whose days and months count.
        session: Nano-dollars of the session going on; ``None``: there is none.

    """
    today = day_start(now)
    month = today.replace(day=1)
    hour = now.replace(minute=0, second=0, microsecond=0)
    found = []
    for start, end, dollars, minutes in (
        (month, (month + timedelta(days=32)).replace(day=1), "usd_per_month", "session_minutes_per_month"),
        (today, today + timedelta(days=1), "usd_per_day", "session_minutes_per_day"),
        (hour, hour + timedelta(hours=1), "usd_per_hour", "session_minutes_per_hour"),
    ):
        if (cap := getattr(caps, dollars)) is not None:
            found.append(Standing(dollars, book.spent(start, end, now) / NANO, cap, end))
        if (cap := getattr(caps, minutes)) is not None:
            found.append(Standing(minutes, book.open_s(start, end, now) / 60, cap, end))
    if caps.usd_per_session is not None and session is not None:
        found.append(Standing("usd_per_session", session / NANO, caps.usd_per_session, None))
    return found


def may_open(book: Book, caps: Caps, now: datetime) -> str | None:
    """Return why no session may be opened, as a sentence that says until when; ``None``: it may."""
    for standing in standings(book, caps, now):
        if standing.reached:
            return f"the budget is spent: {standing.sentence(now)}"
    return None


def is_spent(book: Book, caps: Caps, now: datetime, session: int) -> bool:
    """Return whether the session going on, which cost ``session`` so far, must end after this answer."""
    return any(standing.reached for standing in standings(book, caps, now, session=session))


def warning(book: Book, caps: Caps, now: datetime) -> str | None:
    """Return a sentence about a cap of which little is left; ``None``: there is none."""
    for standing in standings(book, caps, now):
        if standing.limit > 0 and caps.warn_at * standing.limit <= standing.used < standing.limit:
            return standing.sentence(now)
    return None


def _when(moment: datetime, now: datetime) -> str:
    if moment.date() == now.date():
        return f"at {moment:%H:%M}"
    if moment == day_start(now) + timedelta(days=1):
        return "at midnight"
    return f"on {moment.day} {moment:%B}"
