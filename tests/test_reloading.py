"""A configuration that is read again: what of it holds at once, what is said, and what a bad one does."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stories import QUICK, at_home, config_for_tests, told
from voiced import configfile
from voiced.config import Config
from voiced.core.reloading import reloaded

START = {
    "device": {"id": "test"},
    "wake": {"words": [{"model": "hey_jarvis"}, {"model": "alexa", "profile": "kids"}]},
    "profiles": {"default": {}, "kids": {"instructions": "Be kind."}},
}


def made(*changes: tuple[str, Any]) -> Config:
    """The configuration with some keys changed, named by their paths."""
    raw: Any = json.loads(json.dumps(START))
    for path, value in changes:
        table = raw
        *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parts:
            table = table[part] if isinstance(part, int) else table.setdefault(part, {})
        table[last] = value
    return Config.model_validate_json(json.dumps(raw))


CHANGES: tuple[tuple[str, Any, str, bool], ...] = (
    ("conversation.no_speech_s", 9.0, "conversation.no_speech_s", True),
    ("conversation.follow_up_s", 0.0, "conversation.follow_up_s", True),
    ("conversation.memory_turns", 2, "conversation.memory_turns", False),
    ("profiles.kids.instructions", "Be kinder.", "profiles.kids.instructions", True),
    ("profiles.default.speed", 1.2, "profiles.default.speed", True),
    ("profiles.kids.voice", "cedar", "profiles.kids.voice", True),
    ("profiles.kids.voice", "unheard-of", "profiles.kids.voice", False),
    ("profiles.third", {}, "profiles.third", False),
    ("wake.sensitivity", 0.7, "wake.sensitivity", True),
    ("wake.words.0.threshold", 0.4, "wake.words[0].threshold", True),
    ("wake.words.1.profile", "default", "wake.words[1].profile", True),
    ("wake.words", [{"model": "hey_jarvis"}], "wake.words", False),
    ("budget.usd_per_day", 0.5, "budget.usd_per_day", True),
    ("budget.prices_file", "mine.toml", "budget.prices_file", False),
    ("audio.chime", False, "audio.chime", True),
    ("audio.input", "other", "audio.input", False),
    ("mqtt.host", "elsewhere", "mqtt.host", False),
    ("device.name", "Attic", "device.name", False),
    ("log.level", "warning", "log.level", True),
)


@pytest.mark.parametrize(("path", "value", "key", "at_once"), CHANGES)
def test_what_can_hold_at_once_does_and_the_rest_is_named(path: str, value: Any, key: str, at_once: bool) -> None:
    before, after = made(), made((path, value))
    found = reloaded(before, after)
    assert (found.taken, found.later) == (((key,), ()) if at_once else ((), (key,)))
    assert found.config == (after if at_once else before)


@given(st.lists(st.sampled_from(CHANGES), unique_by=lambda change: ".".join(change[0].split(".")[:2]), max_size=6))
def test_every_change_is_named_once_and_what_is_taken_is_taken_for_good(changes: Any) -> None:
    wanted = made(*((path, value) for path, value, _, _ in changes))
    first = reloaded(made(), wanted)
    assert not set(first.taken) & set(first.later)
    assert (first.config == wanted) is not bool(first.later)
    again = reloaded(first.config, wanted)
    assert (again.taken, again.later, again.config) == ((), first.later, first.config)
    assert reloaded(first.config, made()).later == ()  # taken back, nothing waits for a restart


def test_what_makes_no_sense_without_the_rest_waits_with_it() -> None:
    wanted = made(("profiles.third", {}), ("budget.cheap_profile", "third"))
    found = reloaded(made(), wanted)
    assert found.taken == ()
    assert set(found.later) == {"profiles.third", "budget.cheap_profile"}


@pytest.fixture
def level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.mark.usefixtures("level")
async def test_a_running_daemon_takes_what_changed(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    base = 'device.id = "test"\nmqtt.host = "127.0.0.1"\nconversation.no_speech_s = 1.0\n'
    file.write_text(base + "conversation.follow_up_s = 0.5\n")

    def read() -> Config:
        return configfile.load(file, {})

    async with at_home(QUICK, read(), reread=read) as home:
        file.write_text(
            base + 'conversation.follow_up_s = 0\nwake.sensitivity = 0.8\ndevice.name = "Attic"\naudio.volume = 33\n'
            'profiles.default.instructions = "Answer in Latin."\n[budget]\nusd_per_day = 7.0\n'
        )
        before = home.ears.words
        answer = await home.command("command/reload")
        assert answer["result"] == {
            "taken": [
                "wake.sensitivity",
                "conversation.follow_up_s",
                "profiles.default.instructions",
                "budget.usd_per_day",
            ],
            "restart": ["device.name", "audio.volume"],
        }
        settings = json.loads(home.diary.kept["settings"])
        assert (settings["wake_sensitivity"], settings["follow_up"]) == (0.8, False)
        assert json.loads(home.diary.kept["usage"])["cost"]["limit_day"] == 7.0
        assert home.reports.is_a_problem("restart_needed")
        home.speak()
        await home.until_told("finished")
        assert home.ears.words[0].threshold < before[0].threshold
        await home.until_idle()  # at once: nobody is listened to afterwards
        session = await home.simulator.sessions[0].wait_for_client("session.update")
        assert session["session"]["instructions"] == "Answer in Latin."
        file.write_text(base + "conversation.follow_up_s = 0.5\n")
        await home.command("command/reload")
        assert not home.reports.is_a_problem("restart_needed")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('wake.sensitivty = 1\nmqtt.port = "x"\n', ("sensitivty", "mqtt.port")),
        ("= 3", ("not TOML",)),
        (None, ("read",)),
    ],
)
async def test_a_bad_one_changes_nothing_and_all_of_it_is_said(
    tmp_path: Path, text: str | None, says: tuple[str, ...]
) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)

    def read() -> Config:
        return configfile.load(file, {})

    async with at_home(QUICK, reread=read) as home:
        before = home.diary.kept["settings"]
        refused = (await home.command("command/reload"))["error"]
        assert refused["code"] == "invalid"
        assert all(words in refused["message"] for words in says)
        assert told(home.diary, "event/error", "error")[-1]["message"] == refused["message"]
        assert home.diary.kept["settings"] == before
        home.speak()
        await home.until_told("finished")


async def test_where_nothing_was_read_nothing_is_read_again() -> None:
    async with at_home(QUICK) as home:
        assert (await home.command("command/reload"))["error"]["code"] == "unavailable"


async def test_what_somebody_has_set_outlives_it() -> None:
    def read() -> Config:
        return config_for_tests().model_copy(update={"wake": Config().wake.model_copy(update={"sensitivity": 0.9})})

    async with at_home(QUICK, reread=read) as home:
        await home.command("set/wake_sensitivity", "0.3")
        assert (await home.command("command/reload"))["result"]["taken"] == ["wake.sensitivity"]
        assert json.loads(home.diary.kept["settings"])["wake_sensitivity"] == 0.3


async def test_sighup_is_a_reload_as_systemd_knows_it(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    sound = Path(__file__).with_name("sounds") / "negative_1.wav"
    base = f'audio.input = "file:{sound}"\naudio.input_end = "silence"\naudio.output = "null"\nmqtt.host = ""\n'
    file.write_text(base)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
        channel.bind(str(tmp_path / "notify"))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOICED", "AZURE", "OPENAI"))}
        daemon = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiced", "run", "-c", str(file)),
            env={**kept, "HOME": str(tmp_path), "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=asyncio.subprocess.PIPE,
        )
        loop = asyncio.get_running_loop()

        async def heard(beginning: str) -> str:
            async with asyncio.timeout(30):
                while not (said := (await loop.sock_recv(channel, 65_536)).decode()).startswith(beginning):
                    pass
            return said

        try:
            await heard("READY=1")
            file.write_text(base + "conversation.no_speech_s = 9\nnonsense = 1\n")
            daemon.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in await heard("RELOADING=1")
            await heard("READY=1")
            file.write_text(base + "conversation.no_speech_s = 9\n")
            daemon.send_signal(signal.SIGHUP)
            await heard("RELOADING=1")
            await heard("READY=1")
            assert daemon.returncode is None
        finally:
            daemon.terminate()
            _, log = await daemon.communicate()
    assert b"nonsense: unknown key" in log
    assert b"holds now: conversation.no_speech_s" in log
