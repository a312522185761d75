"""SIGTERM in every state of a conversation: the daemon ends at once, and what was going on is told as over."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, get_args

import pytest

from tests.fakes import InstantSpeaker, ScriptedEcho
from tests.recordings import noise
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from tests.test_announcements import send
from tests.test_media import SlowMedia
from tests.waiting import eventually
from voiced.config import ConversationConfig
from voiced.core.states import Active
from voiced.simulator import Connection

DIES = Connection.model_validate({"ends": {"kind": "abort"}, "ends_at": "response.created"})
LATE = Connection(accept_delay_ms=20_000)


async def listen(home: Home) -> None:
    await home.command("command/listen")


async def ask(home: Home) -> None:
    home.speak()


async def ask_without_an_end(home: Home) -> None:
    home.speak(after_s=0.0)


async def announce(home: Home) -> None:
    send(home, "announce", media="/bell.wav")


async def talk_over_the_answer(home: Home) -> None:
    home.speak()
    await until_in("Finishing", home)
    home.echo.near_speech_s = 0.2  # a little evidence, and never more
    home.microphone.hear(noise(0.1))
    home.speak(wake=False, after_s=0.8)


async def until_in(state: str, home: Home) -> None:
    await eventually(lambda: type(home.daemon._state).__name__ == state, state)


@dataclass(frozen=True)
class Way:
    """How to come into a state and stay there."""

    deed: Callable[[Home], Awaitable[None]]
    connections: tuple[Connection, ...] = ()
    think_ms: int = 0
    pace: float = 0
    connect: Literal["wake", "speech"] = "wake"
    sessions: int = 1
    turns: int = 1


WAYS = {
    "Attending": Way(listen, connect="speech", sessions=0, turns=0),
    "Connecting": Way(ask, connections=(LATE,), sessions=0, turns=0),
    "Listening": Way(listen, turns=0),
    "Hearing": Way(ask_without_an_end),
    "Processing": Way(ask, think_ms=20_000),
    "Responding": Way(ask, pace=0.1),
    "Finishing": Way(ask),
    "Paused": Way(talk_over_the_answer),
    "Sounding": Way(announce, sessions=0, turns=0),
    "Reopening": Way(ask, connections=(DIES, LATE)),
}


def test_every_state_has_its_story() -> None:
    assert set(WAYS) == {state.__name__ for state in get_args(Active)}


@pytest.mark.parametrize("state", WAYS)
async def test_whatever_goes_on_it_ends_and_says_so(state: str) -> None:
    way = WAYS[state]
    question, follow_up = QUICK.turns
    turns = (question.model_copy(update={"think_ms": way.think_ms}), follow_up)
    scenario = QUICK.model_copy(update={"turns": turns, "connections": way.connections, "pace": way.pace})
    config = config_for_tests(conversation=ConversationConfig(follow_up_s=20, no_speech_s=20, connect=way.connect))
    media, speaker, echo = SlowMedia(), InstantSpeaker(holds=True), ScriptedEcho(full_duplex=True)
    media.let.set()
    async with at_home(scenario, config, media=media, speaker=speaker, echo=echo) as home:
        await way.deed(home)
        await until_in(state, home)
        home.running.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait([home.running])
        assert home.running.cancelled()
        assert home.states()[-1] == "idle"
        assert not speaker.busy
        assert not speaker.paused
        kinds = ("finished", "interrupted", "failed", "timeout")
        assert len(told(home.diary, "event/turn", "started")) == way.turns
        assert sum(len(told(home.diary, "event/turn", kind)) for kind in kinds) == way.turns
        assert len(told(home.diary, "event/session", "started")) == way.sessions
        assert [one["reason"] for one in told(home.diary, "event/session", "ended")] == ["shutdown"] * way.sessions
        assert len(home.diary.answers) == (way.deed in {listen, announce})  # who asked for it is told, too
        if way.sessions and not way.connections:
            assert (await home.simulator.sessions[0].wait_closed())[0] == 1000
