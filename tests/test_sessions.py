"""Sessions that die, and sessions that are replaced, under the real daemon, with a real simulator."""

import json
from typing import Any, Literal

import numpy as np
import pytest

from tests.fakes import InstantSpeaker, KeptLedger
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.simulated import check_frames
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from tests.test_budget import PRICES
from tests.waiting import eventually
from voiced.config import BudgetConfig, ConversationConfig, RealtimeConfig
from voiced.core.freshness import TURNS
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Connection, Scenario

Provider = Literal["azure", "azure-preview"]
PROVIDERS: tuple[Provider, ...] = ("azure", "azure-preview")
STARTED, COMMITTED = "input_audio_buffer.speech_started", "input_audio_buffer.committed"
ABORT = {"kind": "abort"}
HOLD = '{"hold": true}'
QUESTION, FOLLOW_UP = QUICK.turns


def dying(at: str, *, times: int = 1, how: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    """The quick scenario; its first sessions end right after an event."""
    ends = {"ends": how or ABORT, "ends_at": at}
    connections = tuple(Connection.model_validate(ends) for _ in range(times))
    return QUICK.model_copy(update={"connections": connections, **changes})


def home_of(
    scenario: Scenario, provider: Provider = "azure", turns: str = "server_vad", budget: Any = None, **further: Any
) -> Any:
    config = config_for_tests(
        realtime=RealtimeConfig(dialect="ga" if provider == "azure" else "preview"),
        conversation=ConversationConfig(follow_up_s=3.0, no_speech_s=3.0),
        profiles={"default": ProfileConfig.model_validate({"turn_detection": turns, "voice": "alloy"})},
        budget=BudgetConfig.model_validate(budget or {}),
    )
    return at_home(scenario, config, provider=provider, **further)


def texts(home: Home, session: int) -> list[str]:
    """What a session was told as text."""
    items = [event["item"] for event in home.simulator.sessions[session].received("conversation.item.create")]
    return [content["text"] for item in items for content in item["content"]]


def states(history: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What was published as the state, without its time."""
    return [{**json.loads(payload), "since": ""} for topic, payload in history if topic == "state"]


async def until_listening(home: Home) -> None:
    await home.diary.until(lambda _: home.states()[-1] == "listening")


async def until_heard_by(home: Home, session: int) -> None:
    await eventually(lambda: len(home.simulator.sessions) > session)
    await home.simulator.sessions[session].wait_for_client("input_audio_buffer.append")


def answers(home: Home) -> int:
    """Different answers that were heard."""
    return len({item for item, _, _ in home.speaker.played})


# --- sessions that die ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("turns", "at"),
    [
        *(("server_vad", at) for at in ("session.updated", STARTED, COMMITTED, "response.created")),
        *(("semantic_vad", at) for at in (STARTED, COMMITTED)),
        *(("local", at) for at in ("session.updated", COMMITTED, "response.created")),
    ],
)
async def test_what_was_said_is_sent_again_and_answered_once(turns: str, at: str, provider: Provider) -> None:
    async with home_of(dying(at), provider, turns) as home:
        home.speak()
        turn = await home.until_told("finished")
        assert (turn["user"]["text"], turn["assistant"]["text"]) == (QUESTION.user, QUESTION.assistant)
        assert 300 < turn["user"]["duration_ms"] < 3500
        assert turn["error"] is None
        await until_listening(home)
        home.speak(wake=False)
        second = await home.until_told("finished", count=2)
        assert (second["turn"], second["session"], second["user"]["text"]) == (2, turn["session"], FOLLOW_UP.user)
        assert len(told(home.diary, "event/turn", "started")) == 2
        assert len(told(home.diary, "event/session", "started")) == 1
        assert "in another session" in told(home.diary, "event/error", "error")[0]["message"]
        assert (len(home.simulator.sessions), answers(home), home.speaker.chimes) == (2, 2, 1)
        assert home.daemon.lost_samples == 0
        check_frames("ga" if provider == "azure" else "preview", home.simulator.sessions[1])
        died = next(n for n, (topic, _) in enumerate(home.diary.history) if topic == "event/error")
        before, after = states(home.diary.history[:died]), states(home.diary.history[died:])
        assert before[-1] != after[0]  # that a session died is no news for others


async def test_whoever_is_still_speaking_just_goes_on() -> None:
    async with home_of(dying(STARTED)) as home:
        sound, notes = load(SOUNDS / "hey_jarvis_1.wav"), NOTES["hey_jarvis_1"]
        half = (notes["wake_end"] + notes["speech_end"]) // 2 // 320 * 320
        home.ears.wakes_at[notes["wake_end"] // 320 * 320] = "hey_jarvis"
        home.microphone.hear(sound[:half])
        await until_heard_by(home, 1)
        home.microphone.hear(np.concatenate([sound[half:], noise(1.0)]))
        turn = await home.until_told("finished")
        assert turn["user"]["text"] == QUESTION.user
        session = home.simulator.sessions[1]
        assert len(session.commits) == 1
        (begin, end) = session.commits[0]
        assert (end - begin) * 2 / 3 > notes["speech_end"] - notes["wake_end"]
        assert home.daemon.lost_samples == 0


@pytest.mark.parametrize("when", ["held", "let go"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_turn_that_is_held_is_held_on(provider: Provider, when: str) -> None:
    at = "conversation.item.truncated" if when == "held" else COMMITTED
    async with home_of(dying(at), provider) as home:
        await home.command("command/listen", HOLD)
        home.speak(wake=False, after_s=2.0)
        await home.microphone.all_heard()
        await until_heard_by(home, 0)
        if when == "held":
            home.simulator.abort()
            await until_heard_by(home, 1)
            home.speak(wake=False, after_s=2.0)
            await home.microphone.all_heard()
        await home.command("command/release")
        turn = await home.until_told("finished")
        assert turn["user"]["text"] == QUESTION.user
        session = home.simulator.sessions[1]
        (begin, end) = session.commits[0]
        assert (end - begin) / 24_000 == pytest.approx(home.microphone.end / 16_000, abs=0.2)
        assert (len(session.commits), answers(home)) == (1, 1)


@pytest.mark.parametrize("command", ["ask", "say"])
@pytest.mark.parametrize("at", ["session.updated", "response.created"])
async def test_a_text_is_sent_again(at: str, command: str) -> None:
    async with home_of(dying(at)) as home:
        answer = await home.command(f"command/{command}", json.dumps({"text": "What time is it?"}))
        assert answer["ok"]
        turn = told(home.diary, "event/turn", "finished")[0]
        assert turn["user"]["text"] == ("What time is it?" if command == "ask" else None)
        assert (len(home.simulator.sessions), answers(home)) == (2, 1)


async def test_turns_before_are_told_to_the_session_that_takes_over() -> None:
    async with home_of(QUICK) as home:
        home.speak()
        await home.until_told("finished")
        await until_listening(home)
        home.simulator.abort()  # while nobody speaks
        await eventually(lambda: len(home.simulator.sessions) == 2)
        home.speak(wake=False)
        await home.until_told("finished", count=2)
        assert texts(home, 1) == [QUESTION.user, QUESTION.assistant]
        first = home.simulator.sessions[1].client_events
        assert [event["type"] for event in first[:4]] == [
            "session.update",
            "conversation.item.create",
            "conversation.item.create",
            "input_audio_buffer.append",
        ]
        assert home.daemon.lost_samples == 0


async def test_an_answer_is_heard_to_its_end_and_the_follow_up_too() -> None:
    async with home_of(QUICK, speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        await home.simulator.sessions[0].wait_for("response.done")
        expected = 2 * len(home.simulator.sessions[0].sent_pcm)
        await eventually(lambda: sum(len(pcm) for _, _, pcm in home.speaker._queue) == expected)
        home.simulator.abort()
        await home.simulator.sessions[0].wait_closed()
        home.speaker.holds = False
        home.speaker.let_go()
        assert (await home.until_told("finished"))["assistant"]["text"] == QUESTION.assistant
        await until_listening(home)
        home.speak(wake=False)
        assert (await home.until_told("finished", count=2))["source"] == "follow_up"
        assert texts(home, 1) == [QUESTION.user, QUESTION.assistant]


async def test_where_every_session_dies_the_person_is_told() -> None:
    async with home_of(dying(COMMITTED, times=3)) as home:
        home.speak()
        turn = await home.until_told("failed")
        assert (turn["outcome"], turn["error"]["code"]) == ("failed", "closed")
        assert "broke" in turn["error"]["message"]
        await home.until_idle()
        assert (len(home.simulator.sessions), home.speaker.chimes) == (3, 2)
        assert len(told(home.diary, "event/turn", "started")) == 1
        home.speak()
        assert (await home.until_told("finished"))["turn"] == 1


async def test_where_the_service_forbids_it_nothing_is_sent_again() -> None:
    policy = {"kind": "close", "code": 1008, "reason": "policy"}
    async with home_of(dying(STARTED, how=policy)) as home:
        home.speak()
        turn = await home.until_told("failed")
        assert turn["error"]["code"] == "refused"
        await home.until_idle()
        assert (len(home.simulator.sessions), home.speaker.chimes) == (1, 2)


async def test_a_budget_that_is_used_up_opens_no_other_session() -> None:
    async with home_of(dying(COMMITTED), budget={"session_minutes_per_day": 1e-6}) as home:
        home.speak()
        await home.until_told("failed")
        await home.until_idle()
        assert (len(home.simulator.sessions), home.speaker.chimes) == (1, 2)


async def test_all_that_sessions_of_one_conversation_cost_is_booked() -> None:
    ledger = KeptLedger()
    async with home_of(dying(COMMITTED), ledger=ledger) as home:
        home.speak()
        turn = await home.until_told("finished")
        await home.command("command/end")
        await home.until_idle()
        uploaded = sum(len(session.received_pcm) for session in home.simulator.sessions) / 24_000
        await eventually(lambda: abs(ledger_uploaded(ledger) - uploaded) < 0.2)
        assert {entry.session for entry in ledger.entries} == {turn["session"]}
        assert ledger.book.totals.turns == 1


async def test_what_a_conversation_may_cost_counts_over_all_its_sessions() -> None:
    async with home_of(QUICK, prices=PRICES) as home:
        home.speak()
        cost = (await home.until_told("finished"))["cost"]
    async with home_of(QUICK, prices=PRICES, budget={"usd_per_session": cost * 1.5}) as home:
        home.speak()
        await home.until_told("finished")
        await until_listening(home)
        home.simulator.abort()
        await eventually(lambda: len(home.simulator.sessions) == 2)
        home.speak(wake=False)
        assert (await home.until_told("finished", count=2))["cost"] < cost * 1.5
        await home.until_idle()
        assert json.loads(home.diary.kept["state"])["reason"] == "budget"


def ledger_uploaded(ledger: KeptLedger) -> float:
    return sum(entry.uploaded_s for entry in ledger.entries)


# --- sessions that are replaced ---------------------------------------------------------------------------------------

BRIEF = QUICK.model_copy(update={"session_minutes": 6 / 60})


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_session_is_replaced_in_a_pause_before_its_time_is_over(provider: Provider) -> None:
    async with home_of(BRIEF, provider) as home:
        home.speak()
        first = await home.until_told("finished")
        number = 1
        while len(home.simulator.sessions) < 3 or not texts(home, 2):
            await until_listening(home)
            home.speak(wake=number % 3 == 0)  # whoever follows up again and again may be a television
            number += 1
            turn = await home.until_told("finished", count=number)
            assert (turn["turn"], turn["session"]) == (number, first["session"])
        assert home.simulator.sessions[0].closed == (1000, "")
        told_last = texts(home, 1)[-2:]
        assert told_last in ([QUESTION.user, QUESTION.assistant], [FOLLOW_UP.user, FOLLOW_UP.assistant])
        assert not told(home.diary, "event/error", "error")
        assert not told(home.diary, "event/turn", "failed")
        assert home.daemon.lost_samples == 0
        assert answers(home) == number


async def test_a_successor_that_dies_while_it_stands_by_is_not_taken_for_ready() -> None:
    dies = Connection.model_validate({"ends": {**ABORT, "after_ms": 100}})
    async with home_of(BRIEF.model_copy(update={"connections": (Connection(), dies)})) as home:
        home.speak()
        await home.until_told("finished")
        await eventually(lambda: len(home.simulator.sessions) == 2 and home.simulator.sessions[1].closed is not None)
        home.simulator.abort()
        home.speak()
        assert (await home.until_told("finished", count=2))["user"]["text"] == QUESTION.user
        assert len(home.simulator.sessions) == 3
        assert home.daemon.lost_samples == 0


async def test_a_session_that_ends_while_somebody_speaks_is_replaced_all_the_same() -> None:
    expired = {"kind": "expire"}
    async with home_of(dying(STARTED, how=expired)) as home:
        home.speak()
        assert (await home.until_told("finished"))["user"]["text"] == QUESTION.user
        assert "maximum duration" in told(home.diary, "event/error", "error")[0]["message"]


async def test_a_session_whose_answers_take_longer_and_longer_is_replaced() -> None:
    slow = [QUESTION.model_copy(update={"think_ms": 10 if n < TURNS else 2000}) for n in range(2 * TURNS)]
    async with home_of(QUICK.model_copy(update={"turns": tuple(slow)})) as home:
        home.speak()
        for number in range(1, 2 * TURNS + 1):
            await home.until_told("finished", count=number)
            await until_listening(home)
            if number < 2 * TURNS:
                assert len(home.simulator.sessions) == 1
                home.speak(after_s=0.8)
        home.microphone.hear(noise(0.8))  # nobody speaks any more
        await eventually(lambda: len(home.simulator.sessions) == 2 and home.simulator.sessions[0].closed is not None)
        assert home.simulator.sessions[0].closed == (1000, "")
        home.speak(wake=False)
        await home.until_told("finished", count=2 * TURNS + 1)
        assert not told(home.diary, "event/error", "error")
