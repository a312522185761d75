"""Two rooms that hear the same word: whole daemons, whose shouts reach each other."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import pytest

from tests.fakes import Diary, InstantSpeaker
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from tests.waiting import eventually
from voiced.config import ConversationConfig, DeviceConfig, HouseConfig
from voiced.core.frames import FRAME, MICROPHONE_RATE
from voiced.core.mqtt.commands import Message

CLAIMS = "voiced/all/house/home/claim"
SPEAKING = "voiced/all/house/home/speaking"


class Door(Diary):
    """A broker that lets the other room hear what this one shouts."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Callable[[Message], None]] = []

    def shout(self, topic: str, payload: str) -> bool:
        super().shout(topic, payload)
        for post in self.others if self.connected else ():
            post(Message(topic, payload.encode()))
        return self.connected


@asynccontextmanager
async def rooms(*names: str, window_ms: int = 0, together: str = "home", holds: str = "") -> AsyncIterator[list[Home]]:
    doors = [Door() for _ in names]
    async with AsyncExitStack() as stack:
        homes = []
        for name, door in zip(names, doors, strict=True):
            config = config_for_tests(
                device=DeviceConfig(id=name),
                house=HouseConfig(together=together, window_ms=window_ms),
                conversation=ConversationConfig(follow_up_s=0, no_speech_s=1.0),
            )
            speaker = InstantSpeaker(holds=name == holds)
            homes.append(await stack.enter_async_context(at_home(QUICK, config, diary=door, speaker=speaker)))
        for door in doors:
            door.others = [home.daemon.post for home in homes if home.diary is not door]
        yield homes


def answered(home: Home) -> int:
    return len(told(home.diary, "event/turn", "finished"))


def states(diary: Diary) -> list[str]:
    return [json.loads(payload)["state"] for topic, payload in diary.history if topic == "state"]


def shouts(home: Home, topic: str) -> list[object]:
    return [json.loads(payload) for name, payload in home.diary.shouted if name == topic]


async def test_who_heard_it_later_stays_silent() -> None:
    async with rooms("attic", "bath") as (attic, bath):
        attic.speak()
        await attic.diary.until(lambda _: bool(shouts(attic, CLAIMS)))
        bath.speak()
        rejected = await bath.until_told("rejected", "event/wake")
        assert rejected["wake_word"] == "hey_jarvis"
        await attic.until_told("finished")
        await attic.until_idle()
        assert (answered(attic), answered(bath)) == (1, 0)
        assert (bath.speaker.chimes, bath.simulator.connections) == (0, 0)
        assert not shouts(bath, CLAIMS)


async def test_of_two_that_began_at_once_one_gives_way() -> None:
    async with rooms("attic", "bath") as (attic, bath):
        crossing: list[tuple[Home, Message]] = []  # each claim is heard once both have begun

        def hold(home: Home, other: Home) -> None:
            assert isinstance(home.diary, Door)
            home.diary.others = [lambda message: crossing.append((other, message))]

        hold(attic, bath)
        hold(bath, attic)
        attic.speak()
        bath.speak()
        await attic.diary.until(lambda _: bool(shouts(attic, CLAIMS)))
        await bath.diary.until(lambda _: bool(shouts(bath, CLAIMS)))
        for other, message in crossing:
            other.daemon.post(message)
        await bath.until_told("finished")
        await attic.until_idle()
        assert (answered(attic), answered(bath)) == (0, 1)  # equally well heard: the later name wins
        assert json.loads(attic.diary.kept["state"])["reason"] == "another_unit"


async def test_nobody_answers_what_a_loudspeaker_says_in_the_next_room() -> None:
    async with rooms("attic", "bath", holds="attic") as (attic, bath):
        attic.speak()
        await attic.diary.until(lambda diary: states(diary).count("responding") == 2)
        # The answer is all here now, and is still being heard.
        assert shouts(attic, SPEAKING) == [{"unit": "attic", "speaking": True}]
        bath.speak()
        await bath.until_told("rejected", "event/wake")
        attic.speaker.let_go()
        await attic.until_told("finished")
        await attic.until_idle()
        assert shouts(attic, SPEAKING)[-1] == {"unit": "attic", "speaking": False}
        assert bath.simulator.connections == 0


async def test_inside_the_window_nobody_begins_who_does_not_answer() -> None:
    async with rooms("attic", "bath", window_ms=500) as (attic, bath):
        attic.speak()
        bath.speak()
        await bath.until_told("finished")
        await bath.until_idle()
        assert (answered(attic), attic.speaker.chimes, attic.simulator.connections) == (0, 0, 0)


async def test_inside_the_window_who_leaves_it_to_another_says_so() -> None:
    async with rooms("attic", window_ms=500) as (attic,):
        attic.speak()
        await attic.diary.until(lambda _: bool(shouts(attic, CLAIMS)))
        attic.daemon.post(Message(CLAIMS, b'{"unit": "bath", "word": "hey_jarvis", "quality": 1.0}'))
        assert (await attic.until_told("rejected", "event/wake"))["reason"] == "unit"
        assert not told(attic.diary, "event/wake", "detected")


@pytest.mark.parametrize("setting", ["mute", "wake_enabled"])
async def test_inside_the_window_it_can_still_be_forbidden(setting: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "voiced.desk")
    async with rooms("attic", window_ms=300) as (attic,):
        attic.speak()
        await attic.diary.until(lambda _: bool(shouts(attic, CLAIMS)))
        attic.daemon.post(Message(f"voiced/attic/set/{setting}", b"TOGGLE"))
        await eventually(lambda: "switched off before it could be answered" in caplog.text, "it is not answered")
        assert (attic.speaker.chimes, attic.simulator.connections) == (0, 0)
        assert not told(attic.diary, "event/wake", "detected")


@pytest.mark.parametrize(("quiet", "loud"), [("attic", "bath"), ("bath", "attic")])
async def test_inside_the_window_the_room_wins_where_the_word_stands_out_of_the_noise(quiet: str, loud: str) -> None:
    async with rooms(quiet, loud, window_ms=500) as (best, other):
        for room, rms in ((other, 400), (best, 20)):
            sound = load(SOUNDS / "hey_jarvis_1.wav")
            room.ears.wakes_at[NOTES["hey_jarvis_1"]["wake_end"] // FRAME * FRAME] = "hey_jarvis"
            room.microphone.hear(np.concatenate([sound + noise(len(sound) / MICROPHONE_RATE, rms=rms), noise(1.0)]))
        await best.until_told("finished")
        await best.until_idle()
        assert (answered(other), other.simulator.connections) == (0, 0)


@pytest.mark.parametrize("together", ["", "home"])
async def test_without_the_others_each_answers_alone(together: str) -> None:
    async with rooms("attic", "bath", together=together, window_ms=2000) as homes:
        for home in homes:
            home.diary.connected = False
            home.speak()
        for home in homes:
            await home.until_told("finished")
            assert bool(shouts(home, CLAIMS)) == bool(together)


async def test_rubbish_among_the_claims_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    async with rooms("attic") as (attic,):
        for payload in (b"", b"\xff", b"[]", b'{"unit": 5}', b'{"unit": "x", "word": "hey_jarvis", "quality": 99}'):
            attic.daemon.post(Message(CLAIMS, payload))
            attic.daemon.post(Message(SPEAKING, payload))
        attic.speak()
        await attic.until_told("finished")
        assert caplog.text.count("not what a voiced sends") >= 9
        assert not attic.diary.answers
