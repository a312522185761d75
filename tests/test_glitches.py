"""What has been heard stays right: paused, starved, and over a device that comes back; against what really sounded.

What is played holds no zero, and the virtual card runs at 24 kHz: whatever is not zero at the loudspeaker was voice.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.probing import Probe
from tests.soundbed import Recording, SoundBed, canary, eventually, require_pulseaudio
from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.playout import FADE, Part, Playout

MS = SERVICE_RATE // 1000
ROUNDING_MS = 2
"""The ends of fades round to silence, and milliseconds are rounded down."""


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[SoundBed]:
    require_pulseaudio()
    with canary(), SoundBed(tmp_path, speaker_rate=SERVICE_RATE) as bed:
        yield bed


def voice(seconds: float) -> Samples:
    rng = np.random.default_rng(3)
    count = int(seconds * SERVICE_RATE)
    samples: Samples = (rng.integers(1_000, 9_000, count) * rng.choice([-1, 1], count)).astype(np.int16)
    return samples


def sounding(recording: Recording) -> int:
    """Return how many milliseconds of voice sounded."""
    return int(np.count_nonzero(recording.samples)) // MS


def is_still(recording: Recording) -> bool:
    return len(recording.samples) > SERVICE_RATE // 2 and not recording.samples[-SERVICE_RATE // 2 :].any()


def cut(probe: Probe, recording: Recording) -> tuple[int, int]:
    """Cut; return milliseconds told, and milliseconds that sounded once all is still."""
    probe.send("cut")
    told = probe.wait_for_key("cut")["cut"]
    eventually(lambda: is_still(recording), what="silence")
    return sum(ms for _, _, ms in told), sounding(recording)


def test_a_pause_is_silent_and_what_is_heard_behind_it_is_counted_on(bed: SoundBed) -> None:
    with bed.record_speaker() as recording, Probe(bed) as probe:
        probe.play("a", voice(5.0))
        eventually(lambda: sounding(recording) > 400, what="the answer")
        probe.send("pause")
        eventually(lambda: is_still(recording), what="a silent pause")
        before = sounding(recording)
        probe.send("resume")
        eventually(lambda: sounding(recording) > before + 300, what="the rest of it")
        probe.send("pause")
        eventually(lambda: is_still(recording), what="a silent pause")
        told, sounded = cut(probe, recording)
        assert told == pytest.approx(sounded, abs=2 * ROUNDING_MS)
        heard = recording.samples[recording.samples != 0]
        kept = np.flatnonzero(np.isin(heard, voice(5.0)))
        assert len(kept) > len(heard) - 4 * FADE


def test_a_starved_speaker_is_counted_and_its_clock_is_not_shifted(bed: SoundBed) -> None:
    with bed.record_speaker() as recording, Probe(bed) as probe:
        probe.play("a", voice(5.0))
        eventually(lambda: sounding(recording) > 400, what="the answer")
        for _ in range(3):
            probe.signal(signal.SIGSTOP)
            time.sleep(0.25)  # the fault itself: longer than what the device holds
            probe.signal(signal.SIGCONT)
            before = sounding(recording)
            eventually(lambda before=before: sounding(recording) > before + 200, what="it goes on")  # type: ignore[misc] # a lambda with a default
        told, sounded = cut(probe, recording)
        assert told == pytest.approx(sounded, abs=ROUNDING_MS)
        assert probe.report()["underruns"] >= 3


def test_what_a_lost_device_held_is_heard_again_from_the_next_and_counted_once(bed: SoundBed) -> None:
    answer = voice(3.0)
    with Probe(bed) as probe:
        with bed.record_speaker() as recording:
            probe.play("a", answer)
            eventually(lambda: sounding(recording) > 600, what="the answer")
            bed.speaker.unplug()
            probe.wait_for(lambda told: told.get("speaker_problem"))
            before = recording.samples[recording.samples != 0]
        bed.speaker.plug()
        with bed.record_speaker() as recording:
            eventually(lambda: sounding(recording) > 600, what="the rest of it")
            told, _ = cut(probe, recording)
            behind = recording.samples[recording.samples != 0]
    gap = place(answer, behind[:2_000]) - len(before)
    # A server that is killed takes with it what its recorder had not told, and what it had not told us.
    assert abs(gap) <= 150 * MS
    assert told == pytest.approx((place(answer, behind[:2_000]) + len(behind)) / MS, abs=ROUNDING_MS)


def place(whole: Samples, piece: Samples) -> int:
    """Return where ``piece`` stands in ``whole``, to the sample."""
    (found,) = [at for at in np.flatnonzero(whole == piece[0]) if np.array_equal(whole[at : at + len(piece)], piece)]
    return int(found)


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ppm", [-100, 100])
def test_an_hour_at_a_device_whose_clock_is_off_shifts_nothing(ppm: int) -> None:
    """The device plays by its own clock, runs dry now and then, and what is counted is what it played."""
    playout, rng = Playout(), np.random.default_rng(ppm + 1_000)
    block, room = SERVICE_RATE // 10, 2 * SERVICE_RATE // 10
    queued, played, dry = 0, 0, 0
    rate = SERVICE_RATE * (1 + ppm / 1e6)
    written = dict.fromkeys((("a", 0), ("a", 1), ("b", 0)), 0)
    parts: list[Part] = list(written)
    order: list[tuple[Part, int]] = []
    clock = 0.0
    for step in range(36_000):
        late_s = float(rng.exponential(0.3)) if rng.random() < 0.01 else 0.0  # a machine that stands still
        clock += 0.1 + late_s
        due = int(clock * rate) - played - dry  # what the device wanted to play since the start, less what it did
        taken = min(due, queued)
        dry += due - taken
        played, queued = played + taken, queued - taken
        playout.latency = queued
        while playout.waiting < 4 * block:
            part = parts[min(len(parts) - 1, step // 12_000)]
            playout.write(*part, np.ones(block, np.int16))
            order.append((part, block))
        while queued + block <= room:
            playout.read(block)
            queued += block
            playout.latency = queued
        if step % 500 == 0:
            assert sum(playout.heard().values()) == played
    assert dry > 0
    left = played
    for part, count in order:
        written[part] += min(count, left)
        left -= min(count, left)
    assert playout.heard() == written
