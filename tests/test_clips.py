"""Clips cut from what was heard, and the folder that keeps them."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.clips import AFTER_S, BEFORE_S, Clip, ClipRecorder
from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame
from voiced.core.wake import NearMiss, Wake
from voiced.edge.clips import ClipFolder
from voiced.edge.soundfile import read_wav

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AFTER = round(AFTER_S * MICROPHONE_RATE)
BEFORE = round(BEFORE_S * MICROPHONE_RATE)


def frame(start: int) -> Frame:
    """Sound in which every sample tells where it stood."""
    return Frame(start, (np.arange(start, start + FRAME) % 30_000).astype(np.int16))


def wake(end: int, word: str = "alexa") -> Wake:
    return Wake(word, 0.9, 0.5, end)


# --- cutting ---


@given(
    begin=st.integers(0, 10**6).map(lambda n: n * FRAME),
    before=st.integers(1, 300),
    late=st.integers(0, 60),
    kind=st.sampled_from(["wake", "near_miss"]),
)
def test_a_clip_holds_what_stood_around_the_decision(begin: int, before: int, late: int, kind: str) -> None:
    """Sample for sample, also where it is asked for late, and with less where there was less."""
    recorder = ClipRecorder(["alexa"])
    end = begin + before * FRAME
    clips: list[Clip] = []
    for number in range(before + late + 40):
        recorder.hear(frame(begin + number * FRAME))
        if number * FRAME % STEP == 0:
            recorder.score(begin + number * FRAME, (number / 1000,))
        if number == before + late:
            heard = wake(end) if kind == "wake" else NearMiss("alexa", 0.4, 0.5, end)
            recorder.note("wake" if kind == "wake" else "near_miss", heard)
        clips += recorder.due()
    (clip,) = clips
    assert (clip.kind, clip.word) == (kind, "alexa")
    first = end - clip.decided
    assert first <= max(begin, end - BEFORE)
    assert len(clip.samples) >= min(end - begin, BEFORE) + AFTER
    assert len(clip.samples) <= BEFORE + AFTER + 2 * FRAME
    assert np.array_equal(clip.samples, np.arange(first, first + len(clip.samples)) % 30_000)
    assert all(scores == (round((first + at - begin) / FRAME) / 1000,) for at, scores in clip.trace)
    assert [at for at, _ in clip.trace] == sorted(at for at, _ in clip.trace)


def test_a_clip_waits_for_its_end_and_comes_once() -> None:
    recorder = ClipRecorder(["alexa"])
    recorder.hear(frame(0))
    recorder.note("wake", wake(FRAME))
    assert recorder.due() == []
    for number in range(1, 100):
        recorder.hear(frame(number * FRAME))
    assert len(recorder.due()) == 1
    assert recorder.due() == []


@pytest.mark.parametrize("how", ["gap", "forget"])
def test_no_clip_holds_sound_from_before_a_gap(how: str) -> None:
    recorder = ClipRecorder(["alexa"])
    recorder.hear(frame(0))
    recorder.note("wake", wake(FRAME))
    if how == "forget":
        recorder.forget()
    for number in range(100):
        recorder.hear(frame(10 * FRAME + number * FRAME))
    assert recorder.due() == []
    recorder.note("wake", wake(12 * FRAME))
    (clip,) = recorder.due()
    assert clip.decided == 2 * FRAME


# --- keeping ---


def clip(word: str = "alexa", kind: str = "wake") -> Clip:
    return Clip(
        kind="wake" if kind == "wake" else "near_miss",
        word=word,
        score=0.9,
        threshold=0.5,
        decided=32_000,
        samples=np.arange(48_000).astype(np.int16),
        words=("alexa", "hey_jarvis"),
        trace=((1280, (0.1, 0.2)), (2560, (0.91234567, 0.0))),
    )


class Days:
    """A clock that goes on by a day each time somebody looks, where it is told to."""

    def __init__(self) -> None:
        self.now = NOON
        self.step = timedelta(milliseconds=1)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread; the test's own timeout ends it."""
    pause = threading.Event()
    while not holds():
        pause.wait(0.005)


def test_a_clip_is_a_wav_with_notes_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "clips"
    with ClipFolder(folder, most=5, days=7, now=Days()) as keeper:
        keeper.keep(clip("hey/jarvis v2"))
        until(lambda: len(list(folder.glob("*.json"))) == 1 and bool(next(folder.glob("*.json")).read_text()))
    (sound,) = folder.glob("*.wav")
    assert sound.name == "20261120T120000001Z-wake-hey_jarvis_v2.wav"
    assert np.array_equal(read_wav(sound), clip().samples)
    notes = json.loads(sound.with_suffix(".json").read_text())
    assert (notes["kind"], notes["wake_word"], notes["decided_s"]) == ("wake", "hey/jarvis v2", 2.0)
    assert notes["trace"][1] == {"end_s": 0.16, "scores": [0.9123, 0.0]}
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, 0o600, 0o600]


def test_there_are_never_more_than_wanted_and_none_too_old(tmp_path: Path) -> None:
    clock = Days()
    foreign = [tmp_path / "notes.wav", tmp_path / "20200101T000000000Z-wake-x.txt"]
    for path in foreign:
        path.write_text("mine")
    with ClipFolder(tmp_path, most=3, days=7, now=clock) as keeper:
        for number in range(5):
            keeper.keep(clip(f"w{number}"))
            until(lambda: bool(list(tmp_path.glob(f"*w{number}.json"))))  # noqa: B023 - called at once
    words = sorted(path.stem.rpartition("-")[2] for path in tmp_path.glob("*Z-*.wav"))
    assert words == ["w2", "w3", "w4"]
    clock.now += timedelta(days=8)
    with ClipFolder(tmp_path, most=3, days=7, now=clock):  # looks at the start, and every hour
        until(lambda: not list(tmp_path.glob("*Z-*.wav")))
    assert all(path.read_text() == "mine" for path in foreign)
    assert not list(tmp_path.glob("*.json"))


def test_a_disk_that_refuses_is_said_once_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "clips"
    folder.write_text("a file is in the way")
    with ClipFolder(folder, most=3, days=7, now=Days()) as keeper:
        keeper.keep(clip())
        until(lambda: keeper.problem is not None)
        keeper.keep(clip())
        keeper.keep(clip())
        until(keeper._waiting.empty)
        folder.unlink()
        keeper.keep(clip("later"))
        until(lambda: keeper.problem is None and bool(list(folder.glob("*later.json"))))
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert str(folder) in warnings[0].getMessage()


def test_half_a_clip_is_no_clip(tmp_path: Path) -> None:
    clock = Days()
    clock.step = timedelta(0)
    blocked = tmp_path / "20261120T120000000Z-wake-alexa.json"
    blocked.mkdir()  # the notes cannot be written
    (blocked / "x").touch()
    with ClipFolder(tmp_path, most=3, days=7, now=clock) as keeper:
        keeper.keep(clip())
        until(lambda: keeper.problem is not None)
    assert not list(tmp_path.glob("*.wav"))


def test_too_many_clips_at_once_are_dropped_and_nobody_waits(tmp_path: Path) -> None:
    keeper = ClipFolder(tmp_path, most=3, days=7, now=Days())  # not entered: as with a disk that hangs
    for _ in range(30):
        keeper.keep(clip())
    assert keeper._waiting.full()
