"""What waits and what was heard: a model beside it counts by hand."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.loudness import gain
from voiced.core.playout import FADE, LIMIT, Drained, Part, Playout, Started

MS = SERVICE_RATE // 1000


def ramp(count: int, first: int = 1) -> Samples:
    """Return sound in which every sample says which it is, and none is silent."""
    return ((np.arange(first, first + count) - 1) % 30_000 + 1).astype(np.int16)


@dataclass(frozen=True)
class Write:
    item: str
    index: int
    count: int


@dataclass(frozen=True)
class Read:
    count: int


HISTORIES = st.lists(
    st.one_of(
        st.builds(Write, st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 900)),
        st.builds(Read, st.integers(1, 700)),
    ),
    max_size=60,
)


@given(HISTORIES)
def test_all_that_is_written_is_read_once_and_in_order(history: list[Write | Read]) -> None:
    playout, written, read = Playout(), [np.zeros(0, np.int16)], [np.zeros(0, np.int16)]
    for step in history:
        if isinstance(step, Write):
            sound = ramp(step.count, first=sum(map(len, written)) + 1)
            playout.write(step.item, step.index, sound)
            written.append(sound)
        else:
            block = playout.read(step.count)
            assert len(block) == step.count
            read.append(block[block != 0])
    read.append(playout.read(playout.waiting))
    assert np.array_equal(np.concatenate(read), np.concatenate(written))
    assert playout.is_idle


@given(HISTORIES, st.sampled_from([0, 130, 400]))
@example([Write("a", 0, 0), Write("b", 0, 0)], 130)
def test_what_is_heard_is_what_was_read_one_latency_ago(history: list[Write | Read], latency: int) -> None:
    """A list that names the part of every sample ever given out counts the same, and is never behind."""
    playout, waiting, given_out = Playout(), list[tuple[str, int]](), list[tuple[str, int] | None]()
    playout.latency = latency
    known = dict[tuple[str, int], int]()
    for step in history:
        if isinstance(step, Write):
            is_new = all(step.item != item for item, _ in known)
            if not waiting and is_new and not any(given_out[max(0, len(given_out) - latency) :]):
                known.clear()
                given_out = [None] * len(given_out)
            known.setdefault((step.item, step.index), 0)
            waiting += [(step.item, step.index)] * step.count
            playout.write(step.item, step.index, ramp(step.count))
        else:
            playout.read(step.count)
            given_out += waiting[: step.count] + [None] * max(0, step.count - len(waiting))
            del waiting[: step.count]
        audible = Counter(given_out[: max(0, len(given_out) - latency)])
        assert playout.heard() == {part: audible[part] for part in known}


@dataclass(frozen=True)
class Play:
    """The device plays so much of what it was given."""

    count: int


@dataclass(frozen=True)
class Do:
    what: Literal["pause", "resume", "volume", "lose", "cut", "chime"]


@dataclass
class House:
    """A playout with a device behind it that holds what it was given, and a list of what really sounded."""

    playout: Playout = field(default_factory=Playout)
    queued: list[tuple[Part, int]] = field(default_factory=list)
    """Part and number of each sample that waits; numbers count what was written."""
    device: list[tuple[Part, int] | None] = field(default_factory=list)
    played: list[tuple[Part, int]] = field(default_factory=list)
    written: int = 0
    is_plain: bool = True
    """Whether nothing has changed how the voice sounds."""

    def write(self, step: Write) -> None:
        sound = ramp(step.count, first=self.written + 1)
        self.playout.write(step.item, step.index, sound)
        self.queued += [((step.item, step.index), self.written + number) for number in range(step.count)]
        self.written += step.count

    def read(self, count: int) -> Samples:
        before = self.playout.waiting
        block = self.playout.read(count)
        given_out = before - self.playout.waiting
        if self.is_plain:
            numbers = [number for _, number in self.queued[:given_out]]
            assert block[:given_out].tolist() == [number % 30_000 + 1 for number in numbers]
            assert not block[given_out:].any()
        self.device += [*self.queued[:given_out], *([None] * (count - given_out))]
        del self.queued[:given_out]
        self.playout.latency = len(self.device)
        return block

    def play(self, count: int) -> None:
        self.played += [sample for sample in self.device[:count] if sample is not None]
        del self.device[:count]
        self.playout.latency = len(self.device)

    def do(self, what: str) -> None:
        self.is_plain = self.is_plain and what == "lose"
        match what:
            case "pause":
                self.playout.pause()
            case "resume":
                self.playout.resume()
            case "volume":
                self.playout.volume(30)
            case "chime":
                self.playout.chime(ramp(300))
            case "lose":
                self.playout.rewind()
                self.queued = [*(sample for sample in self.device if sample is not None), *self.queued]
                self.device.clear()

    def counts(self) -> dict[Part, int]:
        return dict(Counter(part for part, _ in self.played))


STEPS = st.one_of(
    st.builds(Write, st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 3_000)),
    st.builds(Read, st.integers(1, 1_200)),
    st.builds(Play, st.integers(1, 1_200)),
    st.builds(Do, st.sampled_from(["pause", "resume", "volume", "lose", "chime"])),
)


def live(house: House, history: list[Write | Read | Play | Do]) -> None:
    for step in history:
        match step:
            case Write():
                house.write(step)
            case Read():
                house.read(step.count)
            case Play():
                house.play(step.count)
            case Do():
                house.do(step.what)


@given(st.lists(STEPS, max_size=40))
@example([Write("a", 0, 3_000), Read(1_000), Do("lose"), Read(1), Play(1)])
@example([Write("a", 0, 3_000), Read(1_000), Do("pause"), Read(1_200), Do("resume"), Read(1_200), Play(3_000)])
def test_what_is_counted_is_what_the_device_played_whatever_happens(history: list[Write | Read | Play | Do]) -> None:
    house = House()
    house.write(Write("a", 0, 4_000))
    house.write(Write("b", 1, 4_000))
    house.read(1)  # so that it is never quiet, which would begin a new count
    live(house, history)
    heard = {part: count for part, count in house.playout.heard().items() if count}
    assert heard == house.counts()
    assert [number for _, number in house.played] == list(range(len(house.played)))  # nothing lost, nothing twice


@given(st.lists(STEPS, max_size=20))
@example([Read(1_200), Do("pause"), Read(300)])
def test_a_cut_tells_what_will_have_been_heard_when_all_is_still(history: list[Write | Read | Play | Do]) -> None:
    house = House()
    house.write(Write("a", 0, 4_000))
    house.write(Write("b", 1, 4_000))
    house.read(1)
    live(house, history)
    told = house.playout.cut()
    assert set(told) >= {("a", 0), ("b", 1)}
    del house.queued[house.playout.waiting :]  # nothing else is given out any more, and it fades
    house.is_plain = False
    house.read(FADE)
    assert house.playout.is_idle or house.playout.waiting == 0
    house.play(len(house.device))
    assert {part: count for part, count in told.items() if count} == house.counts()
    assert house.playout.events() == []
    assert house.playout.heard() == told


@given(st.integers(1, 2_500), st.integers(1, 2_500), st.integers(1, 700))
def test_a_pause_fades_out_and_in_and_loses_nothing(before: int, during: int, block: int) -> None:
    house = House()
    house.playout.write("a", 0, np.full(4_000, 20_000, np.int16))
    sound = [house.playout.read(before)]
    house.playout.pause()
    sound += [house.playout.read(block) for _ in range(-(-during // block))]
    waited = house.playout.waiting
    assert waited >= 4_000 - before - FADE
    house.playout.resume()
    sound += [house.playout.read(block) for _ in range(-(-waited // block))]
    assert house.playout.waiting == 0
    all_of_it = np.concatenate(sound).astype(int)
    assert np.abs(np.diff(all_of_it[: before + FADE])).max(initial=0) < 20_000 * 4 / FADE  # half a cosine, no click
    if during >= FADE:
        assert np.count_nonzero(all_of_it[before + FADE : before + during]) == 0
    softened = np.count_nonzero((all_of_it != 20_000) & (all_of_it != 0))
    assert softened <= 2 * FADE
    assert np.count_nonzero(all_of_it) in range(4_000 - 12, 4_001)


def test_what_was_heard_long_ago_takes_no_memory() -> None:
    house = House()
    for _ in range(200):
        house.write(Write("a", 0, 480))
        house.read(480)
        house.play(480)
    assert len(house.playout._given) <= 1
    assert house.playout.heard() == {("a", 0): 96_000}


def test_what_comes_during_a_pause_waits_behind_it() -> None:
    playout = Playout()
    playout.pause()
    playout.write("a", 0, np.full(FADE + 100, 9_000, np.int16))
    assert not playout.read(2 * FADE).any()
    assert (playout.is_idle, playout.is_quiet, playout.waiting) == (True, False, FADE + 100)
    playout.chime(np.full(10, 500, np.int16))
    assert playout.read(20)[:10].tolist() == [500] * 10
    playout.resume()
    assert playout.events() == []
    assert playout.read(FADE + 100)[-50:].tolist() == [9_000] * 50
    assert playout.events() == [Started("a"), Drained()]


def test_a_cut_ends_a_pause_and_the_next_answer_is_heard() -> None:
    playout = Playout()
    playout.write("a", 0, np.full(3_000, 9_000, np.int16))
    playout.read(1_000)
    playout.pause()
    playout.read(300)
    fading = playout.read(1)[0]
    assert playout.cut() == {("a", 0): 1_000 + FADE}  # the fade goes on, it does not begin again
    rest = playout.read(FADE).astype(int)
    assert fading >= rest[0] >= fading - 60
    assert np.all(np.diff(rest) <= 0)
    assert not rest[FADE - 301 :].any()
    playout.write("b", 0, np.full(100, 9_000, np.int16))
    assert playout.read(100).tolist() == [9_000] * 100
    playout.cut()
    playout.pause()
    assert playout.cut() == {}  # cut already; but not paused any more
    playout.write("c", 0, np.full(100, 9_000, np.int16))
    assert playout.read(100).tolist() == [9_000] * 100


def test_an_answer_that_is_paused_before_its_first_sound_waits_though_the_one_before_was_cut() -> None:
    playout = Playout()
    playout.write("a", 0, np.full(9_000, 9_000, np.int16))
    playout.read(100)
    playout.cut()
    playout.read(2 * FADE)
    playout.pause()
    playout.write("b", 0, np.full(9_000, 9_000, np.int16))
    assert not playout.read(FADE).any()
    playout.resume()
    playout.read(FADE)  # rises
    assert playout.read(100).tolist() == [9_000] * 100
    assert playout.heard() == {("b", 0): FADE + 100}


def test_voice_and_chime_have_their_own_loudness_below_the_volume() -> None:
    playout = Playout()
    playout.volume(50)
    playout.write("a", 0, np.full(10, 8_000, np.int16), percent=50)
    playout.write("b", 0, np.full(10, 8_000, np.int16))
    playout.chime(np.full(5, 8_000, np.int16), percent=0)
    assert playout.read(20).tolist() == [500] * 10 + [2_000] * 10


@given(st.integers(0, 4_000), st.integers(0, 3_000), st.integers(0, 2_000))
def test_after_a_cut_only_the_fade_sounds(written: int, read: int, later: int) -> None:
    playout = Playout()
    sound = np.full(written, 20_000, np.int16)
    playout.write("a", 0, sound)
    playout.read(read)
    heard = playout.cut()
    assert heard == {("a", 0): min(written, min(read, written) + FADE)}
    rest = playout.read(FADE + later)
    fade = rest[: min(FADE, max(0, written - read))]
    assert np.all(np.diff(fade.astype(int)) <= 0)
    assert not len(fade) or fade[-1] == 0
    assert not rest[FADE:].any()
    assert playout.is_idle
    assert playout.events() == []
    assert playout.cut() == {}


@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=50),
    st.lists(st.lists(st.integers(-32768, 32767), min_size=1, max_size=60), max_size=4),
    st.integers(-10, 120),
)
def test_the_mix_is_clipped_and_never_wraps(voice: list[int], chimes: list[list[int]], percent: int) -> None:
    playout = Playout()
    playout.volume(percent)
    playout.write("a", 0, np.array(voice, np.int16))
    for chime in chimes:
        playout.chime(np.array(chime, np.int16))
    length = max(len(voice), *map(len, chimes)) if chimes else len(voice)
    exact = np.zeros(length)
    for sound in (voice, *chimes):
        exact[: len(sound)] += sound
    expected = np.clip(np.rint(exact * gain(percent)), -32768, 32767)
    assert np.array_equal(playout.read(length), expected)


def test_a_chime_is_mixed_over_the_voice_and_does_not_delay_it() -> None:
    playout = Playout()
    playout.write("a", 0, ramp(1000))
    playout.read(200)
    playout.chime(np.full(100, 1000, np.int16))
    block = playout.read(300)
    assert np.array_equal(block[:100], ramp(100, first=201) + 1000)
    assert np.array_equal(block[100:], ramp(200, first=301))


def test_an_answer_starts_when_it_is_audible_and_is_drained_when_all_of_it_was() -> None:
    playout = Playout()
    playout.latency = 100
    playout.write("a", 0, ramp(300))
    playout.write("b", 0, ramp(200))
    story = []
    for _ in range(70):
        playout.read(10)
        story.append(playout.events())
    assert [(moment, event) for moment, events in enumerate(story, 1) for event in events] == [
        (11, Started("a")),  # 100 samples of latency, and one that is heard
        (41, Started("b")),
        (60, Drained()),
    ]


def test_a_gap_in_the_network_is_no_new_answer() -> None:
    playout = Playout()
    playout.write("a", 0, ramp(50 * MS))
    playout.read(80 * MS)
    assert playout.events() == [Started("a"), Drained()]
    playout.write("a", 0, ramp(50 * MS))
    playout.read(20 * MS)
    assert playout.events() == []
    assert playout.heard() == {("a", 0): 70 * MS}


def test_what_was_said_before_the_last_silence_is_not_counted_again() -> None:
    playout = Playout()
    playout.write("a", 0, ramp(50 * MS))
    playout.read(80 * MS)
    playout.write("b", 0, ramp(50 * MS))
    playout.write("c", 1, ramp(50 * MS))
    playout.read(20 * MS)
    assert playout.heard() == {("b", 0): 20 * MS, ("c", 1): 0}


def test_the_tail_of_a_cut_answer_is_not_counted_for_the_next() -> None:
    playout = Playout()
    playout.write("a", 0, ramp(500 * MS))
    playout.read(100 * MS)
    playout.cut()
    playout.write("b", 0, ramp(500 * MS))
    playout.read(100 * MS)
    assert playout.events() == [Started("b")]
    assert playout.cut() == {("b", 0): 100 * MS}  # behind 40 ms of the tail, and 40 of its own
    playout.write("b", 0, ramp(500 * MS))
    playout.read(100 * MS)
    assert playout.events() == [Started("b")]  # cut, and said again from the start


def test_latency_is_taken_off() -> None:
    playout = Playout()
    playout.latency = 30 * MS
    playout.write("a", 0, ramp(500 * MS))
    playout.read(100 * MS)
    assert playout.heard() == {("a", 0): 70 * MS}


def test_more_than_ten_minutes_are_refused_and_counted() -> None:
    playout = Playout()
    playout.write("a", 0, np.ones(LIMIT - 5, np.int16))
    playout.write("a", 0, np.ones(12, np.int16))
    assert (playout.waiting, playout.dropped) == (LIMIT, 7)
    playout.read(100)
    playout.write("a", 0, np.ones(100, np.int16))
    playout.latency = 100
    playout.rewind()
    playout.write("a", 0, np.ones(1000, np.int16))
    assert (playout.waiting, playout.dropped) == (LIMIT + 100, 1007)


def test_volume_glides_within_one_block() -> None:
    playout = Playout()
    playout.write("a", 0, np.full(2000, 10_000, np.int16))
    playout.read(480)
    playout.volume(50)
    block = playout.read(480).astype(int)
    assert block[0] == 10_000
    assert np.all(np.diff(block) <= 0)
    assert np.all(np.diff(block) >= -20)
    assert np.all(playout.read(480) == 2_500)


@pytest.mark.parametrize(("percent", "factor"), [(-5, 0.0), (0, 0.0), (50, 0.25), (100, 1.0), (180, 1.0)])
def test_gain(percent: int, factor: float) -> None:
    assert gain(percent) == factor


def test_what_nobody_can_hear_is_given_up_and_drained() -> None:
    playout = Playout()
    playout.latency = 100
    playout.write("a", 0, ramp(1000))
    playout.chime(ramp(500))
    playout.read(300)
    playout.events()
    assert playout.abandon() == 800
    assert playout.events() == [Drained()]
    assert (playout.is_idle, playout.is_quiet) == (True, True)
    assert playout.heard() == {("a", 0): 200}
    assert playout.abandon() == 0
    assert playout.events() == []


def test_time_that_passes_between_two_reads_is_heard_but_not_more_than_there_was() -> None:
    playout = Playout()
    playout.latency = 100 * MS
    playout.write("a", 0, ramp(40 * MS))
    playout.write("b", 0, ramp(40 * MS))
    playout.read(80 * MS)
    playout.latency = 20 * MS  # 80 ms later
    assert playout.heard() == {("a", 0): 40 * MS, ("b", 0): 20 * MS}
    playout.latency = 0
    assert playout.heard() == {("a", 0): 40 * MS, ("b", 0): 40 * MS}


def test_silence_within_an_answer_is_not_counted_as_heard() -> None:
    playout = Playout()
    playout.latency = 100 * MS
    playout.write("a", 0, ramp(40 * MS))
    playout.read(90 * MS)  # 50 ms of silence
    playout.write("a", 0, ramp(40 * MS))
    playout.read(70 * MS)
    assert playout.heard() == {("a", 0): 40 * MS}
    playout.latency = 50 * MS
    assert playout.heard() == {("a", 0): 60 * MS}


def test_a_cut_fades_chimes_too() -> None:
    playout = Playout()
    playout.chime(np.full(3 * FADE, 9_000, np.int16))
    playout.read(100)
    playout.cut()
    block = playout.read(FADE).astype(int)
    assert block[0] > 8_900
    assert np.all(np.diff(block) <= 0)
    assert (block[-1], playout.is_idle) == (0, True)


def test_what_was_told_to_be_heard_stays_so_though_the_device_finds_more_in_it() -> None:
    playout = Playout()
    playout.write("a", 0, np.ones(1_000, np.int16))
    assert playout.is_undrained
    playout.read(1_200)
    assert playout.events() == [Started("a"), Drained()]
    playout.latency = 300
    assert not playout.is_quiet
    assert not playout.is_undrained
    assert playout.events() == []
