"""The linear echo canceller in the virtual room: what it takes out, what it leaves, and what it survives."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.recordings import ROOT, SOUNDS, load
from tests.room import ACROSS_ROOM_DB, BLOCK, NEAR_SPEAKER_DB, Acoustics, Room, cut
from voiced.core.echo.canceller import LinearCanceller
from voiced.core.echo.delay import HEARD, PLAYED, DelayFinder
from voiced.core.echo.loss import Loss
from voiced.core.echo.tape import PACE, Tape
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Frame, Samples
from voiced.edge.soundfile import read_wav

ANSWER = np.concatenate(
    [
        read_wav(ROOT / "voiced" / "simulator" / "sounds" / f"{name}.wav", SERVICE_RATE)
        for name in ("weather", "time", "fallback", "welcome")
    ]
)
"""11 s of an assistant's speech."""
ECHO_DB = -26.0


@dataclass
class Cleaned:
    """What came of the canceller, and what the microphone heard; of one length."""

    sound: NDArray[np.float64]
    heard: NDArray[np.float64]
    echo: NDArray[np.float64]
    quiet: NDArray[np.float64]

    def attenuation_db(self, begin_s: float, end_s: float) -> float:
        """Return by how much the echo is softened there; neither people nor noise count."""
        part = slice(int(begin_s * MICROPHONE_RATE), int(end_s * MICROPHONE_RATE))
        return _db(self.echo[part]) - _db((self.sound - self.quiet)[part])


class Stage:
    """A room with a canceller in it."""

    def __init__(self, room: Room | None = None) -> None:
        self.room = room or Room()
        self.canceller = LinearCanceller()
        self.position = 0
        self.own: list[float] = []
        self._waiting = np.zeros((4, 0))

    def play(self, blocks: Iterable[Samples | None]) -> Cleaned:
        """Play; ``None`` is 20 ms in which the device is given back and nobody tells the canceller anything."""
        pieces = []
        for block in blocks:
            heard = self.room.hear(np.zeros(BLOCK, np.int16) if block is None else block)
            if block is not None:
                self.canceller.played(block)
            news = np.array([heard.sound, heard.sound, heard.echo, heard.quiet], np.float64)
            self._waiting = np.concatenate((self._waiting, news), axis=1)
            while self._waiting.shape[1] >= FRAME:
                piece, self._waiting = self._waiting[:, :FRAME], self._waiting[:, FRAME:]
                frame = self.canceller.clean(Frame(self.position, piece[0].astype(np.int16)))
                assert (frame.start, len(frame.samples)) == (self.position, FRAME)
                self.own.append(frame.own)
                pieces.append(np.concatenate((frame.samples[None], piece[1:])))
                self.position += FRAME
        return Cleaned(*np.concatenate(pieces, axis=1))


def _db(sound: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(np.square(sound)) + 1e-9))


def _silence(seconds: float) -> list[Samples]:
    return [np.zeros(BLOCK, np.int16)] * round(seconds * 50)


@pytest.mark.parametrize(
    ("direct_db", "drift_ppm"),
    [(NEAR_SPEAKER_DB, 0.0), (NEAR_SPEAKER_DB, 100.0), (ACROSS_ROOM_DB, 0.0), (ACROSS_ROOM_DB, -100.0)],
)
def test_the_echo_is_taken_out(direct_db: float, drift_ppm: float) -> None:
    stage = Stage(Room(Acoustics(direct_db=direct_db, drift_ppm=drift_ppm)))
    assert stage.canceller.attenuation_db is None
    cleaned = stage.play(cut(ANSWER))
    assert cleaned.attenuation_db(3, 11) > 25
    assert (stage.canceller.attenuation_db or 0) > 20
    assert stage.canceller.drift_ppm == pytest.approx(drift_ppm, abs=5)


@pytest.mark.parametrize("delay_s", [0.02, 0.06, 0.2, 0.4, 0.9])
@pytest.mark.parametrize("direct_db", [NEAR_SPEAKER_DB, ACROSS_ROOM_DB])
def test_the_delay_is_found(delay_s: float, direct_db: float) -> None:
    stage = Stage(Room(Acoustics(delay_s=delay_s, direct_db=direct_db, seed=round(delay_s * 100))))
    stage.play(cut(ANSWER[: 3 * SERVICE_RATE]))
    assert stage.canceller.delay_s == pytest.approx(delay_s, abs=0.002)


def test_near_speech_is_left_alone() -> None:
    said = load(SOUNDS / "negative_1.wav")[36_000:]
    stage = Stage()
    stage.room.say(said, 5 * MICROPHONE_RATE, ECHO_DB)
    cleaned = stage.play(cut(ANSWER))
    part = slice(5 * MICROPHONE_RATE, 5 * MICROPHONE_RATE + len(said))
    assert _db(cleaned.heard[part] - cleaned.quiet[part]) > _db(cleaned.quiet[part]) - 3  # as loud as the person
    assert _db(cleaned.sound[part] - cleaned.quiet[part]) < _db(cleaned.quiet[part]) - 23
    assert cleaned.attenuation_db(8, 11) > 25  # and the person's speech taught it nothing wrong


def test_a_persons_speech_is_told_from_what_is_left_of_the_echo() -> None:
    said = load(SOUNDS / "negative_1.wav")[36_000 : 36_000 + MICROPHONE_RATE]
    stage = Stage()
    stage.room.say(said, 5 * MICROPHONE_RATE, ECHO_DB)
    cleaned = stage.play(cut(ANSWER))
    power = np.mean(np.square(cleaned.sound.reshape(-1, FRAME)), axis=1)
    own = np.array(stage.own)
    assert (own[:20] == 1).all()  # nothing is known yet
    person, alone = slice(250, 300), slice(320, 550)
    assert (own * power)[person].sum() < 0.05 * power[person].sum()
    assert (own * power)[alone].sum() > 0.5 * power[alone].sum()
    # In another room the usual does not count.
    stage.room.change(replace(Acoustics(), seed=5))
    cleaned = stage.play(cut(ANSWER[: 2 * SERVICE_RATE]))
    power = np.mean(np.square(cleaned.sound.reshape(-1, FRAME)), axis=1)
    own = np.array(stage.own[-len(power) :])
    assert (own * power)[:80].sum() > 0.1 * power[:80].sum()


def test_somebody_may_speak_from_the_beginning_on() -> None:
    said = np.tile(np.concatenate([load(SOUNDS / f"negative_{number}.wav")[36_000:] for number in (1, 2, 3)]), 2)
    stage = Stage()
    stage.room.say(said, 0, ECHO_DB)
    cleaned = stage.play(cut(ANSWER))
    assert cleaned.attenuation_db(3, 11) > 15


def test_nothing_is_done_while_nothing_plays() -> None:
    canceller = LinearCanceller()
    frames = [Frame(number * FRAME, np.full(FRAME, number, np.int16)) for number in range(400)]
    assert all(canceller.clean(frame) is frame for frame in frames[:100])
    canceller.played(np.full(BLOCK, 1000, np.int16))
    canceller.clean(frames[100])
    assert canceller.active
    for frame in frames[101:300]:
        canceller.played(np.zeros(BLOCK, np.int16))
        canceller.clean(frame)
    assert not canceller.active
    assert all(canceller.clean(frame) is frame for frame in frames[300:])


def test_what_was_learnt_outlasts_a_pause() -> None:
    stage = Stage()
    stage.play(cut(ANSWER))
    stage.play(_silence(3.0))
    assert not stage.canceller.active
    assert stage.play(cut(ANSWER)).attenuation_db(0.0, 2.0) > 25


@pytest.mark.parametrize("later_s", [-0.012, 0.0, 0.0137])
def test_a_speaker_that_was_given_back_is_found_again_by_its_echo(later_s: float) -> None:
    """The device takes another while to begin each time it is opened."""
    stage = Stage()
    stage.play(cut(ANSWER))
    stage.play([None] * 300)
    stage.room.change(replace(stage.room.acoustics, delay_s=0.06 + later_s))
    cleaned = stage.play(cut(ANSWER))
    assert cleaned.attenuation_db(0.5, 2.0) > 20
    assert stage.canceller.delay_s == pytest.approx(0.06 + later_s, abs=0.001)


def test_a_speaker_that_ran_dry_is_found_again() -> None:
    stage = Stage()
    stage.play(cut(ANSWER[: 8 * SERVICE_RATE]))
    stage.play([None] * 13)
    assert stage.play(cut(ANSWER)).attenuation_db(0.6, 3.0) > 20


def test_lost_microphone_sound_that_was_counted_makes_no_difference() -> None:
    stage = Stage()
    stage.play(cut(ANSWER[: 8 * SERVICE_RATE]))
    for block in cut(ANSWER[: 10 * BLOCK]):
        stage.position += len(stage.room.feed(block))
        stage.canceller.played(block)
    assert stage.play(cut(ANSWER[10 * BLOCK :])).attenuation_db(0.0, 0.2) > 25


def test_lost_microphone_sound_does_not_undo_what_was_learnt() -> None:
    stage = Stage()
    stage.play(cut(ANSWER[: 8 * SERVICE_RATE]))
    # The device says it lost 100 ms; that it were 104 it does not know.
    lost = np.concatenate([stage.room.feed(block) for block in cut(ANSWER[: 5 * BLOCK])])
    for block in cut(ANSWER[: 5 * BLOCK]):
        stage.canceller.played(block)
    stage.room.change(replace(stage.room.acoustics, delay_s=0.056))
    stage.position += len(lost)
    cleaned = stage.play(cut(ANSWER[5 * BLOCK :]))
    assert cleaned.attenuation_db(0.6, 3.0) > 20


def test_another_device_has_another_delay() -> None:
    stage = Stage(Room(Acoustics(delay_s=0.25)))
    stage.play(cut(ANSWER[: 6 * SERVICE_RATE]))
    stage.room.change(Acoustics(delay_s=0.06, seed=11))
    cleaned = stage.play(cut(ANSWER))
    assert cleaned.attenuation_db(4, 11) > 20
    assert stage.canceller.delay_s == pytest.approx(0.06, abs=0.001)


@pytest.mark.parametrize(
    ("after", "least_db"),
    [
        (Acoustics(seed=5), 15),
        (Acoustics(echo_db=-20), 25),
        (Acoustics(echo_db=-36), 20),
        (Acoustics(drift_ppm=80), 20),
    ],
    ids=["moved", "louder", "softer", "drifting"],
)
def test_another_room_is_learnt(after: Acoustics, least_db: float) -> None:
    stage = Stage()
    stage.play(cut(ANSWER))
    stage.room.change(after)
    cleaned = stage.play(cut(ANSWER))
    assert cleaned.attenuation_db(2, 4) > least_db
    assert cleaned.attenuation_db(6, 11) > 25
    assert _db(cleaned.sound[:MICROPHONE_RATE]) < _db(cleaned.heard[:MICROPHONE_RATE]) + 1.5


def test_the_daemons_own_volume_is_no_change_at_all() -> None:
    stage = Stage()
    stage.play(cut(ANSWER))
    assert stage.play(cut((ANSWER * 0.3).astype(np.int16))).attenuation_db(0, 1) > 25


def test_a_microphone_at_its_limit_teaches_nothing_wrong() -> None:
    stage = Stage()
    stage.play(cut(ANSWER))
    bang = (np.random.default_rng(3).normal(size=MICROPHONE_RATE) * 40_000).astype(np.float64)
    stage.room.say(bang, stage.position + 8_000)
    cleaned = stage.play(cut(ANSWER))
    assert cleaned.attenuation_db(1.8, 4.0) > 20


KINDS = st.sampled_from(["speech", "silence", "noise", "clipped", "dry", "gap"])


@settings(max_examples=8)
@given(st.lists(st.tuples(KINDS, st.integers(1, 40), st.integers(0, 2**31)), max_size=8))
@example([("speech", 16, 0), ("dry", 2, 0), ("clipped", 2, 0)])
def test_any_history_is_survived(history: list[tuple[str, int, int]]) -> None:
    """Frames keep place and length, nothing gets louder for long, and afterwards it works as ever."""
    stage = Stage()
    for kind, blocks, seed in history:
        random = np.random.default_rng(seed)
        at = int(random.integers(0, len(ANSWER) - 40 * BLOCK))
        speech = ANSWER[at : at + blocks * BLOCK]
        noise = random.normal(size=blocks * BLOCK) * 3000
        if kind == "gap":
            stage.position += int(random.integers(1, 20_000))
            continue
        kinds: dict[str, Iterable[Samples | None]] = {
            "speech": cut(speech),
            "silence": _silence(blocks / 50),
            "noise": cut(noise.astype(np.int16)),
            "clipped": cut(np.where(noise > 0, 32_767, -32_768).astype(np.int16)),
            "dry": [None] * blocks,
        }
        cleaned = stage.play(kinds[kind])
        assert np.isfinite(cleaned.sound).all()
        assert _db(cleaned.sound) < _db(cleaned.heard) + 6
    assert stage.play(cut(ANSWER[: 8 * SERVICE_RATE])).attenuation_db(5, 8) > 15


def test_a_tape_is_read_between_its_samples() -> None:
    seconds = np.arange(40_000) / SERVICE_RATE
    tape = Tape()
    for block in np.rint(20_000 * np.sin(2 * np.pi * 3_000 * seconds)).astype(np.int16).reshape(-1, 400):
        tape.add(block)
    assert tape.end == len(seconds)
    for pace in (PACE, PACE * 1.0001, PACE / 1.0003):
        places = 20_000.37 + pace * np.arange(FRAME)
        expected = 20_000 / 32_768 * np.sin(2 * np.pi * 3_000 * places / SERVICE_RATE)
        assert np.max(np.abs(tape.read(20_000.37, pace, FRAME) - expected)) < 0.003
    assert not tape.read(-5_000, PACE, FRAME).any()
    assert not tape.read(60_000, PACE, FRAME).any()


def test_a_tape_forgets_what_is_long_ago_and_nothing_else() -> None:
    tape = Tape()
    random = np.random.default_rng(0)
    blocks = [random.integers(-3000, 3000, int(random.integers(1, 2000))).astype(np.int16) for _ in range(300)]
    for block in blocks:
        tape.add(block)
    newest = np.concatenate(blocks)[-50_000:]
    assert tape.end == sum(len(block) for block in blocks)
    assert np.array_equal(tape.last(50_000, tape.end), newest / np.float32(32_768))
    assert np.array_equal(tape.last(100, tape.end + 40)[:60], newest[-60:] / np.float32(32_768))


@pytest.mark.parametrize("seed", range(10))
def test_no_delay_is_found_where_there_is_no_echo(seed: int) -> None:
    random = np.random.default_rng(seed)
    finder = DelayFinder()
    other = load(SOUNDS / f"negative_{1 + seed % 3}.wav")[36_000:] / np.float32(32_768)
    for number in range(4):
        played = (ANSWER[seed * 5000 + number * 3840 :][:PLAYED] / 32_768).astype(np.float32)
        heard: NDArray[np.float32] = random.normal(0, 0.001, HEARD).astype(np.float32)
        if seed % 2:
            heard += other[number * 2560 :][:HEARD].astype(np.float32)
        assert finder.look(played, heard) is None


def test_a_canceller_that_makes_it_louder_is_not_listened_to() -> None:
    loss = Loss()
    random = np.random.default_rng(0)
    for _ in range(60):
        microphone = random.normal(size=FRAME).astype(np.float32) * np.float32(0.1)
        assert loss.choose(microphone, microphone * np.float32(0.1)) is not microphone
    assert loss.attenuation_db == pytest.approx(20, abs=0.1)
    for _ in range(10):
        kept = loss.choose(microphone, microphone * np.float32(-2))
    assert kept is microphone
    assert loss.attenuation_db is not None
    assert loss.attenuation_db > 0
