"""Prices, the book and caps: real sums, every calendar, clocks that step."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from voiced.core.ledger import (
    AHEAD_S,
    QUARTER_S,
    RECENT_S,
    Book,
    Caps,
    Entry,
    day_start,
    is_spent,
    may_open,
    standings,
    warning,
)
from voiced.core.prices import NANO, Cost, read_prices, transcript_tokens
from voiced.core.realtime.events import Usage
from voiced.edge.ledgerfile import load_prices
from voiced.errors import ConfigError

PRICES = load_prices("")
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=BERLIN)


# --- prices -----------------------------------------------------------------------------------------------------------


def test_the_worked_example_of_the_guide() -> None:
    usage = Usage(
        input=132,
        output=121,
        input_text=119,
        input_audio=13,
        cached=64,
        cached_text=64,
        output_text=30,
        output_audio=91,
    )
    assert PRICES.cost(usage, "gpt-realtime-2.1") == Cost(7_205_600)


@pytest.mark.parametrize("model", ["gpt-realtime-2.1", "gpt-realtime-mini-2025-10-06", "gpt-4o-realtime-preview"])
def test_models_of_the_table_have_a_price_and_others_none(model: str) -> None:
    usage = Usage(input=10, output=10, input_text=10, output_audio=10)
    nano = PRICES.cost(usage, model).nano
    assert nano is not None
    assert nano > 0
    for other in (f"{model}-pro", "voice-live/gpt-realtime-2.1", "my-deployment", ""):
        assert PRICES.cost(usage, other) == Cost(None)
        assert PRICES.time_cost(60, other) == Cost(None)


def test_the_shipped_table_is_dated_and_says_where_it_is_from() -> None:
    assert PRICES.as_of.year >= 2026
    assert all(line.source for line in PRICES.lines)
    assert PRICES.cost(Usage(input_text=1_000_000, input=1_000_000), "gpt-realtime-2").nano == 4 * NANO


def test_cached_tokens_of_no_kind_are_text_first() -> None:
    usage = Usage(input=300, input_text=100, input_audio=200, cached=150)
    text_cached, audio_cached, audio = 100, 50, 150
    expected = Fraction(text_cached * 4 + audio_cached * 4 + audio * 320, 10) * 1000
    assert PRICES.cost(usage, "gpt-realtime-2.1") == Cost(int(expected), estimated=True)


def test_tokens_of_no_kind_cost_as_sound_or_as_thoughts() -> None:
    assert PRICES.cost(Usage(input=10, output=10), "gpt-realtime-2.1") == Cost((320 + 640) * 1000, estimated=True)
    thinking = Usage(output=30, output_text=5, output_audio=10)
    assert PRICES.cost(thinking, "gpt-realtime-2.1") == Cost((20 * 24 + 10 * 64) * 1000, estimated=True)


COUNT = st.integers(0, 100_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    text, audio, image, out_text, out_audio = (draw(COUNT) for _ in range(5))
    cached = [draw(st.integers(0, most)) for most in (text, audio, image)]
    return Usage(
        total=text + audio + image + out_text + out_audio,
        input=text + audio + image,
        output=out_text + out_audio,
        input_text=text,
        input_audio=audio,
        input_image=image,
        cached=sum(cached),
        cached_text=cached[0],
        cached_audio=cached[1],
        cached_image=cached[2],
        output_text=out_text,
        output_audio=out_audio,
    )


@given(usages())
def test_cost_is_the_formula(usage: Usage) -> None:
    text, audio, image = (4, Fraction("0.4"), 24), (32, Fraction("0.4"), 64), (5, Fraction("0.5"), 0)
    dollars = sum(
        (came_in - cached) * price[0] + cached * price[1] + out * price[2]
        for price, came_in, cached, out in (
            (text, usage.input_text, usage.cached_text, usage.output_text),
            (audio, usage.input_audio, usage.cached_audio, usage.output_audio),
            (image, usage.input_image, usage.cached_image, 0),
        )
    )
    assert PRICES.cost(usage, "gpt-realtime-2.1") == Cost(int(dollars * 1000))


@given(usages())
def test_without_details_it_is_an_estimate_between_all_cached_and_none(usage: Usage) -> None:
    vague = Usage(
        input=usage.input,
        output=usage.output,
        input_text=usage.input_text,
        input_audio=usage.input_audio,
        input_image=usage.input_image,
        cached=usage.cached,
        output_text=usage.output_text,
        output_audio=usage.output_audio,
    )
    cost = PRICES.cost(vague, "gpt-realtime-2.1")
    bare = PRICES.cost(Usage(**{**_fields(vague), "cached": 0}), "gpt-realtime-2.1")
    assert cost.nano is not None
    assert bare.nano is not None
    assert 0 <= cost.nano <= bare.nano
    assert cost.estimated is (usage.cached > 0)


def _fields(usage: Usage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in Usage.__slots__}


def test_transcripts_by_tokens_and_by_time() -> None:
    by_tokens = {
        "type": "tokens",
        "input_tokens": 100,
        "output_tokens": 10,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 100},
    }
    assert PRICES.transcript_cost(by_tokens, "gpt-4o-transcribe") == Cost(350_000)
    assert transcript_tokens(by_tokens).total == 110
    by_time = {"type": "duration", "seconds": 30}
    assert PRICES.transcript_cost(by_time, "whisper-1") == Cost(3_000_000)
    assert PRICES.transcript_cost(by_tokens, "whisper-1") == Cost(1_000_000, estimated=True)  # 100 tokens are 10 s
    assert PRICES.transcript_cost(by_time, "my-whisper") == Cost(None)
    assert PRICES.transcript_cost({"type": "duration", "seconds": "many"}, "whisper-1") == Cost(0)


@pytest.mark.parametrize(
    "many", [10**400, 1e300, float("inf"), float("nan"), -1], ids=["400 digits", "1e300", "inf", "nan", "-1"]
)
def test_numbers_without_sense_count_as_none(many: float) -> None:
    assert PRICES.transcript_cost({"type": "duration", "seconds": many}, "whisper-1") == Cost(0)
    assert transcript_tokens({"type": "tokens", "input_tokens": many}).input == 0


def test_a_model_paid_by_the_minute_of_session() -> None:
    assert PRICES.cost(Usage(input=1000, output=1000), "gpt-live-1") == Cost(0)
    assert PRICES.time_cost(90, "gpt-live-1") == Cost(75_000_000)
    assert PRICES.time_cost(90, "gpt-realtime-2.1") == Cost(0)


def test_own_prices_win() -> None:
    own = read_prices(
        'as_of = 2027-01-01\n[[prices]]\nmodels = ["gpt-realtime-2.1", "mine-*"]\ntext = {in = 1, out = 2}\n', "own"
    )
    usage = Usage(input=10, input_text=10, cached=4, cached_text=4)
    assert own.cost(usage, "mine-7") == Cost(10_000)  # no price of cached tokens: as any others
    assert own.cost(Usage(output=1, output_audio=1), "mine-7") == Cost(None)
    assert own.lines[0].text is not None
    assert own.lines[0].text.out == Decimal(2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("as_of = ", "not TOML"),
        ("prices = []", "as_of"),
        ('as_of = 2027-01-01\n[[prices]]\nmodels = ["a"]', "no price"),
        ("as_of = 2027-01-01\n[[prices]]\nmodels = []\nper_minute = 1", "models"),
        ('as_of = 2027-01-01\n[[prices]]\nmodels = ["a"]\nper_minute = -1', "per_minute"),
        ('as_of = 2027-01-01\n[[prices]]\nmodels = ["a"]\nper_hour = 1', "per_hour"),
    ],
)
def test_a_wrong_table_is_refused_by_name(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        read_prices(text, "mine.toml")
    assert all(problem.startswith("mine.toml: ") for problem in refused.value.problems)


# --- caps -------------------------------------------------------------------------------------------------------------


def spent(*payments: tuple[datetime, float], minutes: float = 0.0) -> Book:
    book = Book(since=0.0)
    for when, dollars in payments:
        book.add(Entry(time=when.timestamp(), session="s", kind="response", nano=round(dollars * NANO)))
        book.add(Entry(time=when.timestamp(), session="s", kind="span", seconds=minutes * 60))
    return book


def test_a_cap_refuses_in_words_and_says_until_when() -> None:
    book = spent((NOON - timedelta(hours=2), 1.25))
    assert may_open(book, Caps(usd_per_day=1.26), NOON) is None
    said = may_open(book, Caps(usd_per_day=1.25), NOON)
    assert said == (
        "the budget is spent: 1.25 of 1.25 US dollars a day are used (budget.usd_per_day); it starts again at midnight"
    )
    assert may_open(book, Caps(usd_per_month=1), NOON) is not None
    assert "on 1 December" in str(may_open(book, Caps(usd_per_month=1, usd_per_day=1), NOON))
    assert may_open(book, Caps(usd_per_hour=1), NOON) is None
    assert "at 11:00" in str(may_open(book, Caps(usd_per_hour=1), NOON - timedelta(hours=2)))
    assert may_open(book, Caps(usd_per_day=0), NOON - timedelta(days=3)) is not None


@pytest.mark.parametrize(
    ("key", "again"),
    [
        ("session_minutes_per_hour", NOON + timedelta(hours=1)),
        ("session_minutes_per_day", NOON + timedelta(days=1)),
        ("session_minutes_per_month", NOON + timedelta(days=31)),
    ],
)
def test_minutes_are_capped_too(key: str, again: datetime) -> None:
    book = spent((NOON, 0.0), minutes=30)
    assert may_open(book, Caps(**{key: 31}), NOON) is None
    said = str(may_open(book, Caps(**{key: 30}), NOON))
    assert "30 of 30 minutes of sessions" in said
    assert f"(budget.{key})" in said
    assert may_open(book, Caps(**{key: 30}), again) is None
    assert not Caps(**{key: 30}).in_dollars


def test_a_session_has_a_cap_of_its_own() -> None:
    caps = Caps(usd_per_session=0.5)
    assert may_open(spent((NOON, 9.0)), caps, NOON) is None
    assert is_spent(Book(since=0.0), caps, NOON, NANO // 2)
    assert not is_spent(Book(since=0.0), caps, NOON, NANO // 2 - 1)


def test_a_warning_comes_before_the_end() -> None:
    caps = Caps(usd_per_day=1)
    assert warning(spent((NOON, 0.79)), caps, NOON) is None
    assert "0.80 of 1" in str(warning(spent((NOON, 0.8)), caps, NOON))
    assert warning(spent((NOON, 1.0)), caps, NOON) is None  # then it is refused


@pytest.mark.parametrize("zone", [BERLIN, KOLKATA, ZoneInfo("America/St_Johns"), UTC])
@given(
    when=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - the zone is set below
    then=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - as above
)
def test_periods_are_those_of_the_calendar(zone: ZoneInfo, when: datetime, then: datetime) -> None:
    """What was paid counts in its hour, day and month; a clock set back by less than a day forgives nothing."""
    paid, now = (moment.replace(tzinfo=zone).astimezone(UTC).astimezone(zone) for moment in (when, then))
    caps = Caps(
        usd_per_hour=1,
        usd_per_day=1,
        usd_per_month=1,
        session_minutes_per_hour=5,
        session_minutes_per_day=5,
        session_minutes_per_month=5,
    )
    reached = {standing.key: standing.reached for standing in standings(spent((paid, 1.0), minutes=5), caps, now)}
    lead_s = paid.timestamp() - now.timestamp()
    assume(abs(lead_s - AHEAD_S) > QUARTER_S)  # the book is as fine as that
    ahead = 0 <= lead_s < AHEAD_S
    same_day = paid.date() == now.date()
    same_month = (paid.year, paid.month) == (now.year, now.month)
    same_hour = same_day and (paid.hour, paid.utcoffset()) == (now.hour, now.utcoffset())
    assert reached == {
        "usd_per_hour": same_hour or ahead,
        "usd_per_day": same_day or ahead,
        "usd_per_month": same_month or ahead,
        "session_minutes_per_hour": same_hour or ahead,
        "session_minutes_per_day": same_day or ahead,
        "session_minutes_per_month": same_month or ahead,
    }


@pytest.mark.parametrize("day", [datetime(2026, 3, 29, 15, tzinfo=BERLIN), datetime(2026, 10, 25, 15, tzinfo=BERLIN)])
def test_the_day_begins_at_midnight_when_the_clocks_change(day: datetime) -> None:
    midnight = day_start(day)
    assert (midnight.hour, midnight.date()) == (0, day.date())
    late = (midnight.astimezone(UTC) - timedelta(minutes=1)).astimezone(BERLIN)
    assert may_open(spent((late, 1.0)), Caps(usd_per_day=1), day) is None
    assert may_open(spent((midnight, 1.0)), Caps(usd_per_day=1), day) is not None


def test_a_clock_that_was_in_another_year_does_not_lock_the_house() -> None:
    book = spent((datetime(2099, 1, 1, tzinfo=UTC), 50.0))
    assert may_open(book, Caps(usd_per_day=1, usd_per_month=1), NOON) is None
    assert book.totals.nano == 50 * NANO


def test_what_this_run_booked_moves_with_the_clock_and_what_was_there_before_does_not() -> None:
    """Booted in the past, set by NTP: today's money is today's."""
    book = Book(since=0.0, nano={int(NOON.timestamp() // QUARTER_S): NANO})
    past = NOON - timedelta(days=200)
    book.add(Entry(time=past.timestamp(), session="s", kind="span", seconds=60.0, nano=2 * NANO))
    day = (day_start(NOON), day_start(NOON) + timedelta(days=1), NOON)
    assert (book.spent(*day), book.open_s(*day)) == (NANO, 0.0)
    book.redate(200 * 96)
    assert (book.spent(*day), book.open_s(*day)) == (3 * NANO, 60.0)
    book.redate(-200 * 96)  # and set back again
    assert (book.spent(*day), book.open_s(*day)) == (NANO, 0.0)


def test_a_clock_set_back_by_days_forgives_nothing_within_the_month() -> None:
    book = spent((NOON, 1.0))
    assert may_open(book, Caps(usd_per_month=1), NOON - timedelta(days=15)) is not None
    assert may_open(book, Caps(usd_per_day=1), NOON - timedelta(days=15)) is None


def test_a_book_that_is_kept_for_years_does_not_grow() -> None:
    book = Book(since=0.0)
    for hour in range(2 * 365 * 24):
        book.add(Entry(time=hour * 3600.0, session="s", kind="span", seconds=1.0, nano=2))
    assert len(book.run) <= RECENT_S / 3600 + 1
    assert (book.totals.nano, book.nano, book.seconds) == (2 * 2 * 365 * 24, {}, {})


@pytest.mark.parametrize("zone", [BERLIN, KOLKATA, UTC])
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 9), st.just(0) | st.integers(-9999, 9999)), max_size=30))
def test_what_a_book_has_forgotten_no_cap_asks_for(zone: ZoneInfo, visits: list[tuple[float, int, int]]) -> None:
    """Days pass before each visit, and sometimes the clock is set, by quarters of an hour."""
    caps = Caps(usd_per_month=1, session_minutes_per_month=1, usd_per_day=1, session_minutes_per_hour=1)
    now = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
    book, paid = Book(since=0.0), list[tuple[float, int]]()
    for days, nano, quarters in visits:
        now += days * 86_400 + quarters * QUARTER_S
        book.redate(quarters)
        paid = [(time + quarters * QUARTER_S, nano) for time, nano in paid]
        book.add(Entry(time=now, session="s", kind="span", seconds=60 * nano, nano=nano * NANO))
        paid.append((now, nano))
        local = datetime.fromtimestamp(now, zone)
        today, hour = day_start(local), local.replace(minute=0, second=0, microsecond=0)
        starts = (today.replace(day=1), today.replace(day=1), today, hour)
        used = [sum(nano for time, nano in paid if time >= start.timestamp()) for start in starts]
        assert [standing.used for standing in standings(book, caps, local)] == used
