"""What the speaker plays reaches the reference ear, and so the daemon stays deaf to itself."""

import asyncio

import numpy as np

from tests.recordings import SOUNDS, frames, load
from voiced.config import Config
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.playout import Drained, PlayoutEvent
from voiced.core.resample import resample
from voiced.edge.output import BLOCK, NullOutput
from voiced.edge.speaker import Speaker
from voiced.house import make_ears


async def test_the_tap_gets_every_block_as_it_is_played() -> None:
    blocks: list[Samples] = []
    drained = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(event: PlayoutEvent) -> None:
        if isinstance(event, Drained):
            loop.call_soon_threadsafe(drained.set)

    answer = (8000 * np.sin(np.arange(SERVICE_RATE // 4) / 9)).astype("<i2")
    async with Speaker(NullOutput(), told, tap=blocks.append) as speaker:
        speaker.play("item", 0, answer.tobytes())
        async with asyncio.timeout(10):
            await drained.wait()
    assert {len(block) for block in blocks} == {BLOCK}
    heard = np.concatenate(blocks)
    start = int(np.flatnonzero(heard)[0]) - 1  # a sine begins with a zero
    assert np.array_equal(heard[start : start + len(answer)], answer)
    assert not heard[start + len(answer) :].any()


def test_the_ears_of_the_house_know_what_is_played() -> None:
    said = load(SOUNDS / "hey_jarvis_1.wav")
    blocks = resample(said, MICROPHONE_RATE, SERVICE_RATE)
    length = FRAME * SERVICE_RATE // MICROPHONE_RATE
    for taps in (False, True):
        ears, reference = make_ears(Config())
        wakes = []
        for number, frame in enumerate(frames(said)):
            if taps:
                reference.played(blocks[number * length : (number + 1) * length])
            wake = ears.feed(frame)
            wakes += [wake] if wake else []
        assert (len(wakes), ears.vetoed) == ((0, 1) if taps else (1, 0))
