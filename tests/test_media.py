"""Sound files played on command: from where, how they are fetched and decoded, and that they are heard."""

import asyncio
import io
import json
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import InstantSpeaker
from tests.stories import Home, at_home, config_for_tests, told
from tests.web import gives, leads_to, server
from voiced.check import media
from voiced.check.findings import Visit
from voiced.config import Config, MqttConfig
from voiced.core.announcements import MOST
from voiced.core.chimes import chime
from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.mqtt.commands import Message
from voiced.edge import decoder, download, mediafile
from voiced.edge.decoder import decoded
from voiced.edge.mediafile import MediaFiles
from voiced.errors import CommandError, ConfigError
from voiced.places import allowed_path, allowed_url, is_place

LAN = ("http://ha.local:8123/api/tts_proxy", "https://ha.local/media/", "/usr/share/sounds")


def tone(seconds: float = 1.0, rate: int = 44_100, hertz: float = 440.0) -> Samples:
    sound: Samples = np.rint(8000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)
    return sound


def written(kind: str, sound: Samples, rate: int = 44_100, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=kind, subtype=subtype)
    return file.getvalue()


# --- what is allowed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "http://ha.local:8123/api/tts_proxy/a.mp3",
        "http://HA.local:8123/api/tts_proxy/a.mp3?x=%2F&y",
        "https://ha.local:443/media/local/bell.flac",
        "https://ha.local/media/Türklingel.mp3",
    ],
)
def test_an_address_below_one_that_is_allowed_may_be_fetched(place: str) -> None:
    assert str(allowed_url(place, LAN)).startswith(("http://ha.local:8123/api/", "https://ha.local/media/"))


@pytest.mark.parametrize(
    "place",
    [
        "http://ha.local/api/tts_proxy/a.mp3",  # another port
        "https://ha.local:8123/api/tts_proxy/a.mp3",
        "http://ha.local:8123/api/tts_proxy_of_mine/a.mp3",
        "http://ha.local:8123/api/tts_proxy/../states",
        "http://ha.local:8123/api/tts_proxy/%2e%2e/states",
        "http://ha.local:8123/api/tts_proxy/%2E./states",
        "http://ha.local:8123/api/tts_proxy/..%2fstates",
        "http://ha.local:8123/api/tts_proxy/..%5cstates",
        "http://ha.local:8123@evil.example/api/tts_proxy/a.mp3",
        "http://evil.example/http://ha.local:8123/api/tts_proxy/a.mp3",
        "http://ha.local:8123\\@evil.example/api/tts_proxy/a.mp3",
        "http://ha.local.evil.example:8123/api/tts_proxy/a.mp3",
        "http://ha.local:8123:80/api/tts_proxy/a.mp3",
        "http://ha.local:99999/api/tts_proxy/a.mp3",
        "http://[::1/api",
        "http:///api/tts_proxy/a.mp3",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_no_other_address_is(place: str) -> None:
    with pytest.raises(CommandError):
        allowed_url(place, LAN)


def test_a_scheme_alone_allows_every_host() -> None:
    assert str(allowed_url("http://any.where:81/x.wav", ("http://",))) == "http://any.where:81/x.wav"
    with pytest.raises(CommandError, match=r"mqtt\.media"):
        allowed_url("https://any.where/x.wav", ("http://",))


@given(st.text(st.sampled_from("ha.:/@\\%2eEfF #?[]1"), max_size=30))
def test_whatever_is_allowed_leads_to_the_host_that_is_allowed(rest: str) -> None:
    """Read by another parser, the very text that is fetched still names the host and the folder."""
    try:
        url = str(allowed_url("http://ha.local:8123/api" + rest, ("http://ha.local:8123/api",)))
    except CommandError:
        return
    assert url.startswith("http://ha.local:8123/api")
    assert ".." not in url.split("?", maxsplit=1)[0].replace("%2e", ".").replace("%2E", ".").split("/")


@pytest.mark.parametrize("place", ["/etc/passwd", "/usr/share/sounds/../../../etc/passwd", "usr/share/sounds/x", "/"])
def test_a_file_elsewhere_may_not_be_read(place: str) -> None:
    with pytest.raises(CommandError) as refused:
        allowed_path(place, LAN)
    assert refused.value.code == "refused"


def test_nothing_is_allowed_unless_the_configuration_says_so() -> None:
    assert MqttConfig().media == ()
    for wrong in ("sounds", "ftp://ha.local/", "http://user@ha.local/", "/a/../b", ""):
        assert not is_place(wrong)
        with pytest.raises((ConfigError, ValueError), match="no whole path"):
            MqttConfig(media=(wrong,))
    assert MqttConfig(media=LAN).media == LAN


# --- files ------------------------------------------------------------------------------------------------------------


async def refusal(place: Path | str, *allowed: Path | str) -> CommandError:
    with pytest.raises(CommandError) as refused:
        await MediaFiles(tuple(map(str, allowed))).load(str(place))
    return refused.value


async def test_files_are_plain_ones_that_are_in_the_folder(tmp_path: Path) -> None:
    folder, other = tmp_path / "sounds", tmp_path / "private"
    folder.mkdir()
    other.mkdir()
    (folder / "bell.wav").write_bytes(written("WAV", tone()))
    (other / "diary.wav").write_bytes(written("WAV", tone()))
    sound = await MediaFiles((str(folder),)).load(str(folder / "bell.wav"))
    assert abs(len(sound) - SERVICE_RATE) <= 1

    (folder / "inside.wav").symlink_to(folder / "bell.wav")
    assert len(await MediaFiles((str(folder),)).load(str(folder / "inside.wav"))) == len(sound)
    (folder / "outside.wav").symlink_to(other / "diary.wav")
    assert (await refusal(folder / "outside.wav", folder)).code == "refused"
    (folder / "zero").symlink_to("/dev/zero")
    assert (await refusal(folder / "zero", folder)).code == "refused"
    os.mkfifo(folder / "pipe")
    assert "no plain file" in str(await refusal(folder / "pipe", folder))
    assert (await refusal("/dev/zero", "/dev")).code == "refused"
    assert (await refusal(folder, tmp_path)).code == "refused"
    assert (await refusal(folder / "nothing.wav", folder)).code == "not_found"
    assert (await refusal(folder / "bell.wav")).code == "refused"


async def test_a_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "bell.wav").write_bytes(written("WAV", tone()))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(await MediaFiles((str(tmp_path / "link"),)).load(str(tmp_path / "link" / "bell.wav")))


async def test_what_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "huge.wav").write_bytes(b"RIFF")
    os.truncate(tmp_path / "huge.wav", download.LARGEST + 1)
    assert (await refusal(tmp_path / "huge.wav", tmp_path)).code == "too_long"
    monkeypatch.setattr(decoder, "LONGEST_S", 2)
    (tmp_path / "long.flac").write_bytes(written("FLAC", tone(2.1)))
    assert (await refusal(tmp_path / "long.flac", tmp_path)).code == "too_long"


async def test_a_folder_that_hangs_takes_no_thread_that_others_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediafile, "PATIENCE_S", 0.02)
    mended = threading.Event()

    def read(_place: str, _allowed: tuple[str, ...]) -> bytes:
        mended.wait()
        return written("WAV", tone())

    media = MediaFiles((), read=read)
    try:
        for _ in range(40):  # more than threads that all share
            with pytest.raises(CommandError, match="could not be read within"):
                await media.load("/net/bell.wav")
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(threading.active_count)
    finally:
        mended.set()
    monkeypatch.undo()
    assert len(await media.load("/net/bell.wav"))


# --- decoding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "most_off"),
    [
        ("WAV", "PCM_16", 44_100, 2),
        ("WAV", "PCM_24", 48_000, 2),
        ("WAV", "FLOAT", 22_050, 2),
        ("WAV", "PCM_U8", 8_000, 130),
        ("FLAC", "PCM_16", 96_000, 2),
        ("OGG", "VORBIS", 44_100, 600),
        ("OGG", "OPUS", 48_000, 600),
        ("MP3", None, 44_100, 600),
        ("MP3", None, 24_000, 600),
    ],
)
def test_all_kinds_come_out_at_the_rate_of_the_speaker(
    kind: str, subtype: str | None, rate: int, most_off: int
) -> None:
    content = written(kind, tone(1.0, rate), rate, subtype)
    sound = decoded(content, "it").astype(int)
    wanted = tone(1.0, SERVICE_RATE).astype(int)
    assert abs(len(sound) - SERVICE_RATE) <= 0.06 * SERVICE_RATE  # coders add and cut some at the ends
    lag = max(range(-1500, 1500), key=lambda n: int(np.dot(sound[6000 + n : 12000 + n], wanted[6000:12000])))
    off = np.abs(sound[6000 + lag : 12000 + lag] - wanted[6000:12000]).max()
    assert off <= most_off + 400  # a lag is whole samples


def test_channels_are_averaged() -> None:
    left = tone()
    stereo = np.stack([left, np.zeros_like(left)], axis=1)
    assert abs(int(decoded(written("WAV", stereo), "it").max()) - 4000) < 40


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"RIFF",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"ID3" + bytes(200),
        b"\xff\xfb" + bytes(500),
        b"OggS" + bytes(100),
        b"fLaC" + b"\xff" * 100,
        b"#!/bin/sh\n",
    ],
)
def test_what_is_no_sound_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(CommandError) as refused:
        decoded(content, "it")
    assert refused.value.code == "not_audio"


@given(st.data())
def test_damaged_files_are_heard_in_part_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["WAV", "FLAC", "OGG", "MP3"]))
    content = bytearray(DAMAGED[kind])
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(8, len(content))) :]
    code = "heard"
    try:
        decoded(bytes(content), "it")
    except CommandError as exc:
        code = exc.code
    assert code in {"heard", "not_audio", "too_long"}


DAMAGED = {kind: written(kind, tone(0.2)) for kind in ("WAV", "FLAC", "OGG", "MP3")}


def test_the_libraries_are_loaded_when_first_they_are_needed() -> None:
    program = (
        "import sys; from voiced import house; "
        "print([name for name in ('soundfile', '_soundfile', 'aiohttp') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_what_fetches_is_loaded_beside_the_loop() -> None:
    program = """
import asyncio, sys, threading
from voiced.edge.download import download
from voiced.errors import CommandError

class Noted:
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp":
            print("beside" if threading.current_thread() is not threading.main_thread() else "on the loop")

sys.meta_path.insert(0, Noted())
try:
    asyncio.run(download("http://127.0.0.1:1/x.wav", ("http://127.0.0.1:1/",)))
except CommandError as exc:
    print(exc.code)
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["beside", "unavailable"]


def test_the_check_looks_into_the_folders(tmp_path: Path) -> None:
    def found(*places: str) -> tuple[str, str]:
        config = Config(mqtt=MqttConfig(media=places))
        (finding,) = media.check(Visit(config=config, environ={}, where=None))
        return finding.status, finding.found

    assert found()[0] == "skip"
    assert found(str(tmp_path), "http://ha.local/") == ("pass", "all is well")
    assert found(str(tmp_path / "nowhere")) == ("warn", "there is no such folder")


# --- fetching ---------------------------------------------------------------------------------------------------------


async def test_a_sound_is_fetched_and_errors_have_names() -> None:
    good = gives(written("MP3", tone()))
    async with server(
        good=good,
        page=gives(b"<html>", "text/html"),
        lie=gives(b"<html>", "audio/mpeg"),
        closed=gives(b"", status=403),
        broken=gives(b"", status=500),
        once=leads_to("/good"),
        round=leads_to("/round"),
        away=leads_to("http://127.0.0.2:1/x.mp3"),
        down=leads_to("file:///etc/passwd"),
    ) as url:
        assert len(await MediaFiles((url,)).load(f"{url}/good")) > SERVICE_RATE * 0.9
        assert len(await MediaFiles((url,)).load(f"{url}/once")) > SERVICE_RATE * 0.9
        names = {"missing": "not_found", "page": "not_audio", "lie": "not_audio", "closed": "refused"}
        names |= {"broken": "unavailable", "round": "refused", "away": "refused", "down": "invalid"}
        for name, code in names.items():
            assert (await refusal(f"{url}/{name}", url)).code == code, name
        assert (await refusal(f"{url}/good", f"{url}/other")).code == "refused"


async def test_nothing_is_asked_of_a_place_that_is_not_allowed() -> None:
    asked: list[str] = []
    async with server(secret=leads_to("/", asked)) as inside, server(start=leads_to(f"{inside}/secret")) as outside:
        assert (await refusal(f"{outside}/start", outside)).code == "refused"
        assert asked == []


async def test_a_body_without_end_and_one_that_never_comes_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))
            sent += 65_536

    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(download, "LARGEST", 2**20)
    async with server(endless=endless, never=never) as url:
        assert (await refusal(f"{url}/endless", url)).code == "too_long"
        assert sent < 64 * 2**20
        with pytest.raises(CommandError, match="was not here within") as late:
            await download.download(f"{url}/never", (url,), patience_s=0.2)
        assert late.value.code == "unavailable"


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with server(tls=context, good=gives(written("WAV", tone()))) as url:
        refused = await refusal(f"{url}/good", url)
        assert (refused.code, "certificate" in str(refused).lower()) == ("unavailable", True)


# --- heard ------------------------------------------------------------------------------------------------------------


def send(home: Home, name: str, **fields: object) -> None:
    home.daemon.post(Message(f"voiced/test/command/{name}", json.dumps(fields).encode(), "answers/here", b"42"))


def answers(home: Home) -> list[dict[str, object]]:
    return [json.loads(payload) for _, payload, _ in home.diary.answers]


class SlowMedia:
    """Loads what it is told, when it is told."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked: list[str] = []

    async def load(self, place: str) -> Samples:
        self.asked.append(place)
        await self.let.wait()
        if "missing" in place:
            raise CommandError(f"there is no file {place}", code="not_found")
        return tone(0.5, SERVICE_RATE)


async def test_a_file_is_heard_without_the_service(tmp_path: Path) -> None:
    (tmp_path / "bell.mp3").write_bytes(written("MP3", tone()))
    config = config_for_tests(mqtt=MqttConfig(host="127.0.0.1", media=(str(tmp_path),)))
    async with at_home(config=config) as home:
        answer = await home.command("command/announce", json.dumps({"media": f"{tmp_path}/bell.mp3", "volume": 30}))
        assert (answer["ok"], answer["result"]) == (True, {"outcome": "finished"})
        assert home.speaker.chimes == 1
        (_, _, pcm), *more = home.speaker.played
        assert not more
        assert home.speaker.percents == [30]
        assert not np.frombuffer(pcm, np.int16)[: len(chime("wake"))].any()  # the chime is heard alone
        assert home.states() == ["idle", "responding", "idle"]
        assert not home.simulator.sessions
        assert not told(home.diary, "event/turn", "started")
        refused = await home.command("command/announce", json.dumps({"media": "/etc/passwd"}))
        assert (refused["ok"], refused["error"]["code"]) == (False, "refused")


async def test_it_keeps_its_place_in_the_queue_and_only_the_next_is_loaded() -> None:
    media = SlowMedia()
    async with at_home(media=media) as home:
        send(home, "announce", media="/first.wav")
        send(home, "announce", text="Second.")
        send(home, "announce", media="/missing.wav", id="3")
        await home.command("command/ping")
        assert (media.asked, len(answers(home))) == (["/first.wav"], 1)
        media.let.set()
        await home.diary.until(lambda diary: len(diary.answers) == 4)
        assert [answer["action"] for answer in answers(home)] == ["ping", "announce", "announce", "announce"]
        _, first, third, second = answers(home)  # the last is known to be missing while the one before it is heard
        assert first["result"] == {"outcome": "finished"}
        assert isinstance(second["result"], dict)
        assert second["result"]["text"] == "Second."
        assert third["error"] == {"code": "not_found", "message": "there is no file /missing.wav"}


async def test_what_cannot_be_loaded_is_told_at_once_whatever_is_going_on() -> None:
    media = SlowMedia()
    media.let.set()
    async with at_home(speaker=InstantSpeaker(holds=True), media=media) as home:
        send(home, "say", text="A long story.")
        await home.until_sounding()
        refused = await home.command("command/announce", json.dumps({"media": "/missing.wav"}))
        assert (refused["error"]["code"], home.states()[-1]) == ("not_found", "responding")


async def test_stop_and_a_wake_word_cut_it() -> None:
    media = SlowMedia()
    media.let.set()
    async with at_home(speaker=InstantSpeaker(holds=True), media=media) as home:
        send(home, "announce", media="/long.wav")
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        send(home, "stop")
        await home.diary.until(lambda diary: len(diary.answers) == 2)
        assert [answer["result"] for answer in answers(home)] == [{"outcome": "interrupted"}, None]
        assert (home.speaker.cuts, home.states()[-1]) == (1, "idle")
        send(home, "announce", media="/long.wav")
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        home.speak()
        await home.until_told("started", "event/session")
        assert answers(home)[2]["result"] == {"outcome": "interrupted"}
        assert home.speaker.cuts == 2


async def test_one_that_interrupts_ends_the_conversation_once_it_is_loaded() -> None:
    media = SlowMedia()
    async with at_home(speaker=InstantSpeaker(holds=True), media=media) as home:
        send(home, "ask", text="What time is it?")
        await home.until_sounding()
        send(home, "announce", media="/alarm.wav", interrupt=True)
        await home.command("command/ping")
        assert not told(home.diary, "event/turn", "interrupted")
        media.let.set()
        await home.until_told("interrupted")
        await home.until_sounding()
        home.speaker.let_go()
        await home.until_idle()
        assert answers(home)[-1]["result"] == {"outcome": "finished"}


async def test_those_that_wait_or_are_being_loaded_can_be_cancelled() -> None:
    media = SlowMedia()
    async with at_home(media=media) as home:
        for number in range(MOST):
            send(home, "announce", media=f"/{number}.wav")
        refused = await home.command("command/announce", "One too many.")
        assert refused["error"]["code"] == "busy"
        send(home, "cancel_announcements")
        await home.diary.until(lambda diary: len(diary.answers) == MOST + 2)
        assert answers(home)[-1]["result"] == {"cancelled": MOST}
        media.let.set()
        assert (await home.command("command/announce", "And now?"))["ok"]
        assert media.asked == ["/0.wav"]


async def test_with_no_speaker_nobody_would_hear_it() -> None:
    media, speaker = SlowMedia(), InstantSpeaker()
    speaker.problem = "the speaker is gone"
    media.let.set()
    async with at_home(speaker=speaker, media=media) as home:
        answer = await home.command("command/announce", json.dumps({"media": "/bell.wav"}))
        assert (answer["error"]["code"], home.speaker.played) == ("unavailable", [])


async def test_loading_never_holds_up_the_loop(tmp_path: Path) -> None:
    """While minutes are decoded, the loop goes on to turn."""
    (tmp_path / "long.mp3").write_bytes(written("MP3", tone(120.0)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    counting = asyncio.create_task(count())
    await MediaFiles((str(tmp_path),)).load(f"{tmp_path}/long.mp3")
    counting.cancel()
    assert turns > 10  # one or two if it were decoded here, or held the interpreter meanwhile
