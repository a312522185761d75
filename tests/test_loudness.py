"""How loud things are, at which hour, and that others are asked to be softer: on a real PulseAudio where it matters."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probing import Probe
from tests.soundbed import Recording, SoundBed, canary, eventually, require_pulseaudio
from voiced.config import AudioConfig
from voiced.core.chimes import chime
from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.loudness import Fader, QuietHours, gain, hours
from voiced.core.playout import Drained, PlayoutEvent
from voiced.edge.output import BLOCK, NullOutput
from voiced.edge.speaker import Loudness, Speaker

NIGHT = QuietHours(*hours("22:00-07:00"), percent=20)
NOON = QuietHours(*hours("12:30-14:00"), percent=0)


@pytest.mark.parametrize(
    ("quiet", "now", "most"),
    [
        (NIGHT, "21:59:59", 100),
        (NIGHT, "22:00", 20),
        (NIGHT, "03:00", 20),
        (NIGHT, "06:59", 20),
        (NIGHT, "07:00", 100),
        (NOON, "12:29", 100),
        (NOON, "12:30", 0),
        (NOON, "14:00", 100),
        (QuietHours(*hours("08:00-08:00"), percent=5), "19:00", 5),
    ],
)
def test_quiet_hours_hold_from_their_first_minute_to_their_last(quiet: QuietHours, now: str, most: int) -> None:
    assert quiet.most(time.fromisoformat(now)) == most


@given(st.times(), st.times(), st.times())
def test_an_hour_is_quiet_or_its_opposite_is(start: time, end: time, now: time) -> None:
    quiet, loud = QuietHours(start, end, 0), QuietHours(end, start, 0)
    assert start == end or (quiet.most(now) == 0) != (loud.most(now) == 0)


@pytest.mark.parametrize("wrong", ["22-7", "22:00-24:00", "22:00", "7:00-22:00", " 22:00-07:00"])
def test_hours_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be hours like"):
        AudioConfig(quiet_hours=wrong)
    assert AudioConfig(quiet_hours="22:00-07:00").quiet_volume == 20


def test_a_fader_glides_and_then_stays() -> None:
    fader = Fader()
    fader.set(0.5)
    assert np.allclose(fader.glide(4), [1.0, 0.875, 0.75, 0.625])
    assert fader.glide(4) == 0.5
    fader.set(1.0, at_once=True)
    assert fader.glide(4) == 1.0


@contextmanager
def collected() -> Iterator[tuple[Callable[[PlayoutEvent], None], asyncio.Event, list[Samples]]]:
    drained, loop = asyncio.Event(), asyncio.get_running_loop()

    def told(event: PlayoutEvent) -> None:
        if isinstance(event, Drained):
            loop.call_soon_threadsafe(drained.set)

    yield told, drained, []


async def heard(speaker: Speaker, drained: asyncio.Event, blocks: list[Samples], *, announced: bool = False) -> int:
    """Say something, and return how loud it was."""
    blocks.clear()
    drained.clear()
    speaker.play("a", 0, np.full(SERVICE_RATE // 20, 10_000, "<i2").tobytes(), announced=announced)
    async with asyncio.timeout(10):
        await drained.wait()
    return int(np.concatenate(blocks)[-800:].max())


async def test_each_kind_has_its_loudness_and_the_hour_is_looked_at_whenever_sound_begins() -> None:
    allowed = 100
    with collected() as (told, drained, blocks):
        loudness = Loudness(volume=100, chimes=50, announcements=50, most=lambda: allowed)
        async with Speaker(NullOutput(), told, loudness=loudness, tap=blocks.append) as speaker:
            assert await heard(speaker, drained, blocks) == 10_000
            assert await heard(speaker, drained, blocks, announced=True) == 2_500
            allowed = 50
            assert await heard(speaker, drained, blocks) == 2_500
            speaker.volume(80)
            assert await heard(speaker, drained, blocks) == 2_500
            allowed = 90
            assert await heard(speaker, drained, blocks) == round(10_000 * gain(80))


async def test_a_chime_is_in_the_reference_as_it_sounds_and_delays_no_voice() -> None:
    """What is tapped is what goes to the device: who takes the echo out takes the chime out, too."""
    with collected() as (told, drained, blocks):
        async with Speaker(NullOutput(), told, loudness=Loudness(chimes=50), tap=blocks.append) as speaker:
            sound = chime("wake")
            speaker.play("a", 0, np.full(len(sound), 5_000, "<i2").tobytes())
            speaker.chime(sound)
            async with asyncio.timeout(10):
                await drained.wait()
    mix = np.concatenate(blocks).astype(int)
    first = int(np.flatnonzero(mix)[0])
    voice = mix[first : first + len(sound)]
    softer = np.rint(sound * 0.25).astype(int)
    # The chime came a moment after the voice, in one of the next blocks.
    mixes = [np.pad(softer, (BLOCK * late, 0))[: len(voice)] + 5_000 for late in range(10)]
    assert min(int(np.abs(voice - mix).max()) for mix in mixes) <= 1


# --- other players ----------------------------------------------------------------------------------------------------

RULE = "load-module module-role-ducking trigger_roles=assistant ducking_roles=music volume=-20dB\n"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[SoundBed]:
    require_pulseaudio()
    bed = SoundBed(tmp_path)
    bed.speaker.add(RULE)
    with canary(), bed:
        yield bed


@contextmanager
def music(bed: SoundBed) -> Iterator[None]:
    """Another player, with a constant sound."""
    path = bed.directory / "music.raw"
    path.write_bytes(np.full(48_000 * 60, 10_000, "<i2").tobytes())
    command = bed.speaker.command(
        *("pacat", "--device=speaker", "--raw", "--format=s16le", "--channels=1", "--rate=48000"),
        *("--property=media.role=music", str(path)),
    )
    player = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        player.kill()
        player.wait()


def _level(recording: Recording) -> int:
    return int(np.median(np.abs(recording.samples[-2_400:].astype(int))))


def _listens(probe: Probe) -> None:
    probe.wait_for(lambda told: "microphone_problem" in told and told["microphone_problem"] is None)


def _drained(probe: Probe) -> None:
    while probe.wait_for_key("event")["event"] != "Drained":
        pass


def test_others_are_softer_while_it_speaks_not_softer_with_each_answer_and_not_while_it_only_listens(
    bed: SoundBed,
) -> None:
    with bed.record_speaker() as recording, music(bed), Probe(bed, "--role", "assistant") as probe:
        _listens(probe)
        eventually(lambda: _level(recording) == 10_000, what="music")
        for item in "ab":
            probe.play(item, np.zeros(SERVICE_RATE // 2, np.int16))
            eventually(lambda: _level(recording) == 1_000, what="softer, and not softer than that")
            _drained(probe)
        eventually(lambda: _level(recording) == 10_000, what="music as before")
        # Another conversation, once the device was given back; and one that begins just as it is.
        for item in "cd":
            probe.play(item, np.zeros(SERVICE_RATE // 2, np.int16))
            eventually(lambda: _level(recording) == 1_000, what="softer once more")
            _drained(probe)
            eventually(lambda: not _streams(bed, "assistant"), what="the device given back")
        probe.play("e", np.zeros(SERVICE_RATE // 2, np.int16))
        eventually(lambda: _level(recording) == 1_000, what="no softer than the first time")
        _drained(probe)
        eventually(lambda: _level(recording) == 10_000, what="music as at first")


def test_who_is_killed_in_the_middle_leaves_others_as_they_were(bed: SoundBed) -> None:
    with bed.record_speaker() as recording, music(bed):
        for _ in range(2):
            with Probe(bed, "--role", "assistant") as probe:
                _listens(probe)
                eventually(lambda: _level(recording) == 10_000, what="music")
                probe.play("a", np.zeros(10 * SERVICE_RATE, np.int16))
                eventually(lambda: _level(recording) == 1_000, what="softer")
                probe.signal(signal.SIGKILL)
                eventually(lambda: _level(recording) == 10_000, what="music as before")


def test_a_volume_that_the_user_sets_meanwhile_is_kept(bed: SoundBed) -> None:
    with bed.record_speaker() as recording, music(bed), Probe(bed, "--role", "assistant") as probe:
        _listens(probe)
        eventually(lambda: _level(recording) == 10_000, what="music")
        probe.play("a", np.zeros(2 * SERVICE_RATE, np.int16))
        eventually(lambda: _level(recording) == 1_000, what="softer")
        (player,) = _streams(bed, "music")
        bed.speaker.ask("pactl", "set-sink-input-volume", player, "-6.0206dB")
        eventually(lambda: _level(recording) in range(495, 506), what="softer, and as the user wants it")
        _drained(probe)
        eventually(lambda: _level(recording) in range(4_950, 5_060), what="as the user wants it")


def _streams(bed: SoundBed, role: str) -> list[str]:
    """Return the numbers of those who play with a role."""
    inputs = json.loads(bed.speaker.ask("pactl", "--format=json", "list", "sink-inputs"))
    return [str(one["index"]) for one in inputs if one["properties"].get("media.role") == role]
