"""Talking over an answer, as stories about the whole daemon: the service's memory is what was heard."""

from typing import Any, Literal

import pytest

from tests.fakes import InstantSpeaker, ScriptedEcho
from tests.recordings import noise
from tests.simulated import check_frames
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from tests.waiting import eventually
from voiced.config import ConversationConfig, RealtimeConfig
from voiced.core.tools import GOODBYE
from voiced.simulator import ToolCall, Turn

QUESTION, FOLLOW_UP = QUICK.turns
NOTHING = Turn(user="", assistant="Pardon?", sound="weather.wav", transcription_delay_ms=50)
PATIENT = ConversationConfig(follow_up_s=3.0, no_speech_s=3.0)
Dialect = Literal["azure", "azure-preview"]


async def answering(home: Home) -> dict[str, Any]:
    """Ask, and wait until the answer is all there and still to be heard."""
    home.speak()
    await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
    await home.microphone.all_heard()
    done = await home.simulator.sessions[0].wait_for("response.done")
    sent = len(home.simulator.sessions[0].sent_pcm)
    await eventually(lambda: sum(len(pcm) for _, _, pcm in home.speaker._queue) == 2 * sent)
    return done


@pytest.mark.parametrize("provider", ["azure", "azure-preview"])
async def test_whoever_talks_over_an_answer_is_listened_to(provider: Dialect) -> None:
    dialect: Literal["ga", "preview"] = "ga" if provider == "azure" else "preview"
    config = config_for_tests(realtime=RealtimeConfig(dialect=dialect), conversation=PATIENT)
    echo, speaker = ScriptedEcho(full_duplex=True), InstantSpeaker(holds=True)
    async with at_home(config=config, provider=provider, echo=echo, speaker=speaker) as home:
        await answering(home)
        echo.near_speech_s = 0.5
        home.microphone.hear(noise(0.1))
        home.speak(wake=False, after_s=0.8)
        cut = await home.until_told("interrupted")
        assert cut["assistant"]["text"].endswith("…")
        assert 0 < cut["assistant"]["interrupted_at_ms"] < cut["assistant"]["duration_ms"]
        speaker.let_go()
        speaker.holds = False
        answer = await home.until_told("finished")
        assert (answer["user"]["text"], answer["assistant"]["text"]) == (FOLLOW_UP.user, FOLLOW_UP.assistant)
        assert answer["source"] == "follow_up"
        session = home.simulator.sessions[0]
        truncated = await session.wait_for("conversation.item.truncated")
        assert truncated["audio_end_ms"] == cut["assistant"]["interrupted_at_ms"]
        check_frames(dialect, session)


async def test_what_turns_out_to_be_nothing_is_resumed_and_forgotten() -> None:
    scenario = QUICK.model_copy(update={"turns": (QUESTION, NOTHING, FOLLOW_UP)})
    echo, speaker = ScriptedEcho(full_duplex=True), InstantSpeaker(holds=True)
    config = config_for_tests(conversation=PATIENT)
    async with at_home(scenario, config=config, echo=echo, speaker=speaker) as home:
        await answering(home)
        echo.near_speech_s = 0.2  # a little evidence, and never more
        home.microphone.hear(noise(0.1))
        home.speak(wake=False, after_s=0.8)
        await eventually(lambda: speaker.paused)
        session = home.simulator.sessions[0]
        said = await session.wait_for("input_audio_buffer.committed", count=2)
        await session.wait_for("response.created", count=2)
        deleted = await session.wait_for("conversation.item.deleted")
        assert deleted["item_id"] == said["item_id"]
        await eventually(lambda: not speaker.paused)
        assert speaker.pauses == 1
        assert speaker.cuts == 0
        speaker.let_go()
        finished = await home.until_told("finished")
        assert finished["assistant"]["text"] == QUESTION.assistant
        assert finished["user"]["text"] == QUESTION.user
        assert not told(home.diary, "event/turn", "interrupted")
        memory = {item.id for item in session.memory}
        assert said["item_id"] not in memory
        assert len(memory) == 2  # the question and its answer
        speaker.holds = False
        echo.near_speech_s = 0.0
        home.speak(wake=False)
        assert (await home.until_told("finished", count=2))["user"]["text"] == FOLLOW_UP.user


async def test_the_daemons_own_voice_interrupts_nothing() -> None:
    echo, speaker = ScriptedEcho(full_duplex=True), InstantSpeaker(holds=True)
    async with at_home(echo=echo, speaker=speaker) as home:
        await answering(home)
        home.speak(wake=False)  # of which the evidence says nothing
        await home.microphone.all_heard()
        speaker.let_go()
        await home.until_told("finished")
        assert len(home.simulator.sessions[0].commits) == 1
        assert (speaker.pauses, speaker.cuts) == (0, 0)


async def test_the_model_says_goodbye() -> None:
    bye = Turn(
        user="Bye.",
        assistant="",
        preamble="Goodbye!",
        sound="time.wav",
        tools=(ToolCall(name=GOODBYE),),
        transcription_delay_ms=0,
    )
    async with at_home(QUICK.model_copy(update={"turns": (bye,)}), speaker=InstantSpeaker(holds=True)) as home:
        await answering(home)
        answer = await home.simulator.sessions[0].wait_for_client("conversation.item.create")
        assert answer["item"]["type"] == "function_call_output"
        home.speaker.let_go()
        ended = await home.until_told("ended", "event/session")
        assert (ended["reason"], ended["turns"]) == ("goodbye", 1)
