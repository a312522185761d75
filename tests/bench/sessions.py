"""Conversations whose sessions are replaced, and conversations whose service is killed at a random moment.

The daemon, with a room that speaks in real time, and the strict simulator over real WebSockets. What the service was
sent is compared with what was said, in blocks of 20 ms. The naive client, for comparison, is the same daemon that
connects again at the next wake only: whatever dies with a session is gone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import median
from typing import Any

import numpy as np

from tests.fakes import InstantSpeaker
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from voiced.config import ConversationConfig
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.likeness import best_match
from voiced.core.playout import Drained
from voiced.core.resample import resample
from voiced.core.uplink import RING_S
from voiced.simulator import Scenario

BLOCK = SERVICE_RATE // 50
FOLLOW_UPS = ("negative_1", "negative_2")
PATIENCE_S = 45.0
MOST_LATE_S = 0.15
SETTLED_S = 0.4
"""Nobody speaks for so long after an answer."""
KILLS: tuple[tuple[int, str] | None, ...] = (
    None,  # a reset
    (1011, "The server had an error while processing your request."),
    (1012, "restart"),
    (1001, "Your session hit the maximum duration of 60 minutes."),
)
KILLED = QUICK.model_copy(update={"pace": 10.0})
LASTS_S = 12.0
"""A conversation that nobody kills."""
BRIEF = KILLED.model_copy(update={"session_minutes": 24 / 60})
"""Sessions that are to be replaced after twelve seconds, in the second pause or the third."""


class Speaker(InstantSpeaker):
    """Plays in real time."""

    def __init__(self) -> None:
        super().__init__(holds=True)
        self._end = 0.0

    def play(self, item_id: str, content_index: int, pcm: bytes, *, announced: bool = False, **more: Any) -> None:
        loop = asyncio.get_running_loop()
        self._end = max(self._end, loop.time()) + len(pcm) / 2 / SERVICE_RATE
        super().play(item_id, content_index, pcm, announced=announced, **more)
        loop.call_at(self._end, self._played)

    def _played(self) -> None:
        if self._queue:
            self.played.append(self._queue.pop(0))
            if not self._queue:
                self.notify(Drained())


@dataclass
class Room:
    """Somebody speaks there, in real time."""

    home: Home
    speaker: Speaker
    late_s: float = 0.0
    """By how much the microphone was behind, at most, since that was forgotten: the machine is too busy."""
    _waiting: list[Samples] = field(default_factory=list)
    _silent: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self) -> None:
        """Let the microphone hear what is said, or the room."""
        loop, number = asyncio.get_running_loop(), 0
        began = loop.time()
        quiet = noise(2.0)
        while True:
            if self._waiting:
                block, rest = self._waiting[0][:FRAME], self._waiting[0][FRAME:]
                self._waiting[:1] = [rest] if len(rest) >= FRAME else []
            else:
                self._silent.set()
                at = number * FRAME % (len(quiet) - FRAME)
                block = quiet[at : at + FRAME]
            self.home.microphone.hear(block)
            number += 1
            self.late_s = max(self.late_s, loop.time() - began - number * FRAME / MICROPHONE_RATE)
            await asyncio.sleep(max(0.0, began + number * FRAME / MICROPHONE_RATE - loop.time()))

    async def call(self) -> Samples:
        """Say the wake word and a question; return the question."""
        sound, notes = load(SOUNDS / "hey_jarvis_1.wav"), NOTES["hey_jarvis_1"]
        begin = (notes["speech_start"] - 4000) // FRAME * FRAME
        woken = self.home.microphone.end + (notes["wake_end"] - begin) // FRAME * FRAME
        self.home.ears.wakes_at[woken] = "hey_jarvis"
        await self._say(sound[begin : notes["speech_end"]])
        return sound[notes["wake_end"] : notes["speech_end"]]

    async def follow_up(self, name: str) -> Samples:
        """Say something without the wake word; return it."""
        said = load(SOUNDS / f"{name}.wav")[NOTES[name]["speech_start"] : NOTES[name]["speech_end"]]
        await self._say(said)
        return said

    async def _say(self, sound: Samples) -> None:
        self._silent.clear()
        self._waiting.append(np.pad(sound, (0, -len(sound) % FRAME)))
        await self._silent.wait()


@dataclass
class Tally:
    """What became of what was said."""

    conversations: int = 0
    said: int = 0
    answered: int = 0
    reported: int = 0
    doubled: int = 0
    too_late: int = 0
    """Said later than in real time and not answered: the window for it was closed; counts for nothing else."""
    samples_lost: int = 0
    """Of 16 kHz, of what was answered."""
    waits: list[float] = field(default_factory=list)
    """From the end of what was said to the first sound of its answer, in seconds."""
    sessions: int = 0
    kills: int = 0

    @property
    def dropped(self) -> int:
        return self.said - self.answered - self.reported

    def add(self, other: "Tally") -> None:
        for name in (
            *("conversations", "said", "answered", "reported", "doubled", "too_late"),
            *("samples_lost", "sessions", "kills"),
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits += other.waits


@asynccontextmanager
async def a_room(scenario: Scenario, *, naive: bool = False) -> AsyncIterator[Room]:
    speaker = Speaker()
    config = config_for_tests(conversation=ConversationConfig(follow_up_s=4.0, no_speech_s=4.0))
    async with at_home(scenario, config, speaker=speaker) as home:
        if naive:
            home.daemon._rules = replace(home.daemon._rules, most_tries=0)
        room = Room(home, speaker)
        living = asyncio.create_task(room.live())
        try:
            yield room
        finally:
            living.cancel()
            await asyncio.wait([living])


async def ask(room: Room, tally: Tally, name: str = "") -> bool:
    """Say something, and see what becomes of it; return whether the person may go on."""
    home = room.home
    room.late_s = 0.0
    before = (len(told(home.diary, "event/turn", "finished")), len(told(home.diary, "event/turn", "failed")))
    chimes, first = home.speaker.chimes, sum(len(session.commits) for session in home.simulator.sessions)
    said = await room.follow_up(name) if name else await room.call()
    loop = asyncio.get_running_loop()
    done_speaking, limit = loop.time(), loop.time() + PATIENCE_S

    def outcome() -> str:
        if len(told(home.diary, "event/turn", "finished")) > before[0]:
            return "answered"
        if len(told(home.diary, "event/turn", "failed")) > before[1] or home.speaker.chimes > chimes + (not name):
            return "reported"
        return ""

    while not outcome() and loop.time() < limit and not _is_over(home, done_speaking, loop.time()):
        await asyncio.sleep(0.02)
    if not outcome() and room.late_s > MOST_LATE_S:
        tally.too_late += 1
        return False
    tally.said += 1
    if outcome() == "answered":
        tally.answered += 1
        turn = told(home.diary, "event/turn", "finished")[before[0]]
        tally.waits.append(turn["latency_ms"]["end_of_speech_to_first_audio"] / 1000)
        tally.samples_lost += missing(said, sounds_of_turns(home, first))
        return True
    tally.reported += outcome() == "reported"
    return False


def _is_over(home: Home, since: float, now: float) -> bool:
    """Tell whether the daemon has gone to rest, for long enough that nothing more is to be said of it."""
    return now - since > 1.5 and home.daemon.status == "idle"


def sounds_of_turns(home: Home, first: int) -> list[Samples]:
    """Return the sound of each turn that the service answered, from the ``first`` on."""
    turns = [session.received_pcm[begin:end] for session in home.simulator.sessions for begin, end in session.commits]
    return turns[min(first, len(turns) - 1) :]


def missing(said: Samples, turns: list[Samples]) -> int:
    """Return how many samples of what was said are in none of the turns."""
    # A session's sound may begin between two samples of the other rate.
    shifted = [
        resample(np.concatenate([np.zeros(by, np.int16), said]), MICROPHONE_RATE, SERVICE_RATE)[2 * by :]
        for by in range(2)
    ]
    lost = [_missing_in(turn, wanted) for turn in turns for wanted in shifted]
    return min(lost, default=len(shifted[0])) * 2 // 3


def _missing_in(turn: Samples, wanted: Samples) -> int:
    if len(turn) < len(wanted) // 2:
        return len(wanted)
    padded = np.concatenate([np.zeros(len(wanted), np.int16), turn, np.zeros(len(wanted), np.int16)])
    place = best_match(padded, wanted)[1]
    lost = 0
    for at in range(0, len(wanted), BLOCK):
        block = wanted[at : at + BLOCK].astype(np.float64)
        heard = padded[place + at : place + at + len(block)].astype(np.float64)
        if np.sum((heard - block) ** 2) > 0.05 * np.sum(block**2) + len(block) * 50.0**2:
            lost += len(block)
    return lost


# --- sessions that are replaced ---------------------------------------------------------------------------------------


async def roll_over(wanted: int) -> Tally:
    """Talk on and on, while sessions last some seconds, until so many were replaced."""
    tally = Tally(conversations=1)
    async with a_room(BRIEF) as room:
        home = room.home
        going_on = await ask(room, tally)
        number = 0
        while replaced(home, tally) < wanted:
            await asyncio.sleep(SETTLED_S)
            if not going_on or home.daemon.status == "idle":
                await asyncio.sleep(RING_S)  # what was just said would be taken for the room's usual noise
                tally.conversations += 1
                going_on = await ask(room, tally)
                continue
            number += 1
            going_on = await ask(room, tally, FOLLOW_UPS[number % len(FOLLOW_UPS)] if number % 2 else "")
        tally.sessions = replaced(home, tally)
        tally.doubled = answers_heard(home) - tally.answered
        tally.samples_lost += home.daemon.lost_samples
    return tally


def replaced(home: Home, tally: Tally) -> int:
    """Return how many sessions were left in the midst of a conversation, by nobody's death."""
    left = sum(session.closed == (1000, "") for session in home.simulator.sessions)
    return left - tally.conversations + (home.daemon.status != "idle")


def answers_heard(home: Home) -> int:
    return len({item for item, _, _ in home.speaker.played})


# --- a service that is killed -----------------------------------------------------------------------------------------


async def converse(seed: int, *, naive: bool = False, kills: bool = True) -> Tally:
    """Ask, follow up, and have the service killed at some moment."""
    dice = np.random.default_rng(seed)
    tally = Tally(conversations=1)
    async with a_room(KILLED, naive=naive) as room:
        home = room.home
        killing = asyncio.create_task(_kill(home, dice, tally)) if kills else None
        try:
            if await ask(room, tally):
                await asyncio.sleep(SETTLED_S)
                await ask(room, tally, FOLLOW_UPS[seed % len(FOLLOW_UPS)])
        finally:
            if killing is not None:
                killing.cancel()
                await asyncio.wait([killing])
        tally.doubled = max(0, answers_heard(home) - tally.said)
        tally.samples_lost += home.daemon.lost_samples
    return tally


async def _kill(home: Home, dice: np.random.Generator, tally: Tally) -> None:
    await asyncio.sleep(float(dice.uniform(0, LASTS_S)))
    how = KILLS[int(dice.integers(len(KILLS)))]
    await home.simulator.session(timeout_s=PATIENCE_S)
    tally.kills += 1
    if how is None:
        home.simulator.abort()
    else:
        await home.simulator.close_sessions(*how)


async def with_kills(wanted: int, at_once: int, *, naive: bool = False) -> Tally:
    """Hold conversations, some at a time, until so many were killed; some are over before."""
    total, seeds = Tally(), count()

    async def go_on() -> None:
        while total.kills < wanted:
            total.add(await converse(next(seeds), naive=naive))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(go_on())
    return total


async def in_peace(conversations: int) -> Tally:
    """Hold so many conversations at a time, and kill nothing."""
    total = Tally()
    for tally in await asyncio.gather(*(converse(seed, kills=False) for seed in range(conversations))):
        total.add(tally)
    return total


async def _measure(*, quick: bool) -> dict[str, Any]:
    if quick:  # one conversation each, all at a time
        calm, killed, naive, *rolled = await asyncio.gather(
            in_peace(3), with_kills(1, 8), with_kills(1, 4, naive=True), *(roll_over(1) for _ in range(2))
        )
    else:
        calm, *rolled = await asyncio.gather(in_peace(6), *(roll_over(10) for _ in range(5)))
        killed = await with_kills(200, 10)
        naive = await with_kills(50, 10, naive=True)
    rolling = Tally()
    for tally in rolled:
        rolling.add(tally)
    return {
        "rollovers": rolling.sessions,
        "samples_lost": rolling.samples_lost,
        "turns_lost": rolling.said - rolling.answered,
        "turns": rolling.said,
        "too_late": rolling.too_late + killed.too_late + naive.too_late + calm.too_late,
        "kills": killed.kills,
        "conversations": killed.conversations,
        "said": killed.said,
        "answered": killed.answered,
        "reported": killed.reported,
        "dropped": killed.dropped,
        "doubled": rolling.doubled + killed.doubled,
        "samples_lost_in_kills": killed.samples_lost,
        "answered_share": round(killed.answered / killed.said, 3),
        "wait_s_median": round(median(killed.waits), 2),
        "wait_s_worst": round(max(killed.waits), 2),
        "reference": "the same without a kill; a client that does not send again",
        "calm_answered_share": round(calm.answered / calm.said, 3),
        "calm_wait_s_median": round(median(calm.waits), 2),
        "calm_samples_lost": calm.samples_lost,
        "naive_kills": naive.kills,
        "naive_said": naive.said,
        "naive_answered": naive.answered,
        "naive_reported": naive.reported,
        "naive_dropped": naive.dropped,
    }


def measure(*, quick: bool) -> dict[str, Any]:
    logging.getLogger("voiced").setLevel(logging.ERROR)
    return asyncio.run(_measure(quick=quick))
