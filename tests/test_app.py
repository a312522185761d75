"""The whole daemon as stories: real protocol and simulator over a real WebSocket; sound and broker behave."""

import asyncio
import json
from typing import Literal

import numpy as np
import pytest

from tests.fakes import InstantSpeaker, Remembered
from tests.recordings import noise
from tests.simulated import check_frames
from tests.stories import QUICK, at_home, config_for_tests, told
from voiced.config import (
    AudioConfig,
    ConversationConfig,
    MqttConfig,
    RealtimeConfig,
)
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.payloads import BrokerHealth
from voiced.core.resample import resample
from voiced.core.states import Rules
from voiced.errors import RestartError
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Connection, Refusal, Turn
from voiced.simulator.scenario import ErrorEvent

MARGIN = Rules().wake_overlap


def expected(sound: Samples, since: int) -> Samples:
    """What the service must get of ``sound`` from a position on."""
    return resample(sound[since:], MICROPHONE_RATE, SERVICE_RATE)


def arrived_as_said(received: Samples, sound: Samples, since: int) -> None:
    """Compare sample for sample; the converter still holds the last few."""
    assert len(received) > 1.5 * SERVICE_RATE
    assert np.array_equal(received, expected(sound, since)[: len(received)])


async def test_a_conversation_with_a_follow_up() -> None:
    async with at_home() as home:
        woken, sound = home.speak()
        turn = await home.until_told("finished")
        assert turn["user"]["text"] == "What time is it?"
        assert turn["assistant"]["text"] == "It is twenty past nine."
        assert turn["source"] == "wake_word"
        assert turn["wake_word"] == "hey_jarvis"
        assert turn["latency_ms"]["end_of_speech_to_first_audio"] is not None
        assert turn["usage"]["audio_output"] > 0
        assert home.microphone.prompt
        home.speak(wake=False)
        follow_up = await home.until_told("finished", count=2)
        assert follow_up["source"] == "follow_up"
        assert (follow_up["turn"], follow_up["session"]) == (2, turn["session"])
        ended = await home.until_told("ended", "event/session")
        assert (ended["reason"], ended["turns"]) == ("silence", 2)
        await home.until_idle()
        assert not home.microphone.prompt
        round_trip = ["listening", "processing", "responding"]
        assert home.states() == ["idle", *round_trip, *round_trip, "listening", "idle"]
        session = home.simulator.sessions[0]
        assert (await session.wait_closed())[0] == 1000
        arrived_as_said(session.received_pcm[: 2 * SERVICE_RATE], sound, woken - MARGIN)
        assert b"".join(pcm for _, _, pcm in home.speaker.played) == session.sent_pcm.tobytes()
        assert home.daemon.lost_samples == 0
        assert home.speaker.chimes == 1


async def test_others_are_asked_to_be_softer_once_for_each_conversation() -> None:
    async with at_home() as home:
        for count in (1, 2):
            home.speak()
            await home.until_told("ended", "event/session", count=count)
            await home.until_told("ended", "event/ducking", count=1 + count)
    events = [json.loads(payload)["event_type"] for topic, payload in home.diary.told if topic == "event/ducking"]
    assert events == ["ended", "began", "ended", "began", "ended"]


@pytest.mark.parametrize(("provider", "dialect"), [("azure", "ga"), ("azure-preview", "preview")])
async def test_every_frame_either_way_is_what_the_sdk_says_it_must_be(
    provider: Literal["azure", "azure-preview"], dialect: Literal["ga", "preview"]
) -> None:
    config = config_for_tests(realtime=RealtimeConfig(dialect=dialect))
    async with at_home(config=config, provider=provider, speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        await home.simulator.sessions[0].wait_for("response.done")
        home.speak()  # over the answer: cancels and truncates
        await home.until_told("interrupted")
        await home.until_sounding()
        home.speaker.holds = False
        await home.command("command/say", json.dumps({"text": "Enough.", "interrupt": True}))
        await home.until_told("ended", "event/session")
        recording = home.simulator.sessions[0]
        await recording.wait_closed()
        kinds = {event["type"] for event in recording.client_events}
        assert kinds >= {"session.update", "input_audio_buffer.append", "conversation.item.truncate", "response.create"}
        check_frames(dialect, recording)


@pytest.mark.parametrize("delay_ms", [0, 700])
async def test_nothing_said_while_connecting_is_lost(delay_ms: int) -> None:
    scenario = QUICK.model_copy(update={"connections": (Connection(updated_delay_ms=delay_ms),)})
    async with at_home(scenario) as home:
        woken, sound = home.speak()
        await home.until_told("finished")
        arrived_as_said(home.simulator.sessions[0].received_pcm, sound, woken - MARGIN)
        assert home.daemon.lost_samples == 0


async def test_no_sound_goes_out_before_the_settings_hold() -> None:
    async with at_home() as home:
        home.speak()
        await home.until_told("finished")
        frames = home.simulator.sessions[0].client_events
        assert frames[0]["type"] == "session.update"
        updated = home.simulator.sessions[0].sent("session.updated")
        first = next(frame for frame in home.simulator.sessions[0].client_frames if "append" in str(frame.text)[:60])
        when = next(frame.at for frame in home.simulator.sessions[0].server_frames if frame.event in updated)
        assert first.at >= when


async def test_nothing_leaves_the_house_before_a_wake_word() -> None:
    async with at_home() as home:
        home.speak(wake=False)
        await home.microphone.all_heard()
        assert home.simulator.connections == 0
        assert home.states() == ["idle"]


async def test_a_wake_word_interrupts_and_the_service_learns_what_was_heard() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        session = home.simulator.sessions[0]
        await session.wait_for("response.done")
        await home.until_sounding()
        home.speak()
        cut = await home.until_told("interrupted")
        assert 0 < cut["assistant"]["interrupted_at_ms"] < cut["assistant"]["duration_ms"]
        truncated = await session.wait_for("conversation.item.truncated")
        assert truncated["audio_end_ms"] == cut["assistant"]["interrupted_at_ms"]
        whole, heard = QUICK.turns[0].assistant, cut["assistant"]["text"]
        assert heard.endswith("…")
        assert whole.startswith(heard.removesuffix("…"))
        assert len(heard) < len(whole)
        assert home.speaker.cuts == 1
        await home.until_told("started", count=2)
        assert len(home.simulator.sessions) == 1


async def test_asking_in_text_is_answered_with_the_answer() -> None:
    async with at_home() as home:
        answer = await home.command("command/ask", json.dumps({"text": "What time is it?", "id": "q1"}))
        assert (answer["ok"], answer["id"], answer["action"]) == (True, "q1", "ask")
        assert answer["result"]["text"] == "It is twenty past nine."
        assert home.speaker.played
        await home.until_idle()
        assert home.simulator.sessions[0].received_pcm.size == 0


async def test_a_typed_question_is_in_the_turn_and_in_the_memory() -> None:
    async with at_home() as home:
        await home.command("command/ask", "What time is it?")
        assert json.loads(home.diary.kept["turn"])["user"]["text"] == "What time is it?"
        await home.until_idle()
        await home.command("command/ask", "And tomorrow?")
        texts = [
            item["item"]["content"][0]["text"]
            for item in home.simulator.sessions[1].received("conversation.item.create")
        ]
        assert texts == ["What time is it?", "It is twenty past nine.", "And tomorrow?"]


async def test_what_a_cut_answer_cost_is_its_own_turns_cost() -> None:
    scenario = QUICK.model_copy(update={"pace": 1.0})  # as slow as speech: it is cut while it comes
    async with at_home(scenario, speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        await home.command("command/stop")
        cut = await home.until_told("interrupted")
        billed = home.simulator.sessions[0].sent("response.done")[0]["response"]["usage"]
        assert cut["usage"]["output"] == billed["output_tokens"] > 0
        assert cut["usage"]["input"] == billed["input_tokens"]


async def test_stopping_what_is_read_aloud_is_no_error() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        saying = asyncio.create_task(home.command("command/say", "Dinner is ready."))
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        await home.simulator.sessions[0].wait_for("response.done")
        home.daemon.post(Message("voiced/test/command/stop", b"", "answers/here", b"42"))
        await home.until_idle()
        await saying
        assert not told(home.diary, "event/error", "error")


async def test_each_way_the_service_refuses_is_told() -> None:
    statuses = (400, 401, 404)
    refusals = tuple(Connection(refuse=Refusal(status=status, message="No.")) for status in statuses)
    async with at_home(QUICK.model_copy(update={"connections": refusals})) as home:
        for count in range(1, len(statuses) + 1):
            home.speak()
            await home.until_told("error", "event/error", count=count)
            await home.until_state("error")
        assert len({error["message"] for error in told(home.diary, "event/error", "error")}) == len(statuses)


async def test_a_text_profile_plays_nothing() -> None:
    config = config_for_tests(profiles={"default": ProfileConfig(modalities=("text",))})
    async with at_home(config=config) as home:
        answer = await home.command("command/ask", "What time is it?")
        assert answer["result"]["text"] == "It is twenty past nine."
        assert not home.speaker.played
        assert home.simulator.sessions[0].sent_pcm.size == 0


async def test_saying_speaks_the_text_itself() -> None:
    async with at_home() as home:
        answer = await home.command("command/say", "Dinner is ready.")
        assert answer["ok"]
        turn = await home.until_told("finished")
        assert turn["assistant"]["text"] == "Dinner is ready."
        assert home.speaker.announced == len(home.speaker.played) > 0
        await home.until_idle()
        await home.command("command/ask", "What time is it?")
        assert len(home.speaker.played) > home.speaker.announced


async def test_listening_by_command_and_ending_by_command() -> None:
    config = config_for_tests(conversation=ConversationConfig(no_speech_s=20))
    async with at_home(config=config) as home:
        assert (await home.command("command/listen", "PRESS"))["ok"]
        await home.until_told("started", "event/session")
        assert told(home.diary, "event/wake", "detected")[0]["source"] == "mqtt"
        assert (await home.command("command/end"))["ok"]
        ended = await home.until_told("ended", "event/session")
        assert ended["reason"] == "command"
        await home.until_idle()


async def test_muting_ends_a_conversation_and_hears_nothing() -> None:
    async with at_home(config=config_for_tests(conversation=ConversationConfig(no_speech_s=20))) as home:
        await home.command("command/listen")
        await home.until_told("started", "event/session")
        assert (await home.command("set/mute", "ON"))["ok"]
        assert (await home.until_told("ended", "event/session"))["reason"] == "muted"
        assert json.loads(home.diary.kept["settings"])["mute"] is True
        home.speak()
        refused = await home.command("command/listen")
        assert refused["error"]["code"] == "unavailable"
        assert len(home.simulator.sessions) == 1
        await home.command("set/mute", "OFF")
        home.speak()
        await home.until_told("finished")
        assert home.ears.resets == 2


async def test_mute_and_volume_outlive_a_restart() -> None:
    settled = Remembered()
    async with at_home(settled=settled) as home:
        await home.command("set", json.dumps({"mute": True, "volume": 17}))
        assert home.speaker.percent == 17
    async with at_home(settled=settled) as home:
        settings = json.loads(home.diary.kept["settings"])
        assert (settings["mute"], settings["volume"], home.speaker.percent) == (True, 17, 17)


@pytest.mark.parametrize("damaged", [{"volume": 900}, {"mute": "maybe", "volume": "loud"}, {"other": 1}])
async def test_damaged_settings_are_not_believed(damaged: dict[str, object]) -> None:
    async with at_home(settled=Remembered(**damaged)) as home:
        settings = json.loads(home.diary.kept["settings"])
        assert (settings["mute"], settings["volume"]) == (False, AudioConfig().volume)


async def test_a_refusal_is_said_in_words_and_the_next_wake_tries_again() -> None:
    refusal = Connection(
        refuse=Refusal(status=401, code="401", message="Access denied due to invalid subscription key.")
    )
    async with at_home(QUICK.model_copy(update={"connections": (refusal,)})) as home:
        home.speak()
        error = await home.until_told("error", "event/error")
        assert "401" in error["message"] or "key" in error["message"]
        await home.until_state("error")
        assert home.speaker.chimes == 2  # the wake, and the bad news
        home.speak()
        await home.until_told("finished")
        recovered = await home.until_told("recovered", "event/error")
        assert recovered["code"] == "service"
        await home.until_idle()


async def test_an_error_event_is_published_and_the_conversation_goes_on() -> None:
    odd = ErrorEvent(kind="error", type="x", code="odd", message="Odd.")
    turn = Turn(assistant="Never", sound="time.wav", fault=odd)
    scenario = QUICK.model_copy(update={"turns": (turn, *QUICK.turns)})
    async with at_home(scenario) as home:
        home.speak()
        assert (await home.until_told("error", "event/error"))["message"] == "Odd."
        home.speak(wake=False)
        await home.until_told("finished")


async def test_a_dead_connection_fails_the_turn_and_the_next_wake_works() -> None:
    turn = QUICK.turns[0].model_copy(update={"fault_times": 1})
    turn = Turn.model_validate({**turn.model_dump(), "fault": {"kind": "abort", "after_ms": 200}})
    async with at_home(QUICK.model_copy(update={"turns": (turn,)})) as home:
        home.speak()
        failed = await home.until_told("failed")
        assert failed["error"]["code"] in {"closed", "unreachable"}
        await home.until_idle()
        home.speak()
        await home.until_told("finished")


async def test_a_busy_daemon_says_so() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        refused = await home.command("command/ask", "What time is it?")
        assert refused["error"]["code"] == "busy"


@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        ("command/dance", "", "unknown_action"),
        ("command/say", "", "invalid"),
        ("set/volume", "loud", "invalid"),
        ("set", "{", "invalid"),
        ("command/listen", '{"profile": "nobody"}', "invalid"),
    ],
)
async def test_a_bad_command_is_answered_and_survived(topic: str, payload: str, code: str) -> None:
    async with at_home() as home:
        answer = await home.command(topic, payload)
        assert (answer["ok"], answer["error"]["code"]) == (False, code)
        assert (await home.command("command/ping"))["ok"]


async def test_a_new_conversation_ends_the_old_one_and_remembers_nothing() -> None:
    async with at_home() as home:
        await home.command("command/ask", "What time is it?")
        await home.until_idle()
        assert (await home.command("command/new_conversation", "PRESS"))["ok"]
        await home.command("command/ask", "And tomorrow?")
        asked = home.simulator.sessions[1].received("conversation.item.create")
        assert [item["item"]["content"][0]["text"] for item in asked] == ["And tomorrow?"]
        await home.until_idle()
        await home.command("command/listen")
        await home.until_told("started", "event/session", 3)
        assert (await home.command("command/new_conversation"))["ok"]
        assert (await home.until_told("ended", "event/session", 3))["reason"] == "command"


async def test_told_to_restart_it_ends_so_that_systemd_starts_it_again() -> None:
    async with at_home() as home:
        refused = await home.command("command/restart")
        assert "does not run as a systemd service" in refused["error"]["message"]
    async with at_home(supervised=True) as home:
        assert (await home.command("command/restart"))["ok"]
        with pytest.raises(RestartError) as caught:
            await home.running
        assert caught.value.exit_status == 75


async def test_leaving_closes_the_session_politely() -> None:
    async with at_home(config=config_for_tests(conversation=ConversationConfig(no_speech_s=20))) as home:
        await home.command("command/listen")
        await home.until_told("started", "event/session")
    assert home.simulator.sessions[0].closed is not None
    assert home.simulator.sessions[0].closed[0] == 1000
    assert told(home.diary, "event/session", "ended")[0]["reason"] == "shutdown"


async def test_a_recording_that_is_over_ends_the_daemon_after_the_conversation() -> None:
    async with at_home() as home:
        home.speak()
        home.microphone.run_out()
        async with asyncio.timeout(10):
            await home.running
        assert len(told(home.diary, "event/turn", "finished")) == 1


async def test_transcripts_off_publishes_no_texts() -> None:
    config = config_for_tests(mqtt=MqttConfig(host="127.0.0.1", transcripts="off"))
    async with at_home(config=config) as home:
        home.speak()
        await home.until_told("finished")
        for _, payload in home.diary.history:
            assert "twenty past" not in payload
            assert "What time" not in payload


async def test_the_next_session_is_told_what_was_said() -> None:
    async with at_home() as home:
        home.speak()
        await home.until_told("finished")
        await home.until_told("ended", "event/session")
        home.speak()
        await home.until_told("finished", count=2)
        items = [item["item"] for item in home.simulator.sessions[1].received("conversation.item.create")]
        assert [item["content"][0]["text"] for item in items] == ["What time is it?", "It is twenty past nine."]


def test_the_wake_overlap_reaches_back_far_enough() -> None:
    """Scores cross at most 550 ms after the word's end; sound must begin 200 ms before it."""
    assert MARGIN >= (550 + 200) * MICROPHONE_RATE // 1000


async def test_a_recording_that_ends_with_the_question_is_answered_all_the_same() -> None:
    async with at_home() as home:
        woken, sound = home.speak(after_s=0.0)
        assert woken < len(sound)
        home.microphone.run_out()
        assert (await home.until_told("finished"))["assistant"]["text"] == "It is twenty past nine."
        async with asyncio.timeout(10):
            await home.running


async def test_nothing_is_said_where_nobody_would_hear_it() -> None:
    speaker = InstantSpeaker()
    speaker.problem = "there is no speaker; plug one in"
    async with at_home(speaker=speaker) as home:
        refused = await home.command("command/say", "Dinner is ready.")
        assert (refused["error"]["code"], "plug one in" in refused["error"]["message"]) == ("unavailable", True)
    config = config_for_tests(profiles={"default": ProfileConfig(modalities=("text",))})
    async with at_home(config=config) as home:
        assert (await home.command("command/say", "Dinner is ready."))["error"]["code"] == "unavailable"


BY_SPEECH = config_for_tests(conversation=ConversationConfig(connect="speech", no_speech_s=1.0, follow_up_s=0.5))


async def test_a_wake_and_nothing_said_after_it_connects_to_nobody() -> None:
    async with at_home(config=BY_SPEECH) as home:
        home.microphone.hear(noise(2.0))
        home.say("hey_jarvis")
        home.microphone.hear(noise(1.0))
        await home.diary.until(lambda _: home.states()[-2:] == ["listening", "idle"])
        assert home.simulator.connections == 0
        assert home.speaker.chimes == 1
        assert not told(home.diary, "event/session", "started")


async def test_what_is_said_behind_the_wake_word_arrives_whole_though_the_session_opens_only_then() -> None:
    async with at_home(config=BY_SPEECH) as home:
        woken, sound = home.speak()
        assert (await home.until_told("finished"))["user"]["text"] == "What time is it?"
        arrived_as_said(home.simulator.sessions[0].received_pcm, sound, woken - MARGIN)
        assert home.daemon.lost_samples == 0
        await home.until_idle()
        assert home.simulator.connections == 1


async def test_without_a_microphone_the_state_is_error_once_nothing_goes_on() -> None:
    async with at_home(QUICK) as home:
        home.reports.problem("microphone", "It is gone.")
        state = json.loads(home.diary.kept["state"])
        assert (state["state"], state["reason"]) == ("error", "microphone")
        await home.command("command/say", "Still here.")  # for which nobody need be heard
        await home.diary.until(lambda _: home.states()[-2:] == ["responding", "error"])
        home.reports.problem("speaker", "It is gone, too.")
        home.reports.problem("microphone", None)
        back = json.loads(home.diary.kept["state"])
        assert back["state"] == "idle"
        assert home.states() == ["idle", "error", "processing", "responding", "error", "idle"]
        assert back["since"] > state["since"]


@pytest.mark.parametrize(
    ("problems", "shown"), [((), "ok"), (("microphone",), "missing"), (("microphone_silent",), "silent")]
)
async def test_health_says_how_the_microphone_is(problems: tuple[str, ...], shown: str) -> None:
    async with at_home(QUICK) as home:
        for code in problems:
            home.reports.problem(code, "Something is wrong with it.")
        home.reports.health(overruns=0, echo=home.echo.health, always=True)
        assert json.loads(home.diary.kept["health"])["microphone"] == shown


async def test_turns_that_were_dropped_are_said_each_time_there_are_more() -> None:
    async with at_home(QUICK) as home:
        for dropped in (0, 2, 2, 5):
            home.diary.health = BrokerHealth(dropped_turns=dropped)
            home.reports.health(overruns=0, echo=home.echo.health)
        said = [error["message"] for error in told(home.diary, "event/error", "error")]
        assert [message.split()[0] for message in said] == ["2", "3"]
        assert all("mqtt.outbox_days" in message for message in said)
        assert json.loads(home.diary.kept["health"])["mqtt"]["dropped_turns"] == 5
