"""Money as stories: what is booked, published and refused, with the simulator's own book beside it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes import InstantSpeaker, KeptLedger
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from tests.waiting import eventually
from voiced.config import BudgetConfig, Config, RealtimeConfig
from voiced.core.chimes import chime
from voiced.core.conversation import step
from voiced.core.effects import Chime, CloseSession, Cut, EndTurn, Send
from voiced.core.events import Tick
from voiced.core.prices import NANO, Prices, read_prices
from voiced.core.realtime import events as wire
from voiced.core.states import Hearing, Idle, Listening, Processing, Responding, Rules, State, Talk
from voiced.edge.ledgerfile import LedgerFile, load_prices
from voiced.edge.machine import local_zone
from voiced.edge.soundfile import shipped
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Turn

BERLIN = ZoneInfo("Europe/Berlin")

TOKENS = "text = { in = 4, cached = 0.4, out = 24 }\naudio = { in = 32, cached = 0.4, out = 64 }"
SCRIBE = '[[prices]]\nmodels = ["simulator/gpt-transcribe"]\ntext = { in = 2.5, out = 10 }\naudio = { in = 2.5 }'


def prices_of(model: str, price: str = TOKENS) -> Prices:
    return read_prices(f'as_of = 2026-11-20\n[[prices]]\nmodels = ["{model}"]\n{price}\n{SCRIBE}', "test prices")


PRICES = prices_of("simulator/gpt-realtime-2.1")


class Wall:
    """A clock on the wall that is put forward by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 23, 30, tzinfo=BERLIN)

    def __call__(self) -> datetime:
        return self.now


def budget(**caps: Any) -> Config:
    return config_for_tests(budget=BudgetConfig(**caps))


def usage(home: Home) -> dict[str, Any]:
    published: dict[str, Any] = json.loads(home.diary.kept["usage"])
    return published


def problems(home: Home) -> dict[str, str]:
    home.reports.health(overruns=0, echo=home.echo.health, always=True)
    return {each["code"]: each["message"] for each in json.loads(home.diary.kept["health"])["problems"]}


def simulators_book(home: Home) -> int:
    """What all answers and transcripts that the simulator sent cost, in nano-dollars, by its own arithmetic."""
    return sum(session.nano for session in home.simulator.sessions)


async def test_a_conversation_is_booked_as_the_simulator_booked_it(tmp_path: Path) -> None:
    with LedgerFile(tmp_path / "ledger.sqlite") as ledger:
        async with at_home(config=budget(), ledger=ledger, prices=PRICES) as home:
            home.speak()
            first = await home.until_told("finished")
            home.speak(wake=False)
            second = await home.until_told("finished", count=2)
            await home.until_told("ended", "event/session")
            await home.until_idle()
            expected = simulators_book(home)
            assert expected > 0
            published = usage(home)
            assert published["cost"]["total"] == expected / NANO
            assert published["cost"]["today"] == expected / NANO
            assert round((first["cost"] + second["cost"]) * NANO) == expected
            assert (published["turns"], published["sessions"]) == (2, 1)
            answers = home.simulator.sessions[0].sent("response.done")
            assert published["tokens"]["total"] == sum(a["response"]["usage"]["total_tokens"] for a in answers)
            sent_s = len(home.simulator.sessions[0].received_pcm) / 24_000
            assert abs(published["uploaded_s"] - sent_s) < 0.05  # the converter holds some samples
    with LedgerFile(tmp_path / "ledger.sqlite") as again:
        assert again.book.totals == ledger.book.totals
        async with at_home(config=budget(), ledger=again, prices=PRICES) as home:
            assert usage(home) == published


async def test_what_was_spent_before_the_clock_was_right_counts_today() -> None:
    """A machine without a clock of its own starts in the past; the network sets it behind the first conversation."""
    wall = Wall()
    right, wall.now = wall.now, wall.now - timedelta(days=400)
    caps = budget(usd_per_day=0.0001)
    ledger = KeptLedger()
    home_of = at_home(config=caps, prices=PRICES, today=wall, zone=BERLIN, ledger=ledger, since_boot=lambda: 60.0)
    async with home_of as home:
        assert (await home.command("command/ask", "What time is it?"))["ok"]
        await home.until_idle()
        await home.until_told("error", "event/error")
        wall.now = right
        assert (await home.command("command/ask", "And now?"))["error"]["code"] == "unavailable"
        assert usage(home)["cost"]["today"] == simulators_book(home) / NANO
    assert {entry.time for entry in ledger.entries} == {right.timestamp()}


async def test_a_spent_day_refuses_everything_until_midnight() -> None:
    wall = Wall()
    async with at_home(config=budget(usd_per_day=0.0001), prices=PRICES, today=wall, zone=BERLIN) as home:
        assert (await home.command("command/ask", "What time is it?"))["ok"]
        await home.until_idle()
        error = await home.until_told("error", "event/error")
        assert error["code"] == "budget"
        assert "it starts again at midnight" in error["message"]
        assert problems(home)["budget"] == error["message"]
        for command in ("command/ask", "command/say", "command/listen"):
            refused = await home.command(command, "" if command.endswith("listen") else "Hello")
            assert refused["error"] == {"code": "unavailable", "message": error["message"]}
        chimes = home.speaker.chimes
        home.speak()
        await eventually(lambda: home.speaker.chimes == chimes + 1, "a chime")
        assert home.speaker.chimed.tolist() == [*chime("error"), *shipped("budget")]
        assert len(told(home.diary, "event/wake", "detected")) == 1
        assert len(home.simulator.sessions) == home.simulator.connections == 1
        assert usage(home)["cost"]["limit_day"] == 0.0001

        wall.now += timedelta(hours=1)
        home.daemon.spending.tell()
        assert usage(home)["cost"]["today"] == 0
        assert usage(home)["cost"]["day_start"] == "2026-11-20T23:00:00.000Z"
        assert "budget" not in problems(home)
        home.speak()
        await home.until_told("finished", count=2)
        assert usage(home)["cost"]["total"] * NANO == simulators_book(home)


async def test_a_conversation_ends_after_the_answer_that_crossed_the_cap() -> None:
    async with at_home(config=budget(usd_per_session=0.0001), prices=PRICES) as home:
        home.speak()
        turn = await home.until_told("finished")
        assert turn["assistant"]["text"] == "It is twenty past nine."
        ended = await home.until_told("ended", "event/session")
        assert (ended["reason"], ended["turns"]) == ("budget", 1)
        played = b"".join(pcm for _, _, pcm in home.speaker.played)
        assert played == home.simulator.sessions[0].sent_pcm.tobytes()
        assert home.speaker.chimes == 2
        assert home.speaker.chimed.tolist() == [*chime("error"), *shipped("budget")]
        home.speak()  # the next session has a cap of its own
        await home.until_told("finished", count=2)


async def test_the_wake_word_cannot_prolong_the_last_answer() -> None:
    async with at_home(config=budget(usd_per_day=0.0001), prices=PRICES, speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await eventually(lambda: usage(home)["tokens"]["output"] > 0 and home.speaker.busy, "an answer, and its bill")
        home.speak()
        assert (await home.until_told("ended", "event/session"))["reason"] == "budget"
        assert home.speaker.cuts == 1
        await home.until_idle()
        assert len(home.simulator.sessions[0].sent("response.done")) == 1


async def test_minutes_are_counted_and_capped() -> None:
    async with at_home(config=budget(session_minutes_per_day=0.001), prices=PRICES) as home:
        home.speak()
        await home.until_told("ended", "event/session")
        refused = await home.command("command/listen")
        assert "minutes of sessions" in refused["error"]["message"]


async def test_little_left_is_said_before_nothing_is_left() -> None:
    kept = KeptLedger()
    async with at_home(config=budget(), prices=PRICES, ledger=kept) as home:
        assert (await home.command("command/ask", "What time is it?"))["ok"]
    cost = kept.book.totals.nano / NANO
    async with at_home(config=budget(usd_per_day=cost * 1.1), prices=PRICES, ledger=kept) as home:
        said = problems(home)
        assert set(said) == {"budget_low"}
        assert "budget.usd_per_day" in said["budget_low"]
        assert (await home.command("command/ask", "What time is it?"))["ok"]


async def test_a_cheaper_profile_takes_over_when_little_is_left() -> None:
    kept = KeptLedger()
    profiles = {"default": ProfileConfig(voice="marin"), "plain": ProfileConfig(voice="cedar")}
    for voice in ("marin", "cedar"):
        spent = kept.book.totals.nano / NANO
        caps = BudgetConfig(usd_per_day=spent * 1.1 or 9.0, cheap_profile="plain")
        config = config_for_tests(budget=caps, profiles=profiles)
        async with at_home(config=config, prices=PRICES, ledger=kept) as home:
            home.speak()
            await home.until_told("finished")
            (update,) = home.simulator.sessions[0].received("session.update")
            assert voice in json.dumps(update)


def test_the_cheaper_profile_must_exist() -> None:
    with pytest.raises(ValueError, match=r"budget\.cheap_profile"):
        config_for_tests(budget=BudgetConfig(cheap_profile="plain"))


async def test_a_model_without_a_price_is_counted_in_tokens_and_said() -> None:
    async with at_home(config=budget(usd_per_day=1), prices=prices_of("other")) as home:
        home.speak()
        turn = await home.until_told("finished")
        assert turn["cost"] is None
        assert usage(home)["tokens"]["total"] > 0
        assert '"simulator/gpt-realtime-2.1"' in problems(home)["prices"]
        assert "realtime.model_family" in problems(home)["prices"]
        await home.until_told("ended", "event/session")
        assert "budget" not in problems(home)


async def test_the_family_names_the_price_of_a_deployment() -> None:
    realtime = RealtimeConfig(provider="simulator", deployment="my-deployment", model_family="house-model")
    config = config_for_tests(budget=BudgetConfig(usd_per_day=9), realtime=realtime)
    async with at_home(config=config, prices=prices_of("simulator/house-model")) as home:
        home.speak()
        await home.until_told("finished")
        await home.until_told("ended", "event/session")
        assert "prices" not in problems(home)
        assert usage(home)["cost"]["total"] * NANO == simulators_book(home)


async def test_a_model_that_is_paid_by_time() -> None:
    kept = KeptLedger()
    async with at_home(config=budget(), prices=prices_of("simulator/*", "per_second = 1"), ledger=kept) as home:
        assert (await home.command("command/ask", "What time is it?"))["ok"]
        await home.until_idle()
    assert {entry.nano for entry in kept.entries if entry.kind == "response"} == {0}
    spans = [entry for entry in kept.entries if entry.kind == "span"]
    assert sum(entry.seconds for entry in spans) > 0
    assert all(entry.nano == round(entry.seconds * NANO) for entry in spans)


async def test_an_interrupted_answer_is_booked_too() -> None:
    async with at_home(config=budget(), prices=PRICES, speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        assert (await home.command("command/stop"))["ok"]
        await home.simulator.sessions[0].wait_for("response.done")
        await eventually(lambda: usage(home)["cost"]["total"] * NANO == simulators_book(home) > 0, "booked")


async def test_an_answer_that_failed_costs_nothing_and_is_a_turn() -> None:
    turn = Turn.model_validate({**QUICK.turns[0].model_dump(), "fault": {"kind": "failed"}})
    async with at_home(QUICK.model_copy(update={"turns": (turn,)}), budget(), prices=PRICES) as home:
        home.speak()
        failed = await home.until_told("failed")
        await home.until_told("ended", "event/session")
        assert usage(home)["turns"] == 1
        assert round(failed["cost"] * NANO) == simulators_book(home)


def test_own_prices_come_before_the_shipped_ones(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('as_of = 2027-01-01\n[[prices]]\nmodels = ["gpt-realtime"]\ntext = { in = 1 }\n')
    prices = load_prices(str(own))
    mine, shipped = prices.price("gpt-realtime"), prices.price("gpt-realtime-2.1")
    assert mine is not None
    assert mine.audio is None
    assert shipped is not None
    assert prices.as_of.year == 2027


SPENT = Rules(spent=True)
TALK = Talk(session=1, turn=1, profile="default", source="wake_word", ends=600.0)


@pytest.mark.parametrize("state", [Listening(TALK, 9.0), Hearing(TALK, 9.0), Processing(TALK, 9.0)])
def test_with_nothing_left_no_further_answer_is_waited_for(state: State) -> None:
    after, effects = step(state, Tick(), 1.0, SPENT)
    assert after == Idle(1)
    assert CloseSession(1, "budget") in effects
    assert Chime("budget") in effects
    failed = [effect for effect in effects if isinstance(effect, EndTurn)]
    assert [each.code for each in failed] == ([] if isinstance(state, Listening) else ["budget"])


def test_the_answer_that_has_begun_is_heard_and_another_one_is_not() -> None:
    state = Responding(TALK, 9.0, "mine")
    assert step(state, Tick(), 1.0, SPENT) == (state, ())
    other = wire.ResponseDone("other", "cancelled")
    after, effects = step(state, other, 1.0, SPENT)
    assert after == Idle(1)
    assert {CloseSession(1, "budget"), Send(wire.CancelResponse("mine")), Cut()} <= set(effects)
    after, effects = step(state, wire.ResponseDone("mine", "completed"), 1.0, SPENT)
    assert after == Idle(1)
    assert EndTurn(1, "finished") in effects
    assert CloseSession(1, "budget") in effects


def test_the_zone_is_the_users(caplog: pytest.LogCaptureFixture) -> None:
    summer = datetime(2026, 7, 1, tzinfo=local_zone({"TZ": "Europe/Berlin"}))
    assert summer.utcoffset() == timedelta(hours=2)
    assert local_zone({}).utcoffset(summer) is not None
    assert local_zone({"TZ": "Nowhere/Atlantis"}) is UTC
    assert "those of UTC" in caplog.text
