"""The thread of the ears: order, gaps, what is posted, and how it ends."""

import asyncio
import logging
import threading

import numpy as np
import pytest

from tests.fakes import KeptClips, ScriptedEars
from voiced.attention import MOST_WAITING, Attention, Heard
from voiced.core.ears import Ears
from voiced.core.frames import FRAME, STEP, Frame, Samples
from voiced.core.wake import NearMiss, Wake, WakeRules, WordRule

SILENCE = np.zeros(FRAME, np.int16)


def frames(count: int, start: int = 0) -> list[Frame]:
    return [Frame(start + number * FRAME, SILENCE) for number in range(count)]


class SlowEars(ScriptedEars):
    """Ears that take a frame only when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.began = threading.Event()

    def feed(self, *frames: Frame) -> Wake | None:
        self.began.set()
        self.go.wait()
        return super().feed(*frames)


@pytest.mark.parametrize("gate", [True, False])
async def test_frames_arrive_in_order_and_words_in_theirs(gate: bool) -> None:
    ears, heard = ScriptedEars(), list[Heard]()
    ears.open = gate
    ears.wakes_at = {8 * FRAME: "a", 24 * FRAME: "b"}
    ears.misses = [NearMiss("a", 0.4, 0.5, FRAME)]
    async with Attention(ears, post=heard.append, clips=None, words=["a", "b"]) as attention:
        for frame in frames(40):
            attention.hear(frame)
        await attention.settled()
    assert [frame.start for frame in ears.fed] == [number * FRAME for number in range(40)]
    miss, *wakes = heard
    assert miss == NearMiss("a", 0.4, 0.5, FRAME)
    assert wakes == [Wake("a", 0.9, 0.5, 8 * FRAME), Wake("b", 0.9, 0.5, 24 * FRAME)]


async def test_with_the_gate_shut_whole_steps_are_sent_and_none_goes_over_a_gap() -> None:
    ears = ScriptedEars()
    async with Attention(ears, post=lambda _: None, clips=None, words=[]) as attention:
        for frame in [*frames(6), *frames(5, start=100 * FRAME)]:
            attention.hear(frame)
        await attention.settled()
        assert [frame.start // FRAME for frame in ears.fed] == [0, 1, 2, 3, 100, 101, 102, 103]


async def test_steps_stay_whole_after_the_gate_was_open() -> None:
    ears = ScriptedEars()
    async with Attention(ears, post=lambda _: None, clips=None, words=[]) as attention:
        for frame in frames(6):
            ears.open = frame.start >= 4 * FRAME
            attention.hear(frame)
        ears.open = False
        for frame in frames(3, start=6 * FRAME):
            attention.hear(frame)
        await attention.settled()
        assert len(ears.fed) == 8  # two steps; the frame behind them waits for its own
        attention.forget()
        for frame in frames(4, start=9 * FRAME):
            attention.hear(frame)
        await attention.settled()
        assert len(ears.fed) == 12


async def test_while_all_is_quiet_the_loop_listens_alone_and_says_that_it_is_calm() -> None:
    ears, heard, calm = ScriptedEars(), list[Heard](), list[bool]()
    ears.wakes_at = {22 * FRAME: "a"}
    async with Attention(ears, post=heard.append, clips=None, words=["a"], calm=calm.append) as attention:
        for frame in frames(20):
            attention.hear(frame)
        assert (len(ears.fed), calm) == (20, [True])  # nobody else was asked
        for frame in frames(4, start=20 * FRAME):
            attention.hear(frame)
        assert calm == [True, False]
        await attention.settled()
        assert heard == [Wake("a", 0.9, 0.5, 22 * FRAME)]
        for frame in frames(4, start=24 * FRAME):
            attention.hear(frame)
        assert (len(ears.fed), calm) == (28, [True, False, True])


async def test_what_waits_to_be_scored_does_not_wait_for_more_sound() -> None:
    """When the gate opens there are two seconds to catch up with, bite by bite."""
    speech = np.full(FRAME, 1000, np.int16)
    scored = list[int]()

    def score(samples: Samples) -> list[tuple[float, ...]]:
        scored.extend(range(len(samples) // STEP))
        return [(0.0,)] * (len(samples) // STEP)

    rules = WakeRules((WordRule("a", 0.5),))
    ears = Ears(speech=lambda samples: bool(samples.any()), score=score, forget=scored.clear, rules=rules)
    async with Attention(ears, post=lambda _: None, clips=None, words=["a"]) as attention:
        for frame in frames(200):
            attention.hear(frame)
        await attention.settled()
        for start in range(200, 204):
            attention.hear(Frame(start * FRAME, speech))
        await attention.settled()
        assert (ears.open, ears.waiting, len(scored)) == (True, False, 26)


async def test_the_loop_keeps_its_hands_off_ears_that_are_at_work() -> None:
    ears = SlowEars()
    async with Attention(ears, post=lambda _: None, clips=None, words=[]) as attention:
        ears.open = True
        attention.hear(frames(1)[0])
        await asyncio.to_thread(ears.began.wait)
        ears.open = False
        for frame in frames(11, start=FRAME):
            attention.hear(frame)
        assert ears.fed == []
        ears.go.set()
        await attention.settled()
        assert [frame.start // FRAME for frame in ears.fed] == list(range(12))


async def test_whatever_concerns_the_ears_overtakes_no_frame() -> None:
    ears = SlowEars()
    ears.open = True
    rules = (WordRule("a", 0.3),)
    async with Attention(ears, post=lambda _: None, clips=None, words=["a"]) as attention:
        attention.hear(frames(1)[0])
        attention.adjust(rules)
        attention.forget()
        await asyncio.to_thread(ears.began.wait)
        assert (ears.words, ears.resets) == ((), 0)
        ears.go.set()
        await attention.settled()
        assert (ears.words, ears.resets, len(ears.fed)) == (rules, 1, 1)


async def test_the_loop_never_waits_and_too_much_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    ears = SlowEars()
    ears.open = True
    async with Attention(ears, post=lambda _: None, clips=None, words=["a"]) as attention:
        attention.hear(frames(1)[0])
        await asyncio.to_thread(ears.began.wait)
        for frame in frames(2 * MOST_WAITING, start=FRAME):
            attention.hear(frame)
        ears.go.set()
        await attention.settled()
        assert len(ears.fed) == MOST_WAITING + 2
        attention.hear(frames(1, start=10**9)[0])  # caught up: it listens again
        await attention.settled()
        assert ears.fed[-1].start == 10**9
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_ears_that_break_say_so_to_the_daemon() -> None:
    class BrokenEars(ScriptedEars):
        def feed(self, *frames: Frame) -> Wake | None:
            raise ZeroDivisionError

    ears = BrokenEars()
    ears.open = True
    async with Attention(ears, post=lambda _: None, clips=None, words=["a"]) as attention:
        attention.hear(frames(1)[0])
        with pytest.raises(ZeroDivisionError):
            await attention.settled()
        with pytest.raises(ZeroDivisionError):
            attention.hear(frames(1, start=FRAME)[0])


async def test_leaving_drops_what_still_waits() -> None:
    ears = SlowEars()
    ears.open = True
    async with Attention(ears, post=lambda _: None, clips=None, words=["a"]) as attention:
        for frame in frames(20):
            attention.hear(frame)
        await asyncio.to_thread(ears.began.wait)
        asyncio.get_running_loop().call_soon(ears.go.set)
    assert len(ears.fed) == 1
    assert "ears" not in {thread.name for thread in threading.enumerate()}


async def test_clips_are_cut_where_words_were_heard() -> None:
    ears, clips = ScriptedEars(), KeptClips()
    ears.open = True
    ears.scored = [(50 * FRAME, (0.7,))]  # scored late, in a catch-up
    ears.wakes_at = {60 * FRAME: "a"}
    async with Attention(ears, post=lambda _: None, clips=clips, words=["a"]) as attention:
        for frame in frames(120):
            attention.hear(frame)
        await attention.settled()
        (clip,) = clips.clips
        assert (clip.word, clip.decided, clip.trace) == ("a", 60 * FRAME, ((50 * FRAME, (0.7,)),))
        attention.hear(frames(1, start=120 * FRAME)[0])
        ears.wakes_at = {122 * FRAME: "a"}
        attention.hear(frames(1, start=121 * FRAME)[0])
        attention.forget()  # muted: what waits for its end is given up
        for frame in frames(100, start=122 * FRAME):
            attention.hear(frame)
        await attention.settled()
        assert len(clips.clips) == 1
