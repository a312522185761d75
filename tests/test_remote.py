"""A running daemon controlled from outside, over a real mosquitto."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.mosquitto import (
    AVAILABILITY,
    DISCOVERY,
    KITCHEN,
    Door,
    Neighbour,
    config,
    connected,
    make_broker,
    obeyed,
)
from tests.waiting import eventually
from voiced import cli, mqttcommands
from voiced.config import Config, DeviceConfig
from voiced.core.mqtt import commands
from voiced.core.sentences import Answer
from voiced.edge import remote
from voiced.edge.mosquitto import Mosquitto
from voiced.edge.remote import RemoteControl
from voiced.errors import CommandError, VoicedError

pytestmark = pytest.mark.usefixtures("nothing_left")


def remotely(port: int, action: str, **fields: Any) -> Any:
    with RemoteControl(config(port), KITCHEN) as remote:
        return remote.command(action, **fields)


async def test_a_daemon_is_controlled(mosquitto: Mosquitto) -> None:
    async with make_broker(mosquitto.port) as broker, obeyed(broker) as done:
        broker.keep("state", '{"state":"idle"}')
        await connected(broker)

        def control() -> Any:
            with RemoteControl(config(mosquitto.port), KITCHEN) as remote:
                remote.command("say", text="Grüße", interrupt=True)
                remote.set(mute="toggle", volume=5)
                with pytest.raises(CommandError, match="volume is 500") as refused:
                    remote.set(volume=500)
                assert refused.value.code == "invalid"
                return remote.status()

        assert await asyncio.to_thread(control) == {"availability": "online", "state": {"state": "idle"}}
        say, change = done
        assert isinstance(say, commands.Say)
        assert (say.text, say.interrupt, say.reply.correlation) == ("Grüße", True, (say.reply.id or "").encode())
        assert isinstance(change, commands.SetSettings)
        assert (change.mute, change.volume) == ("toggle", 5)


async def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    async with (
        Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 20000"]) as small,
        make_broker(small.port) as broker,
    ):
        await connected(broker)
        for text in ("a letter that is none: \udcff", "long " * 5_000):
            with pytest.raises(CommandError, match="cannot be sent") as refused:
                await asyncio.to_thread(remotely, small.port, "say", text=text)
            assert refused.value.code == "invalid"


async def typed(mosquitto: Mosquitto, tmp_path: Path, line: list[str], result: dict[str, Any]) -> tuple[int, Any]:
    """Run a command line against a daemon that answers ``result``; return status and command."""
    file = tmp_path / "config.toml"
    file.write_text(f'[device]\nid = "kitchen"\n[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}\n')
    async with make_broker(mosquitto.port) as broker, obeyed(broker, result) as done:
        await connected(broker)
        status = await asyncio.to_thread(cli.main, [*line, "-c", str(file)])
    return status, done[0]


async def test_what_is_spoken_from_the_command_line(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["announce", "--media", "bell.mp3", "--volume", "30", "--json"]
    status, announced = await typed(mosquitto, tmp_path, line, {"outcome": "finished"})
    assert (status, announced.media, announced.volume) == (0, f"{tmp_path}/bell.mp3", 30)
    assert json.loads(capsys.readouterr().out) == {"outcome": "finished"}
    line = ["say", "--voice", "cedar", "--interrupt", "Fire", "alarm!"]
    status, said = await typed(mosquitto, tmp_path, line, {"text": "Fire alarm!"})
    assert (status, said.text, said.voice, said.interrupt) == (0, "Fire alarm!", "cedar", True)


async def test_an_answer_for_a_script(mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"text": "Noon.", "outcome": "finished", "session": "s", "turn": 1}
    status, asked = await typed(mosquitto, tmp_path, ["ask", "--json", "What", "time?"], told)
    assert (status, asked.text, json.loads(capsys.readouterr().out)) == (0, "What time?", told)
    file = tmp_path / "config.toml"  # nobody is there now, and a script is not answered by somebody else
    assert await asyncio.to_thread(cli.main, ["ask", "--json", "Why?", "-c", str(file)]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("answer", ["later", None])
async def test_a_question_from_the_command_line(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str | None
) -> None:
    line = ["question", "Now?", "--timeout", "8", "-a", "later=later [please]", "-a", "later=in a while", "-a", "yes"]
    result: dict[str, Any] = {"answer": answer, "text": "Not now.", "slots": {}}
    done, asked = await typed(mosquitto, tmp_path, line, result)
    assert (done, capsys.readouterr().out) == ((0, "later\n") if answer else (1, "Not now.\n"))
    assert asked.answers == (Answer("later", ("later [please]", "in a while")), Answer("yes", ("yes",)))
    assert (asked.text, asked.timeout_s) == ("Now?", 8.0)


async def test_a_daemon_that_is_not_there_is_missed_in_words(mosquitto: Mosquitto) -> None:
    with pytest.raises(CommandError, match="no voiced called 'kitchen' is known") as missed:
        await asyncio.to_thread(remotely, mosquitto.port, "ping")
    assert missed.value.code == "unavailable"
    async with make_broker(mosquitto.port) as broker:
        await connected(broker)

        def ask() -> None:
            with RemoteControl(config(mosquitto.port), KITCHEN) as remote:
                remote.command("ping", patience_s=0.2)

        with pytest.raises(CommandError, match=r"did not answer within 0.2 s"):
            await asyncio.to_thread(ask)
    with pytest.raises(CommandError, match="is not running"):
        await asyncio.to_thread(remotely, mosquitto.port, "ping")
    await mosquitto.stop()
    with pytest.raises(CommandError, match="no MQTT broker listens at"):
        await asyncio.to_thread(remotely, mosquitto.port, "ping")


async def test_it_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Mosquitto(tmp_path, ["allow_anonymous false"]) as guarded:
        with pytest.raises(CommandError, match="does not accept anybody without a user name"):
            await asyncio.to_thread(remotely, guarded.port, "ping")
    rules = tmp_path / "rules"
    rules.write_text("topic write #\n")
    monkeypatch.setattr(remote, "CONNECT_PATIENCE_S", 3.0)  # it waits in vain for what it sends to itself
    async with Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {rules}"]) as guarded:
        with pytest.raises(CommandError, match="check its access rules"):
            await asyncio.to_thread(remotely, guarded.port, "ping")


async def test_turns_are_shown_and_drawn(mosquitto: Mosquitto, tmp_path: Path) -> None:
    one = {"id": "s-1", "turn": 1, "session": "s", "time": "2026-11-26T12:00:00Z", "source": "mqtt"}
    told = {**one, "outcome": "finished", "user": {"text": "Why?"}, "assistant": {"text": "<Because>"}}
    whole = Config(device=DeviceConfig(id="kitchen", name="Kitchen"), mqtt=config(mosquitto.port))
    page = tmp_path / "turns.html"
    lines: list[str] = []

    def show(*, as_json: bool, page: Path | None = None) -> str:
        lines.clear()
        mqttcommands.turns(whole, last=5, page=page, as_json=as_json, say=lines.append)
        return "\n".join(lines)

    async with make_broker(mosquitto.port) as broker, obeyed(broker, {"turns": [told]}) as done:
        await connected(broker)
        assert "user: Why?" in await asyncio.to_thread(show, as_json=False)
        assert json.loads(await asyncio.to_thread(show, as_json=True, page=page))[0]["id"] == "s-1"
        with pytest.raises(VoicedError, match="cannot be written"):
            await asyncio.to_thread(show, as_json=True, page=tmp_path)
    assert [command.last for command in done if isinstance(command, commands.Turns)] == [5, 5, 5]
    assert "Turns of Kitchen" in page.read_text(encoding="utf-8")
    assert "&lt;Because&gt;" in page.read_text(encoding="utf-8")


async def test_all_the_turns_that_may_be_asked_for_come_with_their_texts(mosquitto: Mosquitto) -> None:
    one = {"id": "s-1", "turn": 1, "session": "s", "time": "2026-11-26T12:00:00Z", "source": "mqtt"}
    told = {**one, "outcome": "finished", "user": {"text": "Why? " * 100}, "assistant": {"text": "Because. " * 100}}
    async with make_broker(mosquitto.port) as broker, obeyed(broker, {"turns": [told] * 100}):
        await connected(broker)
        assert len((await asyncio.to_thread(remotely, mosquitto.port, "turns", last=100))["turns"]) == 100


async def test_rubbish_on_its_topics_is_passed_over(mosquitto: Mosquitto) -> None:
    whole = Config(device=DeviceConfig(id="kitchen"), mqtt=config(mosquitto.port))
    lines: list[str] = []
    async with make_broker(mosquitto.port) as broker, Neighbour(mosquitto.port) as neighbour:
        await connected(broker)
        await neighbour.send("voiced/kitchen/state", "[" * 60_000, retain=True)
        await neighbour.send("voiced/kitchen/health", "[1]", retain=True)
        await neighbour.send("voiced/kitchen/usage", "null", retain=True)
        status = await asyncio.to_thread(mqttcommands.status, whole, as_json=False, watch=False, say=lines.append)
    assert (status, lines) == (0, ["online; unknown", "volume ? %; service ?"])


async def test_its_status_is_watched(mosquitto: Mosquitto) -> None:
    lines: list[str] = []
    over = threading.Event()

    class Enough(Exception):  # noqa: N818 - ends the watching
        pass

    def say(line: str) -> None:
        lines.append(line)
        if over.is_set():
            raise Enough

    def watch() -> None:
        whole = Config(device=DeviceConfig(id="kitchen"), mqtt=config(door.port))
        with pytest.raises(Enough):
            mqttcommands.status(whole, as_json=False, watch=True, say=say)

    problem = {"code": "c", "message": "it rains", "since": "2026-11-26T12:00:00Z"}
    async with make_broker(mosquitto.port) as broker, Door(mosquitto.port) as door:
        broker.keep("state", '{"state":"idle"}')
        await connected(broker)
        async with Neighbour(mosquitto.port) as neighbour:
            await eventually(lambda: neighbour.last(AVAILABILITY) == "online", "online")
        watching = asyncio.create_task(asyncio.to_thread(watch))
        await eventually(lambda: len(lines) == 2, "what holds now")
        broker.keep("state", '{"state":"listening"}')
        await eventually(lambda: len(lines) == 3, "what changes")
        broker.keep("health", json.dumps({"cloud": "ok", "problems": [problem]}))
        await eventually(lambda: len(lines) == 5, "a problem")
        broker.keep("health", json.dumps({"cloud": "ok", "problems": []}))
        await eventually(lambda: len(lines) == 6, "it is over")
        door.shut()
        await eventually(lambda: len(lines) == 7, "the broker is away")
        door.open()
        await eventually(lambda: len(lines) == 8, "the broker is back")
        over.set()
        broker.keep("state", '{"state":"idle","muted":true}')
        await watching
    assert lines == [
        *("online; idle", "volume ? %; service ?", "online; listening"),
        *("volume ? %; service ok", "problem since 2026-11-26T12:00:00Z: it rains"),
        "over: problem since 2026-11-26T12:00:00Z: it rains",
        *("unreachable; listening", "online; listening", "online; idle; muted"),
    ]


async def test_a_device_that_is_no_more_is_taken_out_first_of_home_assistant_then_of_the_broker(
    mosquitto: Mosquitto,
) -> None:
    def remove() -> list[str]:
        with RemoteControl(config(mosquitto.port), KITCHEN, leftovers=True) as remote:
            return remote.remove()

    async with Neighbour(mosquitto.port) as neighbour:
        async with make_broker(mosquitto.port, discovery={DISCOVERY: "{}"}) as broker:
            broker.keep("state", "{}")
            await connected(broker)
            await eventually(lambda: neighbour.last(AVAILABILITY) == "online", "online")
            with pytest.raises(CommandError, match="is running and would come back"):
                await asyncio.to_thread(remove)
        await neighbour.send("homeassistant/sensor/voiced_kitchen/state/config", "{}", retain=True)
        await neighbour.send("voiced/attic/state", "a neighbour's", retain=True)
        topics = await asyncio.to_thread(remove)
        assert topics == [
            DISCOVERY,
            "homeassistant/sensor/voiced_kitchen/state/config",
            AVAILABILITY,
            "voiced/kitchen/state",
        ]
        assert await asyncio.to_thread(remove) == []
    async with Neighbour(mosquitto.port) as late:
        await eventually(lambda: late.on("voiced/attic/state"), "what is not ours stays")
        assert [heard.topic for heard in late.heard] == ["voiced/attic/state"]


async def test_a_device_whose_discovery_may_be_written_only_is_taken_out_too(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(f"topic readwrite voiced/#\ntopic write {DISCOVERY}\nuser other\ntopic readwrite #\n")
    words = tmp_path / "words"
    make = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", str(words), "other", "word")
    assert await make.wait() == 0
    options = ["allow_anonymous true", f"acl_file {rules}", f"password_file {words}"]

    def remove(port: int) -> list[str]:
        with RemoteControl(config(port), KITCHEN, leftovers=True) as remote:
            return remote.remove()

    async with Mosquitto(tmp_path, options) as guarded:
        async with make_broker(guarded.port, discovery={DISCOVERY: "{}"}) as broker:
            await connected(broker)
        async with Neighbour(guarded.port, username="other", password="word") as neighbour:
            await eventually(lambda: neighbour.on(DISCOVERY) == ["{}"], "the device is told")
            assert await asyncio.to_thread(remove, guarded.port) == [DISCOVERY, AVAILABILITY]
            await eventually(lambda: neighbour.on(DISCOVERY) == ["{}", ""], "the device is taken out")


async def test_it_speaks_the_older_protocol_too(mosquitto: Mosquitto) -> None:
    async with (
        Door(mosquitto.port, knows_v5=False) as door,
        make_broker(door.port) as broker,
        obeyed(broker),
    ):
        await connected(broker)
        assert await asyncio.to_thread(remotely, door.port, "ping") == {"done": True}
