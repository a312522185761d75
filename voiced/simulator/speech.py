"""The model's voice: recorded answers, or espeak-ng at run time where it is installed.

espeak-ng is an outside program (GPL-3.0); :mod:`voiced.simulator.make_sounds` made the shipped recordings with it.
"""

import asyncio
import io
import re
import shutil
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voiced.errors import SoundFileError
from voiced.simulator.scenario import SOUNDS
from voiced.simulator.shapes import RATE

FALLBACK = SOUNDS / "fallback.wav"
"""What is heard where a text cannot be spoken."""

_CACHE = 32


def resample(samples: NDArray[np.int16], rate: int, target: int = RATE) -> NDArray[np.int16]:
    """Return a whole recording at another rate, by its spectrum; for seconds of sound, not for streams."""
    if rate == target or not len(samples):
        return samples
    length = round(len(samples) * target / rate)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    kept = np.zeros(length // 2 + 1, dtype=np.complex128)
    shared = min(len(spectrum), len(kept))
    kept[:shared] = spectrum[:shared]
    sound = np.fft.irfft(kept, length) * (length / len(samples))
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


def read_wav(source: Path | io.BytesIO) -> NDArray[np.int16]:
    """Return a mono 16-bit WAV at the service's rate.

    Raises:
        SoundFileError: If it is missing, broken, or of another form.

    """
    name = source if isinstance(source, Path) else "the sound that espeak-ng made"
    try:
        with wave.open(str(source) if isinstance(source, Path) else source, "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise SoundFileError(f"{name}: must be mono with 16 bits a sample; convert it with sox -c 1 -b 16.")
            rate = file.getframerate()
            # espeak-ng writes a stream, so its header cannot know the length
            frames = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as exc:
        raise SoundFileError(f"{name}: cannot be read as a WAV file: {exc}") from exc
    return resample(np.frombuffer(frames[: len(frames) // 2 * 2], "<i2").astype(np.int16), rate)


def trimmed(samples: NDArray[np.int16], *, margin_s: float = 0.05) -> NDArray[np.int16]:
    """Return a recording without the silence at its ends."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
    if not len(loud):
        return samples
    margin = int(margin_s * RATE)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


async def synthesised(text: str, voice: str) -> NDArray[np.int16] | None:
    """Return a text spoken by espeak-ng; ``None`` where it is not installed or does not manage."""
    program = shutil.which("espeak-ng")
    if program is None or not text.strip():
        return None
    process = await asyncio.create_subprocess_exec(
        program,
        *("-v", voice, "-s", "165", "--stdin", "--stdout"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        sound, _ = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or len(sound) <= 44:
        return None
    return trimmed(read_wav(io.BytesIO(sound)))


class Voice:
    """Turns answers into sound, and remembers the last ones."""

    def __init__(self, espeak_voice: str) -> None:
        self._espeak_voice = espeak_voice
        self._spoken: dict[tuple[str, str], bytes] = {}

    async def say(self, text: str, sound: str = "") -> bytes:
        """Return an answer as PCM16 little endian, from its file, espeak-ng or the fallback.

        Raises:
            SoundFileError: If the file named cannot be read.

        """
        known = self._spoken.get((text, sound))
        if known is None:
            known = await self._made(text, sound)
            while len(self._spoken) >= _CACHE:
                self._spoken.pop(next(iter(self._spoken)))
            self._spoken[text, sound] = known
        return known

    async def _made(self, text: str, sound: str) -> bytes:
        if sound:
            return _bytes(read_wav(_path(sound)))
        samples = await synthesised(text, self._espeak_voice)
        return _bytes(read_wav(FALLBACK) if samples is None else samples)


def _path(sound: str) -> Path:
    path = Path(sound)
    return path if path.is_file() else SOUNDS / sound


def _bytes(samples: NDArray[np.int16]) -> bytes:
    return samples.astype("<i2").tobytes()


_ALOUD = re.compile(r"\b(aloud|out loud|word for word|verbatim|exactly)\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"\u201c](.+)[\"\u201d]", re.DOTALL)


def requested_text(instructions: str, given: str) -> str | None:
    """Return the text that instructions ask to have read aloud; ``None`` if they ask for something else.

    It is what stands in the answer's own input, else behind the first empty line, else in quotation marks, else behind
    the first colon.
    """
    if not _ALOUD.search(instructions):
        return None
    if given.strip():
        return given.strip()
    _, line, rest = instructions.partition("\n\n")
    if line and rest.strip():
        return rest.strip()
    quoted = _QUOTED.search(instructions)
    if quoted:
        return quoted[1].strip()
    _, colon, rest = instructions.partition(":")
    return rest.strip() if colon and rest.strip() else None
