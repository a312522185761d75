"""The daemon in a room with its own loudspeaker, in real time: it does not talk to itself, and can be talked over."""

import asyncio
import json
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.liveroom import LiveRoom
from tests.recordings import ROOT, SOUNDS, load
from tests.room import Acoustics
from tests.room import Room as VirtualRoom
from tests.soundbed import SoundBed, canary
from tests.test_whole import ROOM, bed, in_a_room
from tests.waiting import eventually
from voiced.core.frames import SERVICE_RATE
from voiced.edge.soundfile import read_wav
from voiced.simulator import Scenario, Turn

__all__ = ["bed"]  # the fixture
PERSON = load(SOUNDS / "negative_2.wav")[36_000:]
PERSON_DB = -26.0


@pytest.fixture
def narration(tmp_path: Path) -> Path:
    """14 s of an assistant's speech."""
    names = ("weather", "time", "fallback", "welcome", "weather")
    spoken = [read_wav(ROOT / "voiced" / "simulator" / "sounds" / f"{name}.wav", SERVICE_RATE) for name in names]
    path = tmp_path / "narration.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SERVICE_RATE, 0, "NONE", ""))
        file.writeframes(np.concatenate(spoken).astype("<i2").tobytes())
    return path


async def test_an_answer_interrupts_itself_never_and_a_person_does(bed: SoundBed, narration: Path) -> None:
    story = Turn(user="Tell me a story.", assistant="It was a long one.", sound=str(narration))
    reply = Turn(user="Something else.", assistant="Sunny.", sound="weather.wav", transcription_delay_ms=50)
    acoustics = Acoustics(direct_db=-3.0)
    with canary(), LiveRoom(bed, VirtualRoom(acoustics)) as live:
        async with in_a_room(bed, Scenario(turns=(story, reply))) as room:
            asked = json.dumps({"text": "Tell me a story.", "listen_after": True})
            await room.neighbour.send(f"{ROOM}/command/ask", asked)
            await eventually(lambda: room.last("health")["echo"]["mode"] == "full-duplex", "measured", 20)
            await asyncio.sleep(2.0)  # some more of the story, with nobody there
            assert [turn["event_type"] for turn in room.events("event/turn")] == ["started"]
            live.say(PERSON, PERSON_DB)
            cut = await room.until_turn("interrupted")
            assert cut["turn"] == 1
            assert 3000 < cut["assistant"]["interrupted_at_ms"] < 13_500
            begun = [turn["source"] for turn in room.events("event/turn") if turn["event_type"] == "started"]
            assert begun[:2] == ["mqtt", "follow_up"]
            assert room.events("event/wake") == []
            assert len(room.simulator.sessions) == 1
            echo = room.last("health")["echo"]
            assert echo["by"] == "canceller"
            assert echo["attenuation_db"] >= 8
