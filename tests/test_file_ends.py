"""Recordings and files in place of microphone and speaker, in real time."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import eventually
from voiced.core.chimes import chime
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.playout import FADE, Drained, PlayoutEvent, Started
from voiced.edge.bridge import Inbox
from voiced.edge.microphone import FileMicrophone
from voiced.edge.output import NullOutput
from voiced.edge.sound import SoundSettings, open_sound
from voiced.edge.soundfile import WavWriter, read_wav
from voiced.edge.speaker import Speaker
from voiced.errors import DeviceError, SoundFileError

BLOCK = SERVICE_RATE // 50


def noise(count: int, seed: int = 1) -> Samples:
    sound: Samples = np.random.default_rng(seed).integers(-9_000, 9_000, count).astype(np.int16)
    sound[sound == 0] = 1
    return sound


def never(why: str) -> None:
    raise AssertionError(why)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    with WavWriter(path, MICROPHONE_RATE) as writer:
        writer.write(noise(10 * FRAME + 100))
    return path


async def test_a_recording_comes_in_real_time_and_ends(recording: Path) -> None:
    clock = asyncio.get_running_loop().time
    frames = []
    began = clock()
    async for frame in FileMicrophone(recording).frames():
        assert clock() - began >= frame.end / MICROPHONE_RATE  # never before it could have been said
        frames.append(frame)
    assert [frame.start for frame in frames] == [FRAME * number for number in range(11)]
    heard = np.concatenate([frame.samples for frame in frames])
    assert np.array_equal(heard[: 10 * FRAME + 100], noise(10 * FRAME + 100))
    assert not heard[10 * FRAME + 100 :].any()


async def test_frames_come_in_whole_steps_until_they_are_wanted_promptly(recording: Path) -> None:
    microphone = FileMicrophone(recording)
    frames = microphone.frames()

    async def comes_at_once() -> bool:
        taken = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)  # one turn of the loop is enough where nothing is waited for
        was_there = taken.done()
        await taken
        return was_there

    assert [await comes_at_once() for _ in range(6)] == [False, True, True, True, False, True]
    microphone.pace(prompt=True)  # what is left of the step is there by now
    assert [await comes_at_once() for _ in range(5)] == [True, True, False, False, False]


async def test_a_recording_may_go_on_with_silence(recording: Path) -> None:
    async with FileMicrophone(recording, end="silence") as microphone:
        frames = microphone.frames()
        heard = [await anext(frames) for _ in range(20)]
    assert [frame.start for frame in heard] == [FRAME * number for number in range(20)]
    assert all(len(frame.samples) == FRAME for frame in heard)
    assert not np.concatenate([frame.samples for frame in heard[11:]]).any()


async def test_who_is_late_gets_all_that_was_said_meanwhile_at_once(recording: Path) -> None:
    clock = asyncio.get_running_loop().time
    frames = FileMicrophone(recording).frames()
    first = await anext(frames)
    busy_until = clock() + 0.25
    while clock() < busy_until:  # a loop that is busy, not one that sleeps
        pass
    rest = [frame async for frame in frames]
    assert [frame.start for frame in (first, *rest)] == [FRAME * number for number in range(11)]


async def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    settings = SoundSettings(input=f"file:{tmp_path}/none.wav", output="null")
    with pytest.raises(SoundFileError, match=r"none\.wav: cannot be read"):
        async with open_sound(settings, notify=lambda _: None, give_up=never):
            pytest.fail("opened")


@asynccontextmanager
async def file_speaker(
    path: Path, *, volume: int = 100, silence: bool = False
) -> AsyncIterator[tuple[Speaker, Inbox[PlayoutEvent]]]:
    told: Inbox[PlayoutEvent] = Inbox(100)
    settings = SoundSettings(input="null", output=f"file:{path}", volume=volume, copy_silence=silence)
    async with open_sound(settings, notify=told.post, give_up=never) as (_, speaker):
        yield speaker, told


async def test_an_answer_is_written_as_it_is_played(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    clock = asyncio.get_running_loop().time
    sound = noise(10 * BLOCK)
    async with file_speaker(path) as (speaker, told):
        assert speaker.busy is False
        began = clock()
        speaker.play("a", 0, sound[: 3 * BLOCK].astype("<i2").tobytes())
        speaker.play("a", 0, sound[3 * BLOCK :].astype("<i2").tobytes())
        assert speaker.busy is True
        assert await anext(told) == Started("a")
        assert await anext(told) == Drained()
        assert clock() - began >= 0.2  # as long as the sound
        assert (speaker.busy, speaker.problem, speaker.underruns) == (False, None, 0)
        assert speaker.cut() == {("a", 0): 200}
    assert np.array_equal(read_wav(path, SERVICE_RATE), sound)


async def test_pauses_are_left_out_or_kept(tmp_path: Path) -> None:
    for silence in (False, True):
        path = tmp_path / f"{silence}.wav"
        async with file_speaker(path, silence=silence) as (speaker, told):
            for item in "ab":
                speaker.play(item, 0, noise(5 * BLOCK, ord(item)).astype("<i2").tobytes())
                assert await anext(told) == Started(item)
                assert await anext(told) == Drained()
                await asyncio.sleep(0.2)  # the pause itself
        written = read_wav(path, SERVICE_RATE)
        assert np.array_equal(written[-5 * BLOCK :], noise(5 * BLOCK, ord("b")))
        pause = len(written) - 10 * BLOCK
        assert pause >= 0.15 * SERVICE_RATE if silence else pause == 0


class LateOutput(NullOutput):
    """Stands still now and then, as a busy machine does."""

    writes = 0

    def write(self, block: Samples) -> None:
        self.writes += 1
        if self.writes % 10 == 0:
            time.sleep(0.06)  # the fault itself
        super().write(block)


class FragileOutput:
    """Holds five blocks, and is lost twice, with all that it holds; what it played is kept."""

    underruns = 0

    def __init__(self) -> None:
        self.played: list[Samples] = []
        self._held: list[Samples] = []
        self._writes = 0

    def look(self) -> None:
        pass

    def check(self) -> None:
        pass

    def open(self) -> None:
        self._held.clear()

    def wait(self) -> None:
        time.sleep(0.001)  # its own pace: ten times real time

    @property
    def queued(self) -> int:
        return sum(map(len, self._held))

    def write(self, block: Samples) -> None:
        self._writes += 1
        if self._writes in {20, 50}:
            raise DeviceError("it is gone")
        self._held.append(block)
        if len(self._held) > 5:
            self.played.append(self._held.pop(0))

    def close(self) -> None:
        self._held.clear()


class PulledOutput(NullOutput):
    """Its plug is pulled, and put back."""

    def __init__(self) -> None:
        super().open()
        self.is_there = threading.Event()
        self.is_there.set()

    def check(self) -> None:
        if not self.is_there.is_set():
            raise DeviceError("its card is gone")

    def open(self) -> None:
        self.check()
        super().open()


async def test_a_speaker_at_rest_is_missed_and_found_again() -> None:
    """Nobody has to say something before it is known that nobody would hear it."""
    told: Inbox[PlayoutEvent] = Inbox(100)
    output = PulledOutput()
    async with Speaker(output, told.post) as speaker:
        assert speaker.problem is None
        output.is_there.clear()
        await eventually(lambda: speaker.problem == "its card is gone", "missed")
        output.is_there.set()
        await eventually(lambda: speaker.problem is None, "found again")


async def test_what_a_lost_device_held_is_played_by_the_next() -> None:
    sound = np.where(noise(80 * BLOCK) == 0, 1, noise(80 * BLOCK)).astype("<i2")
    told: Inbox[PlayoutEvent] = Inbox(100)
    output, slips = FragileOutput(), list[int]()
    async with Speaker(output, told.post, slipped=lambda: slips.append(len(output.played))) as speaker:
        speaker.play("a", 0, sound.tobytes())
        assert await anext(told) == Started("a")
        assert await anext(told) == Drained()
        assert speaker.cut() == {("a", 0): 1_600}
    heard = np.concatenate(output.played)
    assert np.array_equal(heard[heard != 0], sound)
    assert slips == [0, 14, 38]  # each device is heard at a time of its own


async def test_a_late_machine_puts_no_silence_into_a_written_answer(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    sound = noise(20 * BLOCK)
    told: Inbox[PlayoutEvent] = Inbox(100)
    with WavWriter(path) as copy:
        async with Speaker(LateOutput(), told.post, copy=copy, copy_silence=True) as speaker:
            speaker.play("a", 0, sound.astype("<i2").tobytes())
            assert await anext(told) == Started("a")
            assert await anext(told) == Drained()
    written = read_wav(path, SERVICE_RATE)
    begins = int(np.flatnonzero(written)[0])
    assert np.array_equal(written[begins : begins + len(sound)], sound[: len(written) - begins])


async def test_a_paused_answer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    sound = np.full(20 * BLOCK, 10_000, np.int16)
    async with file_speaker(path) as (speaker, told):
        speaker.play("a", 0, sound.tobytes())
        assert await anext(told) == Started("a")
        speaker.pause()
        await asyncio.sleep(0.5)  # longer than the whole of it
        assert speaker.busy is True
        speaker.resume()
        assert await anext(told) == Drained()
        assert speaker.cut() == {("a", 0): 400}
    voiced = read_wav(path, SERVICE_RATE)
    softened = np.count_nonzero((voiced != 10_000) & (voiced != 0))
    # One fade out, one in; the ends of both round to silence, and to all there is.
    assert np.count_nonzero(voiced) in range(20 * BLOCK - 20, 20 * BLOCK + 1)
    assert softened in range(2 * FADE - 40, 2 * FADE + 1)


async def test_a_cut_answer_fades_and_is_silent_and_the_next_one_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    loud = np.full(3 * SERVICE_RATE, 10_000, np.int16)
    async with file_speaker(path) as (speaker, told):
        speaker.play("a", 0, loud.tobytes())
        assert await anext(told) == Started("a")
        heard = speaker.cut()
        assert list(heard) == [("a", 0)]
        speaker.chime(chime("end"))
        speaker.play("b", 1, noise(2 * BLOCK).astype("<i2").tobytes())
        assert await anext(told) == Started("b")
        assert await anext(told) == Drained()
        assert list(speaker.cut()) == [("b", 1)]
    written = read_wav(path, SERVICE_RATE)
    full = int(np.count_nonzero(written == 10_000))
    assert heard["a", 0] == (full + FADE) * 1000 // SERVICE_RATE  # what had been written, and the fade
    assert len(written) < full + FADE + len(chime("end")) + 6 * BLOCK


async def test_volume_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    async with file_speaker(path, volume=50) as (speaker, told):
        speaker.play("a", 0, np.full(5 * BLOCK, 10_000, np.int16).tobytes())
        while await anext(told) != Drained():
            pass
        speaker.volume(0)
        speaker.play("b", 0, np.full(5 * BLOCK, 10_000, np.int16).tobytes())
        while await anext(told) != Drained():
            pass
    written = read_wav(path, SERVICE_RATE)
    assert np.all(written[: 5 * BLOCK] == 2_500)
    assert not written[-4 * BLOCK :].any()


async def test_a_speaker_that_is_left_while_it_plays_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    async with file_speaker(path) as (speaker, told):
        speaker.play("a", 0, bytes(2 * 600 * SERVICE_RATE))
        assert await anext(told) == Started("a")
    assert len(read_wav(path, SERVICE_RATE)) < 60 * SERVICE_RATE


def test_files_do_not_load_portaudio() -> None:
    program = "import sys, voiced.edge.sound; print('sounddevice' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
