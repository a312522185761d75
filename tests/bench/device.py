"""A plain program that plays: what a sound device takes from the moment it is given sound to the moment it is heard.

``python -m tests.bench.device TIMES`` keeps the default speaker fed with silence, as the daemon does, gives it a short
sound now and then, and prints when it did, in seconds of the machine's monotonic clock.
"""

import sys
import time

import numpy as np

from voiced.core.frames import SERVICE_RATE
from voiced.edge.output import BLOCK, LATENCY_S
from voiced.edge.soundcard import Soundcard

EVERY = 40
"""Blocks from one sound to the next."""

LOUD = 8_000


def main(times: int) -> None:
    card = Soundcard(sys.exit)
    stream = card.open("output", "default", SERVICE_RATE, LATENCY_S)
    for number in range((times + 1) * EVERY):
        stream.wait()
        sounds = number % EVERY == EVERY - 1 and number < times * EVERY
        given = time.monotonic()
        stream.write(np.full(BLOCK, LOUD if sounds else 0, np.int16))
        if sounds:
            print(given, flush=True)
    stream.close()
    card.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
