"""The line to the service, against the simulator over real sockets and TLS: opening, talking, settings, signing in."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from tests.callers import (
    CREATED,
    SETTINGS,
    UPDATED,
    Issuer,
    refused,
    scenario,
    server,
    service,
    until_done,
)
from voiced.config import RealtimeConfig
from voiced.core.realtime import events as ev
from voiced.core.realtime.endpoint import endpoint
from voiced.core.realtime.settings import SessionSettings
from voiced.edge.credentials import Credentials
from voiced.edge.link import Patience
from voiced.edge.service import RealtimeService
from voiced.errors import RefusedError, ServiceError
from voiced.simulator import Rules, Simulator

# --- opening and talking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "path", "query", "header"),
    [
        ("azure", "/openai/v1/realtime", {"model": "talk"}, ("api-key", "azure-secret")),
        (
            "azure-preview",
            "/openai/realtime",
            {"api-version": "2024-10-01-preview", "deployment": "talk"},
            ("api-key", "azure-secret"),
        ),
        (
            "voice-live",
            "/voice-live/realtime",
            {"api-version": "2026-07-15", "model": "talk"},
            ("api-key", "azure-secret"),
        ),
        ("openai", "/v1/realtime", {"model": "talk"}, ("authorization", "Bearer openai-secret")),
    ],
)
async def test_opens_sets_up_talks_and_closes(
    provider: str, path: str, query: dict[str, str], header: tuple[str, str]
) -> None:
    rules = Rules(keys={"azure-secret", "openai-secret"}, models={"talk"})
    async with Simulator(scenario(pace=0), rules=rules) as simulator:
        async with service(simulator.url, provider).open(SETTINGS) as session:
            heard = simulator.sessions[0]
            assert session.session_id.startswith("sess_")
            assert session.model
            assert session.expires_at
            assert [event["type"] for event in heard.client_events] == ["session.update"]
            assert heard.sent("session.updated")
            await session.send(ev.CreateMessage("user", "What time is it?"))
            await session.send(ev.CreateResponse())
            events = await until_done(session.events())
        assert await heard.wait_closed() == (1000, "")
    assert (heard.path, heard.query) == (path, query)
    assert heard.headers[header[0]] == header[1]
    assert heard.headers["user-agent"].startswith("voiced/")
    assert not {"openai-beta", "origin", "sec-websocket-extensions"} & heard.headers.keys()
    pcm = b"".join(event.pcm for event in events if isinstance(event, ev.AudioDelta))
    assert pcm == heard.sent_pcm.tobytes() != b""
    assert "".join(event.text for event in events if isinstance(event, ev.TextDelta)) == "It is noon."
    done = events[-1]
    assert isinstance(done, ev.ResponseDone)
    assert done.status == "completed"
    assert done.usage.output_audio > 0


@pytest.mark.parametrize("provider", ["azure", "azure-preview", "voice-live"])
async def test_a_literal_text_is_spoken_word_for_word_and_not_remembered(provider: str) -> None:
    async with Simulator(scenario(pace=0)) as simulator, service(simulator.url, provider).open(SETTINGS) as session:
        await session.send(ev.CreateResponse(literal='Your timer "tea" is over.'))
        events = await until_done(session.events())
        sent = {event["type"] for event in simulator.sessions[0].server_events}
    assert not {"error", "conversation.item.added", "conversation.item.created"} & sent
    assert "".join(e.text for e in events if isinstance(e, ev.TextDelta)) == 'Your timer "tea" is over.'


async def test_a_text_session_answers_in_text() -> None:
    settings = SessionSettings(modalities=("text",), instructions="Be short.")
    async with Simulator(scenario(pace=0)) as simulator, service(simulator.url).open(settings) as session:
        await session.send(ev.CreateMessage("user", "What time is it?"))
        await session.send(ev.CreateResponse())
        events = await until_done(session.events())
    assert not any(isinstance(event, ev.AudioDelta) for event in events)
    pieces = [event for event in events if isinstance(event, ev.TextDelta)]
    assert "".join(event.text for event in pieces) == "It is noon."
    assert not any(event.spoken for event in pieces)


async def test_nothing_is_connected_before_a_session_opens() -> None:
    async with Simulator(scenario()) as simulator:
        line = service(simulator.url)
        await line.warm()
        assert simulator.connections == 0
        service("https://no such host")
        async with line.open(SETTINGS):
            assert simulator.connections == 1


async def test_leaving_does_not_wait_for_what_nobody_read() -> None:
    async def flood(line: ServerConnection) -> None:
        await line.send(CREATED)
        await line.recv()
        await line.send(UPDATED)
        for _ in range(2000):
            await line.send('{"type":"noise"}')

    patient = Patience(close_s=50)  # the test would time out if the close were not answered
    async with server(flood) as there, service(there, "custom", patient).open(SETTINGS) as session:
        assert isinstance(await anext(session.events()), ev.Other)


async def test_leaving_in_a_hurry_leaves_no_socket_behind() -> None:
    async def deaf(line: ServerConnection) -> None:
        await line.send(CREATED)
        await line.recv()
        await line.send(UPDATED)
        line.transport.pause_reading()
        closed.append(line)
        await gone.wait()

    closed: list[ServerConnection] = []
    gone = asyncio.Event()
    async with server(deaf) as there:
        opening = service(there, "custom").open(SETTINGS)
        session = await opening.__aenter__()
        leaving = asyncio.create_task(opening.__aexit__(None, None, None))
        while session._link._connection.state is not State.CLOSING:
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert session._link._connection.transport.is_closing()
        closed[0].transport.abort()
        gone.set()


async def test_a_session_that_is_over_takes_nothing_and_ends_its_events() -> None:
    async with Simulator(scenario()) as simulator:
        async with service(simulator.url).open(SETTINGS) as session:
            reading = asyncio.create_task(until_done(session.events()))
            await session.send(ev.AppendAudio(bytes(960)))
            await simulator.sessions[0].wait_for_client("input_audio_buffer.append")
        await reading
        with pytest.raises(ServiceError) as caught:
            await session.send(ev.CommitAudio())
    assert caught.value.code == "closed"


# --- TLS --------------------------------------------------------------------------------------------------------------


@dataclass
class Trust:
    server: ssl.SSLContext
    ca_file: str


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Trust(context, str(tmp_path / "ca.pem"))


async def test_talks_over_tls_with_the_certificates_it_was_told_to_trust(trust: Trust) -> None:
    async with Simulator(scenario(), ssl=trust.server) as simulator:
        line = service(simulator.url, ca_file=trust.ca_file)
        for _ in range(2):
            async with line.open(SETTINGS) as session:
                assert session.session_id


async def test_certificates_that_are_not_trusted_end_it(trust: Trust) -> None:
    async with Simulator(scenario(), ssl=trust.server) as simulator:
        error = await refused(service(simulator.url))
        assert simulator.sessions == []
    assert "certificate of 127.0.0.1" in str(error)
    assert "realtime.ca_file" in str(error)


async def test_a_server_without_tls_where_tls_is_wanted() -> None:
    async with Simulator(scenario()) as simulator:
        error = await refused(service(simulator.url.replace("ws:", "wss:")))
    assert "check scheme and port" in str(error)


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_a_missing_or_broken_ca_file_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    error = await refused(service("wss://127.0.0.1:1", ca_file=str(path)))
    assert isinstance(error, RefusedError)
    assert f"realtime.ca_file: {path}" in str(error)


# --- signing in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accepted", "attempts"), [("token-1", 1), ("token-2", 2), ("none", 2)])
async def test_a_refused_token_is_renewed_and_tried_once_more(accepted: str, attempts: int) -> None:
    async with Simulator(scenario(), rules=Rules(keys={accepted})) as simulator:
        realtime = RealtimeConfig(provider="azure", endpoint=simulator.url, deployment="talk", auth="entra")
        issuer = Issuer()
        async with Credentials(realtime, environment={}, new_identity=issuer.identity) as credentials:
            line = RealtimeService(endpoint(realtime), credentials)
            await line.warm()
            assert simulator.connections == 0
            if accepted == "none":
                error = await refused(line)
                assert "does not let this identity in" in str(error)
            else:
                async with line.open(SETTINGS):
                    assert simulator.sessions[0].headers["authorization"] == f"Bearer {accepted}"
        assert (len(simulator.attempts), issuer.identities) == (attempts, attempts)


async def test_nothing_secret_or_said_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Simulator(scenario(pace=0), rules=Rules(keys={"azure-secret"})) as simulator:
        async with service(simulator.url).open(SETTINGS) as session:
            await session.send(ev.CreateMessage("user", "What time is it?"))
            await session.send(ev.CreateResponse())
            await until_done(session.events())
        assert simulator.sessions[0].headers["api-key"] == "azure-secret"
    ours = [record for record in caplog.records if not record.name.startswith("voiced.simulator")]
    assert ours
    said = "\n".join(record.getMessage() for record in ours)
    assert not any(word in said for word in ("azure-secret", "What time", "noon", "Be short"))
