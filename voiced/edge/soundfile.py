"""WAV files: any PCM one to 16 kHz frames' sound, and one written while it sounds.

The header is read here and not by the standard library's :mod:`wave`, which before Python 3.12 refuses the form that
most tools give to 24 bits (WAVE_FORMAT_EXTENSIBLE) and does not notice a file that ends too early.
Source: "Multiple channel audio data and WAVE files", Microsoft, 2017.
"""

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.resample import resample
from voiced.errors import SoundFileError

_PCM, _EXTENSIBLE = 1, 0xFFFE
_STREAMED = 0x7FFF_F000
"""Sizes from here up are what tools write that do not know how much will come."""


@dataclass(frozen=True, slots=True)
class _Format:
    channels: int
    rate: int
    width: int  # bytes a sample


def read_wav(path: Path, rate: int = MICROPHONE_RATE) -> Samples:
    """Return the sound of a WAV file as mono at ``rate``.

    Args:
        path: PCM of 8, 16, 24 or 32 bits, any rate; channels are averaged.
        rate: Samples per second wanted.

    Raises:
        SoundFileError: If it is missing, empty, broken or of another kind; names file and fault.

    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise SoundFileError(f"{path}: cannot be read: {exc.strerror}") from exc
    try:
        form, sound = _parse(content)
    except ValueError as exc:
        raise SoundFileError(f"{path}: {exc}; give a WAV file with PCM of 8, 16, 24 or 32 bits") from exc
    return resample(_mono(form, sound), form.rate, rate)


def shipped(name: str) -> Samples:
    """Return a sound that comes with the package, 24 kHz."""
    return read_wav(Path(__file__).parents[1] / "sounds" / f"{name}.wav", SERVICE_RATE)


def _parse(content: bytes) -> tuple[_Format, bytes]:
    """Return format and sound, whole sample frames only.

    Raises:
        ValueError: Says what is wrong, without naming the file.

    """
    if not content:
        raise ValueError("is empty")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("is not a WAV file")
    form: _Format | None = None
    for name, size, start in _chunks(content):
        if name == b"fmt ":
            form = _format(content[start : start + size])
        elif name == b"data":
            if form is None:
                raise ValueError("has sound before its format is told")
            return form, _sound(content, start, size, form)
    raise ValueError("holds no sound" if form else "breaks off within its header")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    start = 12
    while start + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, start)
        yield name, size, start + 8
        start += 8 + size + size % 2  # chunks begin at even places


def _format(chunk: bytes) -> _Format:
    if len(chunk) < 16:
        raise ValueError("breaks off within its header")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        kind = struct.unpack_from("<H", chunk, 24)[0]
    if kind != _PCM:
        raise ValueError(f"holds sound of WAV format {kind}, not PCM")
    if bits not in {8, 16, 24, 32} or not channels or not 1_000 <= rate <= 768_000:
        raise ValueError(f"claims {channels} channels of {bits} bits at {rate} Hz")
    return _Format(channels, rate, bits // 8)


def _sound(content: bytes, start: int, size: int, form: _Format) -> bytes:
    there = len(content) - start
    if size >= _STREAMED:
        size = there
    if there < size:
        raise ValueError(f"breaks off after {there} of {size} bytes of sound")
    frame = form.channels * form.width
    if size < frame:
        raise ValueError("holds no sound")
    return content[start : start + size - size % frame]


def _mono(form: _Format, sound: bytes) -> Samples:
    """Return 16-bit mono; channels are averaged before rounding."""
    if (form.width, form.channels) == (2, 1):
        return np.frombuffer(sound, "<i2").astype(np.int16)  # other ways take sixteen times the memory: hours matter
    if form.width == 1:
        wide = (np.frombuffer(sound, np.uint8).astype(np.float64) - 128) * 256
    elif form.width == 3:
        upper = np.zeros((len(sound) // 3, 4), np.uint8)
        upper[:, 1:] = np.frombuffer(sound, np.uint8).reshape(-1, 3)
        wide = upper.view("<i4")[:, 0] / 65536
    else:
        wide = np.frombuffer(sound, f"<i{form.width}") / (1 if form.width == 2 else 65536)
    mean = wide.reshape(-1, form.channels).mean(axis=1)
    rounded: Samples = np.clip(np.rint(mean), -32768, 32767).astype(np.int16)
    return rounded


class WavWriter(AbstractContextManager["WavWriter"]):
    """A 16-bit mono WAV file that is valid at any moment, also if the process is killed."""

    def __init__(self, path: Path, rate: int = SERVICE_RATE) -> None:
        """Create ``path``, replacing what was there.

        Raises:
            SoundFileError: If it cannot be written.

        """
        self._path = path
        self._rate = rate
        self._bytes = self._told = 0
        with self._our_errors():
            self._file = path.open("wb")
            try:
                self._tell_size()
            except OSError:
                with suppress(OSError):  # what is left in the buffer cannot be written either
                    self._file.close()
                raise

    @property
    def samples(self) -> int:
        """Samples written so far."""
        return self._bytes // 2

    def write(self, samples: Samples) -> None:
        """Append sound; the header follows at least every second of it.

        Raises:
            SoundFileError: If the disk refuses.

        """
        with self._our_errors():
            self._file.write(samples.astype("<i2").tobytes())
            self._bytes += 2 * len(samples)
            if self._bytes - self._told >= 2 * self._rate:
                self._file.flush()  # the sound first: a header must never promise more than there is
                self._tell_size()

    def close(self) -> None:
        """Finish the file; more calls do nothing.

        Raises:
            SoundFileError: If the disk refuses.

        """
        if self._file.closed:
            return
        with self._our_errors(), self._file:
            self._file.flush()
            self._tell_size()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise SoundFileError(f"{self._path}: cannot be written: {exc.strerror}") from exc

    def _tell_size(self) -> None:
        sound = min(self._bytes, 0xFFFF_FFFF - 36)
        form = struct.pack("<HHIIHH", _PCM, 1, self._rate, 2 * self._rate, 2, 16)
        self._file.seek(0)
        self._file.write(struct.pack("<4sI4s4sI", b"RIFF", 36 + sound, b"WAVE", b"fmt ", len(form)) + form)
        self._file.write(struct.pack("<4sI", b"data", sound))
        self._file.seek(0, 2)
        self._file.flush()
        self._told = self._bytes
