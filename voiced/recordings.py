"""Recordings of wake words in folders, and made ready to be scored: for ``voiced wake tune`` and ``verify``.

``DIR/positive/WORD/*.wav`` hold the wake word, ``DIR/negative/*.wav`` anything but. Where one word is configured, its
recordings may lie in ``DIR/positive`` itself; with more words there, each belongs to the word its name begins with.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voiced.core.frames import FRAME, STEP, Samples


def positives(directory: Path, words: Sequence[str], bad: dict[str, str]) -> dict[str, list[Path]]:
    """Return the recordings of each word."""
    found = {word: sorted((directory / word).rglob("*.wav")) for word in words}
    for path in sorted(directory.glob("*.wav")):
        owners = [word for word in words if path.stem.startswith(word)] or (list(words) if len(words) == 1 else [])
        if owners:
            found[max(owners, key=len)].append(path)
        else:
            bad[str(path)] = f"which word is it? Put it into {directory}/WORD"
    return found


def with_room(sound: Samples, steps: int) -> Samples:
    """Return a recording with its own quietest moment before it, so that the models are warm, and in whole steps."""
    piece = _quietest(sound)
    lead = np.resize(piece, steps * STEP)
    fill = np.resize(piece, -len(sound) % STEP)
    return np.concatenate((lead, sound, fill, np.resize(piece, 5 * STEP)))


def _quietest(sound: Samples) -> Samples:
    """Return the quietest 200 ms."""
    length = 10 * FRAME
    if len(sound) < 2 * length:
        return np.zeros(length, np.int16)
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    # Without a copy of it all in other numbers: a recording may be hours long.
    power = np.convolve(np.einsum("ij,ij->i", frames, frames, dtype=np.float64), np.ones(10), "valid")
    start = int(np.argmin(power)) * FRAME
    return sound[start : start + length]
