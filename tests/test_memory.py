"""What was said: told to the next session, for a while, and on disk only where the user wants that."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.mosquitto import Neighbour
from tests.stories import Home, at_home, config_for_tests
from tests.waiting import eventually
from voiced.config import Config, ConversationConfig
from voiced.core.memory import Memory, Said
from voiced.edge.memoryfile import MemoryFile
from voiced.edge.mosquitto import Mosquitto
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Recording, Scenario, Simulator, Turn

TURNS = (Said(1.5, "", "Grüße", "Hello."), Said(2.5, "kids", "A story?", "Once."))
QUESTION, ANSWER = "What time is it?", "It is twenty past nine."


def files(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@given(
    st.integers(0, 4),
    st.floats(0, 100),
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from(["", "kids", "guests"])), max_size=30),
)
def test_only_the_last_turns_are_told_and_not_for_longer_and_to_nobody_else(
    turns: int, keep_s: float, history: list[tuple[float, str]]
) -> None:
    memory, now, said = Memory(turns=turns, keep_s=keep_s), 0.0, list[Said]()
    for number, (passed, own) in enumerate(history):
        now += passed
        before, due = memory.all(), memory.due()
        assert memory.pass_time(now) == (due is not None and now >= due) == (memory.all() != before)
        said.append(Said(now, own, str(number), "answer"))
        memory.add(said[-1])
        for name in ("", "kids", "guests"):
            last = [each for each in said if each.own == name][-turns:] if turns else []
            assert list(memory.told(name)) == [each for each in last if each is said[-1] or now < each.over + keep_s]
    memory.forget()
    assert (memory.all(), memory.due()) == ((), None)


# --- on disk ----------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_there_again_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "memory.json"
    with MemoryFile(path) as memory:
        assert memory.load() == ()
        memory.save(TURNS)
    assert MemoryFile(path).load() == TURNS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with MemoryFile(path) as memory:
        memory.save(())
    assert files(path.parent) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Invalid JSON"),
        ('{"turns": [{"over": 1, "own"', "Invalid JSON"),
        ('{"turns": 5}', "turns: Input should be a valid array"),
        ('{"turns": [{"over": 1.0, "own": "", "user": "a", "assistant": 5}]}', "turns.0.assistant: Input should be"),
        ('{"turns": [{"over": NaN, "own": "", "user": "a", "assistant": "b"}]}', "turns.0.over: Input should be"),
        ('{"said": []}', "turns: Field required"),
        ("\x00\xff", "Invalid JSON"),
    ],
)
async def test_a_damaged_file_is_told_and_set_aside_and_the_daemon_goes_on(
    tmp_path: Path, content: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory.json"
    path.write_text(content, encoding="latin-1")
    with MemoryFile(path) as memories:
        async with at_home(memories=memories) as home:
            assert await asked(home, QUESTION) == []
        memories.wait()
        assert why in caplog.text
        assert "is damaged" in caplog.text
        assert (tmp_path / "memory.json.broken").read_text(encoding="latin-1") == content
        assert [turn.user for turn in memories.load()] == [QUESTION]
        memories.erase()
    assert files(tmp_path) == []


async def test_a_disk_that_refuses_is_told_and_the_daemon_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with MemoryFile(tmp_path / "file" / "memory.json") as memories:
        async with at_home(memories=memories) as home:
            await asked(home, QUESTION)
            assert await asked(home, "And tomorrow?") == [QUESTION, ANSWER]
        memories.wait()
    assert "memory cannot be kept in" in caplog.text


# --- stories ----------------------------------------------------------------------------------------------------------


def told(session: Recording) -> list[str]:
    """What a session was told before the question."""
    items = [item["item"] for item in session.received("conversation.item.create")]
    return [item["content"][0]["text"] for item in items][:-1]


async def asked(home: Home, question: str, profile: str = "") -> list[str]:
    """Ask, wait until all is over; return what the session was told before."""
    if profile:
        assert (await home.command("set/persona", profile))["ok"]
    answer = await home.command("command/ask", json.dumps({"text": question, "listen_after": False}))
    assert answer["ok"], answer
    await home.until_idle()
    return told(home.simulator.sessions[-1])


def remembering(**conversation: float) -> Config:
    return config_for_tests(
        conversation=ConversationConfig.model_validate({"follow_up_s": 0.5, "no_speech_s": 1.0, **conversation}),
        profiles={"default": ProfileConfig(), "kids": ProfileConfig(history="own"), "guests": ProfileConfig()},
    )


async def test_profiles_share_what_was_said_unless_they_have_a_memory_of_their_own() -> None:
    async with at_home(config=remembering(memory_turns=2)) as home:
        await asked(home, "One?", "default")
        assert await asked(home, "Two?", "kids") == []
        assert await asked(home, "Three?", "guests") == ["One?", ANSWER]
        assert await asked(home, "Four?", "kids") == ["Two?", ANSWER]
        await asked(home, "Five?", "default")
        assert await asked(home, "Six?", "guests") == ["Three?", ANSWER, "Five?", ANSWER]


@pytest.mark.parametrize("keys", [{"memory_turns": 0}, {"memory_minutes": 0.0}])
async def test_whoever_wants_no_memory_has_none(keys: dict[str, float], tmp_path: Path) -> None:
    with MemoryFile(tmp_path / "memory.json") as memories:
        async with at_home(config=remembering(**keys), memories=memories) as home:
            await asked(home, QUESTION)
            assert await asked(home, "And tomorrow?") == []
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("later", "profile", "remembered"),
    [
        (timedelta(minutes=9), "guests", [QUESTION, ANSWER]),
        (timedelta(minutes=11), "guests", []),
        (timedelta(days=-30), "guests", [QUESTION, ANSWER]),  # a machine without a clock, before it asked for the time
        (timedelta(minutes=9), "kids", []),
    ],
)
async def test_it_survives_a_restart_and_grows_old_meanwhile(
    later: timedelta, profile: str, remembered: list[str], tmp_path: Path
) -> None:
    path, config = tmp_path / "memory.json", remembering()
    with MemoryFile(path) as memories:
        async with at_home(config=config, memories=memories) as home:
            await asked(home, QUESTION)
    with MemoryFile(path) as memories:
        async with at_home(config=config, memories=memories, today=lambda: datetime.now(UTC) + later) as home:
            memories.wait()
            assert path.exists() == (later < timedelta(minutes=10))
            assert await asked(home, "And tomorrow?", profile) == remembered


class NotedMemories(MemoryFile):
    """Notes how many turns it was to keep, each time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.counts: list[int] = []

    def save(self, turns: Sequence[Said]) -> None:
        self.counts.append(len(turns))
        super().save(turns)


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_session_that_goes_on_with_a_conversation_is_told_all_of_it(turns: int) -> None:
    config = remembering(memory_turns=turns, follow_up_s=8.0)
    async with at_home(config=config) as home:
        for count in (1, 2):
            home.speak(wake=count == 1)
            await home.until_told("finished", count=count)
        home.simulator.abort()
        home.speak(wake=False)
        await home.until_told("finished", count=3)
        items = [item["item"] for item in home.simulator.sessions[1].received("conversation.item.create")]
        told = [item["content"][0]["text"] for item in items]
        assert told == ["What time is it?", ANSWER, "And tomorrow?", "Sunny."]
        await home.command("command/end")
        await home.until_idle()
        assert len(await asked(home, QUESTION)) == 2 * turns


async def test_what_is_too_old_is_gone_from_the_disk_though_nobody_says_anything(tmp_path: Path) -> None:
    with NotedMemories(tmp_path / "memory.json") as memories:
        async with at_home(config=remembering(memory_minutes=0.1 / 60), memories=memories) as home:
            await asked(home, QUESTION)
            await eventually(lambda: memories.counts == [1, 0], "forgotten")
            memories.wait()
            assert files(tmp_path) == []
            assert await asked(home, "And tomorrow?") == []


async def test_a_new_conversation_forgets_what_is_on_disk(tmp_path: Path) -> None:
    with MemoryFile(tmp_path / "memory.json") as memories:
        async with at_home(memories=memories) as home:
            await asked(home, QUESTION)
            memories.wait()
            assert QUESTION in (tmp_path / "memory.json").read_text()
            assert (await home.command("command/new_conversation"))["ok"]
            memories.wait()
            assert files(tmp_path) == []


# --- the daemon as a process ------------------------------------------------------------------------------------------


class Household:
    """A daemon as a process of its own, to which one writes; it can be started again and again in the same place."""

    def __init__(self, folder: Path, broker: Mosquitto, simulator: Simulator, neighbour: Neighbour) -> None:
        self.state = folder / "state"
        self.simulator = simulator
        self._folder, self._broker, self._neighbour = folder, broker, neighbour
        with wave.open(str(folder / "silence.wav"), "wb") as silence:
            silence.setparams((1, 2, 16_000, 0, "NONE", ""))
            silence.writeframes(bytes(32_000))

    @asynccontextmanager
    async def at_work(self, ending: signal.Signals, **conversation: str) -> AsyncIterator[None]:
        """Run the daemon, and end it with a signal."""
        settings = {
            "DEVICE__ID": "room",
            "AUDIO__INPUT": f"file:{self._folder}/silence.wav",
            "AUDIO__INPUT_END": "silence",
            "AUDIO__OUTPUT": "null",
            "REALTIME__PROVIDER": "custom",
            "REALTIME__URL": f"ws://127.0.0.1:{self.simulator.port}/v1/realtime?model=gpt-realtime-2.1",
            "MQTT__PORT": str(self._broker.port),
            "LOG__LEVEL": "debug",
            **{f"CONVERSATION__{key.upper()}": value for key, value in conversation.items()},
        }
        environ = {f"VOICED_{key}": value for key, value in settings.items()}
        known = len(self._neighbour.on("voiced/room/info"))
        with (self._folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "voiced", "run"),
                env={**os.environ, **environ, "STATE_DIRECTORY": str(self.state), "HOME": str(self._folder)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            await eventually(lambda: len(self._neighbour.on("voiced/room/info")) > known, self.log())
            yield
            process.send_signal(ending)
            assert await process.wait() == (0 if ending is signal.SIGTERM else -ending)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def ask(self, question: str) -> list[str]:
        """Ask, wait until the turn is over; return what the session was told before."""
        turns = len(self._neighbour.on("voiced/room/turn"))
        order = json.dumps({"text": question, "listen_after": False})
        await self._neighbour.send("voiced/room/command/ask", order)
        await eventually(lambda: len(self._neighbour.on("voiced/room/turn")) > turns, "answered")
        return told(self.simulator.sessions[-1])

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def holding(self, words: str) -> set[str]:
        """Files of the state directory in which ``words`` stand."""
        return {file.name for file in self.state.rglob("*") if file.is_file() and words.encode() in file.read_bytes()}


@pytest_asyncio.fixture
async def household(tmp_path: Path) -> AsyncIterator[Household]:
    scenario = Scenario(turns=(Turn(user=QUESTION, assistant=ANSWER),), pace=0)
    (tmp_path / "broker").mkdir()
    async with (
        Mosquitto(tmp_path / "broker") as broker,
        Simulator(scenario) as simulator,
        Neighbour(broker.port) as neighbour,
    ):
        yield Household(tmp_path, broker, simulator, neighbour)


async def test_nothing_said_is_on_disk_unless_that_is_wanted(household: Household) -> None:
    async with household.at_work(signal.SIGTERM):
        await household.ask(QUESTION)
        assert await household.ask("And tomorrow?") == [QUESTION, ANSWER]
        # A finished turn waits on disk until the broker has confirmed it.
        await eventually(lambda: not household.holding("twenty past nine"), "the broker has all turns")
        assert not household.holding("What time")
    assert not household.holding("twenty past nine")
    assert {file.name for file in household.state.iterdir()} >= {"ledger.sqlite", "outbox.sqlite"}
    for words in ("twenty past nine", "What time", "tomorrow"):
        assert words not in household.log()


async def test_what_is_to_be_on_disk_survives_a_kill_and_goes_when_it_is_no_more_wanted(household: Household) -> None:
    async with household.at_work(signal.SIGKILL, memory_on_disk="true"):
        await household.ask(QUESTION)
        await eventually(lambda: household.holding(QUESTION) == {"memory.json"}, "kept, and nowhere else")
    assert stat.S_IMODE((household.state / "memory.json").stat().st_mode) == 0o600
    async with household.at_work(signal.SIGTERM, memory_on_disk="true"):
        assert await household.ask("And tomorrow?") == [QUESTION, ANSWER]
    async with household.at_work(signal.SIGTERM):
        # Turns that wait for the broker go as soon as it has them.
        await eventually(lambda: not household.holding("twenty past nine"), "gone from the disk")
        assert await household.ask("And the day after?") == []
