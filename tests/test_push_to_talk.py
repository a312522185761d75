"""Turns that end here: by our own ear, or when whoever holds the microphone open lets it go; with a real simulator."""

from typing import Any, Literal

import numpy as np
import pytest

from tests.fakes import InstantSpeaker, ScriptedEcho
from tests.recordings import noise
from tests.simulated import check_frames
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from tests.waiting import eventually
from voiced.config import ConversationConfig, RealtimeConfig
from voiced.core.mqtt.commands import Message
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Turn

QUESTION, FOLLOW_UP = QUICK.turns
PATIENT = ConversationConfig(follow_up_s=3.0, no_speech_s=3.0)
Provider = Literal["azure", "azure-preview"]
Who = Literal["server_vad", "semantic_vad", "local"]
PROVIDERS: tuple[Provider, ...] = ("azure", "azure-preview")
HOLD = '{"hold": true}'


def dialect_of(provider: Provider) -> Literal["ga", "preview"]:
    return "ga" if provider == "azure" else "preview"


def home_of(provider: Provider, turns: Who, **further: Any) -> Any:
    config = config_for_tests(
        realtime=RealtimeConfig(dialect=dialect_of(provider)),
        conversation=PATIENT,
        profiles={"default": ProfileConfig(turn_detection=turns, voice="alloy")},
    )
    return at_home(config=config, provider=provider, **further)


def sent(home: Home, kind: str) -> list[dict[str, Any]]:
    return home.simulator.sessions[0].received(kind)


def detection(update: dict[str, Any]) -> Any:
    session = update["session"]
    return session["audio"]["input"]["turn_detection"] if "audio" in session else session["turn_detection"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_daemon_ends_turns_by_itself(provider: Provider) -> None:
    async with home_of(provider, "local") as home:
        home.speak()
        first = await home.until_told("finished")
        assert (first["user"]["text"], first["assistant"]["text"]) == (QUESTION.user, QUESTION.assistant)
        assert 300 < first["user"]["duration_ms"] < 2500
        home.speak(wake=False)
        second = await home.until_told("finished", count=2)
        assert (second["user"]["text"], second["source"]) == (FOLLOW_UP.user, "follow_up")
        session = home.simulator.sessions[0]
        assert [detection(update) for update in sent(home, "session.update")] == [None]
        assert len(session.commits) == len(sent(home, "response.create")) == 2
        check_frames(dialect_of(provider), session)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_whoever_talks_over_an_answer_is_listened_to_where_the_daemon_ends_turns(provider: Provider) -> None:
    echo, speaker = ScriptedEcho(full_duplex=True), InstantSpeaker(holds=True)
    async with home_of(provider, "local", echo=echo, speaker=speaker) as home:
        await answered(home)
        echo.near_speech_s = 0.5
        home.microphone.hear(noise(0.1))
        home.speak(wake=False, after_s=0.8)
        cut = await home.until_told("interrupted")
        assert 0 < cut["assistant"]["interrupted_at_ms"] < cut["assistant"]["duration_ms"]
        speaker.let_go()
        speaker.holds = False
        answer = await home.until_told("finished")
        assert (answer["user"]["text"], answer["assistant"]["text"]) == (FOLLOW_UP.user, FOLLOW_UP.assistant)
        await home.simulator.sessions[0].wait_for("conversation.item.truncated")
        check_frames(dialect_of(provider), home.simulator.sessions[0])


async def test_what_turns_out_to_be_nothing_is_forgotten_by_its_own_name() -> None:
    echo, speaker = ScriptedEcho(full_duplex=True), InstantSpeaker(holds=True)
    nothing = Turn(user="", assistant="Pardon?", sound="weather.wav", transcription_delay_ms=50)
    scenario = QUICK.model_copy(update={"turns": (QUESTION, nothing)})
    async with home_of("azure", "local", scenario=scenario, echo=echo, speaker=speaker) as home:
        await answered(home)
        echo.near_speech_s = 0.2  # a little evidence, and never more
        home.microphone.hear(noise(0.1))
        home.speak(wake=False, after_s=0.8)
        session = home.simulator.sessions[0]
        said = await session.wait_for("input_audio_buffer.committed", count=2)
        deleted = await session.wait_for("conversation.item.deleted")
        assert deleted["item_id"] == said["item_id"]
        assert speaker.cuts == 0


@pytest.mark.parametrize("turns", ["server_vad", "semantic_vad", "local"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_turn_lasts_until_it_is_let_go(provider: Provider, turns: Who) -> None:
    async with home_of(provider, turns) as home:
        assert (await home.command("command/listen", HOLD))["ok"]
        home.speak(wake=False, after_s=2.0)  # a pause that would end a turn
        home.speak(wake=False, after_s=2.0)
        await home.microphone.all_heard()
        await eventually(lambda: bool(home.simulator.sessions))
        session = home.simulator.sessions[0]
        await session.wait_for_client("input_audio_buffer.append", count=5)
        assert not session.commits
        assert (await home.command("command/release"))["ok"]
        turn = await home.until_told("finished")
        assert (turn["user"]["text"], turn["source"]) == (QUESTION.user, "mqtt")
        (begin, end) = session.commits[0]
        assert (end - begin) / 24_000 == pytest.approx(home.microphone.end / 16_000, abs=0.2)
        home.speak(wake=False)  # and then turns end as ever
        assert (await home.until_told("finished", count=2))["user"]["text"] == FOLLOW_UP.user
        updates = [detection(update) and detection(update)["type"] for update in sent(home, "session.update")]
        assert updates == ([None] if turns == "local" else [turns, None, turns])
        assert not session.sent("error")
        check_frames(dialect_of(provider), session)


@pytest.mark.parametrize("turns", ["server_vad", "local"])
async def test_a_hold_interrupts_an_answer(turns: Who) -> None:
    async with home_of("azure", turns, speaker=InstantSpeaker(holds=True)) as home:
        await answered(home)
        assert (await home.command("command/listen", HOLD))["ok"]
        cut = await home.until_told("interrupted")
        assert cut["user"]["text"] == QUESTION.user
        home.speaker.holds = False
        home.microphone.hear(noise(0.3))
        home.speak(wake=False)
        await home.microphone.all_heard()
        assert (await home.command("command/release"))["ok"]
        answer = await home.until_told("finished")
        assert (answer["user"]["text"], answer["turn"]) == (FOLLOW_UP.user, 2)
        session = home.simulator.sessions[0]
        await session.wait_for("conversation.item.truncated")
        assert len(session.commits) == 2
        check_frames("ga", session)


async def test_letting_go_without_a_word_is_said_and_costs_nothing() -> None:
    async with home_of("azure", "server_vad") as home:
        assert (await home.command("command/listen", HOLD))["ok"]
        home.microphone.hear(np.zeros(16_000, np.int16))
        await home.microphone.all_heard()
        answer = await home.command("command/release")
        assert (answer["ok"], answer["error"]["code"]) == (False, "unavailable")
        assert "nothing was said" in answer["error"]["message"]
        turn = await home.until_told("failed")
        assert turn["error"]["code"] == "no_speech"
        await home.until_idle()
        for session in home.simulator.sessions:
            assert not session.received("response.create")
            assert not session.commits


async def test_who_holds_nothing_can_let_nothing_go() -> None:
    async with home_of("azure", "server_vad") as home:
        answer = await home.command("command/release")
        assert '"hold": true' in answer["error"]["message"]
        assert not home.simulator.sessions


async def test_a_text_takes_a_held_turn_back() -> None:
    async with home_of("azure", "server_vad") as home:
        await home.command("command/listen", HOLD)
        home.speak(wake=False)
        await eventually(lambda: bool(home.simulator.sessions))
        await home.simulator.sessions[0].wait_for_client("input_audio_buffer.append", count=2)
        home.daemon.post(Message("voiced/test/command/say", b'{"text": "Dinner!", "interrupt": true}'))
        await home.until_told("interrupted")
        await home.until_told("finished")
        session = home.simulator.sessions[0]
        assert not session.commits
        assert session.received("input_audio_buffer.clear")
        assert detection(session.received("session.update")[-1])["type"] == "server_vad"
        assert not told(home.diary, "event/turn", "failed")


async def answered(home: Home) -> None:
    """Ask, and wait until the answer is all there and still to be heard."""
    home.speak()
    await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
    await home.microphone.all_heard()
    await home.simulator.sessions[0].wait_for("response.done")
    expected = 2 * len(home.simulator.sessions[0].sent_pcm)
    await eventually(lambda: sum(len(pcm) for _, _, pcm in home.speaker._queue) == expected)


async def test_a_press_right_behind_a_release_begins_anew() -> None:
    async with home_of("azure", "server_vad") as home:
        await home.command("command/listen", HOLD)
        home.speak(wake=False)
        await home.microphone.all_heard()
        await eventually(lambda: bool(home.simulator.sessions))
        await home.simulator.sessions[0].wait_for_client("input_audio_buffer.append")
        home.daemon.post(Message("voiced/test/command/release", b""))
        home.daemon.post(Message("voiced/test/command/listen", HOLD.encode()))
        await home.until_told("interrupted")
        home.microphone.hear(noise(0.4))
        home.speak(wake=False)
        await home.microphone.all_heard()
        assert (await home.command("command/release"))["ok"]
        turn = await home.until_told("finished")
        assert (turn["turn"], turn["user"]["text"]) == (2, QUESTION.user)
        session = home.simulator.sessions[0]
        assert len(session.commits) == 1
        assert not session.sent("error")
