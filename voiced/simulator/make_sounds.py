"""Make the sound files a scenario names, with espeak-ng: ``python -m voiced.simulator.make_sounds SCENARIO.toml``.

The shipped answers were made this way; the text beside them in the scenario is what they say.
"""

import asyncio
import sys
import tomllib
import wave
from pathlib import Path

from voiced.simulator.shapes import RATE
from voiced.simulator.speech import synthesised


def make(scenario: Path) -> list[Path]:
    """Write each WAV a scenario names beside it, and return where they are.

    Raises:
        SystemExit: If espeak-ng is not installed.

    """
    content = tomllib.loads(scenario.read_text(encoding="utf-8"))
    voice = content.get("speech_voice", "en-us")
    written = []
    for turn in content["turns"]:
        if "sound" not in turn:
            continue
        samples = asyncio.run(synthesised(turn["assistant"], voice))
        if samples is None:
            raise SystemExit("espeak-ng is missing; install it with: apt install espeak-ng")
        path = scenario.parent / turn["sound"]
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.astype("<i2").tobytes())
        written.append(path)
    return written


if __name__ == "__main__":
    for each in make(Path(sys.argv[1])):
        sys.stdout.write(f"{each}\n")
