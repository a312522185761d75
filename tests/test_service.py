"""The line to the service against the simulator and against servers that misbehave, over real sockets and real TLS."""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from voiced.config import RealtimeConfig
from voiced.core.realtime import events as ev
from voiced.core.realtime.endpoint import endpoint
from voiced.edge.credentials import Credentials
from voiced.edge.service import Patience, RealtimeService, _unreachable
from voiced.errors import RefusedError, ServiceError
from voiced.simulator import Connection, Refusal, Rules, Scenario, Simulator, Turn
from voiced.simulator.scenario import Abort, Close, Expire

KEYS = {"AZURE_OPENAI_API_KEY": "azure-secret", "OPENAI_API_KEY": "openai-secret"}
TURN = Turn(user="What time is it?", assistant="It is noon.")
SETTINGS = ev.SessionSettings(instructions="Be short.", voice="alloy", speed=1.1, noise_reduction="far_field")
BRIEF = Patience(connect_s=0.3, created_s=0.3, updated_s=0.3, close_s=0.3)


def scenario(*connections: Connection, **keys: Any) -> Scenario:
    return Scenario(turns=(TURN,), connections=connections, **keys)


def service(there: str, provider: str = "azure", patience: Patience | None = None, **keys: Any) -> RealtimeService:
    """A service as the daemon makes one; ``there`` is scheme, host and port."""
    place = {"url": f"{there}/rt"} if provider == "custom" else {"endpoint": there}
    realtime = RealtimeConfig.model_validate({"provider": provider, "deployment": "talk", **place, **keys})
    credentials = Credentials(realtime, environment=KEYS)
    return RealtimeService(endpoint(realtime), credentials, ca_file=realtime.ca_file, patience=patience)


async def refused(line: RealtimeService, settings: ev.SessionSettings = SETTINGS) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        async with line.open(settings):
            raise AssertionError("the session opened")
    return caught.value


@asynccontextmanager
async def server(
    converse: Callable[[ServerConnection], Awaitable[None]],
    admit: Callable[[ServerConnection, Request], Response | None] | None = None,
) -> AsyncIterator[str]:
    """A WebSocket server that follows no protocol but the test's."""
    async with serve(converse, "127.0.0.1", 0, process_request=admit) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"


CREATED = '{"type":"session.created","session":{"id":"s1"}}'
UPDATED = '{"type":"session.updated","session":{"id":"s1"}}'


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


async def until_done(events: AsyncIterator[ev.ServerEvent]) -> list[ev.ServerEvent]:
    collected = []
    async for event in events:
        collected.append(event)
        if isinstance(event, ev.ResponseDone):
            break
    return collected


@pytest.mark.parametrize("provider", ["azure", "azure-preview"])
async def test_a_literal_text_is_spoken_word_for_word_and_not_remembered(provider: str) -> None:
    async with Simulator(scenario(pace=0)) as simulator, service(simulator.url, provider).open(SETTINGS) as session:
        await session.send(ev.CreateResponse(literal='Your timer "tea" is over.'))
        events = await until_done(session.events())
        sent = {event["type"] for event in simulator.sessions[0].server_events}
    assert not {"error", "conversation.item.added", "conversation.item.created"} & sent
    assert "".join(e.text for e in events if isinstance(e, ev.TextDelta)) == 'Your timer "tea" is over.'


async def test_a_text_session_answers_in_text() -> None:
    settings = ev.SessionSettings(modalities=("text",), instructions="Be short.")
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


# --- being refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "rules", "parts"),
    [
        ("azure", Rules(keys={"other"}), ["refused the key", "HTTP 401"]),
        ("azure", Rules(models={"other"}), ['no deployment "talk"', "HTTP 404 DeploymentNotFound"]),
        ("openai", Rules(keys={"other"}), ["refused the key", "close 3000"]),
        ("openai", Rules(models={"other"}), ['no model "talk"', "close 4000"]),
        ("custom", Rules(keys={"other"}), ["wants a key", "close 3000"]),
        ("voice-live", Rules(keys={"other"}), ["refused the key", "HTTP 401"]),
    ],
)
async def test_both_ways_of_refusing_become_one_sentence(provider: str, rules: Rules, parts: list[str]) -> None:
    async with Simulator(scenario(), rules=rules) as simulator:
        error = await refused(service(simulator.url, provider))
        assert len(simulator.attempts) == 1
    assert isinstance(error, RefusedError)
    assert all(part in str(error) for part in parts), str(error)


async def test_a_busy_service_says_when_to_come_back() -> None:
    busy = Connection(refuse=Refusal(status=429, code="429", message="Slow down.", retry_after_s=7))
    async with Simulator(scenario(busy)) as simulator:
        line = service(simulator.url)
        error = await refused(line)
        assert not isinstance(error, RefusedError)
        assert "try again in 7 s" in str(error)
        async with line.open(SETTINGS):
            pass


@pytest.mark.parametrize("location", ["ws://127.0.0.2:1/rt", "https://elsewhere.example/", "ws://["])
async def test_the_key_is_not_carried_elsewhere(location: str) -> None:
    def admit(line: ServerConnection, _request: Request) -> Response:
        answer = line.respond(HTTPStatus.TEMPORARY_REDIRECT, "")
        answer.headers["Location"] = location
        return answer

    async with server(silent, admit) as there:
        error = await refused(service(there))
    assert "sends us elsewhere" in str(error)


async def test_a_redirect_to_the_same_server_is_followed() -> None:
    def admit(line: ServerConnection, request: Request) -> Response | None:
        if request.path == "/new":
            return None
        answer = line.respond(HTTPStatus.TEMPORARY_REDIRECT, "")
        answer.headers["Location"] = "/new"
        return answer

    async with server(willing, admit) as there, service(there).open(SETTINGS) as session:
        assert session.session_id == "s1"


async def silent(line: ServerConnection) -> None:
    await line.wait_closed()


async def willing(line: ServerConnection) -> None:
    await line.send(CREATED)
    async for _ in line:
        await line.send(UPDATED)


# --- not being reached ------------------------------------------------------------------------------------------------


async def test_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = await refused(service(f"ws://127.0.0.1:{bound.getsockname()[1]}"))
    assert "Nothing listens at 127.0.0.1" in str(error)
    assert error.code == "unreachable"


async def test_names_that_cannot_be_found() -> None:
    error = await refused(service(f"wss://{'a' * 64}.invalid"))
    assert "cannot be found" in str(error)
    where = endpoint(RealtimeConfig(provider="openai"))
    assert "DNS" in str(_unreachable(where, socket.gaierror(-2, "Name or service not known"), 1))
    assert "No route" in str(_unreachable(where, OSError(113, "No route to host"), 1))


@pytest.mark.parametrize(
    ("scheme", "said"), [("ws", "does not speak WebSocket"), ("wss", "does not speak TLS there (WRONG_VERSION_NUMBER)")]
)
async def test_something_else_listens(scheme: str, said: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with other:
        error = await refused(service(f"{scheme}://127.0.0.1:{other.sockets[0].getsockname()[1]}"))
    assert said in str(error)


async def greeting(line: ServerConnection) -> None:
    await line.send(CREATED)
    await line.wait_closed()


@pytest.mark.parametrize(
    ("converse", "said"),
    [
        (silent, "did not open a session within 0.3 s; it said nothing at all"),
        (greeting, "did not confirm the settings within 0.3 s"),
    ],
)
async def test_waits_only_so_long_for_an_event(
    converse: Callable[[ServerConnection], Awaitable[None]], said: str
) -> None:
    async with server(converse) as there:
        error = await refused(service(there, patience=BRIEF))
    assert said in str(error)
    assert error.code == "timeout"


async def test_waits_only_so_long_for_a_connection() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        error = await refused(service(f"ws://127.0.0.1:{deaf.getsockname()[1]}", patience=BRIEF))
    assert "did not answer within 0.3 s" in str(error)
    assert error.code == "timeout"


async def test_a_reset_instead_of_an_answer() -> None:
    async with Simulator(scenario(Connection(abort=True))) as simulator:
        error = await refused(service(simulator.url))
    assert not isinstance(error, RefusedError)
    assert error.code in ("unreachable", "closed")


# --- being ended ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        (Close(kind="close", code=1001, reason="bye"), "closed", 'ended the session (close 1001 "bye")'),
        (Close(kind="close", code=1000, reason=""), "closed", "ended the session (close 1000)"),
        (Close(kind="close", code=1011), "closed", "close 1011"),
        (Abort(kind="abort"), "closed", "broke"),
        (Expire(kind="expire"), "expired", "maximum duration"),
    ],
)
async def test_an_end_by_the_service_is_an_error_however_clean(how: Any, code: str, said: str) -> None:
    ends = how.model_copy(update={"after_ms": 100})
    plan = scenario(Connection(ends=ends))
    async with Simulator(plan) as simulator, service(simulator.url).open(SETTINGS) as session:
        with pytest.raises(ServiceError) as caught:
            await until_done(session.events())
        with pytest.raises(ServiceError):
            await session.send(ev.ClearAudio())
    assert caught.value.code == code
    assert said in str(caught.value)


async def test_an_error_long_ago_does_not_explain_a_close() -> None:
    async def converse(line: ServerConnection) -> None:
        await line.send(CREATED)
        await line.recv()
        await line.send(UPDATED)
        await line.send('{"type":"error","error":{"type":"e","code":"session_expired","message":"Old."}}')
        await line.send('{"type":"response.created","response":{"id":"r"}}')
        await line.close(1011, "oops")

    async with server(converse) as there, service(there, "custom").open(SETTINGS) as session:
        with pytest.raises(ServiceError, match=r'ended the session \(close 1011 "oops"\)') as caught:
            await until_done(session.events())
    assert caught.value.code == "closed"


async def test_a_message_too_large_to_take() -> None:
    async def converse(line: ServerConnection) -> None:
        await line.send(CREATED)
        await line.recv()
        await line.send(UPDATED)
        await line.send(" " * (17 * 2**20))

    async with server(converse) as there, service(there, "custom").open(SETTINGS) as session:
        with pytest.raises(ServiceError, match="close 1009"):
            await until_done(session.events())


async def test_a_message_that_cannot_be_read_becomes_a_problem_and_the_session_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def converse(line: ServerConnection) -> None:
        await line.send(CREATED)
        await line.recv()
        await line.send("no JSON")
        await line.send(UPDATED)
        await line.send('{"type":"response.created","response":7}')
        await line.send(b"\xff\xfe")
        await line.send('{"type":"response.created","response":{"id":"r"}}')
        await line.wait_closed()

    async with server(converse) as there, service(there, "custom").open(SETTINGS) as session:
        events = session.events()
        first, second, third = await anext(events), await anext(events), await anext(events)
    assert first == ev.ServiceProblem(
        "protocol", None, "response.created: response must be an object, not 7", None, None
    )
    assert isinstance(second, ev.ServiceProblem)
    assert third == ev.ResponseStarted("r")
    assert "response.created: response must be an object, not 7" in caplog.text


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("null_ids", [False, True])
@pytest.mark.parametrize(
    ("provider", "names", "missing"),
    [
        ("azure", ("session.audio.input.noise_reduction",), ["noise_reduction"]),
        ("azure-preview", ("session.input_audio_noise_reduction", "session.speed"), ["noise_reduction", "speed"]),
    ],
)
async def test_a_setting_refused_by_name_is_left_out(
    provider: str, names: tuple[str, ...], missing: list[str], null_ids: bool, caplog: pytest.LogCaptureFixture
) -> None:
    plan = scenario(Connection(refuse_settings=names), null_event_ids=null_ids)
    async with Simulator(plan) as simulator, service(simulator.url, provider).open(SETTINGS):
        updates = simulator.sessions[0].received("session.update")
    assert len(updates) == 1 + len(names)
    last = json.dumps(updates[-1])
    assert not any(word in last for word in missing)
    assert "server_vad" in last
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == len(names)
    assert all(name in warning for name, warning in zip(names, warnings, strict=True))


async def picky(line: ServerConnection, *, takes: Callable[[dict[str, Any]], bool], error: dict[str, Any]) -> None:
    await line.send(CREATED)
    async for message in line:
        taken = takes(json.loads(message)["session"])
        await line.send(UPDATED if taken else json.dumps({"type": "error", "error": error}))


async def test_settings_refused_without_a_name_shrink_to_the_minimum(caplog: pytest.LogCaptureFixture) -> None:
    async def converse(line: ServerConnection) -> None:
        error = {"type": "invalid_request_error", "message": "Something is wrong.", "event_id": None}
        await picky(line, takes=lambda session: "audio" not in session, error=error)

    async with server(converse) as there, service(there, "custom").open(SETTINGS) as session:
        assert session.session_id == "s1"
    assert "instructions and output alone" in caplog.text


async def test_a_voice_that_cannot_be_set_is_left_out_even_without_its_name() -> None:
    def takes(session: dict[str, Any]) -> bool:
        return "voice" not in session["audio"]["output"]

    async def converse(line: ServerConnection) -> None:
        error = {"type": "invalid_request_error", "code": "cannot_update_voice", "message": "Too late."}
        await picky(line, takes=takes, error=error)

    async with server(converse) as there, service(there, "custom").open(SETTINGS):
        pass


@pytest.mark.parametrize("param", [None, "session.type", "session.audio.input.turn_detection.type"])
async def test_a_service_that_takes_no_settings_at_all_is_refused(param: str | None) -> None:
    async def converse(line: ServerConnection) -> None:
        error = {"type": "invalid_request_error", "code": "unknown_parameter", "message": "No.", "param": param}
        await picky(line, takes=lambda _: False, error=error)

    async with server(converse) as there:
        error = await refused(service(there, "custom"))
    assert isinstance(error, RefusedError)
    assert 'speaks the "ga" dialect' in str(error)


async def test_another_protocol_is_recognised_at_the_greeting() -> None:
    async def converse(line: ServerConnection) -> None:
        await line.send('{"hello": "world"}')
        await line.wait_closed()

    async with server(converse) as there:
        error = await refused(service(there, "custom"))
    assert 'speaks the "ga" dialect' in str(error)


# --- signing in -------------------------------------------------------------------------------------------------------


@dataclass
class Issued:
    token: str
    expires_on: int = 2**40


class Issuer:
    """A sign-in service whose every identity has another token."""

    def __init__(self) -> None:
        self.identities = 0

    def identity(self) -> "IssuedIdentity":
        self.identities += 1
        return IssuedIdentity(f"token-{self.identities}")


@dataclass
class IssuedIdentity:
    token: str

    async def get_token(self, *_scopes: str) -> Issued:
        return Issued(self.token)

    async def close(self) -> None:
        """Nothing is open."""


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
