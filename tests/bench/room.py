"""The daemon in a room with its own loudspeaker, in real time: an hour with nobody there, then a hundred persons.

It tells stories (``echo_cancellation`` is ``auto``); what it plays comes back through the virtual room into its own
microphone, by way of PulseAudio, and it listens after each. In the second part somebody speaks over each, as loud as
the echo. ``python -m tests.bench.room MINUTES PERSONS`` takes less of both. It mostly waits, for one and a half hours.
"""

import asyncio
import json
import sys
import tempfile
import time
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from tests.bench import speech
from tests.bench.rig import Rig, at_work
from tests.liveroom import LiveRoom
from tests.make_sounds import RATE, Speaker
from tests.room import Acoustics, Room
from tests.waiting import eventually
from voiced.core.frames import SERVICE_RATE
from voiced.core.resample import resample
from voiced.simulator import Scenario, Turn

CONFIGURATION = """
[audio]
volume = 100
[conversation]
follow_up_s = 2.0
"""
STORIES, STORY_S = 8, 40.0
ECHO_DB = Acoustics().echo_db
BETWEEN_S = (4.0, 12.0)
"""When somebody begins to speak, from the beginning of the story."""
PATIENCE_S = 3.0
"""How long an interruption may take, from the person's last word."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure it all, or half a minute of it and one person."""
    return asyncio.run(_measure(20.0 if quick else 3600.0, 1 if quick else 100))


async def _measure(alone_s: float, persons: int) -> dict[str, Any]:
    random = np.random.default_rng(5)
    speaker = Speaker()
    with tempfile.TemporaryDirectory(prefix="stories-") as name:
        scenario = Scenario(turns=tuple(_stories(Path(name), speaker, random)), when_over="repeat")
        async with at_work(scenario, CONFIGURATION, tapped=False) as rig:
            with LiveRoom(rig.bed, Room()) as room:
                began, process = time.monotonic(), psutil.Process(rig.process.pid)
                while time.monotonic() - began < alone_s:
                    await _tell(rig)
                    with suppress(AssertionError):  # it talks to itself, which is counted
                        await rig.until_state("idle", patience_s=STORY_S + 20)
                    await rig.command("end")
                    await rig.until_state("idle")
                alone = _told(rig)
                lasted, cpu = time.monotonic() - began, process.cpu_times()
                heard = 0
                for _ in range(persons):
                    heard += await _talked_over(rig, room, speaker, random)
                echo, health = rig.last("health")["echo"], rig.last("health")
    return {
        "alone_s": round(lasted),
        "stories_told": alone["mqtt"],
        "self_interruptions": alone["interrupted"],
        "self_wakes": alone["wakes"],
        "turns_by_own_voice": alone["follow_up"],
        "interruptions_heard": heard,
        "interruptions_tried": persons,
        "echo": echo,
        "underruns": health.get("underruns"),
        "overruns": health.get("overruns"),
        "cpu_percent": round(100 * (cpu.user + cpu.system) / lasted, 2),
    }


async def _tell(rig: Rig) -> None:
    turns = len(rig.events("event/turn"))
    await rig.command("ask", text="Tell me a story.", listen_after=True)
    await eventually(lambda: len(rig.events("event/turn")) > turns, "a turn")
    await rig.until_state("responding")


async def _talked_over(rig: Rig, room: LiveRoom, speaker: Speaker, random: np.random.Generator) -> bool:
    """Have somebody speak over a story; return whether that interrupted it."""
    before = _told(rig)["interrupted"]
    await _tell(rig)
    await asyncio.sleep(float(random.uniform(*BETWEEN_S)))
    said, _ = speaker.say(speech.ordinary(random), speech.any_voice(random))
    room.say(speech.to_samples(said), ECHO_DB)
    try:
        await eventually(lambda: _told(rig)["interrupted"] > before, "silence", len(said) / RATE + PATIENCE_S)
    except AssertionError:
        return False
    finally:
        await rig.command("end")
        await rig.until_state("idle")
    return True


def _told(rig: Rig) -> dict[str, int]:
    turns = rig.events("event/turn")
    begun = [turn["source"] for turn in turns if turn["event_type"] == "started"]
    return {
        "mqtt": begun.count("mqtt"),
        "follow_up": begun.count("follow_up"),
        "interrupted": sum(turn["event_type"] == "interrupted" for turn in turns),
        "wakes": len(rig.wakes()),
    }


def _stories(folder: Path, speaker: Speaker, random: np.random.Generator) -> list[Turn]:
    turns = []
    for number in range(STORIES):
        voice = speech.any_voice(random)
        pieces: list[NDArray[np.float32]] = []
        while sum(len(piece) for piece in pieces) < STORY_S * RATE:
            pieces += [speaker.say(speech.ordinary(random), voice)[0], np.zeros(RATE // 4, np.float32)]
        sound = resample(speech.to_samples(np.concatenate(pieces)), RATE, SERVICE_RATE)
        path = folder / f"{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SERVICE_RATE, 0, "NONE", ""))
            file.writeframes(sound.astype("<i2").tobytes())
        turns.append(Turn(user="Tell me a story.", assistant="It was a long one.", sound=str(path)))
    return turns


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(60 * float(sys.argv[1]), int(sys.argv[2]))), indent=2))
