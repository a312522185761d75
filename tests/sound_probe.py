"""A program that opens microphone and speaker as the daemon does, obeys lines on stdin, and tells all in JSON.

``python -m tests.sound_probe RECORDING [--input X] [--output X] [...]``; lines in:
``play ITEM INDEX WAV``, ``chime KIND``, ``cut``, ``pause``, ``resume``, ``volume N``, ``calm N``, ``report``. The end
of stdin ends it.
The microphone's frames go to RECORDING as raw 16-bit samples, and lost sound as zeros.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from voiced.core.chimes import chime
from voiced.core.devices import Kind
from voiced.core.playout import PlayoutEvent, Started
from voiced.edge.microphone import SoundcardMicrophone
from voiced.edge.output import CardOutput
from voiced.edge.soundcard import Soundcard
from voiced.edge.soundfile import read_wav
from voiced.edge.speaker import Speaker


def tell(**what: object) -> None:
    print(json.dumps({"at": time.monotonic()} | what), flush=True)


def give_up(why: str) -> None:
    tell(gave_up=why)
    os._exit(75)


def heard_event(event: PlayoutEvent) -> None:
    tell(event=type(event).__name__, item=event.item_id if isinstance(event, Started) else None)


async def listen(microphone: SoundcardMicrophone, path: Path) -> None:
    """Write frames, and the holes between them, and tell about the first after each hole."""
    end: int | None = None
    with path.open("wb", buffering=0) as file:
        async for frame in microphone.frames():
            if frame.start != end:
                tell(frames_from=frame.start, hole=frame.start - (end or 0))
                file.write(bytes(2 * (frame.start - (end or 0))))
            file.write(frame.samples.tobytes())
            end = frame.end


async def watch(microphone: SoundcardMicrophone, speaker: Speaker) -> None:
    """Tell each change of what is wrong."""
    known: tuple[str | None, str | None, bool] = (None, None, False)
    while True:
        now = (microphone.problem, speaker.problem, microphone.silent_s > 1.0)
        if now != known:
            tell(microphone_problem=now[0], speaker_problem=now[1], is_silent=now[2])
            known = now
        await asyncio.sleep(0.02)


def obey(line: str, microphone: SoundcardMicrophone, speaker: Speaker) -> None:
    match line.split():
        case ["play", item, index, path]:
            speaker.play(item, int(index), read_wav(Path(path), 24_000).astype("<i2").tobytes())
        case ["chime", ("wake" | "end" | "error") as kind]:
            speaker.chime(chime(kind))
        case ["cut"]:
            tell(cut=[[*part, ms] for part, ms in speaker.cut().items()])
        case ["pause"]:
            speaker.pause()
        case ["resume"]:
            speaker.resume()
        case ["volume", percent]:
            speaker.volume(int(percent))
        case ["calm", calm]:
            microphone.calm(calm=calm == "1")
        case ["report"]:
            tell(
                overruns=microphone.overruns,
                underruns=speaker.underruns,
                cpu_s=time.process_time(),
                problems=[microphone.problem, speaker.problem],
            )
        case _:
            raise ValueError(line)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", type=Path)
    parser.add_argument("--input", default="default")
    parser.add_argument("--output", default="default")
    parser.add_argument("--input-rate", type=int, default=16_000)
    parser.add_argument("--output-rate", type=int, default=24_000)
    parser.add_argument("--role", default="")
    settings = parser.parse_args()
    ends: dict[Kind, str] = {"input": settings.input, "output": settings.output}
    card = Soundcard(give_up, role=settings.role, ends=ends)
    tell(devices=[device.name for device in card.devices()])
    microphone = SoundcardMicrophone(card, settings.input, rate=settings.input_rate)
    speaker = Speaker(CardOutput(card, settings.output, rate=settings.output_rate), heard_event)
    async with microphone, speaker:
        tasks = [
            asyncio.create_task(listen(microphone, settings.recording)),
            asyncio.create_task(watch(microphone, speaker)),
        ]
        while line := await asyncio.to_thread(sys.stdin.readline):
            obey(line, microphone, speaker)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    card.close()
    tell(ended=True)


if __name__ == "__main__":
    np.seterr(all="raise")
    asyncio.run(main())
