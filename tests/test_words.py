"""Several words, profiles and command words as stories of the whole daemon; settings that change while it runs."""

import json
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import InstantSpeaker, KeptClips, Remembered
from tests.recordings import noise
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from voiced.config import AudioConfig, Config, ConversationConfig, RealtimeConfig, WakeConfig
from voiced.config import WakeWordConfig as Word
from voiced.core.ears import Ears
from voiced.core.frames import FRAME, STEP, Frame
from voiced.core.mqtt import commands
from voiced.core.profiles import rules
from voiced.core.settings import changed, configured, remembered
from voiced.core.states import Rules
from voiced.core.wake import NearMiss, WakeRules
from voiced.core.words import choices, is_active, word_rules
from voiced.errors import CommandError
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Simulator

PATIENT = ConversationConfig(follow_up_s=5, no_speech_s=20)
WORDS = (
    Word(model="hey_jarvis"),
    Word(model="alexa", profile="kid", threshold=0.7),
    *(Word(model=f"do_{action}", action=action) for action in ("stop", "mute", "listen", "end")),
    Word(model="louder", action="volume_up"),
    Word(model="softer", action="volume_down"),
)


def two_profiles(kid: ProfileConfig | None = None, **changes: Any) -> Config:
    profiles = {
        "default": ProfileConfig(instructions="Be brief."),
        "kid": kid or ProfileConfig(voice="cedar", instructions="Be kind.", language="de"),
    }
    return config_for_tests(wake=WakeConfig(words=WORDS), profiles=profiles, **changes)


def session_of(home: Home, number: int) -> dict[str, Any]:
    """What a session was opened with."""
    update: dict[str, Any] = home.simulator.sessions[number].received("session.update")[0]["session"]
    return update


def settings_of(home: Home) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(home.diary.kept["settings"])
    return settings


async def heard_again(home: Home, word: str, count: int = 1) -> dict[str, Any]:
    """Say a command word, and return what was published of it."""
    home.say(word)
    await home.diary.until(
        lambda diary: sum(e["action"] is not None for e in told(diary, "event/wake", "detected")) >= count
    )
    return told(home.diary, "event/wake", "detected")[-1]


# --- profiles ---


async def test_a_word_opens_a_session_of_its_profile() -> None:
    async with at_home(config=two_profiles()) as home:
        home.speak(word="alexa")
        turn = await home.until_told("finished")
        assert (turn["wake_word"], turn["user"]["language"]) == ("alexa", "de")
        opened = session_of(home, 0)
        assert opened["instructions"] == "Be kind."
        assert opened["audio"]["output"]["voice"] == "cedar"


async def test_a_word_of_another_profile_ends_the_conversation_and_starts_its_own() -> None:
    async with at_home(config=two_profiles(), speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.until_sounding()
        home.speak(word="alexa")
        assert (await home.until_told("interrupted"))["wake_word"] == "hey_jarvis"
        ended = await home.until_told("ended", "event/session")
        assert ended["reason"] == "interrupted"
        second = await home.until_told("started", "event/session", count=2)
        assert second["session"] != ended["session"]
        begun = await home.until_told("started", count=2)
        assert (begun["session"], begun["turn"], begun["wake_word"]) == (second["session"], 1, "alexa")
        assert [session_of(home, number)["instructions"] for number in (0, 1)] == ["Be brief.", "Be kind."]
        assert home.speaker.cuts == 1
        code, _ = await home.simulator.sessions[0].wait_closed()
        assert code == 1000


async def test_a_profile_goes_to_its_own_deployment() -> None:
    async with Simulator(QUICK) as azure:
        realtime = RealtimeConfig(
            provider="azure", endpoint=azure.url.replace("ws:", "http:").removesuffix("/"), auth="key"
        )
        config = two_profiles(ProfileConfig(deployment="small"), realtime=realtime)
        async with at_home(config=config, environment={"AZURE_OPENAI_API_KEY": "k"}) as home:
            home.speak(word="alexa")
            await home.until_told("finished")
            await home.until_told("ended", "event/session")
            home.speak()
            await home.until_told("finished", count=2)
        assert [session.query["model"] for session in azure.sessions] == ["small", realtime.deployment]


@pytest.mark.parametrize(("usual", "own", "chimes"), [(True, False, 0), (False, True, 1), (True, None, 1)])
async def test_a_profile_chimes_or_not(usual: bool, own: bool | None, chimes: int) -> None:
    config = two_profiles(ProfileConfig(chime=own), audio=AudioConfig(chime=usual))
    async with at_home(config=config) as home:
        home.speak(word="alexa")
        await home.until_told("finished")
        assert home.speaker.chimes == chimes


@pytest.mark.parametrize(("history", "items"), [("own", 0), ("shared", 2)])
async def test_what_one_profile_heard_is_told_to_another_only_if_both_share(history: Any, items: int) -> None:
    async with at_home(config=two_profiles(ProfileConfig(history=history))) as home:
        for number, word in enumerate(["alexa", "hey_jarvis", "alexa"], start=1):
            home.speak(word=word)
            await home.until_told("finished", count=number)
            await home.until_told("ended", "event/session", count=number)
        told_to = [len(session.received("conversation.item.create")) for session in home.simulator.sessions]
        assert told_to[1] == items  # what alexa heard
        assert told_to[2] == (2 if history == "own" else 4)  # its own turn, or everybody's


# --- command words ---


async def test_stop_works_while_an_answer_plays_and_needs_no_other_session() -> None:
    async with at_home(config=two_profiles(conversation=PATIENT), speaker=InstantSpeaker(holds=True)) as home:
        home.speak()
        await home.until_sounding()
        wake = await heard_again(home, "do_stop")
        assert (wake["wake_word"], wake["action"]) == ("do_stop", "stop")
        await home.until_told("interrupted")
        assert (home.speaker.cuts, home.speaker.busy) == (1, False)
        await home.diary.until(lambda _: home.states()[-1:] == ["listening"])
        assert home.simulator.connections == 1


async def test_command_words_act_without_the_service() -> None:
    async with at_home(config=two_profiles(audio=AudioConfig(volume=85))) as home:
        await heard_again(home, "louder", 1)
        await heard_again(home, "louder", 2)
        assert home.speaker.percent == settings_of(home)["volume"] == 100
        await heard_again(home, "softer", 3)
        assert home.speaker.percent == 90
        await heard_again(home, "do_stop", 4)
        await heard_again(home, "do_end", 5)
        await heard_again(home, "do_mute", 6)
        await home.diary.until(lambda _: settings_of(home)["mute"])
        assert json.loads(home.diary.kept["wake"])["action"] == "mute"
        assert home.settled.values == {"volume": 90, "mute": True}
        assert home.simulator.connections == 0
        assert home.states() == ["idle"]


async def test_end_ends_the_conversation() -> None:
    async with at_home(config=two_profiles(conversation=PATIENT)) as home:
        await home.command("command/listen")
        await home.until_told("started", "event/session")
        await heard_again(home, "do_end")
        assert (await home.until_told("ended", "event/session"))["reason"] == "wake_word"


async def test_listen_calls_whoever_was_chosen() -> None:
    async with at_home(config=two_profiles()) as home:
        await home.command("set/persona", "kid")
        home.speak(word="do_listen")
        await home.until_told("finished")
        assert session_of(home, 0)["instructions"] == "Be kind."


# --- settings ---


async def test_settings_hold_at_once_and_outlive_a_restart() -> None:
    settled = Remembered()
    async with at_home(config=two_profiles(), settled=settled) as home:
        wishes = {
            "wake_sensitivity": 0.8,
            "wake_enabled": "OFF",
            "wake_word": "alexa",
            "follow_up": "OFF",
            "persona": "kid",
        }
        assert (await home.command("set", json.dumps(wishes)))["ok"]
        state = json.loads(home.diary.kept["state"])
        assert state["wake_enabled"] is False
    async with at_home(config=two_profiles(), settled=settled) as home:
        found = settings_of(home)
        assert (found["wake_sensitivity"], found["wake_enabled"], found["wake_word"]) == (0.8, False, "alexa")
        assert (found["follow_up"], found["persona"], found["voice"]) == (False, "kid", "cedar")
        assert json.loads(home.diary.kept["state"])["wake_enabled"] is False
        home.microphone.hear(noise(0.2))
        await home.command("set/wake_enabled", "ON")
        home.speak(word="alexa")
        await home.until_told("ended", "event/session")
        # hey_jarvis is not the active word, alexa has a threshold of its own; command words follow the sensitivity
        assert [round(rule.threshold, 3) for rule in home.ears.words[:3]] == [1.0, 0.7, 0.23]


async def test_a_voice_is_the_active_profiles_and_outlives_a_restart_but_not_the_profile() -> None:
    settled = Remembered()
    async with at_home(config=two_profiles(), settled=settled) as home:
        assert (await home.command("set", json.dumps({"persona": "kid"})))["ok"]
        assert settings_of(home)["voice"] == "cedar"
        assert (await home.command("set/voice", "verse"))["ok"]
        assert settings_of(home)["voice"] == "verse"
    async with at_home(config=two_profiles(), settled=settled) as home:
        assert (settings_of(home)["persona"], settings_of(home)["voice"]) == ("kid", "verse")
        await home.command("command/ask", "What time is it?")
        await home.until_told("finished")
        await home.command("command/end")
        await home.until_idle()
        home.speak()  # hey_jarvis calls another profile, which has its own voice
        await home.until_told("started", "event/session", count=2)
        assert [session_of(home, number)["audio"]["output"]["voice"] for number in (0, 1)] == ["verse", "marin"]
        assert (await home.command("set/persona", "default"))["ok"]
        assert settings_of(home)["voice"] == "marin"
        assert "voice" not in settled.values
        assert (await home.command("set", json.dumps({"persona": "kid", "voice": "ash"})))["ok"]
        assert (settings_of(home)["persona"], settings_of(home)["voice"]) == ("kid", "ash")


async def test_words_are_ignored_while_switched_off_and_commands_are_not() -> None:
    async with at_home(config=two_profiles()) as home:
        await home.command("set/wake_enabled", "OFF")
        home.speak()
        await home.microphone.all_heard()
        assert home.ears.fed == []
        assert (await home.command("command/ask", "What time is it?"))["ok"]
        await home.until_idle()
        assert told(home.diary, "event/wake", "detected") == []
        await home.command("set/wake_enabled", "TOGGLE")
        home.speak()
        await home.until_told("started", "event/session", count=2)
        assert home.ears.resets >= 1


async def test_a_word_that_is_not_chosen_is_not_heard_but_command_words_are() -> None:
    async with at_home(config=two_profiles()) as home:
        await home.command("set/wake_word", "alexa")
        home.say("hey_jarvis")
        await heard_again(home, "softer")
        assert [wake["wake_word"] for wake in told(home.diary, "event/wake", "detected")] == ["softer"]
        await home.command("set/wake_word", "all")
        home.speak()
        await home.until_told("finished")


async def test_without_follow_up_a_conversation_is_over_with_its_answer() -> None:
    async with at_home(config=two_profiles(conversation=PATIENT)) as home:
        await home.command("set/follow_up", "OFF")
        home.speak()
        assert (await home.until_told("ended", "event/session"))["reason"] == "done"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("wake_word", "marvin"),
        ("persona", "nobody"),
        ("wake_sensitivity", "2"),
        ("voice", "orson"),
        ("wake_word", "do_stop"),
    ],
)
async def test_a_value_that_is_refused_jumps_back(key: str, value: str) -> None:
    async with at_home(config=two_profiles()) as home:
        before = [payload for topic, payload in home.diary.history if topic == "settings"]
        answer = await home.command(f"set/{key}", value)
        assert (answer["ok"], answer["error"]["code"]) == (False, "invalid")
        after = [payload for topic, payload in home.diary.history if topic == "settings"]
        assert after == [*before, before[-1]]
        assert home.settled.values == {}


# --- near misses and clips ---


async def test_near_misses_are_told_and_counted_and_clips_show_them() -> None:
    clips = KeptClips()
    async with at_home(config=two_profiles(), clips=clips) as home:
        home.ears.open = True
        home.microphone.hear(noise(3.0))
        home.ears.misses.append(NearMiss("alexa", 0.41, 0.7, home.microphone.end))
        home.microphone.hear(noise(1.0))
        event = await home.until_told("near_miss", "event/wake")
        assert (event["wake_word"], event["score"], event["threshold"]) == ("alexa", 0.41, 0.7)
        home.speak()
        await home.until_told("finished")
        home.reports.health(overruns=0, echo=home.echo.health, vetoed=home.daemon.vetoed)
        health = json.loads(home.diary.kept["health"])
        assert health["wake"] == {"detected": 1, "near_misses": 1, "vetoed": 0, "rejected": 0}
        assert [(clip.kind, clip.word) for clip in clips.clips] == [("near_miss", "alexa"), ("wake", "hey_jarvis")]
        assert all(clip.words == tuple(word.model for word in WORDS) for clip in clips.clips)
        assert 2.9 * 16_000 < len(clips.clips[0].samples) < 3.1 * 16_000


@pytest.mark.parametrize(("why", "counted"), [("voice", 1), ("speaker", 0)])
async def test_a_wake_word_that_the_wrong_one_says_is_told_with_the_reason(
    why: Literal["voice", "speaker"], counted: int
) -> None:
    clips = KeptClips()
    async with at_home(config=two_profiles(), clips=clips) as home:
        home.ears.open = True
        home.microphone.hear(noise(3.0))
        home.ears.misses.append(NearMiss("alexa", 0.97, 0.7, home.microphone.end, why))
        home.microphone.hear(noise(1.0))
        event = await home.until_told("rejected", "event/wake")
        assert (event["wake_word"], event["score"], event["reason"]) == ("alexa", 0.97, why)
        home.reports.health(overruns=0, echo=home.echo.health, vetoed=1 - counted)
        health = json.loads(home.diary.kept["health"])
        assert health["wake"] == {"detected": 0, "near_misses": 0, "vetoed": 1 - counted, "rejected": counted}
        home.speak()
        await home.until_told("finished")
        assert [(clip.kind, clip.word) for clip in clips.clips][:1] == [("rejected", "alexa")]


# --- what follows from the configuration ---


def test_real_ears_take_another_sensitivity_in_the_middle_of_a_word() -> None:
    """From the next step on, with nothing forgotten and the models warm."""
    row = [0.3]
    wake = WakeConfig(words=(Word(model="a", patience=1), Word(model="b", threshold=0.9, patience=1)))
    ears = Ears(
        speech=lambda _: True,
        score=lambda samples: [(row[0], row[0])] * (len(samples) // STEP),
        forget=lambda: None,
        rules=WakeRules(words=word_rules(wake, 0.5, "all"), cold_steps=2),
    )
    frames = (Frame(number * FRAME, np.zeros(FRAME, np.int16)) for number in range(10**6))

    def hear(steps: int) -> list[str]:
        wakes = (ears.feed(next(frames)) for _ in range(4 * steps))
        return [wake.word for wake in wakes if wake is not None]

    assert hear(60) == []
    ears.adjust(word_rules(wake, 0.8, "all"))
    assert hear(1) == ["a"]
    ears.adjust(word_rules(wake, 0.2, "all"))
    assert hear(60) == []
    row[0] = 0.95
    assert hear(1) == ["a"]
    ears.adjust(word_rules(wake, 0.2, "b"))
    assert hear(60)[0] == "b"
    with pytest.raises(ValueError, match="the words"):
        ears.adjust(word_rules(WakeConfig(words=(Word(model="c"),)), 0.5, "all"))


def test_rules_of_words_follow_the_configuration() -> None:
    wake = WakeConfig(
        words=(Word(model="a"), Word(model="b", threshold=0.6, patience=2, window=3), Word(model="c", patience=2))
    )
    first, second, third = word_rules(wake, 0.5, "all")
    assert first.word == "a"
    assert (second.threshold, second.patience, second.window) == (0.6, 2, 3)
    assert (third.patience, third.window) == (2, 2)
    assert [rule.threshold for rule in word_rules(wake, 0.5, "b")] == [1.0, 0.6, 1.0]
    assert word_rules(wake, 1.0, "all")[0].threshold < first.threshold < word_rules(wake, 0.0, "all")[0].threshold


def test_command_words_cannot_be_chosen_and_are_always_active() -> None:
    wake = WakeConfig(words=WORDS)
    assert choices(wake) == ("all", "hey_jarvis", "alexa")
    assert [word.model for word in WORDS if is_active(word, "alexa")] == ["alexa", *(word.model for word in WORDS[2:])]


def test_a_follow_up_switched_on_by_hand_lasts_as_long_as_usual() -> None:
    config = config_for_tests(conversation=ConversationConfig(follow_up_s=0))
    assert not configured(config).follow_up
    assert rules(config, follow_up=False).follow_up_s == 0
    assert rules(config, follow_up=True).follow_up_s == Rules().follow_up_s


SAVED = st.dictionaries(
    st.sampled_from([*commands.SetSettings.KEYS, "voice", "x"]),
    st.one_of(
        st.booleans(),
        st.integers(-5, 105),
        st.floats(),
        st.sampled_from(["alexa", "all", "kid", "do_stop", ""]),
        st.none(),
    ),
)


@given(SAVED)
def test_whatever_was_saved_the_settings_make_sense(saved: dict[str, object]) -> None:
    config = two_profiles()
    settings = remembered(config, saved)
    assert settings.wake_word in choices(config.wake)
    assert settings.voice == config.profiles[settings.persona].voice
    assert 0 <= settings.volume <= 100
    assert 0 <= settings.wake_sensitivity <= 1
    for key in ("mute", "wake_enabled", "follow_up"):
        assert getattr(settings, key) is (
            saved[key] if isinstance(saved.get(key), bool) else getattr(configured(config), key)
        )


def test_settings_are_changed_all_or_none() -> None:
    config = two_profiles()
    before = configured(config)
    reply = commands.Reply("x")
    after = changed(before, commands.SetSettings(reply, persona="kid", volume=1), config)
    assert (after.persona, after.voice, after.volume) == ("kid", "cedar", 1)
    with pytest.raises(CommandError, match='no wake word "x"; there are: all, hey_jarvis, alexa'):
        changed(before, commands.SetSettings(reply, persona="kid", wake_word="x"), config)
