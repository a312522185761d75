"""A whole daemon at a real mosquitto, in a real Home Assistant; ``tests/homeassistant.sh`` runs this file."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mosquitto import Door, Neighbour
from tests.recordings import SOUNDS
from tests.waiting import eventually
from tests.web import gives, server
from voiced import __version__
from voiced.core.discovery import COMPONENTS
from voiced.edge.mosquitto import Mosquitto

ROOT = Path(__file__).parents[2]
PYTHON = os.environ["HOMEASSISTANT_PYTHON"]
"""Of an environment that has the package homeassistant."""

pytestmark = pytest.mark.timeout(120)

# What Home Assistant must show, from what the daemon has published: state, settings, turn, usage, health, info, wake.
VALUES: dict[str, Callable[[dict[str, Any]], object]] = {
    "state": lambda said: said["state"]["state"],
    "last_user_text": lambda said: said["turn"]["user"]["text"],
    "last_reply": lambda said: said["turn"]["assistant"]["text"],
    "last_wake": lambda _: "unknown",
    "listening": lambda said: "on" if said["state"]["state"] == "listening" else "off",
    "speaking": lambda said: "on" if said["state"]["state"] == "responding" else "off",
    "conversation": lambda said: "off" if said["state"]["state"] == "idle" else "on",
    "mute": lambda said: "on" if said["settings"]["mute"] else "off",
    "volume": lambda said: float(said["settings"]["volume"]),
    "wake_enabled": lambda said: "on" if said["settings"]["wake_enabled"] else "off",
    "follow_up": lambda said: "on" if said["settings"]["follow_up"] else "off",
    "wake_sensitivity": lambda said: said["settings"]["wake_sensitivity"],
    "wake_word": lambda said: said["settings"]["wake_word"],
    "persona": lambda said: said["settings"]["persona"],
    "voice": lambda said: said["settings"]["voice"],
    "say": lambda _: "",
    "problem": lambda said: "on" if said["health"]["problems"] else "off",
    "cloud": lambda said: "on" if said["health"]["cloud"] == "ok" else "off",
    "latency": lambda said: said["turn"]["latency_ms"]["end_of_speech_to_first_audio"],
    "wake_score": lambda _: "unknown",
    "tokens": lambda said: said["usage"]["tokens"]["total"],
    "turns": lambda said: said["usage"]["turns"],
    "cost_today": lambda said: said["usage"]["cost"]["today"],
    "cost_total": lambda said: said["usage"]["cost"]["total"],
    "last_error": lambda said: (said["health"]["last_error"] or {"message": ""})["message"][:255],
    "started": lambda said: said["info"]["started"][:19] + "+00:00",
    "cpu_temperature": lambda said: said["health"]["cpu_temperature"] or "unknown",
    "cpu": lambda said: said["health"]["cpu_percent"],
    "memory": lambda said: said["health"]["rss_mb"],
    "wakes": lambda said: said["health"]["wake"]["detected"],
    "near_misses": lambda said: said["health"]["wake"]["near_misses"],
    "lost_sound": lambda said: said["health"]["overruns"],
    "reconnects": lambda said: said["health"]["mqtt"]["reconnects"],
    "echo_attenuation": lambda said: said["health"]["echo"]["attenuation_db"],
    "waiting_turns": lambda said: said["health"]["mqtt"]["waiting_turns"],
    "uploaded": lambda said: said["usage"]["uploaded_s"],
}
ITS_OWN = ("zlib_ng and isal are not available", "Detected code that calls async_forward_entry_setups")
"""What Home Assistant says of its own code: the second one when its MQTT integration is reloaded."""
NO_VALUE = {"event", "button", "notify"}
"""Platforms whose state is the time when something last came, or was sent."""


class Resident:
    """Home Assistant, in a process that can be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *(PYTHON, str(ROOT / "tests" / "homeassistant" / "resident.py"), str(self._folder), str(self._port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        assert await self._answer() == "running"

    async def stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()
            self._process = None

    async def do(self, what: str, **more: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps({"do": what, **more}) + "\n").encode())
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            said = json.loads(await self._process.stdout.readline())
        assert said["ok"], said["answer"]
        return said["answer"]

    async def call(self, service: str, entity: str, **data: Any) -> None:
        domain, name = service.split(".")
        await self.do("call", domain=domain, service=name, data={"entity_id": entity, **data})

    async def value(self, component: str) -> str | None:
        """The state of an entity by the name that voiced gave it."""
        entity = (await self.do("entities")).get(f"voiced_kitchen_{component}")
        states = await self.do("states")
        state: str | None = states[entity["id"]]["state"] if entity and entity["id"] in states else None
        return state

    async def complaints(self) -> list[str]:
        """What it warned of that has to do with MQTT or voiced."""
        return [line for line in await self.do("complained") if not any(words in line for words in ITS_OWN)]


@dataclass
class House:
    """Everything that runs."""

    mosquitto: Mosquitto
    neighbour: Neighbour
    resident: Resident
    environment: dict[str, str]
    door: Door
    daemon: asyncio.subprocess.Process | None = None

    async def start_daemon(self, **more: str) -> None:
        self.daemon = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiced", "run"),
            env={**self.environment, **more},
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def end_daemon(self, number: int = signal.SIGTERM) -> None:
        if self.daemon is not None:
            self.daemon.send_signal(number)
            await self.daemon.wait()
            self.daemon = None

    async def shown_since(self, count: int) -> set[str]:
        """States that entities of voiced have had behind the first ``count`` changes."""
        return {state for entity, state in (await self.resident.do("history"))[count:] if "voiced" in entity}

    def said(self) -> dict[str, Any]:
        """The latest value of each topic."""
        names = ("state", "settings", "turn", "usage", "health", "info")
        found = {name: self.neighbour.last(f"voiced/kitchen/{name}") for name in names}
        return {name: json.loads(payload) for name, payload in found.items() if payload}

    async def shows(self, component: str, value: str, patience_s: float = 20) -> None:
        """Wait until Home Assistant shows it."""
        async with asyncio.timeout(patience_s):
            while (shown := await self.resident.value(component)) != value:
                await asyncio.sleep(0.05)
        assert shown == value

    async def has_had_a_turn(self) -> None:
        await self.neighbour.send("voiced/kitchen/command/ask", "What time is it?")
        await eventually(lambda: "turn" in self.said() and self.said()["state"]["state"] == "idle", "a turn", 40)


@asynccontextmanager
async def house(tmp_path: Path, *, through_door: bool = False, **more: str) -> AsyncIterator[House]:
    """Everything; ``through_door``: the daemon's way to the broker can be shut."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOICED", "AZURE", "OPENAI"))}
    async with (
        Mosquitto(tmp_path) as mosquitto,
        Neighbour(mosquitto.port) as neighbour,
        Door(mosquitto.port) as door,
    ):
        environment = {
            **kept,
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "VOICED_DEVICE__ID": "kitchen",
            "VOICED_DEVICE__NAME": "Kitchen",
            "VOICED_MQTT__HOST": "127.0.0.1",
            "VOICED_MQTT__PORT": str(door.port if through_door else mosquitto.port),
            "VOICED_AUDIO__INPUT": f"file:{SOUNDS / 'negative_1.wav'}",
            "VOICED_AUDIO__INPUT_END": "silence",
            "VOICED_AUDIO__OUTPUT": "null",
            "VOICED_CONVERSATION__FOLLOW_UP_S": "0",
            **more,
        }
        resident = Resident(tmp_path / "homeassistant", mosquitto.port)
        here = House(mosquitto, neighbour, resident, environment, door)
        try:
            await resident.start()
            await here.start_daemon()
            await here.shows("state", "idle")
            yield here
        finally:
            await here.end_daemon()
            await resident.stop()


def entities() -> dict[str, str]:
    return {one.id: one.platform for one in COMPONENTS if one.only_if is None}


async def agrees(here: House) -> dict[str, tuple[object, object]]:
    """Compare every value; return those that differ: shown and expected."""
    registry, states = await here.resident.do("entities"), await here.resident.do("states")
    said = here.said()
    wrong: dict[str, tuple[object, object]] = {}
    for name, platform in entities().items():
        if platform in NO_VALUE:
            continue
        shown = states[registry[f"voiced_kitchen_{name}"]["id"]]["state"]
        expected = VALUES[name](said)
        expected = "unknown" if expected is None else expected
        same = float(shown) == float(expected) if isinstance(expected, int | float) else shown == expected
        if not same:
            wrong[name] = (shown, expected)
    return wrong


@pytest.mark.parametrize("style", ["true", "components"])
async def test_it_is_taken_without_a_word_and_every_entity_has_its_value(tmp_path: Path, style: str) -> None:
    async with house(tmp_path, VOICED_MQTT__DISCOVERY=style) as here:
        await here.has_had_a_turn()
        registry = await here.resident.do("entities")
        assert {name.removeprefix("voiced_kitchen_") for name in registry} == set(entities())
        for name, entry in registry.items():
            component = name.removeprefix("voiced_kitchen_")
            assert entry["id"] == f"{entities()[component]}.{name}"
            if entry["disabled"]:
                await here.resident.do("enable", entity_id=entry["id"])
        assert await here.resident.do("devices") == ["Kitchen"]
        await here.resident.do("reload")
        await here.shows("reconnects", "0")
        async with asyncio.timeout(20):
            while wrong := await agrees(here):
                await asyncio.sleep(0.2)
        assert not wrong
        states = await here.resident.do("states")
        assert (
            states["sensor.voiced_kitchen_last_reply"]["attributes"]["text"] == here.said()["turn"]["assistant"]["text"]
        )
        assert await here.resident.complaints() == []


async def test_every_service_reaches_the_daemon_and_the_state_follows(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        resident = here.resident
        for switch in ("mute", "wake_enabled", "follow_up"):
            for to in ("on", "off"):
                await resident.call(f"switch.turn_{to}", f"switch.voiced_kitchen_{switch}")
                await here.shows(switch, to)
        await resident.call("number.set_value", "number.voiced_kitchen_volume", value=17)
        await here.shows("volume", "17")
        await resident.call("number.set_value", "number.voiced_kitchen_wake_sensitivity", value=0.35)
        await here.shows("wake_sensitivity", "0.35")
        await resident.call("select.select_option", "select.voiced_kitchen_wake_word", option="hey_jarvis")
        await here.shows("wake_word", "hey_jarvis")
        await resident.call("select.select_option", "select.voiced_kitchen_persona", option="default")
        text = 'Dinner\'s "ready" <now>, \\ {{ 1 }}'
        await resident.call("text.set_value", "text.voiced_kitchen_say", value=text)
        await eventually(lambda: here.said().get("turn", {}).get("assistant", {}).get("text") == text, "it is said", 30)
        assert await resident.value("say") == ""
        await resident.call("notify.send_message", "notify.voiced_kitchen_ask", message='What\'s "up"?\nNow?')
        await eventually(lambda: here.said()["turn"]["user"]["text"] == 'What\'s "up"?\nNow?', "it is asked", 30)
        await eventually(lambda: here.said()["state"]["state"] == "idle", "it is over", 30)
        await resident.call("notify.send_message", "notify.voiced_kitchen_announce", message="It rains.")
        await eventually(lambda: here.said()["turn"]["assistant"]["text"] == "It rains.", "it is announced", 30)
        await eventually(lambda: here.said()["state"]["state"] == "idle", "it is over", 30)
        await resident.call("button.press", "button.voiced_kitchen_listen")
        await here.shows("state", "listening")
        assert await resident.value("conversation") == "on"
        for button in ("stop", "end", "new_conversation"):
            await resident.call("button.press", f"button.voiced_kitchen_{button}")
        await here.shows("state", "idle")

        def answers() -> list[dict[str, Any]]:
            return [json.loads(answer) for answer in here.neighbour.on("voiced/kitchen/response")]

        expected = {"set", "say", "announce", "ask", "listen", "stop", "end", "new_conversation"}
        await eventually(lambda: {answer["action"] for answer in answers()} == expected, "all are answered")
        assert all(answer["ok"] for answer in answers()), answers()
        assert await resident.complaints() == []


async def test_restarts_of_home_assistant_and_of_a_broker_without_memory(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.has_had_a_turn()
        reply = here.said()["turn"]["assistant"]["text"]
        await here.resident.stop()
        await here.resident.start()
        await here.shows("last_reply", reply)
        assert await here.resident.complaints() == []
        await here.mosquitto.kill()
        await here.mosquitto.start()
        await here.shows("last_reply", reply, 40)
        await here.shows("state", "idle")
        told = [line for line in await here.resident.complaints() if "mqtt/client.py" not in line]
        told = [line for line in told if "homeassistant.components.mqtt.client" not in line]
        assert told == []  # but that the connection was lost


@pytest.mark.parametrize(("number", "patience_s"), [(signal.SIGTERM, 10.0), (signal.SIGKILL, 20.0)])
async def test_who_is_gone_is_unavailable_and_comes_back(tmp_path: Path, number: int, patience_s: float) -> None:
    async with house(tmp_path) as here:
        await here.end_daemon(number)
        await here.shows("state", "unavailable", patience_s)
        await here.start_daemon()
        await here.shows("state", "idle")
        assert await here.resident.complaints() == []


async def test_a_frozen_process_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        assert here.daemon is not None
        here.daemon.send_signal(signal.SIGSTOP)
        try:
            await here.shows("state", "unavailable", 60)  # keep-alive 30 s and a half, and the will's delay
        finally:
            here.daemon.send_signal(signal.SIGCONT)
        await here.shows("state", "idle", 40)
        assert await here.resident.complaints() == []


async def test_a_blip_does_not_flicker_and_loses_no_command(tmp_path: Path) -> None:
    async with house(tmp_path, through_door=True) as here:
        await here.shows("volume", "60")  # the entity is there
        before = len(await here.resident.do("history"))
        here.door.shut()
        await here.resident.call("number.set_value", "number.voiced_kitchen_volume", value=23)
        here.door.open()
        await here.shows("volume", "23")
        await eventually(lambda: here.said()["health"]["mqtt"]["reconnects"] >= 1, "it was away", 70)
        assert "unavailable" not in await here.shown_since(before)
        assert await here.resident.complaints() == []


async def test_two_instances_with_one_id_are_said_and_the_one_that_stays_is_well(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        elsewhere = {**here.environment, "HOME": str(tmp_path / "elsewhere")}
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiced", "run"), env=elsewhere, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(
                lambda: "another client uses the id" in json.dumps(here.said()["health"]["problems"]), "it is said", 60
            )
        finally:
            second.terminate()
            await second.wait()
        await here.shows("state", "idle", 40)
        await eventually(lambda: here.said()["health"]["problems"] == [], "all is well", 60)
        await here.has_had_a_turn()
        await here.shows("last_reply", here.said()["turn"]["assistant"]["text"])
        assert await here.resident.complaints() == []


async def test_without_transcripts_no_text_is_left_anywhere(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.has_had_a_turn()
        reply = here.said()["turn"]["assistant"]["text"]
        await here.shows("last_reply", reply)
        await here.end_daemon()
        await here.start_daemon(VOICED_MQTT__TRANSCRIPTS="off")
        await here.shows("last_reply", "")
        await here.shows("last_user_text", "")
        turns = here.said()["turn"]["time"]
        await here.neighbour.send("voiced/kitchen/command/ask", "What time is it?")
        await eventually(lambda: here.said()["turn"]["time"] != turns, "a turn", 40)
        async with Neighbour(here.mosquitto.port, client_id="newcomer") as newcomer:
            await eventually(lambda: newcomer.last("voiced/kitchen/turn"), "what the broker keeps")
            kept = [heard.payload.decode() for heard in newcomer.heard if heard.retain]
        assert kept
        assert not [payload for payload in kept if reply in payload or "What time is it?" in payload]
        states = await here.resident.do("states")
        assert reply not in json.dumps({name: state for name, state in states.items() if "voiced" in name})
        assert await here.resident.complaints() == []


async def test_selects_follow_the_configuration(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.end_daemon()
        await here.start_daemon(
            VOICED_PROFILES__KIDS__INSTRUCTIONS="Be kind.", VOICED_PROFILES__KIDS__VOICE="verse-of-its-own"
        )
        await here.shows("state", "idle")

        async def options(select: str) -> list[str]:
            states = await here.resident.do("states")
            found: list[str] = states[f"select.voiced_kitchen_{select}"]["attributes"]["options"]
            return found

        async with asyncio.timeout(20):
            while set(await options("persona")) != {"default", "kids"}:
                await asyncio.sleep(0.1)
        assert "verse-of-its-own" in await options("voice")
        await here.resident.call("select.select_option", "select.voiced_kitchen_persona", option="kids")
        await here.shows("persona", "kids")
        await here.shows("voice", "verse-of-its-own")
        await here.end_daemon()
        await here.start_daemon()
        async with asyncio.timeout(20):
            while await options("persona") != ["default"]:
                await asyncio.sleep(0.1)
        await here.shows("persona", "default")
        assert await here.resident.complaints() == []


async def test_device_triggers_fire(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        triggers = {(one["type"], one["subtype"]): one for one in await here.resident.do("triggers")}
        assert set(triggers) == {
            ("wake_word_detected", "any"),
            ("wake_word_detected", "hey_jarvis"),
            ("turn", "finished"),
            ("turn", "failed"),
            ("error", "error"),
        }
        trigger = {key: value for key, value in triggers["turn", "finished"].items() if key != "metadata"}
        await here.resident.do("automate", trigger=trigger, name="turn over")
        await here.has_had_a_turn()
        async with asyncio.timeout(10):
            while await here.resident.do("said") != ["turn over"]:
                await asyncio.sleep(0.1)
        assert await here.resident.complaints() == []


async def test_what_is_no_more_is_taken_away(tmp_path: Path) -> None:
    words = '[{model = "hey_jarvis"}, {model = "alexa"}]'
    async with house(tmp_path, VOICED_WAKE__WORDS=words) as here:
        assert "alexa" in {one["subtype"] for one in await here.resident.do("triggers")}
        await here.end_daemon()
        await here.start_daemon(VOICED_WAKE__WORDS='[{model = "hey_jarvis"}]')
        await here.shows("state", "idle")
        async with asyncio.timeout(20):
            while "alexa" in {one["subtype"] for one in await here.resident.do("triggers")}:
                await asyncio.sleep(0.1)
        select = (await here.resident.do("states"))["select.voiced_kitchen_wake_word"]
        assert select["attributes"]["options"] == ["all", "hey_jarvis"]
        await here.end_daemon()
        await here.start_daemon(VOICED_MQTT__DISCOVERY="components")
        await here.shows("state", "idle")
        await here.resident.do("reload")
        await here.shows("state", "idle")
        assert set(await here.resident.do("entities")) == {f"voiced_kitchen_{name}" for name in entities()}
        await here.end_daemon()
        removing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiced", "mqtt", "remove"), env=here.environment, stderr=asyncio.subprocess.DEVNULL
        )
        assert await removing.wait() == 0
        async with asyncio.timeout(20):
            while await here.resident.do("devices"):
                await asyncio.sleep(0.1)
        assert await here.resident.do("entities") == {}
        # Home Assistant clears the topics of a removed device itself, for each part of it, and warns that they are.
        echoes = ("No device components to cleanup", "Unable to remove unknown dispatcher")
        assert not [line for line in await here.resident.complaints() if not any(words in line for words in echoes)]


async def test_a_newer_version_is_shown_and_nothing_of_it_once_nobody_is_asked(tmp_path: Path) -> None:
    release = {"tag_name": "v99.1", "html_url": "https://forge.example/99.1", "body": "Hears **better**.\n" * 30}
    async with (
        server(latest=gives(json.dumps(release).encode(), "application/json")) as url,
        house(tmp_path, VOICED_UPDATE__URL=f"{url}/latest") as here,
    ):
        await here.shows("update", "on", 30)
        shown = (await here.resident.do("states"))["update.voiced_kitchen_update"]["attributes"]
        assert (shown["latest_version"], shown["installed_version"]) == ("99.1", __version__)
        assert (shown["release_url"], shown["title"]) == ("https://forge.example/99.1", "voiced")
        assert shown["release_summary"].startswith("Hears **better**. Hears")
        assert (shown["in_progress"], shown["update_percentage"]) == (False, None)
        assert shown["supported_features"] & 1 == 0  # there is nothing to install it with
        assert await here.resident.complaints() == []
        await here.end_daemon()
        await here.start_daemon(VOICED_UPDATE__URL="")
        async with asyncio.timeout(20):
            while "voiced_kitchen_update" in await here.resident.do("entities"):
                await asyncio.sleep(0.1)
        await eventually(lambda: here.neighbour.last("voiced/kitchen/update") == "", "the topic is empty")
        assert await here.resident.complaints() == []


async def test_a_retained_command_opens_no_microphone(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.end_daemon()
        await here.neighbour.send("voiced/kitchen/command/listen", "PRESS", retain=True)
        await here.start_daemon()
        await here.shows("state", "idle")
        await here.has_had_a_turn()
        assert "listening" not in {json.loads(state)["state"] for state in here.neighbour.on("voiced/kitchen/state")}


async def test_blueprints_are_what_home_assistant_takes(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        for path in sorted((ROOT / "voiced" / "blueprints").glob("*.yaml")):
            assert (await here.resident.do("blueprint", path=str(path))).startswith("voiced: ")
        quiet = str(ROOT / "voiced" / "blueprints" / "quiet_hours.yaml")
        inputs = {"wake_enabled": ["switch.voiced_kitchen_wake_enabled"]}
        await here.resident.do("use", path=quiet, name="quiet", inputs=inputs)
        assert (await here.resident.do("states"))["automation.quiet"]["state"] == "on"
        assert await here.resident.complaints() == []


async def test_a_question_of_a_blueprint_is_asked_and_its_answer_acted_on(tmp_path: Path) -> None:
    blueprint = str(ROOT / "voiced" / "blueprints" / "ask_question.yaml")

    def inputs(device: str) -> dict[str, Any]:
        acts = {f"when_{how}": [{"event": "fired", "event_data": {"name": how}}] for how in ("yes", "no", "else")}
        return {"device": device, "no_sentences": "no [thanks]\n don't \n\n", **acts}

    async with house(tmp_path, VOICED_CONVERSATION__NO_SPEECH_S="1") as here:
        await here.resident.do("use", path=blueprint, name="ask", inputs=inputs("kitchen"))
        await here.resident.call("script.turn_on", "script.ask")
        answers = "voiced/kitchen/response"
        await eventually(lambda: here.neighbour.on(answers), "nobody answers the daemon", 30)
        answered = json.loads(here.neighbour.on(answers)[0])
        assert answered["action"] == "ask_question"
        # the recording that stands for the microphone says nothing of the kind
        assert not answered["ok"] or answered["result"]["answer"] is None
        async with asyncio.timeout(10):
            while await here.resident.do("said") != ["else"]:
                await asyncio.sleep(0.1)
        asked = json.loads(here.neighbour.on("voiced/kitchen/command/ask_question")[0])
        assert [answer["sentences"] for answer in asked["answers"]] == [
            ["yes [please]", "(sure|of course|do it)"],
            ["no [thanks]", "don't"],
        ]
        assert await here.resident.complaints() == []


@pytest.mark.parametrize("answer", ["yes", "no", None])
async def test_a_question_of_a_blueprint_knows_yes_from_no(tmp_path: Path, answer: str | None) -> None:
    """The answer is a person's, so the device that asks is the test."""
    blueprint = str(ROOT / "voiced" / "blueprints" / "ask_question.yaml")
    acts = {f"when_{how}": [{"event": "fired", "event_data": {"name": how}}] for how in ("yes", "no", "else")}
    async with house(tmp_path) as here:
        await here.resident.do("use", path=blueprint, name="ask", inputs={"device": "attic", **acts})
        await here.resident.call("script.turn_on", "script.ask")
        await eventually(lambda: here.neighbour.on("voiced/attic/command/ask_question"), "it is asked", 30)
        asked = json.loads(here.neighbour.on("voiced/attic/command/ask_question")[0])
        for name in ("another one's", asked["id"]):
            result: dict[str, object] = {"answer": "yes" if name != asked["id"] else answer, "text": "Hm.", "slots": {}}
            response = {"id": name, "action": "ask_question", "ok": True, "result": result, "error": None}
            await here.neighbour.send("voiced/attic/response", json.dumps(response))
        async with asyncio.timeout(10):
            while await here.resident.do("said") != [answer or "else"]:
                await asyncio.sleep(0.1)
        assert await here.resident.complaints() == []
