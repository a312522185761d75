"""The ladder of echo control, in the virtual room: who may be heard while an answer plays, and why."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import ROOT, SOUNDS, load
from tests.room import Acoustics, Room, across, cut
from tests.scene import Scene, level_db
from tests.soundbed import SoundBed, require_pulseaudio
from voiced.config import AudioConfig, Config, RealtimeConfig
from voiced.core.echo import ladder
from voiced.core.echo.control import EchoControl
from voiced.core.echo.ladder import Measured, Policy, rung
from voiced.core.frames import FRAME, SERVICE_RATE, Frame, Samples
from voiced.core.nearness import ENOUGH_S
from voiced.core.profiles import echo_policy
from voiced.edge.soundfile import read_wav
from voiced.edge.soundserver import default_source
from voiced.edge.vad import Vad
from voiced.errors import MissingPartError
from voiced.profileconfig import ProfileConfig, VoiceLiveConfig

ANSWER = np.concatenate(
    [
        read_wav(ROOT / "voiced" / "simulator" / "sounds" / f"{name}.wav", SERVICE_RATE)
        for name in ("weather", "time", "fallback", "welcome")
    ]
)
"""11 s of an assistant's speech."""
VOICE_LIVE = RealtimeConfig(provider="voice-live", endpoint="https://x.azure.com")
PERSON = load(SOUNDS / "negative_2.wav")[36_000:]
ECHO_DB = Acoustics().echo_db


@pytest.mark.parametrize("acoustics", [Acoustics(), across(Acoustics(drift_ppm=80, delay_s=0.13))])
def test_the_daemon_does_not_hear_itself(acoustics: Acoustics) -> None:
    scene = Scene(Room(acoustics))
    scene.rest(2)
    first = scene.play(cut(ANSWER))
    scene.rest(6)
    second = scene.play(cut(ANSWER))
    assert not any(moment.full_duplex for moment in first[: int(ladder.KNOWN_S * 50)])
    assert first[-1].full_duplex
    assert all(moment.full_duplex for moment in second)
    assert max(moment.near_speech_s for moment in first + second) < 0.2
    assert level_db(second) - level_db(second, cleaned=True) > 20
    health = scene.control.health
    assert (health.mode, health.by) == ("full-duplex", "canceller")
    assert (health.attenuation_db or 0) > 20
    assert (health.evidence_db or 0) > 35


@pytest.mark.parametrize("acoustics", [Acoustics(), across(Acoustics(drift_ppm=80, delay_s=0.13))])
@pytest.mark.parametrize("quieter_db", [0, 6])
def test_a_person_is_heard_over_the_answer(acoustics: Acoustics, quieter_db: float) -> None:
    scene = Scene(Room(acoustics))
    scene.rest(2)
    scene.play(cut(ANSWER))
    scene.say(PERSON, ECHO_DB - quieter_db, in_s=1.0)
    before = scene.play(cut(ANSWER[:SERVICE_RATE]))
    over = scene.play(cut(ANSWER[SERVICE_RATE : 4 * SERVICE_RATE]))
    assert max(moment.near_speech_s for moment in before) < 0.1
    assert max(moment.near_speech_s for moment in over) > 0.2


def test_who_answers_as_soon_as_it_runs_measures_as_well() -> None:
    """Nobody listened to the quiet room before."""
    scene = Scene()
    scene.play(cut(ANSWER))
    assert (scene.control.health.mode, scene.control.health.by) == ("full-duplex", "canceller")


def test_a_speaker_that_slips_is_found_again_at_once() -> None:
    """Sound that the device lost or repeated shifts all that comes behind it."""
    scene = Scene()
    scene.rest(2)
    scene.play(cut(ANSWER))
    scene.play([None, None])  # 40 ms of silence that nobody handed over
    scene.control.slipped()
    after = scene.play(cut(ANSWER))
    assert level_db(after[25:50]) - level_db(after[25:50], cleaned=True) > 15
    assert max(moment.near_speech_s for moment in after) < 0.2
    assert after[-1].full_duplex


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("at_s", [3, 5, 7])
def test_a_slip_that_nobody_told_is_no_person(at_s: int, blocks: int) -> None:
    scene = Scene()
    scene.rest(2)
    scene.play(cut(ANSWER))
    scene.play(cut(ANSWER[: at_s * SERVICE_RATE]))
    scene.play([None] * blocks)
    after = scene.play(cut(ANSWER[at_s * SERVICE_RATE :]))
    assert max(moment.near_speech_s for moment in after) < ENOUGH_S
    assert level_db(after[50:]) - level_db(after[50:], cleaned=True) > 20
    scene.say(PERSON, ECHO_DB, in_s=0.2)
    assert max(moment.near_speech_s for moment in scene.play(cut(ANSWER))) >= ENOUGH_S


@pytest.mark.parametrize("is_told", [True, False])
def test_a_device_that_slips_all_the_time_is_nobody(*, is_told: bool) -> None:
    scene = Scene()
    scene.rest(2)
    scene.play(cut(ANSWER))
    slipping = []
    for number, at in enumerate(range(0, len(ANSWER), SERVICE_RATE * 4 // 5)):
        scene.play([None] * (1 + number % 3))
        if is_told:
            scene.control.slipped()
        slipping += scene.play(cut(ANSWER[at : at + SERVICE_RATE * 4 // 5]))
    assert max(moment.near_speech_s for moment in slipping) == 0
    # Where it is told each time, nothing is known of the echo for most of the time.
    assert all(moment.full_duplex for moment in slipping) is not is_told
    after = scene.play(cut(ANSWER))
    assert after[-1].full_duplex
    assert (scene.control.health.attenuation_db or 0) > 20


def test_a_delay_that_grows_with_each_slip_is_found_for_ever() -> None:
    scene = Scene()
    scene.rest(2)
    scene.play(cut(ANSWER))
    for _ in range(10):  # 2 s in all
        scene.play([None] * 10)
        scene.control.slipped()
        after = scene.play(cut(ANSWER[: 3 * SERVICE_RATE]))
        assert level_db(after[100:]) - level_db(after[100:], cleaned=True) > 15


def test_a_person_is_heard_on_while_the_answer_pauses() -> None:
    scene = Scene()
    scene.rest(2)
    scene.play(cut(ANSWER))
    scene.say(np.tile(PERSON, 2), ECHO_DB, in_s=0.2)
    paused = scene.rest(2.5)
    assert all(moment.near_speech_s > 0.2 for moment in paused[50:100])
    assert all(moment.cleaned.samples is moment.heard.samples for moment in paused[60:])


def test_between_answers_nothing_is_done_and_nothing_forgotten() -> None:
    scene = Scene()
    scene.rest(1)
    scene.play(cut(ANSWER))
    health = scene.control.health
    scene.rest(4)
    scene.say(PERSON, ECHO_DB)
    between = scene.rest(30, parked=True)
    assert all(moment.cleaned is moment.heard for moment in between)
    assert all(moment.near_speech_s == 0 for moment in between)
    again = scene.play(cut(ANSWER))
    assert again[0].full_duplex
    assert level_db(again[50:]) - level_db(again[50:], cleaned=True) > 20
    assert scene.control.health.mode == health.mode


def test_without_a_canceller_worth_its_name_the_service_does_not_hear_the_answer() -> None:
    """A loudspeaker driven far too hard: most of what it gives is not what was played."""
    scene = Scene(Room(Acoustics(drive=60.0, echo_db=-12.0)))
    scene.rest(2)
    moments = scene.play(cut(np.tile(ANSWER, 2)))
    assert not any(moment.full_duplex for moment in moments)
    assert scene.control.health.mode == "half-duplex"
    assert "less than 10 dB" in scene.control.health.why


def test_a_microphone_that_does_not_hear_the_speaker_needs_no_canceller() -> None:
    scene = Scene(Room(Acoustics(echo_db=-120.0)))
    scene.rest(2)
    scene.play(cut(ANSWER))
    scene.say(PERSON, -30, in_s=0.5)
    moments = scene.play(cut(ANSWER))
    assert (scene.control.health.mode, scene.control.health.by) == ("full-duplex", "device")
    assert max(moment.near_speech_s for moment in moments) > 0.4
    assert max(moment.near_speech_s for moment in moments[300:]) < 0.15


def test_who_is_told_to_trust_the_canceller_does_so_at_once() -> None:
    scene = Scene(policy="on")
    scene.rest(1)
    assert all(moment.full_duplex for moment in scene.play(cut(ANSWER)))
    assert (scene.control.health.by, scene.control.health.why) == ("canceller", 'audio.echo_cancellation is "on"')


def test_half_duplex_still_lets_the_wake_models_hear_less_of_the_answer() -> None:
    scene = Scene(policy="half-duplex", suppressor=Never())
    scene.rest(1)
    moments = scene.play(cut(ANSWER))
    assert not any(moment.full_duplex or moment.near_speech_s for moment in moments)
    assert level_db(moments[150:]) - level_db(moments[150:], cleaned=True) > 20


def test_a_cancelling_microphone_is_used_as_it_is() -> None:
    scene = Scene(Room(Acoustics(echo_db=-62.0)), policy="device")
    scene.rest(1)
    scene.play(cut(ANSWER))
    scene.say(PERSON, -30, in_s=1.0)
    moments = scene.play(cut(ANSWER))
    assert all(moment.full_duplex and moment.cleaned is moment.heard for moment in moments)
    assert max(moment.near_speech_s for moment in moments) > 0.4
    assert scene.control.health.by == "device"


@pytest.mark.parametrize("policy", ["auto", "on", "service"])
def test_without_the_suppressor_nobody_interrupts_by_voice_and_health_says_so(policy: Policy) -> None:
    asked = 0

    def nothing() -> None:
        nonlocal asked
        asked += 1
        if asked > 5:
            raise MissingPartError("it is not there")

    scene = Scene(policy=policy)
    scene.control = EchoControl(policy, nothing, Vad())
    scene.rest(1)
    scene.say(PERSON, ECHO_DB, in_s=5.0)
    moments = scene.play(cut(ANSWER))
    assert asked == 6
    assert not any(moment.full_duplex or moment.near_speech_s for moment in moments[50:])
    assert "cannot be loaded" in scene.control.health.why
    assert level_db(moments[400:]) - level_db(moments[400:], cleaned=True) > 15


class Never:
    """A suppressor that is not asked."""

    def __call__(self, heard: Samples, played: Samples) -> Samples:
        raise AssertionError


def test_an_idle_daemon_never_asks_for_the_suppressor() -> None:
    control = EchoControl("auto", Never, Vad())
    for position in range(0, 100 * FRAME, FRAME):
        frame = Frame(position, np.full(FRAME, 3000, np.int16))
        assert control.clean(frame) is frame
        control.played(np.zeros(480, np.int16))


MEASURED = st.builds(
    Measured,
    heard_s=st.floats(0, 20),
    attenuation_db=st.none() | st.floats(-10, 60),
    above_room_db=st.none() | st.floats(-10, 60),
    is_found=st.booleans(),
    is_settled=st.booleans(),
    is_missing=st.booleans(),
)


@given(st.lists(MEASURED, min_size=1, max_size=20))
def test_full_duplex_is_always_a_measured_fact(story: list[Measured]) -> None:
    now = rung("auto", Measured())
    assert not now.full_duplex
    for measured in story:
        before, now = now, rung("auto", measured, now)
        if now.full_duplex and not before.full_duplex:
            assert measured.heard_s >= ladder.KNOWN_S
            is_good = measured.attenuation_db is not None and measured.attenuation_db >= ladder.ENOUGH_DB
            is_inaudible = measured.above_room_db is not None and measured.above_room_db <= ladder.INAUDIBLE_DB
            assert (is_good and measured.is_settled) or is_inaudible
        if measured.is_missing:
            assert not now.full_duplex
        assert now.why


@pytest.mark.parametrize(
    ("audio", "realtime", "policy"),
    [
        (AudioConfig(), RealtimeConfig(), "auto"),
        (AudioConfig(input="Echo-Cancel Source"), RealtimeConfig(), "device"),
        (AudioConfig(input="effect_input.echo-cancel"), RealtimeConfig(), "device"),
        (AudioConfig(input="Microphone (echo cancelled with Speaker)"), RealtimeConfig(), "device"),
        (AudioConfig(input="alsa_input.usb-mic.echo-cancel", echo_cancellation="on"), RealtimeConfig(), "on"),
        (AudioConfig(echo_cancellation="off"), RealtimeConfig(), "open"),
        (AudioConfig(echo_cancellation="half-duplex"), RealtimeConfig(), "half-duplex"),
        (AudioConfig(), VOICE_LIVE, "service"),
        (AudioConfig(echo_cancellation="half-duplex"), VOICE_LIVE, "half-duplex"),
    ],
)
def test_the_configuration_says_who_is_trusted(audio: AudioConfig, realtime: RealtimeConfig, policy: str) -> None:
    profiles = {"default": ProfileConfig(voice_live=VoiceLiveConfig(echo_cancellation=True))}
    assert echo_policy(Config(audio=audio, realtime=realtime, profiles=profiles)) == policy


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [
        ("source_name=cleaned", "device"),  # known by its driver and description
        ("source_name=echo-cancel-source source_properties=device.description=Kitchen", "device"),
        (None, "auto"),
    ],
)
def test_an_echo_cancelling_default_microphone_is_known_as_one(
    arguments: str | None, policy: str, tmp_path: Path
) -> None:
    require_pulseaudio()
    bed = SoundBed(tmp_path)
    if arguments is not None:
        masters = "source_master=mic sink_master=loudspeaker aec_method=null"
        bed.microphone.add("load-module module-null-sink sink_name=loudspeaker\n")
        bed.microphone.add(f"load-module module-echo-cancel {masters} {arguments}\n")
        bed.microphone.add(f"set-default-source {arguments.split()[0].removeprefix('source_name=')}\n")
    with bed:
        environ = {"PATH": os.environ["PATH"], "PULSE_SERVER": f"unix:{bed.microphone.socket}"}
        assert echo_policy(Config(), default_source(environ)) == policy
        assert echo_policy(Config(), default_source({**environ, "PULSE_SOURCE": "mic"})) == "auto"
    assert default_source(environ) == default_source({}) == ""


def test_a_service_that_is_not_asked_to_cancel_is_not_trusted() -> None:
    assert echo_policy(Config(realtime=VOICE_LIVE)) == "auto"
