import os
import signal
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.frames import Samples
from voiced.core.resample import resample
from voiced.edge.soundfile import WavWriter, read_wav
from voiced.errors import SoundFileError


def tone(rate: int, seconds: float = 0.25) -> Samples:
    sound: Samples = np.rint(12_000 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype(np.int16)
    return sound


def encode(samples: Samples, width: int) -> bytes:
    """Return samples as PCM of ``width`` bytes, without the standard library's idea of it."""
    wide = samples.astype(np.int64)
    if width == 1:
        return ((wide >> 8) + 128).astype(np.uint8).tobytes()
    return b"".join(int(value << 8 * (width - 2)).to_bytes(width, "little", signed=True) for value in wide)


def riff(form: bytes, sound: bytes, *, claim: int | None = None, before: bytes = b"") -> bytes:
    size = len(sound) if claim is None else claim
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form + before + struct.pack("<4sI", b"data", size)
    return struct.pack("<4sI", b"RIFF", len(body) + len(sound)) + body + sound


def form(kind: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_pcm_becomes_16_khz_mono(tmp_path: Path, width: int, rate: int, channels: int) -> None:
    path = tmp_path / "any.wav"
    sound = tone(rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(encode(np.repeat(sound, channels), width))
    expected = sound if width > 1 else (sound >> 8) << 8
    assert np.array_equal(read_wav(path), resample(expected.astype(np.int16), rate, 16_000))


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    pairs = np.array([[100, 200], [-7, -8], [32767, 32767]], np.int16)
    path.write_bytes(riff(form(channels=2), pairs.tobytes()))
    assert read_wav(path).tolist() == [150, -8, 32767]


def test_the_extensible_form_of_24_bits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ext.wav"
    sound = tone(16_000)
    extended = form(0xFFFE, 1, 16_000, 24) + struct.pack("<HHIHH", 22, 24, 4, 1, 0) + bytes(12)
    path.write_bytes(riff(extended, encode(sound, 3), before=struct.pack("<4sI", b"LIST", 3) + b"abc\0"))
    assert np.array_equal(read_wav(path), sound)


def test_a_stream_without_a_known_end_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    sound = tone(16_000)
    path.write_bytes(riff(form(), sound.tobytes() + b"\0", claim=0xFFFF_FFFF))
    assert np.array_equal(read_wav(path), sound)


GOOD = riff(form(), tone(16_000).tobytes())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"ID3\x04" + bytes(100), "is not a WAV file"),
        (GOOD[:20], "breaks off within its header"),
        (GOOD[:30], "breaks off within its header"),
        (GOOD[:36], "holds no sound"),
        (GOOD[:44], "breaks off after 0 of 8000 bytes"),
        (GOOD[:1000], "breaks off after 956 of 8000 bytes"),
        (riff(form(), b""), "holds no sound"),
        (riff(form(), b"\1"), "holds no sound"),
        (riff(form(kind=3, bits=32), bytes(64)), "WAV format 3"),
        (riff(form(kind=0x55), bytes(64)), "WAV format 85"),
        (riff(form(bits=12), bytes(64)), "12 bits"),
        (riff(form(channels=0), bytes(64)), "0 channels"),
        (riff(form(rate=0), bytes(64)), "at 0 Hz"),
        (struct.pack("<4sI4s4sI", b"RIFF", 40, b"WAVE", b"data", 4) + bytes(4), "before its format"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(SoundFileError) as refusal:
        read_wav(path)
    assert str(path) in str(refusal.value)
    assert fault in str(refusal.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SoundFileError, match=r"nowhere\.wav: cannot be read: No such file"):
        read_wav(tmp_path / "nowhere.wav")


@given(st.binary(max_size=80), st.integers(0, 60))
def test_damage_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("wav") / "damaged.wav"
    path.write_bytes(GOOD[:at] + junk + GOOD[at + len(junk) :])
    try:
        samples = read_wav(path)
    except SoundFileError as exc:
        assert str(path) in str(exc)  # noqa: PT017 - either outcome is right
    else:
        assert samples.dtype == np.int16


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    sound = tone(24_000, 3.1)
    with WavWriter(path) as writer:
        for start in range(0, len(sound), 480):
            writer.write(sound[start : start + 480])
        assert writer.samples == len(sound)
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (1, 2, 24_000, len(sound))
        assert np.array_equal(np.frombuffer(file.readframes(len(sound)), "<i2"), sound)


def test_a_file_is_valid_while_it_is_written_and_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed.wav"
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from voiced.edge.soundfile import WavWriter\n"
        "writer = WavWriter(Path(sys.argv[1]))\n"
        "for number in range(130):\n"
        "    writer.write(np.full(480, number, np.int16))\n"
        "print('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
    sound = read_wav(path, 24_000)
    assert len(sound) >= 2 * 24_000
    assert np.array_equal(sound, np.repeat(np.arange(130), 480)[: len(sound)])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoundFileError, match=r"no/such/out\.wav: cannot be written"):
        WavWriter(tmp_path / "no/such/out.wav")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - in a decorator
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = tmp_path / "full.wav"
    full.symlink_to("/dev/full")
    with pytest.raises(SoundFileError, match=r"full\.wav: cannot be written: No space left"):
        WavWriter(full)
