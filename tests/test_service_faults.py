"""The line to the service when it is refused, cannot be reached, or is cut: one sentence each."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.callers import (
    BRIEF,
    CREATED,
    SETTINGS,
    UPDATED,
    refused,
    scenario,
    server,
    service,
    silent,
    until_done,
    willing,
)
from voiced.config import RealtimeConfig
from voiced.core.realtime import events as ev
from voiced.core.realtime.endpoint import endpoint
from voiced.edge.link import unreachable
from voiced.errors import RefusedError, ServiceError
from voiced.simulator import Connection, Refusal, Rules, Simulator
from voiced.simulator.scenario import Abort, Close, Expire

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


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ([], None),
        ([("Retry-After", "7")], 7.0),
        ([("retry-after", "1.5")], 1.5),
        ([("Retry-After", "2"), ("retry-after-ms", "1250")], 1.25),
        ([("Retry-After", "Thu, 26 Nov 2026 06:00:30 GMT"), ("Date", "Thu, 26 Nov 2026 06:00:00 GMT")], 30.0),
        ([("Retry-After", "Thu, 26 Nov 2026 06:00:00 GMT"), ("Date", "Thu, 26 Nov 2026 06:00:30 GMT")], 0.0),
        ([("Retry-After", "Thu, 26 Nov 2026 06:00:30 GMT")], None),
        ([("Retry-After", "7"), ("Retry-After", "9")], None),
        ([("Retry-After", "soon")], None),
        ([("Retry-After", "-3")], None),
        ([("Retry-After", "9" * 400)], None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_service_may_say_so_in_any_way(
    status: int, headers: list[tuple[str, str]], after_s: float | None
) -> None:
    def admit(line: ServerConnection, _request: Request) -> Response:
        answer = line.respond(HTTPStatus(status), "")
        del answer.headers["Date"]
        for name, value in headers:
            answer.headers[name] = value
        return answer

    async with server(silent, admit) as there:
        error = await refused(service(there))
    assert not isinstance(error, RefusedError)
    assert error.retry_after_s == (1.0 if after_s is None and status == 429 else after_s)


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
    assert "DNS" in str(unreachable(where, socket.gaierror(-2, "Name or service not known"), 1))
    assert "No route" in str(unreachable(where, OSError(113, "No route to host"), 1))
    of_asyncio = OSError(errno.ENETUNREACH, "Connect call failed ('2001:db8::1', 443, 0, 0)")
    assert "(Network is unreachable)" in str(unreachable(where, of_asyncio, 1))


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
