"""The daemon as a process of its own, on real sound, a real broker and a real WebSocket."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.mosquitto import Neighbour
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.soundbed import SoundBed, canary, require_pulseaudio
from tests.waiting import eventually
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.likeness import best_match
from voiced.core.resample import resample
from voiced.edge.mosquitto import Mosquitto
from voiced.edge.soundfile import read_wav
from voiced.simulator import Connection, Refusal, Scenario, Simulator, Turn

ROOM = "voiced/room"
SAID = "hey_jarvis_1"
QUESTION = Turn(user="What time is it?", assistant="It is twenty past nine.", sound="time.wav")
FULL_VOLUME = 100


@pytest.fixture
def bed() -> Iterator[SoundBed]:
    require_pulseaudio()
    # At these rates what goes through the virtual devices comes out the same to the sample.
    with (
        tempfile.TemporaryDirectory(prefix="bed-") as name,
        SoundBed(Path(name), microphone_rate=MICROPHONE_RATE, speaker_rate=SERVICE_RATE) as bed,
    ):
        yield bed


@dataclass
class Room:
    """The daemon at work on the virtual devices, and those around it."""

    bed: SoundBed
    simulator: Simulator
    neighbour: Neighbour
    process: "subprocess.Popen[bytes]"
    folder: Path

    async def say(self, sound: Samples) -> None:
        await asyncio.to_thread(self.bed.play_into_mic, sound, MICROPHONE_RATE)

    def last(self, topic: str) -> Any:
        payload = self.neighbour.last(f"{ROOM}/{topic}")
        return json.loads(payload) if payload else None

    def events(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.neighbour.on(f"{ROOM}/{topic}")]

    async def until_state(self, wanted: str) -> None:
        await eventually(lambda: (self.last("state") or {}).get("state") == wanted, wanted)

    async def until_turn(self, outcome: str) -> dict[str, Any]:
        await eventually(lambda: any(turn["outcome"] == outcome for turn in self.events("event/turn")), outcome)
        return next(turn for turn in self.events("event/turn") if turn["outcome"] == outcome)

    def contacts(self) -> str:
        """All connections and lookups of the process so far."""
        return (self.folder / "contacts").read_text()


@asynccontextmanager
async def in_a_room(bed: SoundBed, scenario: Scenario, host: str = "127.0.0.1", **environ: str) -> AsyncIterator[Room]:
    folder = bed.directory
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(folder / "notify"))
        notices.setblocking(False)
        async with Mosquitto(folder) as broker, Simulator(scenario) as simulator, Neighbour(broker.port) as neighbour:
            (folder / "config.toml").write_text(
                f"""
                [device]
                id = "room"
                [audio]
                volume = {FULL_VOLUME}
                [conversation]
                follow_up_s = 1.0
                [realtime]
                provider = "custom"
                url = "ws://{host}:{simulator.port}/v1/realtime?model=gpt-realtime-2.1"
                transcription_model = "whisper-1"
                [mqtt]
                host = "127.0.0.1"
                port = {broker.port}
                """
            )
            command = [sys.executable, "-m", "tests.watched_daemon", str(folder / "contacts")]
            with (folder / "daemon.log").open("wb") as log:
                process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
                    [*command, "run", "-c", str(folder / "config.toml")],
                    env={
                        **bed.environment(),
                        "NOTIFY_SOCKET": str(folder / "notify"),
                        "STATE_DIRECTORY": str(folder / "state"),
                        "PYTHONPATH": str(Path(__file__).parents[1]),
                        **environ,
                    },
                    stderr=log,
                )
            room = Room(bed, simulator, neighbour, process, folder)
            told: list[str] = []
            noticing = asyncio.create_task(take(notices, told))
            try:
                await eventually(lambda: any("READY=1" in notice for notice in told), "ready")
                await room.until_state("idle")
                yield room
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 15) == 0
            except BaseException:
                print((folder / "daemon.log").read_text())
                raise
            finally:
                noticing.cancel()
                process.kill()
                process.wait()


async def take(notices: socket.socket, told: list[str]) -> None:
    """Take what the daemon tells its supervisor, as systemd does."""
    while True:
        told.append((await asyncio.get_running_loop().sock_recv(notices, 4096)).decode())


def spoken(after_s: float = 2.0) -> Samples:
    """Wake word and question in one breath, then a quiet room."""
    return np.concatenate([load(SOUNDS / f"{SAID}.wav"), noise(after_s)])


def origin(received: Samples, said: Samples) -> int:
    """Return where in ``said`` the sound sent to the service begins; from there to the last word they are equal."""
    beginning = resample(received[: SERVICE_RATE // 2], SERVICE_RATE, MICROPHONE_RATE)
    _, about = best_match(said, beginning[400:-400])
    for start in range(max(0, about - 400 - 3), about - 400 + 4):
        exact = resample(said[start:], MICROPHONE_RATE, SERVICE_RATE)
        whole = (NOTES[SAID]["speech_end"] - start) * SERVICE_RATE // MICROPHONE_RATE
        if np.array_equal(exact[:whole], received[:whole]):
            return start
    pytest.fail("what was received is not what was said")


@pytest.mark.parametrize("delay_s", [0, 1, 3])
async def test_everything_said_arrives_and_every_answer_is_heard(bed: SoundBed, delay_s: int) -> None:
    """To the sample, both ways, however long the connection takes, while the chime plays."""
    slow = Connection(accept_delay_ms=delay_s * 1000)
    with canary(0.015):  # a machine later than this more than once lets the speaker run dry
        async with in_a_room(bed, Scenario(turns=(QUESTION,), connections=(slow,))) as room:
            said = spoken(after_s=3.0)
            with bed.record_speaker() as recording:
                await room.say(said)
                turn = await room.until_turn("finished")
                await room.until_state("idle")
                heard = recording.samples
            assert turn["assistant"]["text"] == QUESTION.assistant
            session = room.simulator.sessions[0]
            start = origin(session.received_pcm, said)
            assert start <= NOTES[SAID]["wake_end"] - MICROPHONE_RATE * 200 // 1000
            likeness, place = best_match(heard, session.sent_pcm)
            assert likeness > 0.9999
            # no gap: it would shift everything behind it
            assert np.array_equal(heard[place : place + len(session.sent_pcm)], session.sent_pcm)
            assert room.last("health")["overruns"] == 0
            assert (await session.wait_closed())[0] == 1000


async def test_nothing_is_contacted_before_the_wake_word(bed: SoundBed) -> None:
    """Seen at the sockets of the process: no connection, no lookup, no datagram for the service.

    A bare system may not know the name, so whether the lookup succeeds does not matter.
    """
    async with in_a_room(bed, Scenario(turns=(QUESTION,)), host="localhost") as room:
        await room.say(load(SOUNDS / "negative_1.wav"))
        assert str(room.simulator.port) not in room.contacts()
        assert "localhost" not in room.contacts()
        assert room.simulator.connections == 0
        await room.say(spoken())
        await eventually(lambda: f"localhost', {room.simulator.port}" in room.contacts(), "the lookup")


async def test_a_microphone_that_is_pulled_out_comes_back(bed: SoundBed) -> None:
    async with in_a_room(bed, Scenario(turns=(QUESTION,))) as room:
        bed.microphone.unplug()
        await eventually(lambda: room.last("health")["microphone"] == "missing", "noticed")
        assert room.last("health")["problems"][0]["code"] == "microphone"
        await room.until_state("error")
        assert room.last("state")["reason"] == "microphone"
        await asyncio.to_thread(bed.microphone.plug)
        await eventually(lambda: room.last("health")["microphone"] == "ok", "back")
        await room.until_state("idle")
        await room.say(spoken())
        await room.until_turn("finished")


async def test_a_service_that_says_no_is_reported_and_the_daemon_stays(bed: SoundBed) -> None:
    no = Connection(refuse=Refusal(status=404, code="DeploymentNotFound", message="The deployment does not exist."))
    async with in_a_room(bed, Scenario(turns=(QUESTION,), connections=(no,))) as room:
        await room.say(spoken())
        await eventually(lambda: room.last("health")["cloud"] == "down", "told")
        assert "404" in room.last("health")["problems"][0]["message"]
        await room.until_state("error")
        assert room.last("state")["reason"] == "service"
        await room.say(spoken())
        await room.until_turn("finished")
        await eventually(lambda: room.last("health")["problems"] == [], "over")
        await room.until_state("idle")


async def test_words_are_switched_off_and_on_over_the_broker_and_leave_clips(bed: SoundBed) -> None:
    async with in_a_room(bed, Scenario(turns=(QUESTION,)), VOICED_WAKE__CLIPS="true") as room:
        await room.neighbour.send(f"{ROOM}/set/wake_enabled", "OFF")
        await eventually(lambda: room.last("state")["wake_enabled"] is False, "switched off")
        await room.say(spoken())
        assert room.simulator.connections == 0
        await room.neighbour.send(f"{ROOM}/set", '{"wake_enabled": true, "wake_sensitivity": 0.4}')
        await eventually(lambda: room.last("settings")["wake_sensitivity"] == 0.4, "set")
        await room.say(spoken())
        await room.until_turn("finished")
        assert json.loads((room.folder / "state" / "settings.json").read_text()) == {
            "wake_enabled": True,
            "wake_sensitivity": 0.4,
        }
        clips = room.folder / "state" / "clips"
        await eventually(lambda: list(clips.glob("*-wake-hey_jarvis.json")), "a clip")
        notes = json.loads(next(clips.glob("*-wake-hey_jarvis.json")).read_text())
        assert notes["threshold"] == room.last("wake")["threshold"]
        assert max(row["scores"][0] for row in notes["trace"]) >= notes["score"] >= notes["threshold"]
        assert len(read_wav(next(clips.glob("*-wake-hey_jarvis.wav")))) > 2.9 * MICROPHONE_RATE


def voiced(*arguments: str, environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "voiced", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


async def test_the_command_line_controls_a_running_daemon(bed: SoundBed) -> None:
    async with in_a_room(bed, Scenario(turns=(QUESTION,))) as room:

        async def run(*arguments: str) -> str:
            at = {"VOICED_CONFIG": str(room.folder / "config.toml")}
            done = await asyncio.to_thread(voiced, *arguments, environ=at)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert (await run("ask", "What", "time", "is", "it?")).strip() == QUESTION.assistant
        await run("volume", "30")
        await run("mute")
        await eventually(lambda: room.last("settings") == {**room.last("settings"), "mute": True, "volume": 30})
        status = json.loads(await run("status", "--json"))
        assert status["availability"] == "online"
        assert status["state"]["muted"] is True
        assert "muted" in await run("status")
        await run("unmute")
        await run("listen")
        await room.until_state("listening")
        await run("stop")
        await room.until_state("idle")
        await run("say", "Good night.")
        assert room.last("turn")["assistant"]["text"] == "Good night."


def test_the_demo_holds_a_whole_conversation(tmp_path: Path) -> None:
    done = voiced("demo", "--json", "--keep", str(tmp_path), environ={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["wake"]["word"] == "hey_jarvis"
    assert len(report["turns"]) >= 2
    assert all(turn["user"] and turn["assistant"] for turn in report["turns"])
    assert report["lost_samples"] == 0
    assert report["audio_ms"]["played"] == report["audio_ms"]["received"] > 4000
    assert report["mqtt"]["event/turn"] >= 4
    assert Path(report["files"]["played"]).is_file()
    assert "hey_jarvis" in done.stderr
