"""The newest version: how it is read, asked for, remembered and told."""

import asyncio
import json
import logging
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Diary, Remembered
from tests.mosquitto import Neighbour
from tests.stories import config_for_tests
from tests.waiting import eventually
from tests.web import Handler, gives, leads_to, server
from voiced import __version__, updates
from voiced.check import update as check
from voiced.check.findings import Visit
from voiced.config import Config, MqttConfig, UpdateConfig
from voiced.core.mqtt.topics import Topics
from voiced.core.mqtt.updating import Update
from voiced.core.releases import Release, newest, update
from voiced.edge import download
from voiced.edge.mosquitto import Mosquitto
from voiced.errors import CommandError, RestartError
from voiced.messaging import open_broker, update_told
from voiced.places import redirected, whole_url
from voiced.updates import DAY_S, HOUR_S, Updates, ask

PAGE = "https://forge.example/voiced/releases/2"


def pypi(version: str) -> dict[str, object]:
    """What PyPI answers, as far as it matters, and some of the rest."""
    info = {"name": "voiced", "version": version, "summary": "A voice daemon", "release_url": PAGE, "yanked": False}
    return {"info": info, "last_serial": 1, "releases": {"0.0.1": []}, "urls": [], "vulnerabilities": []}


def forge(tag: str, body: str | None = "Hears better.") -> dict[str, object]:
    """What GitHub, Gitea and Forgejo answer, as far as it matters, and some of the rest."""
    return {"id": 7, "tag_name": tag, "name": "Winter", "html_url": PAGE, "draft": False, "body": body, "assets": []}


# --- read -------------------------------------------------------------------------------------------------------------


def test_both_kinds_of_answer_are_read() -> None:
    assert newest(pypi("0.10.0")) == Release("0.10.0", PAGE)
    assert newest(forge("v0.10.0")) == Release("0.10.0", PAGE, "Hears better.")
    assert newest(forge("0.10.0", None)) == Release("0.10.0", PAGE)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        [forge("v1")],  # a list of releases is not the latest one
        {"message": "Not Found"},
        {"info": {"version": 3, "release_url": PAGE}},
        pypi("newest"),
        pypi(""),
        forge("nightly"),
        forge("9" * 5000),
        {**forge("v1"), "html_url": "javascript:alert(1)"},
        {**forge("v1"), "html_url": "https://x.example/" + "a" * 500},
        {**forge("v1"), "html_url": "https://x.example/\ud800"},
    ],
)
def test_an_answer_that_tells_no_version_is_named(document: object) -> None:
    with pytest.raises(ValueError, match=r"neither PyPI's|cannot be compared|names no address"):
        newest(document)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["info", "tag_name", "html_url"]), inner),
    ),
    st.text(st.characters()),
)
def test_whatever_is_answered_can_be_told_or_is_refused(document: object, notes: str) -> None:
    for answer in (document, forge("v9.1", notes)):
        try:
            release = newest(answer)
        except ValueError:
            assert answer is document
            continue
        told = update("0.1.0", release).json_text()
        assert len(json.loads(told)["release_summary"]) <= 255


@pytest.mark.parametrize(
    ("installed", "there", "latest"),
    [
        ("0.9.0", "0.10.0", "0.10.0"),
        ("0.10.0", "0.9.0", "0.10.0"),  # built from a checkout that is ahead
        ("1.0", "1.0.0", "1.0"),
        ("1.0rc1", "1.0", "1.0"),
        ("1.0", "1.0rc1", "1.0"),
        ("1.0", "1.0.post1", "1.0.post1"),
        ("1.0", "1.0.dev3", "1.0"),
    ],
)
def test_versions_are_compared_as_versions(installed: str, there: str, latest: str) -> None:
    told = update(installed, Release(there, PAGE))
    assert (told.installed_version, told.latest_version) == (installed, latest)
    assert (told.in_progress, told.update_percentage, told.title) == (False, None, "voiced")


# --- fetched ----------------------------------------------------------------------------------------------------------


def answers(document: object) -> Handler:
    return gives(json.dumps(document).encode(), "application/json")


async def test_it_is_asked_with_redirects_of_the_same_host() -> None:
    async with server(
        latest=answers(forge("v9.0.0")),
        moved=leads_to("/latest"),
        round=leads_to("/round"),
        away=leads_to("http://127.0.0.2:1/latest"),
        page=gives(b"<html>", "text/html"),
        broken=gives(b"{", "application/json"),
        deep=gives(b"[" * 100_000, "application/json"),
        huge=gives(b'"' + b"x" * download.LARGEST_DOCUMENT + b'"', "application/json"),
        limited=gives(b"", "application/json", 429),
    ) as url:
        assert await ask(f"{url}/latest") == await ask(f"{url}/moved") == Release("9.0.0", PAGE, "Hears better.")
        complaints = {
            "round": "redirects more than",
            "away": "name that address itself",
            "page": "is text/html, not JSON",
            "broken": "is no JSON",
            "deep": "is no JSON",
            "huge": "more than 1 MB",
            "limited": "HTTP 429",
            "missing": "nothing at",
        }
        for name, complaint in complaints.items():
            with pytest.raises(CommandError, match=complaint):
                await ask(f"{url}/{name}")


def test_no_redirect_gives_up_tls() -> None:
    asked = whole_url("https://forge.example/latest")
    assert str(redirected("https://forge.example:8443/x", asked)) == "https://forge.example:8443/x"
    assert str(redirected("https://forge.example/x", whole_url("http://forge.example/"))) == "https://forge.example/x"
    for place in ("http://forge.example/x", "https://other.example/x", "file:///etc/passwd"):
        with pytest.raises(CommandError):
            redirected(place, asked)


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with server(tls=context, latest=answers(forge("v9"))) as url:
        with pytest.raises(CommandError, match="certificate"):
            await ask(f"{url}/latest")


def test_only_a_whole_address_can_be_named() -> None:
    assert UpdateConfig().url == ""
    for wrong in ("index.example/pypi/voiced/json", "ftp://x.example/", "https://", "https://me:secret@x.example/"):
        with pytest.raises(ValueError, match="http or https"):
            UpdateConfig(url=wrong)
    (wish,) = Config(mqtt=MqttConfig(host=""), update=UpdateConfig(url="https://x.example/latest")).unmet()
    assert "nobody is asked" in wish


# --- followed ---------------------------------------------------------------------------------------------------------


class Pauses:
    """Waits until the test lets go."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[float] = asyncio.Queue()
        self.let = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.begun.put_nowait(seconds)
        await self.let.acquire()

    async def next(self) -> float:
        """End the pause that goes on; return how long the next one is, once it begins."""
        self.let.release()
        return await self.begun.get()


async def test_it_asks_once_a_day_and_failures_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voiced.updates")
    status, asked = 200, 0

    async def latest(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response(forge(f"v9.0.{asked}"), status=status)

    def said() -> list[str]:
        return [record.message for record in caplog.records if record.name == "voiced.updates"]

    pauses, memory = Pauses(), Remembered()
    told: list[Update] = []
    async with server(latest=latest) as url:
        watch = Updates(f"{url}/latest", told.append, memory, pause=pauses, chance=lambda: 0.5)
        following = asyncio.create_task(watch.follow())
        assert await pauses.begun.get() < 60
        assert (asked, told) == (0, [])
        assert await pauses.next() == DAY_S
        assert [one.latest_version for one in told] == ["9.0.1"]
        status = 500
        assert [await pauses.next() for _ in range(7)] == [HOUR_S * 2**n for n in range(5)] + [DAY_S] * 2
        (failure,) = said()
        assert "HTTP 500" in failure
        assert len(told) == 1
        status = 200
        assert await pauses.next() == DAY_S
        assert [one.latest_version for one in told] == ["9.0.1", "9.0.9"]
        assert said() == [failure, "update.url: the newest version is known again"]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert memory.values["version"] == "9.0.9"


@pytest.mark.parametrize("known", [{}, {"version": "3"}, {"asked": "other", "version": "3", "url": "u", "summary": ""}])
async def test_only_what_the_same_address_said_is_remembered(known: dict[str, object]) -> None:
    async def first_told(values: dict[str, object]) -> list[Update]:
        told: list[Update] = []
        pauses = Pauses()
        watch = Updates("http://127.0.0.1:9/x", told.append, Remembered(**values), pause=pauses)
        following = asyncio.create_task(watch.follow())
        await pauses.begun.get()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        return told

    whole: dict[str, object] = {"asked": "http://127.0.0.1:9/x", "version": "99.0", "url": PAGE, "summary": ""}
    (told,) = await first_told(whole)
    assert (told.installed_version, told.latest_version) == (__version__, "99.0")
    assert await first_told(known) == []
    assert await first_told({**whole, "version": "rubbish"}) == []


# --- told -------------------------------------------------------------------------------------------------------------


async def test_without_the_key_nothing_of_it_is_there(tmp_path: Path) -> None:
    diary = Diary()
    async with update_told(config_for_tests(), tmp_path, diary):
        pass
    assert (diary.kept, [*tmp_path.iterdir()]) == ({}, [])  # noqa: ASYNC240 - an empty folder


async def test_what_ends_the_daemon_meanwhile_is_what_it_was(tmp_path: Path) -> None:
    config = config_for_tests(update=UpdateConfig(url="http://127.0.0.1:9/x"))
    with pytest.raises(RestartError):
        async with update_told(config, tmp_path, Diary()):
            raise RestartError("told to start again")


async def test_it_is_kept_at_the_broker_and_taken_away_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real broker: what a client finds there in three lives of the daemon, the last two without the key."""
    monkeypatch.setattr(updates, "FIRST_S", 0.0)
    async with Mosquitto(tmp_path) as mosquitto, server(latest=answers(forge("v9.0.0"))) as url:
        mqtt = MqttConfig(host="127.0.0.1", port=mosquitto.port)
        discovery = Topics("voiced", "test").discovery

        async def life(place: str) -> tuple[dict[str, object] | None, dict[str, object]]:
            config = config_for_tests(mqtt=mqtt, update=UpdateConfig(url=place))
            async with AsyncExitStack() as parts:
                broker = await open_broker(config, tmp_path, parts, restarts=False)
                await parts.enter_async_context(update_told(config, tmp_path, broker))
                neighbour = await parts.enter_async_context(Neighbour(mosquitto.port))
                await eventually(lambda: broker.connected, "it is connected")
                await eventually(lambda: bool(neighbour.on("voiced/test/update")) or not place, "it is told")
            async with Neighbour(mosquitto.port) as later:
                await later.send("last", "of all")
                await eventually(lambda: bool(later.on("last")), "what is kept is here")
                found = later.on("voiced/test/update")
                components = json.loads(later.on(discovery)[0])["components"]
                return (json.loads(found[0]) if found else None, components["update"])

        said, entity = await life(f"{url}/latest")
        assert said is not None
        assert (said["latest_version"], said["release_summary"]) == ("9.0.0", "Hears better.")
        assert entity["state_topic"] == "voiced/test/update"
        assert await life("") == (None, {"platform": "update"})
        assert await life("") == (None, {"platform": "update"})


async def test_the_check_asks_too() -> None:
    async def found(url: str) -> tuple[str, str, str]:
        visit = Visit(config=Config(update=UpdateConfig(url=url)), environ={}, where=None)
        (finding,) = await check.check(visit)
        return finding.status, finding.found, finding.remedy

    assert (await found(""))[0] == "skip"
    async with server(new=answers(pypi("99.0")), same=answers(pypi(__version__)), old=gives(b"", status=404)) as url:
        status, said, remedy = await found(f"{url}/new")
        assert (status, said) == ("pass", f"{__version__} runs, and 99.0 is newer")
        assert PAGE in remedy
        assert await found(f"{url}/same") == ("pass", f"{__version__} runs, which is the newest", "")
        status, said, remedy = await found(f"{url}/old")
        assert (status, "404" in said, "update.url" in remedy) == ("warn", True, True)
