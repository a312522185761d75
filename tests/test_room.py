"""The virtual room keeps what it promises: delay, level, clocks, people; and no block size matters."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests.recordings import SOUNDS, load
from tests.room import ACROSS_ROOM_DB, BLOCK, NEAR_SPEAKER_DB, Acoustics, Room, cut, loudness, together
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Samples

SILENT = -200.0
DRY = Acoustics(rt60_s=0.01, direct_db=60.0, drive=0.0, noise_db=SILENT)


def _speech(seconds: float, seed: int = 1) -> Samples:
    """Return noise coloured like speech, at -20 dBFS."""
    size = int(seconds * SERVICE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=size))
    frequency = np.fft.rfftfreq(size, 1 / SERVICE_RATE)
    sound = np.fft.irfft(spectrum / np.sqrt((1 + (150 / np.maximum(frequency, 1)) ** 4) * (1 + (frequency / 600) ** 2)))
    speech: Samples = np.rint(sound * (3_277 / np.sqrt(np.mean(sound**2)))).astype(np.int16)
    return speech


@pytest.mark.parametrize("delay_s", [0.02, 0.0617, 0.4])
def test_a_click_comes_back_after_the_delay(delay_s: float) -> None:
    room = Room(replace(DRY, delay_s=delay_s))
    click = np.zeros(SERVICE_RATE, np.int16)
    click[2 * BLOCK] = 20_000
    heard = room.feed(click)
    expected = (2 * BLOCK / SERVICE_RATE + delay_s) * MICROPHONE_RATE
    assert abs(int(np.argmax(np.abs(heard))) - expected) <= 3  # the loudspeaker's own


def test_blocks_do_not_matter() -> None:
    played = _speech(1.0)
    whole = Room(Acoustics(drift_ppm=80))
    small = Room(Acoustics(drift_ppm=80))
    sizes = itertools.cycle([1, 480, 77, 1200])
    pieces, at = [], 0
    while at < len(played):
        size = next(sizes)
        pieces.append(small.feed(played[at : at + size]))
        at += size
    once, often = whole.feed(played), np.concatenate(pieces)
    assert len(once) == len(often)
    assert np.max(np.abs(once.astype(int) - often)) <= 1


@pytest.mark.parametrize("direct_db", [NEAR_SPEAKER_DB, ACROSS_ROOM_DB])
def test_speech_comes_back_as_loud_as_asked(direct_db: float) -> None:
    room = Room(Acoustics(direct_db=direct_db, echo_db=-26, noise_db=SILENT, drive=0))
    heard = room.feed(_speech(4.0))[MICROPHONE_RATE:]
    level = 20 * np.log10(np.sqrt(np.mean(np.square(heard, dtype=np.float64))) / 32768)
    assert level == pytest.approx(-26, abs=1.5)


def test_a_driven_loudspeaker_is_not_linear() -> None:
    loud, soft = ((_speech(1.0) * scale).astype(np.int16) for scale in (2.0, 0.5))
    linear, driven = (
        [Room(Acoustics(drive=drive, noise_db=SILENT)).hear(sound).echo for sound in (loud, soft)]
        for drive in (0.0, 0.7)
    )
    assert np.std(linear[0] - 4 * linear[1]) < 0.001 * np.std(linear[0])
    assert np.std(driven[0] - 4 * driven[1]) > 0.01 * np.std(driven[0])


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 100.0])
def test_clocks_drift_apart(ppm: float) -> None:
    room = Room(replace(DRY, drift_ppm=ppm))
    click = np.zeros(SERVICE_RATE, np.int16)
    click[0] = 20_000
    silence = np.zeros(SERVICE_RATE, np.int16)
    for _ in range(100):
        room.feed(silence)
    begin = room.position
    heard = room.feed(click)
    assert begin == pytest.approx(100 * MICROPHONE_RATE * (1 + ppm * 1e-6), abs=1)
    assert int(np.argmax(np.abs(heard))) == pytest.approx(0.06 * MICROPHONE_RATE, abs=3)


def test_an_hour_needs_no_memory() -> None:
    room = Room(Acoustics(drift_ppm=100))
    second = _speech(1.0)
    room.feed(second)
    room.feed(second)
    tracemalloc.start()
    for _ in range(30):
        room.feed(second)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000


def test_people_are_heard_when_and_as_loud_as_chosen() -> None:
    said = load(SOUNDS / "hey_jarvis_1.wav")[36_000:]
    room = Room()
    room.say(said, 5_000, -26.0)
    heard = room.hear(np.zeros(4 * SERVICE_RATE, np.int16))
    assert loudness(heard.near) == pytest.approx(-26, abs=0.1)
    assert not heard.near[:5_000].any()
    assert np.corrcoef(heard.near[5_000 : 5_000 + len(said)], said)[0, 1] > 0.999
    assert np.array_equal(heard.quiet, heard.sound)
    with pytest.raises(ValueError, match="is over"):
        room.say(said, 5_000)


def test_another_room_from_one_moment_on() -> None:
    played = _speech(2.0)
    same, moved = Room(), Room()
    first, _ = same.feed(played[:SERVICE_RATE]), moved.feed(played[:SERVICE_RATE])
    moved.change(Acoustics(seed=5))
    before, after = same.hear(played[SERVICE_RATE:]).echo, moved.hear(played[SERVICE_RATE:]).echo
    assert len(first) == MICROPHONE_RATE
    assert len(before) == len(after)
    assert np.std(before - after) > 0.3 * np.std(before)


@pytest.mark.parametrize("ppm", [-20_000.0, 0.0, 20_000.0])
def test_frames_come_with_what_was_played_meanwhile(ppm: float) -> None:
    played = _speech(3.0)
    room = Room(Acoustics(drift_ppm=ppm))
    run = list(together(room, cut(played)))
    assert all(len(frame) == FRAME for frame, _ in run)
    assert np.array_equal(
        np.concatenate([block for _, blocks in run for block in blocks]),
        played[: sum(len(block) for _, blocks in run for block in blocks)],
    )
    assert len(run) == pytest.approx(150 * (1 + ppm * 1e-6), abs=1)
