"""``voiced demo``: one whole conversation with no account, microphone or broker of the user's.

The daemon is the one that ``voiced run`` runs. Only the ends differ: a recording speaks, a simulator answers over a
real WebSocket, and a private broker is watched by a client of its own.
"""

import base64
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from voiced import house
from voiced.config import AudioConfig, Config, DeviceConfig, MqttConfig, RealtimeConfig
from voiced.core.frames import SERVICE_RATE, Samples, milliseconds
from voiced.core.likeness import best_match
from voiced.edge.mosquitto import Mosquitto
from voiced.edge.sound import SoundSettings
from voiced.edge.soundcard import list_devices
from voiced.edge.soundfile import read_wav
from voiced.edge.supervisor import Supervisor
from voiced.edge.watcher import Watcher
from voiced.errors import VoicedError
from voiced.simulator import Simulator

TURNS = 2
"""How many times the recording speaks to the daemon."""

ALIKE = 0.99
"""Correlation above which a sound is the same sound: volume rounds it a little."""


@dataclass(slots=True)
class Witness:
    """What other systems saw of the conversation, over MQTT."""

    root: str
    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    wake: dict[str, Any] | None = None
    turns: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    def heard(self, topic: str, text: str) -> None:
        """Take a message; tell the time line."""
        name = topic.removeprefix(f"{self.root}/")
        self.counts[name] += 1
        match name:
            case "availability":
                self._tell("daemon", text)
            case "state":
                state = json.loads(text)
                if state["state"] not in self.states[-1:]:
                    self.states.append(state["state"])
                    self._tell("state", state["state"] + (" (follow-up)" if state["follow_up"] else ""))
            case "event/wake":
                event = json.loads(text)
                if event["event_type"] == "detected":
                    self.wake = event
                what = "wake" if event["event_type"] == "detected" else "near miss"
                self._tell(what, f"{event['wake_word']}, score {event['score']}")
            case "event/session":
                event = json.loads(text)
                self._tell("session", event["event_type"] + (f": {event['reason']}" if event["reason"] else ""))
            case "event/turn":
                event = json.loads(text)
                if event["event_type"] != "started":
                    self._turn(event)
            case "event/error":
                self._tell("problem", json.loads(text)["message"])

    def _turn(self, event: dict[str, Any]) -> None:
        self.turns.append(event)
        self._tell("you", event["user"]["text"] or "(not written down)")
        self._tell("answer", event["assistant"]["text"] or "(nothing)")
        first = event["latency_ms"]["end_of_speech_to_first_audio"]
        self._tell("turn", f"{event['outcome']}; first sound {first} ms after the end of speech")

    def _tell(self, what: str, text: str) -> None:
        self.say(f"{time.monotonic() - self.began:7.2f} s  {what:<9} {text}")


async def run(environ: Mapping[str, str], *, keep: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Hold the conversation, and return the report that ``--json`` prints; its ``ok`` is the verdict.

    Args:
        environ: Of the process.
        keep: Folder for the sound that was played; ``None``: a new one below the temporary directory.
        say: Takes the lines of the time line.

    Raises:
        VoicedError: If a part cannot be had, such as mosquitto or the wake models.

    """
    folder = Path(tempfile.mkdtemp(prefix="voiced-demo-")) if keep is None else keep
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise VoicedError(f"{folder} cannot be made: {exc.strerror}; name another folder with --keep") from exc
    with ExitStack() as stack:
        recording = stack.enter_context(
            resources.as_file(resources.files("voiced") / "demo_sounds" / "conversation.wav")
        )
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voiced-broker-")))
        played = folder / "played.wav"
        async with Mosquitto(private) as broker, Simulator() as simulator:
            config = _config(recording, broker.port)
            witness = Witness(f"{config.mqtt.base_topic}/{config.device.id}", say)
            hidden = {**environ, "STATE_DIRECTORY": str(private)}
            async with (
                Watcher(config.mqtt, f"{witness.root}/#", witness.heard),
                house.opened(config, hidden, sound=_ends(config, hidden, played), simulator_url=simulator.url) as home,
            ):
                await house.live(home, Supervisor())
            lost = home.daemon.lost_samples
        sessions = simulator.sessions
    return _report(
        witness, lost, sent=sum(len(one.received_pcm) for one in sessions), simulator=simulator, played=played
    )


def _ends(config: Config, environ: Mapping[str, str], played: Path) -> SoundSettings:
    """Return a speaker that is heard, where there is one, and written down in any case."""
    output = "default" if any(device.outputs for device in list_devices()) else "null"
    return replace(house.sound_settings(config.audio, environ), output=output, copy=played, copy_silence=True)


def _config(recording: Path, port: int) -> Config:
    return Config(
        device=DeviceConfig(id="demo", name="Demo"),
        audio=AudioConfig(input=f"file:{recording}", input_end="stop"),
        realtime=RealtimeConfig(provider="simulator"),
        mqtt=MqttConfig(host="127.0.0.1", port=port),
    )


def _report(witness: Witness, lost: int, *, sent: int, simulator: Simulator, played: Path) -> dict[str, Any]:
    received = sum(len(session.sent_pcm) for session in simulator.sessions)
    heard = _heard(simulator, read_wav(played, SERVICE_RATE))
    turns = [
        {
            "user": turn["user"]["text"],
            "assistant": turn["assistant"]["text"],
            "latency_ms": turn["latency_ms"],
        }
        for turn in witness.turns
    ]
    whole = [turn for turn in witness.turns if turn["outcome"] == "finished" and turn["assistant"]["text"]]
    ok = (
        witness.wake is not None
        and len(whole) >= TURNS
        and lost == 0
        and 0 < received == heard
        and witness.states[-1:] == ["idle"]
    )
    return {
        "ok": ok,
        "wake": {key: witness.wake[short] for key, short in (("word", "wake_word"), ("score", "score"))}
        if witness.wake
        else None,
        "turns": turns,
        "audio_ms": {
            "sent": milliseconds(sent, SERVICE_RATE),
            "received": milliseconds(received, SERVICE_RATE),
            "played": milliseconds(heard, SERVICE_RATE),
        },
        "lost_samples": lost,
        "mqtt": dict(witness.counts),
        "files": {"played": str(played)},
    }


def _heard(simulator: Simulator, played: Samples) -> int:
    """Return how many samples of the service's answers are found again, whole, in what was played."""
    found = 0
    for session in simulator.sessions:
        items: dict[str, bytes] = {}
        for delta in session.sent("response.output_audio.delta"):
            items[delta["item_id"]] = items.get(delta["item_id"], b"") + base64.b64decode(delta["delta"])
        answers = [np.frombuffer(pcm, "<i2") for pcm in items.values()]
        found += sum(len(answer) for answer in answers if best_match(played, answer)[0] > ALIKE)
    return found
