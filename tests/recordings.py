"""Sound for tests: the shipped recordings, real clips where somebody put them, and quiet rooms."""

import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame, Samples

ROOT = Path(__file__).parents[1]
SOUNDS = ROOT / "tests" / "sounds"
DEMO = ROOT / "voiced" / "demo_sounds" / "conversation.wav"
CLIPS = sorted((ROOT.parent / "shared" / "clips").glob("*.wav"))
"""Recordings of real people, which are not part of the project; empty where they are missing."""

NOTES: dict[str, dict[str, Any]] = json.loads((SOUNDS / "sounds.json").read_text())


def load(path: Path) -> Samples:
    """Return a recording, 16 kHz mono."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (MICROPHONE_RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def noise(seconds: float, rms: float = 10.0, seed: int = 0) -> Samples:
    """Return white noise."""
    count = int(seconds * MICROPHONE_RATE)
    return np.random.default_rng(seed).normal(0, rms, count).astype(np.int16)


def steps(sound: Samples) -> Samples:
    """Cut sound to a whole number of steps."""
    return sound[: len(sound) // STEP * STEP]


def frames(sound: Samples, start: int = 0) -> Iterator[Frame]:
    """Cut sound into frames, the first at position ``start``."""
    for at in range(0, len(sound) - FRAME + 1, FRAME):
        yield Frame(start + at, sound[at : at + FRAME])
