"""Sound files of other kinds than ours, decoded (soundfile, which is libsndfile): WAV, FLAC, Ogg and MP3.

The library is loaded when first a file is to be played. Only what begins as one of these four is given to it at all,
and sound is taken from it a second at a time, so that no file can claim memory.
"""

import io

import numpy as np

from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.resample import Resampler
from voiced.errors import CommandError, MissingPartError

LONGEST_S = 300
"""Seconds of sound; a file that holds more is refused."""

_KINDS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3")


def decoded(content: bytes, name: str) -> Samples:
    """Return the sound of a file as 24 kHz mono; takes about a thousandth of its length.

    Args:
        content: The whole file.
        name: What to call it in errors.

    Raises:
        CommandError: If it is no sound, or too long.
        MissingPartError: If the library is not there.

    """
    if not content.startswith(_KINDS) and not _is_mpeg(content):
        raise CommandError(f"{name} is no sound file; send WAV, FLAC, Ogg or MP3", code="not_audio")
    try:
        import soundfile  # noqa: PLC0415 - see above
    except (ImportError, OSError) as exc:
        raise MissingPartError(f"soundfile cannot be loaded ({exc}); install voiced anew") from exc
    pieces: list[Samples] = []
    count = 0
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = file.samplerate
            if not 1_000 <= rate <= 768_000:
                raise CommandError(f"{name} claims {rate} samples a second", code="not_audio")
            resampler = Resampler(rate, SERVICE_RATE)
            while len(block := file.read(rate, dtype="int16", always_2d=True)):
                count += len(block)
                if count > LONGEST_S * rate:
                    raise CommandError(f"{name} is longer than {LONGEST_S} s", code="too_long")
                pieces.append(resampler.feed(_mono(block)))
            pieces.append(resampler.feed(np.zeros(0, np.int16), last=True))
    except (RuntimeError, ValueError, TypeError, OSError) as exc:
        raise CommandError(f"{name} cannot be decoded: {exc}", code="not_audio") from exc
    sound = np.concatenate(pieces)
    if not len(sound):
        raise CommandError(f"{name} holds no sound", code="not_audio")
    return sound


def _is_mpeg(content: bytes) -> bool:
    """Return whether there is an MPEG frame at the beginning: eleven bits of synchronisation, layer III."""
    return len(content) > 2 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2


def _mono(block: Samples) -> Samples:
    if block.shape[1] == 1:
        return block[:, 0]
    mean: Samples = np.rint(block.mean(axis=1)).astype(np.int16)
    return mean
