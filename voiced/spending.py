"""Keeps account of what conversations cost, says when the budget is used up, and tells other systems."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from voiced.config import Config
from voiced.core import ledger
from voiced.core.events import Event, SessionLost
from voiced.core.frames import MICROPHONE_RATE
from voiced.core.ledger import Caps, Entry
from voiced.core.mqtt import payloads
from voiced.core.prices import NANO, Prices, seconds_of, transcript_tokens
from voiced.core.profiles import transcriber
from voiced.core.realtime import events as wire
from voiced.core.states import Hearing, Listening, State
from voiced.core.uplink import Uplink
from voiced.ports import Clock, Ledger
from voiced.reports import Reports

logger = logging.getLogger(__name__)

LISTED = {"azure", "azure-preview", "openai"}
"""Providers whose prices the table holds under the model's name alone."""


@dataclass(slots=True)
class _Session:
    number: int
    name: str
    profile: str
    model: str = ""
    transcriber: str = ""
    """Who writes down what the person says, as the price table calls it."""
    marked: float | None = None
    """Until when its time is booked, monotonic; ``None``: it never opened."""
    uploaded: int = 0
    """Samples booked."""
    nano: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the account is kept with."""

    ledger: Ledger
    prices: Prices
    zone: tzinfo
    """Whose days and months count."""
    since_boot: Clock
    """Seconds by a clock that nobody can set, and that does not stop when the machine sleeps."""


class Spending:
    """Books every answer, transcript and minute.

    Args:
        config: For caps, models and the provider.
        means: Ledger, prices and time zone.
        reports: Publishes ``usage`` and problems; knows the time of day.
        clock: Monotonic seconds.
        uplink: Counts the sound sent.

    """

    def __init__(self, *, config: Config, means: Means, reports: Reports, clock: Clock, uplink: Uplink) -> None:
        self._config = config
        self._ledger = means.ledger
        self._book = means.ledger.book
        self._prices = means.prices
        self._zone = means.zone
        self._since_boot = means.since_boot
        self._reports = reports
        self._clock = clock
        self._uplink = uplink
        self._caps = _caps(config)
        self._session = _Session(0, "", "default")
        self._before = self._session
        self._told: payloads.Usage | None = None
        self._spent = False
        self._booted = self._wall_booted()

    def follow(self, config: Config) -> None:
        """Take another configuration: its caps hold at once."""
        self._config, self._caps = config, _caps(config)
        self.tell()

    # --- what happens -------------------------------------------------------------------------------------------------

    def open(self, number: int, name: str, profile: str, *, goes_on: bool = False) -> None:
        """Note that a session is being opened, under its number and its published name.

        Args:
            number: Its number.
            name: The conversation's.
            profile: Who is spoken to.
            goes_on: Whether the conversation had a session before, whose money counts on.

        """
        nano = self._session.nano if goes_on else 0
        self._before, self._session = self._session, _Session(number, name, profile, nano=nano)
        self._session.model = self._model(None)
        self._session.transcriber = self._listed(transcriber(self._config, profile) or "")
        self._spent = False

    def ready(self, model: str | None) -> None:
        """Note that it is open; ``model`` as the service calls it."""
        session = self._session
        session.marked, session.model = self._clock(), self._model(model)
        unknown = [
            f'"{name}"' for name in (session.model, session.transcriber) if name and not self._prices.price(name)
        ]
        sentence = (
            f"the price of {' and '.join(unknown)} is not known, so caps in dollars do not count it; name the model in "
            "realtime.model_family, or its price in budget.prices_file"
        )
        self._reports.problem("prices", sentence if unknown and self._caps.in_dollars else None)

    def noted(self, number: int, event: object) -> None:
        """Book what ``event`` of the session ``number`` cost, also where the conversation has gone on without it."""
        if not isinstance(event, wire.ResponseDone | wire.InputTranscript):
            return
        session = self._before if number == self._before.number else self._session
        cost = self._cost(event, session)
        is_answer = isinstance(event, wire.ResponseDone)
        raw = {} if isinstance(event, wire.ResponseDone) else event.usage
        self._add(
            session,
            Entry(
                time=self._now().timestamp(),
                session=session.name,
                kind="response" if is_answer else "transcript",
                model=session.model if is_answer else session.transcriber,
                usage=event.usage if isinstance(event, wire.ResponseDone) else transcript_tokens(raw),
                seconds=seconds_of(raw),
                nano=cost[0],
                estimated=cost[1],
            ),
        )
        if session is self._session and session.marked is not None and is_answer:
            self._mark()
        self.tell()

    def turn_over(self) -> None:
        """Note the end of a turn."""
        self._mark(turns=1)
        self.tell()

    def close(self) -> None:
        """Note that the session is being left."""
        if self._session.marked is not None:
            self._mark()
            self._session.marked = None
        self.tell()

    # --- questions ----------------------------------------------------------------------------------------------------

    def price(self, event: wire.ResponseDone | wire.InputTranscript) -> int | None:
        """Return the nano-dollars that ``event`` of the session going on costs; ``None``: not known."""
        return self._cost(event, self._session)[0]

    def refusal(self) -> str | None:
        """Return why no session may open, as a sentence; ``None``: it may."""
        return ledger.may_open(self._book, self._caps, self._now())

    def is_low(self) -> bool:
        """Return whether so little is left that there is a warning."""
        return ledger.warning(self._book, self._caps, self._now()) is not None

    def is_spent(self, event: Event, state: State) -> bool:
        """Return whether the session going on must end after this answer, as ``event`` comes in ``state``.

        Looks after an answer, and before what leads to the next; an answer that has begun is not taken back.
        """
        is_between = isinstance(state, Listening | Hearing)
        if isinstance(event, SessionLost):  # then another one would be opened
            if self._session.marked is not None:
                self._mark()
            self._spent = self._spent or self.refusal() is not None
        if isinstance(event, wire.ResponseDone) or (
            is_between and isinstance(event, wire.InputTranscript | wire.SpeechStarted)
        ):
            self._spent = ledger.is_spent(self._book, self._caps, self._now(), self._session.nano)
        return self._spent

    # --- telling ------------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Publish ``usage`` if it changed, with problems of money and of the ledger; also to be called now and then."""
        now = self._now()
        self._reports.problem("budget", ledger.may_open(self._book, self._caps, now))
        self._reports.problem("budget_low", ledger.warning(self._book, self._caps, now))
        self._reports.problem("ledger", self._ledger.problem)
        usage = self._usage(now)
        if usage != self._told:
            self._told = usage
            self._reports.usage(usage)

    def _usage(self, now: datetime) -> payloads.Usage:
        totals, today = self._book.totals, ledger.day_start(now)
        return payloads.Usage(
            since=payloads.moment(self._book.since),
            turns=totals.turns,
            sessions=totals.sessions,
            tokens=payloads.TokenSums(
                total=totals.total,
                input=totals.input,
                output=totals.output,
                cached=totals.cached,
                audio_input=totals.audio_input,
                audio_output=totals.audio_output,
            ),
            cost=payloads.Spent(
                today=self._book.spent(today, today + timedelta(days=1), now) / NANO,
                total=totals.nano / NANO,
                day_start=today,
                limit_day=self._caps.usd_per_day,
            ),
            uploaded_s=round(totals.uploaded_s, 3),
        )

    # --- booking ------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        """Return the time of day, with what was booked before dated by the same clock."""
        set_by = self._wall_booted() - self._booted
        if quarters := round(set_by / ledger.QUARTER_S):
            logger.info("the clock was set by %+.2f h; what was spent since the start is dated anew", set_by / 3600)
            self._booted += quarters * ledger.QUARTER_S
            self._book.redate(quarters)
            self._ledger.redate(quarters)
        return self._reports.today().astimezone(self._zone)

    def _wall_booted(self) -> float:
        """Return when the machine was started by the clock on the wall, which changes only when that is set."""
        return self._reports.today().timestamp() - self._since_boot()

    def _cost(self, event: wire.ResponseDone | wire.InputTranscript, session: _Session) -> tuple[int | None, bool]:
        if isinstance(event, wire.ResponseDone):
            cost = self._prices.cost(event.usage, session.model)
        elif event.usage:
            cost = self._prices.transcript_cost(event.usage, session.transcriber)
        else:
            return 0, True  # the preview protocol does not say
        return cost.nano, cost.estimated

    def _mark(self, turns: int = 0) -> None:
        """Book the time that the session has been open since it was last booked."""
        session, now = self._session, self._clock()
        seconds = 0.0 if session.marked is None else max(0.0, now - session.marked)
        samples = max(0, self._uplink.taken - self._uplink.kept - session.uploaded) if session.marked is not None else 0
        if session.marked is not None:
            session.marked = now
        session.uploaded += samples
        cost = self._prices.time_cost(seconds, session.model)
        self._add(
            session,
            Entry(
                time=self._now().timestamp(),
                session=session.name,
                kind="span",
                model=session.model,
                seconds=seconds,
                uploaded_s=samples / MICROPHONE_RATE,
                turns=turns,
                nano=cost.nano,
            ),
        )

    def _add(self, session: _Session, entry: Entry) -> None:
        session.nano += entry.nano or 0
        self._book.add(entry)
        self._ledger.add(entry)

    # --- names of models ----------------------------------------------------------------------------------------------

    def _model(self, told: str | None) -> str:
        """Return who answers, as the price table calls it: a deployment of Azure hides the model."""
        realtime = self._config.realtime
        own = self._config.profiles[self._session.profile].deployment
        names = [self._listed(name) for name in (told, own, realtime.model_family, realtime.deployment) if name]
        return next((name for name in names if self._prices.price(name) is not None), names[0] if names else "")

    def _listed(self, name: str) -> str:
        provider = self._config.realtime.provider
        return name if not name or provider in LISTED else f"{provider}/{name}"


def _caps(config: Config) -> Caps:
    return Caps(**config.budget.model_dump(exclude={"prices_file", "cheap_profile"}))
