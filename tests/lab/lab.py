"""The house that faults happen in, and how it is known that one was noticed, overcome, and told."""

import asyncio
import json
import re
import shutil
import subprocess
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.lab.keeper import Keeper
from tests.lab.proxy import Proxy
from tests.mosquitto import Neighbour
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.soundbed import SoundBed
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.edge.mosquitto import Mosquitto
from voiced.simulator import Connection, Scenario, Simulator, Turn

ROOM = "voiced/room"
SAID = "hey_jarvis_1"
PATIENCE_S = 45.0
TRIES = 3
"""A busy machine misses a word; so may this lab a state that passes in a tenth of a second."""


class NotYetError(Exception):
    """Something did not happen in time."""


@dataclass(slots=True)
class Outcome:
    """What became of one fault."""

    name: str
    area: str
    detected_s: float | None = None
    """From the fault until it was noticed and said; ``None`` where there is nothing to notice."""
    recovered_s: float | None = None
    """From the end of the fault until the daemon waits for a wake word again."""
    answered: bool = False
    """Whether the next wake was answered, and told."""
    lost: str = ""
    """What was lost and told, in words."""
    unreported: int = 0
    """What was lost and not told."""
    trouble: str = ""

    @property
    def recovered(self) -> bool:
        """Whether all is as before."""
        return self.answered and not self.trouble


@dataclass
class Lab:
    """A room with the daemon in it, and all its wires in hand."""

    folder: Path
    bed: SoundBed
    broker: Mosquitto
    broker_line: Proxy
    simulator: Simulator
    service_line: Proxy
    neighbour: Neighbour
    keeper: Keeper
    scenario: Scenario
    began: float = 0.0
    log_mark: int = 0
    heard_mark: int = 0
    detected_s: float | None = None
    expected_end: bool = False
    """Whether the fault ends the process itself."""
    healing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    # --- seeing -------------------------------------------------------------------------------------------------------

    def told(self, topic: str) -> list[Any]:
        """Return what was published on ``topic`` since the fault began."""
        heard = self.neighbour.heard[self.heard_mark :]
        return [json.loads(one.payload) for one in heard if one.topic == f"{ROOM}/{topic}" and one.payload]

    def last(self, topic: str) -> Any:
        payload = self.neighbour.last(f"{ROOM}/{topic}")
        return json.loads(payload) if payload else None

    def log(self) -> str:
        """What the daemon has written since the fault began."""
        return self.keeper.log()[self.log_mark :]

    def state(self) -> str:
        """The state it says in its log that it is in."""
        moves = re.findall(r"INFO voiced\.app: \w+: \w+ -> (\w+)|INFO voiced\.house: (voiced) ", self.keeper.log())
        return (moves[-1][0] or "Idle") if moves else ""

    async def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait.

        Raises:
            NotYetError: If it does not happen.

        """
        end = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end:
                raise NotYetError(f"not within {patience_s:g} s: {what}")
            await asyncio.sleep(0.02)

    async def noticed(self, pattern: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until the log says ``pattern``; how long that took is how long it took to detect."""
        await self.until(lambda: re.search(pattern, self.log()), f"the log says {pattern!r}", patience_s)
        self.detected_s = time.monotonic() - self.began

    async def until_state(self, *names: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for a state by the daemon's own name of it."""
        await self.until(lambda: self.state() in names, f"it is {' or '.join(names)}", patience_s)

    async def healthy(self) -> None:
        """Wait until the daemon waits for a wake word, with nothing wrong that it knows of."""
        await self.until(lambda: self.keeper.is_ready, "it is ready")
        await self.until_state("Idle")
        await self.until(lambda: self.keeper.status.startswith("idle"), f"idle, not: {self.keeper.status}")

    # --- doing --------------------------------------------------------------------------------------------------------

    def break_now(self) -> None:
        """Count from here."""
        self.began = time.monotonic()

    async def say(self, sound: Samples) -> None:
        """Say this into the microphone."""
        await asyncio.to_thread(self.bed.play_into_mic, sound, MICROPHONE_RATE)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Say wake word and question; the block begins when the word was heard, and what is said goes on in it."""
        for attempt in range(TRIES):
            with self.bed.start_playing(utterance(lead_s=1.2 + attempt), MICROPHONE_RATE):
                try:
                    await self.until(lambda: "-> Connecting" in self.log(), "woken", 10.0)
                except NotYetError:
                    if attempt == TRIES - 1:
                        raise
                    continue
                self.break_now()
                yield
                return

    async def conversing(self, state: str) -> None:
        """Ask, and return as soon as the daemon is in ``state``; what is said goes on.

        ``Listening`` lasts only while nobody speaks, so there it is called, and nothing said.
        """
        if state == "Listening":
            await self.neighbour.send(f"{ROOM}/command/listen", "")
            await self.until_state(state)
            self.break_now()
            return
        for attempt in range(TRIES):
            player = self.bed.start_playing(utterance(lead_s=1.2 + attempt), MICROPHONE_RATE)
            player.__enter__()

            async def end(player: Any = player) -> None:
                await asyncio.to_thread(player.__exit__, None, None, None)

            self.healing.append(end)
            try:
                await self.until_state(state, patience_s=15.0)
            except NotYetError:
                if attempt == TRIES - 1:
                    raise
                continue
            self.break_now()
            return

    def next_connection(self, **how: Any) -> None:
        """Let the next connection to the service go like this; those after it go well."""
        self.next_connections(how)

    def next_connections(self, *how: dict[str, Any]) -> None:
        """Let the next ones go like this, one after the other."""
        past = (Connection(),) * len(self.simulator.attempts)
        coming = tuple(map(Connection.model_validate, how))
        self.simulator.scenario = self.scenario.model_copy(update={"connections": (*past, *coming)})

    def answer(self, **how: Any) -> None:
        """Let all answers from the next session on be like this."""
        turn = self.scenario.turns[0].model_copy(update=how)
        self._play(self.scenario.model_copy(update={"turns": (turn,)}))

    def _play(self, scenario: Scenario) -> None:
        self.simulator.scenario = scenario
        stage = self.simulator._stage
        self.simulator._stage = type(stage)(scenario, type(stage.script)(scenario), stage.voice)

    # --- one fault ----------------------------------------------------------------------------------------------------

    async def suffer(self, name: str, area: str, act: "Act") -> Outcome:
        """Let a fault happen, mend everything, and see what became of it."""
        outcome = Outcome(name, area)
        self.log_mark, self.heard_mark = len(self.keeper.log()), len(self.neighbour.heard)
        self.detected_s, self.expected_end, ends = None, False, len(self.keeper.ends)
        self.break_now()
        try:
            outcome.lost = await act(self) or ""
        except (NotYetError, AssertionError, OSError, subprocess.SubprocessError) as exc:
            outcome.trouble = str(exc) or type(exc).__name__
        outcome.detected_s = self.detected_s
        await self._mend()
        mended = time.monotonic()
        try:
            await self.healthy()
            outcome.recovered_s = time.monotonic() - mended
            outcome.answered = await self.answered()
        except NotYetError as exc:
            outcome.trouble = outcome.trouble or str(exc)
        if not outcome.answered:
            outcome.trouble = outcome.trouble or "the next wake was not answered"
        if len(self.keeper.ends) > ends and not self.expected_end:
            outcome.trouble = outcome.trouble or f"the daemon ended with {self.keeper.ends[ends:]}"
        if "Traceback" in self.log():
            outcome.trouble = outcome.trouble or "a traceback in the log"
        outcome.unreported = self._unreported()
        return outcome

    async def _mend(self) -> None:
        for heal in reversed(self.healing):
            await heal()
        self.healing.clear()
        await self.broker_line.normal()
        await self.service_line.normal()
        self._play(self.scenario)

    async def answered(self) -> bool:
        """Say wake word and question once more; a whole answer must be heard, and told over MQTT."""
        for attempt in range(TRIES):
            before = len(self.neighbour.heard)

            def finished(before: int = before) -> bool:
                heard = [one for one in self.neighbour.heard[before:] if one.topic == f"{ROOM}/event/turn"]
                turns = [json.loads(one.payload) for one in heard]
                return any(turn["event_type"] == "finished" for turn in turns)

            await self.say(utterance(lead_s=1.2 + attempt))
            try:
                await self.until(finished, "a finished turn", 12.0)
                await self.until_state("Idle")
            except NotYetError:
                continue
            return True
        return False

    def _unreported(self) -> int:
        """Return how many turns were begun of which nobody was told the end.

        A process that was killed cannot tell; then the next one says that it starts anew, which ends them all.
        """
        open_turns: set[tuple[str, int]] = set()
        for one in self.neighbour.heard[self.heard_mark :]:
            if one.topic == f"{ROOM}/event/turn":
                turn = json.loads(one.payload)
                key = (turn["session"], turn["turn"])
                if turn["event_type"] == "started":
                    open_turns.add(key)
                else:
                    open_turns.discard(key)
            elif (one.topic == f"{ROOM}/availability" and one.payload == b"offline") or (
                one.topic == f"{ROOM}/state" and one.payload and json.loads(one.payload)["state"] == "starting"
            ):
                open_turns.clear()
        return len(open_turns)


Act = Callable[[Lab], Awaitable[str | None]]


def utterance(lead_s: float = 1.2, tail_s: float = 1.2) -> Samples:
    """Wake word and question in one breath, with some room before and after."""
    notes = NOTES[SAID]
    begin = notes["speech_start"] - round(lead_s * MICROPHONE_RATE)
    sound = load(SOUNDS / f"{SAID}.wav")[max(0, begin) : notes["speech_end"]]
    return np.concatenate([noise(max(0.0, -begin / MICROPHONE_RATE)), sound, noise(tail_s)])


def _tone(path: Path, seconds: float) -> None:
    time_s = np.arange(round(seconds * SERVICE_RATE)) / SERVICE_RATE
    sound = (6_000 * np.sin(2 * np.pi * 330 * time_s)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SERVICE_RATE)
        file.writeframes(sound.tobytes())


@asynccontextmanager
async def a_lab(
    folder: Path, *, answer_s: float = 0.8, more: str = "", program: Sequence[str] = ("voiced",)
) -> AsyncIterator[Lab]:
    """Open a room, ready for the first fault.

    Args:
        folder: Empty, with a short path: sockets live there.
        answer_s: How long each answer lasts.
        more: Further configuration.
        program: The module that is run, and its first arguments.

    """
    _tone(folder / "answer.wav", answer_s)
    turn = Turn(user="What time is it?", assistant="Twenty past nine.", sound=str(folder / "answer.wav"), think_ms=300)
    scenario = Scenario(turns=(turn,), pace=20)
    (folder / "bed").mkdir()
    bed = SoundBed(folder / "bed", microphone_rate=MICROPHONE_RATE, speaker_rate=SERVICE_RATE)
    (folder / "broker").mkdir()
    with bed:
        async with (
            Mosquitto(folder / "broker") as broker,
            Proxy(broker.port) as broker_line,
            Simulator(scenario, record=False) as simulator,
            Proxy(simulator.port) as service_line,
            Neighbour(broker.port) as neighbour,
            Keeper(folder, bed.environment(), program) as keeper,
        ):
            (folder / "config.toml").write_text(
                f"""
                [device]
                id = "room"
                [conversation]
                follow_up_s = 0
                no_speech_s = 2.0
                [realtime]
                provider = "custom"
                url = "ws://127.0.0.1:{service_line.port}/v1/realtime?model=gpt-realtime-2.1"
                [mqtt]
                host = "127.0.0.1"
                port = {broker_line.port}
                media = ["{folder}"]
                {more}
                """
            )
            keeper.start()
            lab = Lab(
                *(folder, bed, broker, broker_line, simulator, service_line, neighbour, keeper, scenario),
            )
            await lab.healthy()
            if not await lab.answered():
                raise NotYetError(f"not even the first wake is answered\n{keeper.log()}")
            yield lab


def forget(folder: Path) -> None:
    """Take the room away."""
    shutil.rmtree(folder, ignore_errors=True)
