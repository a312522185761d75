"""The daemon in a room with its own loudspeaker, in real time: an hour with nobody there, then a hundred persons.

It tells stories (``echo_cancellation`` is ``auto``); what it plays comes back through the virtual room into its own
microphone, by way of PulseAudio, and it listens after each. In the second part somebody speaks over each, as loud as
the echo. It mostly waits, for one and a half hours. ``python -m tests.bench.room MINUTES PERSONS`` takes less of both,
``--drift`` sets the two clocks apart, ``--load`` keeps the machine busy for the first minute.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
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
from voiced.core.uplink import RING_S
from voiced.simulator import Scenario, Turn

CONFIGURATION = """
[audio]
volume = 100
[conversation]
follow_up_s = 2.0
"""
STORIES = 8
ECHO_DB = Acoustics().echo_db
BETWEEN_S = (4.0, 12.0)
"""When somebody begins to speak, from the beginning of the story."""
LOAD_S = 60
"""How long the machine is kept busy where that is asked for; then the busy processes end by themselves."""
PATIENCE_S = 3.0
"""How long an interruption may take, from the person's last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of it, and how hard."""

    story_s: float = 40.0
    alone_s: float = 3600.0
    persons: int = 100
    between_s: tuple[float, float] = BETWEEN_S
    drift_ppm: float = 0.0
    """How much faster the microphone's clock is than the speaker's."""
    load: int = 0
    """Processes that keep the machine busy for the first :data:`LOAD_S`."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure it all, or one short story with nobody there and one with a person."""
    short = Plan(story_s=12.0, alone_s=1.0, persons=1, between_s=(3.0, 6.0))
    return asyncio.run(_measure(short if quick else Plan()))


async def _measure(plan: Plan) -> dict[str, Any]:
    random = np.random.default_rng(5)
    speaker = Speaker()
    with tempfile.TemporaryDirectory(prefix="stories-") as name:
        scenario = Scenario(turns=tuple(_stories(Path(name), speaker, random, plan.story_s)), when_over="repeat")
        acoustics = Acoustics(drift_ppm=plan.drift_ppm)
        async with at_work(scenario, CONFIGURATION, room=Room(acoustics)) as rig:
            assert rig.room is not None
            began, process = time.monotonic(), psutil.Process(rig.process.pid)
            with _busy(plan.load):
                while time.monotonic() - began < plan.alone_s:
                    await _tell(rig)
                    with suppress(AssertionError):  # it talks to itself, which is counted
                        await rig.until_state("idle", patience_s=plan.story_s + 20)
                    await rig.command("end")
                    await rig.until_state("idle")
            alone, pace_alone = _told(rig), rig.room.pace()
            lasted, cpu = time.monotonic() - began, process.cpu_times()
            heard = 0
            for _ in range(plan.persons):
                heard += await _talked_over(rig, rig.room, speaker, random, plan.between_s)
            health, pace = rig.last("health"), rig.room.pace()
    return {
        "alone_s": round(lasted),
        "stories_told": alone["mqtt"],
        "self_interruptions": alone["interrupted"],
        "self_wakes": alone["wakes"],
        "turns_by_own_voice": alone["follow_up"],
        "interruptions_heard": heard,
        "interruptions_tried": plan.persons,
        "echo": health["echo"],
        "underruns": health.get("underruns"),
        "overruns": health.get("overruns"),
        "room_alone": asdict(pace_alone),
        "room": asdict(pace),
        "drift_ppm": plan.drift_ppm,
        "cpu_percent": round(100 * (cpu.user + cpu.system) / lasted, 2),
    }


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """Keep the machine busy for a minute at most."""
    spin = ("timeout", str(LOAD_S), sys.executable, "-c", "while True: pass")
    spinning = [subprocess.Popen(spin) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.terminate()
            process.wait()


async def _tell(rig: Rig) -> None:
    turns = len(rig.events("event/turn"))
    await rig.command("ask", text="Tell me a story.", listen_after=True)
    await eventually(lambda: len(rig.events("event/turn")) > turns, "a turn")
    await rig.until_state("responding")


async def _talked_over(
    rig: Rig, room: LiveRoom, speaker: Speaker, random: np.random.Generator, between_s: tuple[float, float]
) -> bool:
    """Have somebody speak over a story; return whether that interrupted it."""
    before = _told(rig)["interrupted"]
    await _tell(rig)
    await asyncio.sleep(float(random.uniform(*between_s)))
    said, _ = speaker.say(speech.ordinary(random), speech.any_voice(random))
    room.say(speech.to_samples(said), ECHO_DB)
    try:
        await eventually(lambda: _told(rig)["interrupted"] > before, "silence", len(said) / RATE + PATIENCE_S)
    except AssertionError:
        return False
    finally:
        await rig.command("end")
        await rig.until_state("idle")
        # Whoever spoke last belongs to the room for one who is not called by a word, and must not be as loud.
        await asyncio.sleep(len(said) / RATE + RING_S)
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


def _stories(folder: Path, speaker: Speaker, random: np.random.Generator, seconds: float) -> list[Turn]:
    turns = []
    for number in range(STORIES):
        voice = speech.any_voice(random)
        pieces: list[NDArray[np.float32]] = []
        while sum(len(piece) for piece in pieces) < seconds * RATE:
            pieces += [speaker.say(speech.ordinary(random), voice)[0], np.zeros(RATE // 4, np.float32)]
        sound = resample(speech.to_samples(np.concatenate(pieces)), RATE, SERVICE_RATE)
        path = folder / f"{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SERVICE_RATE, 0, "NONE", ""))
            file.writeframes(sound.astype("<i2").tobytes())
        turns.append(Turn(user="Tell me a story.", assistant="It was a long one.", sound=str(path)))
    return turns


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.room")
    parser.add_argument("minutes", type=float, help="with nobody there")
    parser.add_argument("persons", type=int, help="who speak over a story")
    parser.add_argument("--between", type=float, nargs=2, default=BETWEEN_S, metavar="S", help="when they begin")
    parser.add_argument("--drift", type=float, default=0.0, metavar="PPM", help="of the microphone's clock")
    parser.add_argument("--load", type=int, default=0, metavar="N", help=f"busy processes, for {LOAD_S} s")
    given = parser.parse_args()
    plan = Plan(
        alone_s=60 * given.minutes,
        persons=given.persons,
        between_s=tuple(given.between),
        drift_ppm=given.drift,
        load=given.load,
    )
    print(json.dumps(asyncio.run(_measure(plan)), indent=2))
