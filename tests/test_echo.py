"""Microphones beside a speaker: what is cleaned, who hears it, and what counts as a person."""

import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import InstantSpeaker, ScriptedEcho
from tests.recordings import SOUNDS, frames, load, noise
from tests.stories import at_home
from voiced.core.echo.nearspeech import NearSpeech
from voiced.core.echo.sounding import TAIL, Sounding
from voiced.core.echo.uncancelled import Open
from voiced.core.effects import Deafen, Hear
from voiced.core.events import Near
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Frame
from voiced.core.mqtt.payloads import EchoHealth
from voiced.core.resample import resample
from voiced.core.states import Connecting, Idle, Listening, Responding, Rules, Talk
from voiced.core.turning import rules_changed
from voiced.edge.vad import Vad

SOUND = np.full(480, 1000, np.int16)
SILENCE = np.zeros(480, np.int16)
TALK = Talk(session=1, turn=1, profile="default", source="wake_word", ends=600.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=100))
def test_near_speech_is_what_the_last_frames_hold(story: list[tuple[bool, bool]]) -> None:
    """``(gap before it, speech in it)`` for each frame."""
    near, held, position = NearSpeech(), list[bool](), 0
    for gap, speaks in story:
        if gap:
            held, position = [], position + FRAME
        near.note(Frame(position, np.zeros(FRAME, np.int16)), speaks=speaks)
        held, position = [*held, speaks][-30:], position + FRAME
        assert near.seconds == sum(held) * 0.02
    near.forget()
    assert near.seconds == 0


def test_the_speaker_sounds_until_a_moment_after_its_last_sound() -> None:
    sounding = Sounding()
    assert not sounding.at(0)
    sounding.played(SILENCE)
    assert not sounding.at(320)
    sounding.played(SOUND)
    sounding.played(SILENCE)
    assert sounding.at(640)
    assert sounding.at(640 + TAIL - 1)
    assert not sounding.at(640 + TAIL)


def test_an_open_microphone_tells_speech_only_beside_the_speaker() -> None:
    said = list(frames(load(SOUNDS / "hey_jarvis_1.wav")))
    echo, most = Open(Vad()), 0.0
    assert [echo.clean(frame) for frame in said] == said
    assert echo.near_speech_s == 0
    echo.played(SOUND)
    for frame in said:
        assert echo.clean(Frame(frame.start + 10_000_000, frame.samples)).samples is frame.samples
        most = max(most, echo.near_speech_s)
    assert most > 0.4
    assert (echo.full_duplex, echo.health.mode) == (True, "full-duplex")


def test_what_the_service_hears_follows_the_rules_at_once() -> None:
    half, full = Rules(full_duplex=False), Rules(full_duplex=True)
    near = replace(TALK, near=Near("some", 100))
    responding = Responding(near, 100.0, "r1", 50.0)
    assert rules_changed(responding, half, full) == (Hear(),)
    assert rules_changed(responding, full, half) == (Deafen(),)
    unspoken = Responding(TALK, 100.0, "r1", 50.0)
    assert rules_changed(unspoken, half, full) == rules_changed(unspoken, full, half) == ()
    for state in (Idle(), Listening(TALK, 5.0), Connecting(TALK, 5.0)):
        assert rules_changed(state, half, full) == rules_changed(state, full, half) == ()


async def test_ears_and_service_get_what_is_cleaned() -> None:
    async with at_home() as home:
        start, whispers = home.microphone.end, noise(30.0)
        for at in range(0, len(whispers) - FRAME, FRAME):
            home.echo.echoes[start + at] = whispers[at : at + FRAME]
        woken, sound = home.speak()
        await home.until_told("finished")
        expected = sound - whispers[: len(sound)]
        heard = np.concatenate([frame.samples for frame in home.ears.fed])[: len(expected)]
        assert np.array_equal(heard, expected[: len(heard)])
        arrived = home.simulator.sessions[0].received_pcm[:SERVICE_RATE]
        since = expected[woken - Rules().wake_overlap :]
        assert np.array_equal(arrived, resample(since, MICROPHONE_RATE, SERVICE_RATE)[: len(arrived)])


async def test_an_answer_can_be_talked_over_as_soon_as_the_echo_is_known_to_be_cancelled() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True), echo=ScriptedEcho()) as home:
        home.speak()
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        session = home.simulator.sessions[0]
        await session.wait_for("response.done")
        home.speak(wake=False)
        await home.microphone.all_heard()
        assert home.speaker.cuts == 0
        home.echo.full_duplex, home.echo.near_speech_s = True, 0.5
        home.microphone.hear(noise(0.1))
        home.speak(wake=False)
        turn = await home.until_told("interrupted")
        assert turn["turn"] == 1
        assert (
            len(session.sent("input_audio_buffer.speech_started")) == 2
        )  # nothing of what was said over the answer before


async def test_health_says_how_the_echo_is_kept_out() -> None:
    async with at_home() as home:
        home.reports.health(overruns=0, echo=EchoHealth(mode="half-duplex", why="It is so."))
        home.reports.health(overruns=0, echo=EchoHealth(mode="full-duplex", by="canceller", attenuation_db=22.0))
        history = [json.loads(payload)["echo"] for topic, payload in home.diary.history if topic == "health"]
        assert [echo["mode"] for echo in history] == ["half-duplex", "full-duplex"]
        assert (history[1]["by"], history[1]["attenuation_db"]) == ("canceller", 22.0)
