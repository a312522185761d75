"""A microphone recorded and a speaker played to, block by block, on the threads of whoever checks them."""

import time
from dataclasses import dataclass

import numpy as np

from voiced.check.findings import Visit
from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.loudness import gain
from voiced.core.resample import resample
from voiced.edge import microphone, output
from voiced.edge.soundcard import Soundcard
from voiced.edge.stream import Interrupted, Stream
from voiced.errors import DeviceError

LEAST_VOLUME = 30
"""Percent; a check that nobody hears tells nothing."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording, and when its samples came."""

    rate: int
    samples: Samples
    positions: list[int]
    """Samples that had arrived at each of the ..."""
    times: list[float]
    """... moments, monotonic seconds."""
    faults: int
    """How often the device lost sound."""


def open_microphone(card: Soundcard, name: str) -> Stream:
    """Open as the daemon does.

    Raises:
        DeviceError: If it cannot be had.

    """
    return card.open("input", name, 16_000, microphone.LATENCY_S)


def open_speaker(card: Soundcard, name: str) -> Stream:
    """Open as the daemon does.

    Raises:
        DeviceError: If it cannot be had.

    """
    return card.open("output", name, SERVICE_RATE, output.LATENCY_S)


def record(stream: Stream, seconds: float) -> Heard:
    """Record for so long.

    Raises:
        DeviceError: If the device stops.

    """
    blocks: list[Samples] = []
    positions: list[int] = []
    times: list[float] = []
    total = 0
    while total < seconds * stream.rate:
        try:
            block = stream.read()
        except Interrupted as exc:
            raise DeviceError("the device list changed meanwhile; check again") from exc
        times.append(time.monotonic())
        total += len(block)
        positions.append(total + stream.available)
        blocks.append(block)
    return Heard(stream.rate, np.concatenate(blocks), positions, times, stream.faults)


def play(stream: Stream, before_s: float, sound: Samples) -> float:
    """Play silence, then 24 kHz ``sound``, and return when its first block was handed over, monotonic seconds.

    Raises:
        DeviceError: If the device stops.

    """
    ready = resample(sound, SERVICE_RATE, stream.rate)
    block = stream.rate // 50
    silence = round(before_s * 50)
    rest = -len(ready) % block
    blocks = np.concatenate((np.zeros(silence * block, np.int16), ready, np.zeros(rest + 5 * block, np.int16)))
    began = 0.0
    for number, part in enumerate(blocks.reshape(-1, block)):
        try:
            stream.wait()
        except Interrupted as exc:
            raise DeviceError("the device list changed meanwhile; check again") from exc
        if number == silence:
            began = time.monotonic()
        stream.write(part)
    return began


def loudness(visit: Visit) -> tuple[int, float]:
    """Return the volume in percent at which answers are played, at least :data:`LEAST_VOLUME`, and its factor."""
    volume = visit.daemon.get("settings", {}).get("volume", visit.config.audio.volume)
    percent = max(int(volume), LEAST_VOLUME)
    return percent, gain(percent)
