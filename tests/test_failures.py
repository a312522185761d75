"""Every way in which the service fails, on the real daemon, in both dialects.

Each row fails one conversation, or seems to. Either it is answered all the same, or the person hears the error tone and
``health`` says why, with a remedy; then the daemon is idle, and the next wake is answered.
"""

import json
import re
import socket
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from tests.callers import KEYS, Issuer
from tests.lab.proxy import Proxy
from tests.stories import Home, at_home, config_for_tests, told
from tests.waiting import eventually
from voiced.config import Config, ConversationConfig, RealtimeConfig
from voiced.core.realtime.mending import Limits
from voiced.edge.dialing import Address, Names, ask_dns
from voiced.edge.link import Patience
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Scenario

Json = dict[str, Any]
QUESTION: Json = {"user": "What time is it?", "assistant": "Nine.", "sound": "time.wav", "transcription_delay_ms": 20}
PATIENCE = Patience(connect_s=1.0, created_s=1.0, updated_s=1.0)
HASTE = Patience(connect_s=1.5, quiet_s=0.3, silent_s=0.5)
LIMITS = Limits(begun_s=1.0, answer_s=1.5, cancelled_s=1.0)


@dataclass(frozen=True)
class Row:
    """One way to fail.

    ``ends``: whether the person is answered, hears the error tone, or neither (nobody waited for anything). ``says``:
    in ``health`` or as an event; empty: nothing there is worth a word. ``attempts``: connections made for the first
    conversation; further ones go well. ``times``: how often it fails so.
    """

    name: str
    ends: Literal["answered", "tone", "quietly"]
    says: str = ""
    attempts: int = 1
    connection: Json | None = None
    fault: Json | None = None
    turn: Json = field(default_factory=dict)
    times: int = 1
    profile: Json = field(default_factory=dict)
    more: Json = field(default_factory=dict)
    follow_up_s: float = 0.0
    stops: bool = False
    """Whether somebody says stop as soon as the answer has begun."""
    entra: bool = False
    """Whether the daemon signs in with a token."""
    nameless: int = 0
    """How many lookups of the service's name fail."""
    second: bool = False
    """Whether a turn of the same conversation goes well before."""
    silent_in: Literal["", "speech", "thought", "answer"] = ""
    """In what the network begins to swallow everything, with no FIN and no RST."""


def http(status: int, code: str, **more: Any) -> Json:
    return {"refuse": {"status": status, "code": code, **more}}


def close(close_code: int, code: str) -> Json:
    return {"refuse": {"close_code": close_code, "code": code}}


def ended(code: int, reason: str = "") -> Json:
    return {"kind": "close", "code": code, "reason": reason, "after_ms": 200}


def error(code: str | None, kind: str = "invalid_request_error", message: str = "Odd.") -> Json:
    return {"kind": "error", "type": kind, "code": code, "message": message}


def failed(code: str, message: str = "No.") -> Json:
    return {"kind": "failed", "type": code, "code": code, "message": message}


ROWS = [
    # refused
    Row("401", "tone", "refused the key .*HTTP 401.*check AZURE_OPENAI_API_KEY", connection=http(401, "401")),
    Row("403", "tone", "refused the key .*HTTP 403.*network rules", connection=http(403, "403")),
    Row("3000 key", "tone", "refused the key .*close 3000", connection=close(3000, "invalid_api_key")),
    Row("3000", "tone", "refused the key .*close 3000", connection=close(3000, "")),
    Row("401 token", "answered", attempts=2, connection=http(401, "401"), entra=True),
    Row("401 no token", "tone", "not let this identity in", 2, http(401, "401"), times=2, entra=True),
    Row("403 token", "answered", attempts=2, connection=http(403, "403"), entra=True),
    Row("3000 token", "answered", attempts=2, connection=close(3000, "invalid_api_key"), entra=True),
    Row("3000 no token", "tone", "not let this identity in", 2, close(3000, ""), times=2, entra=True),
    Row("not realtime", "tone", "not a realtime model", connection=http(400, "OpperationNotSupported")),
    Row(
        "no deployment",
        "tone",
        "no deployment .*talk.*set realtime.deployment",
        connection=http(404, "DeploymentNotFound"),
    ),
    Row("4000 model", "tone", "no deployment .*talk.*set realtime.deployment", connection=close(4000, "invalid_model")),
    Row("4000 none", "tone", "set realtime.deployment", connection=close(4000, "missing_model")),
    Row("4000 beta", "tone", "no longer speaks the beta", connection=close(4000, "beta_api_shape_disabled")),
    Row("quota 429", "tone", "quota .*used up.*plan and billing", connection=http(429, "insufficient_quota")),
    # tried again
    Row("429", "answered", attempts=2, connection=http(429, "429", retry_after_s=1)),
    Row("429 bare", "answered", attempts=2, connection=http(429, "429")),
    Row("429 long", "tone", "try again in 60 s", connection=http(429, "429", retry_after_s=60)),
    Row("500", "answered", attempts=2, connection=http(500, "500")),
    Row("503", "answered", attempts=2, connection=http(503, "503")),
    Row("408", "answered", attempts=2, connection=http(408, "408")),
    Row("no name", "answered", nameless=1),
    Row("never a name", "tone", "name service.test.* cannot be found.*DNS", 0, nameless=99),
    Row("reset", "answered", attempts=2, connection={"abort": True}),
    Row("4000 limit", "answered", attempts=2, connection=close(4000, "rate_limit_exceeded")),
    Row("connect late", "answered", attempts=2, connection={"accept_delay_ms": 1500}),
    Row("created late", "answered", attempts=2, connection={"created_delay_ms": 1500}),
    Row("updated late", "answered", attempts=2, connection={"updated_delay_ms": 1500}),
    Row("1011 at once", "answered", attempts=2, connection={"ends": {"kind": "close"}, "updated_delay_ms": 500}),
    # ended in the middle of an answer
    Row("expired", "tone", "maximum duration", fault={"kind": "expire", "after_ms": 200}),
    Row("1001", "tone", "ended the session .*1001", fault=ended(1001, "bye")),
    Row("1006", "tone", "connection .*broke", fault={"kind": "abort", "after_ms": 200}),
    Row("1011", "tone", "ended the session .*1011", fault=ended(1011, "oops")),
    Row("1011 ping", "tone", "stopped answering", fault=ended(1011, "keepalive ping timeout")),
    Row("1012", "tone", "ended the session .*1012", fault=ended(1012, "restart")),
    Row("1013", "tone", "ended the session .*1013", fault=ended(1013, "later")),
    Row("1008", "tone", "1008.*largest message .*bytes", fault=ended(1008, "policy")),
    Row("1009", "tone", "1009.*largest message .*bytes", fault=ended(1009, "too big")),
    # ended before the answer
    *(
        Row(f"{name} early", "answered", says, attempts=2, fault={**how, "after_ms": 0})
        for name, says, how in (
            ("expired", "maximum duration", {"kind": "expire"}),
            ("1001", "ended the session .*1001", ended(1001, "bye")),
            ("1006", "connection .*broke", {"kind": "abort"}),
            ("1011", "ended the session .*1011", ended(1011, "oops")),
            ("1011 ping", "stopped answering", ended(1011, "keepalive ping timeout")),
            ("1012", "ended the session .*1012", ended(1012, "restart")),
            ("1013", "ended the session .*1013", ended(1013, "later")),
        )
    ),
    Row("1008 early", "tone", "1008.*largest message .*bytes", fault={**ended(1008, "policy"), "after_ms": 0}),
    Row("1009 early", "tone", "1009.*largest message .*bytes", fault={**ended(1009, "too big"), "after_ms": 0}),
    Row(
        "1011 again and again",
        "tone",
        "ended the session .*1011",
        attempts=3,
        fault={**ended(1011, "oops"), "after_ms": 0},
        times=3,
    ),
    # errors that end nothing
    *(
        Row(code, "answered", "Odd", turn={"beside": [error(code)]})
        for code in (
            *("invalid_value", "unknown_parameter", "missing_required_parameter", "integer_below_min_value"),
            *("invalid_json", "invalid_event"),
        )
    ),
    *(
        Row(code, "answered", turn={"beside": [error(code)]})
        for code in (
            *("response_cancel_not_active", "input_audio_buffer_commit_empty", "item_truncate_invalid_item_id"),
            *("unsupported_content_type", "conversation_already_has_active_response"),
        )
    ),
    Row(
        "already shorter",
        "answered",
        turn={"beside": [error("invalid_value", message="Audio content of 900ms is already shorter than 1200ms")]},
    ),
    Row(
        "settings",
        "answered",
        "noise_reduction.*take the setting out",
        connection={"refuse_settings": ["session.audio.input.noise_reduction", "session.input_audio_noise_reduction"]},
        profile={"noise_reduction": "far_field"},
    ),
    Row(
        "voice", "answered", "voice.*take the setting out", connection={"voice_fixed": True}, profile={"voice": "cedar"}
    ),
    Row("not transcribed", "answered", turn={"transcription": "failed"}),
    # an answer that fails
    Row("server error", "answered", fault=failed("server_error")),
    Row("server error event", "answered", fault=error(None, "server_error")),
    Row("server error twice", "answered", "failed twice", attempts=2, fault=failed("server_error"), times=2),
    Row("rate limit", "answered", fault=failed("rate_limit_exceeded", "Please try again in 0.2s.")),
    Row("rate limit event", "answered", fault=error("rate_limit_exceeded", message="Please try again in 200ms.")),
    Row("rate limit long", "tone", "in 60s", fault=failed("rate_limit_exceeded", "Please try again in 60s.")),
    Row("quota", "tone", "quota is used up.*plan and billing", fault=failed("insufficient_quota")),
    Row("quota event", "tone", "quota is used up.*plan and billing", fault=error("insufficient_quota")),
    Row("filtered", "answered", "content_filter", fault={"kind": "incomplete", "reason": "content_filter"}),
    Row("cut", "answered", "max_output_tokens", fault={"kind": "incomplete", "reason": "max_output_tokens"}),
    Row("too long", "tone", "context window", fault=failed("context_length_exceeded", "It fills the context window.")),
    Row(
        "too long once",
        "answered",
        fault=failed("context_length_exceeded", "It fills the context window."),
        second=True,
        follow_up_s=2.0,
    ),
    # watchdogs
    Row("no answer begun", "answered", "began no answer within 1 s", attempts=2, fault={"kind": "silence"}),
    Row("none begun twice", "tone", "began no answer within 1 s", attempts=2, fault={"kind": "silence"}, times=2),
    Row("answer stalls", "tone", "stopped for 1.5 s", fault={"kind": "stall", "after_ms": 200}),
    Row(
        "stalls at once",
        "answered",
        "no answer within 1.5 s",
        attempts=2,
        fault={"kind": "stall"},
        turn={"sound": "", "assistant": ""},
    ),
    Row(
        "cancelled and not ended",
        "quietly",
        "did not end a cancelled answer",
        attempts=2,
        fault={"kind": "stall", "after_ms": 200, "deaf": True},
        stops=True,
        follow_up_s=2.5,
    ),
    Row("silent in speech", "tone", "stopped answering", silent_in="speech"),
    Row("silent in thought", "tone", "stopped answering", silent_in="thought", fault={"kind": "stall"}),
    Row("silent in answer", "tone", "stopped answering", silent_in="answer", more={"pace": 1.0}),
]
TABLE = {
    "HTTP 401/403 upgrade; close 3000": (
        *("401", "403", "3000 key", "3000"),
        *("401 token", "401 no token", "403 token", "3000 token", "3000 no token"),
    ),
    "HTTP 400, 404; close 4000 model": (
        "not realtime",
        "no deployment",
        "4000 model",
        "4000 none",
    ),
    "close 4000 beta_api_shape_disabled": ("4000 beta",),
    "HTTP 429 upgrade": ("429", "429 bare", "429 long", "4000 limit"),
    "HTTP 5xx, 408, timeout, DNS": ("500", "503", "408", "no name", "never a name", "reset"),
    "session_expired + 1001": ("expired", "expired early"),
    "close 1001, 1006, 1011, 1012, 1013": (
        *("1001", "1006", "1011", "1011 ping", "1011 at once", "1012", "1013", "1011 again and again"),
        *("1001 early", "1006 early", "1011 early", "1011 ping early", "1012 early", "1013 early"),
    ),
    "close 1008, 1009": ("1008", "1009", "1008 early", "1009 early"),
    "our bug, or bad configuration": (
        *("invalid_value", "unknown_parameter", "missing_required_parameter", "integer_below_min_value"),
        *("invalid_json", "invalid_event", "settings"),
    ),
    "cannot_update_voice": ("voice",),
    "conversation_already_has_active_response": ("conversation_already_has_active_response",),
    "response_cancel_not_active": ("response_cancel_not_active",),
    "input_audio_buffer_commit_empty": ("input_audio_buffer_commit_empty",),
    "truncate": ("already shorter", "unsupported_content_type", "item_truncate_invalid_item_id"),
    "server_error": ("server error", "server error event", "server error twice"),
    "rate_limit_exceeded": ("rate limit", "rate limit event", "rate limit long"),
    "insufficient_quota": ("quota", "quota event", "quota 429"),
    "transcription failed": ("not transcribed",),
    "context overflow": ("too long", "too long once"),
    "incomplete": ("filtered", "cut"),
}
"""Kinds of failures that are known of the service, and what fails so here."""
HOPELESS = (
    *TABLE["HTTP 401/403 upgrade; close 3000"],
    *TABLE["HTTP 400, 404; close 4000 model"],
    *TABLE["close 4000 beta_api_shape_disabled"],
    "quota 429",
)
"""What goes on until somebody changes something, where another token does not help."""
WATCHDOGS = {
    "connect": ("connect late",),
    "session.created": ("created late",),
    "session.updated": ("updated late",),
    "response.created": ("no answer begun", "none begun twice"),
    "between deltas": ("answer stalls", "stalls at once"),
    "after response.cancel": ("cancelled and not ended",),
    "no sign of life": ("silent in speech", "silent in thought", "silent in answer"),
}
"""Watchdogs below it, and one more."""
PROVIDERS = {"ga": "azure", "preview": "azure-preview"}


def scenario(row: Row) -> Scenario:
    turn = {**QUESTION, **row.turn}
    if row.fault is not None:
        turn |= {"fault": row.fault, "fault_times": row.times}
    connections = [] if row.connection is None else [row.connection] * row.times
    turns = [QUESTION, turn] if row.second else [turn]
    return Scenario.model_validate({"turns": turns, "connections": connections, "pace": 0, **row.more})


class Directory:
    """Names, of which the first lookups fail."""

    def __init__(self, fails: int) -> None:
        self.fails = fails

    async def look_up(self, host: str, port: int) -> list[Address]:
        if self.fails:
            self.fails -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await ask_dns("127.0.0.1", port)


def config_of(row: Row, dialect: str) -> Config:
    realtime = RealtimeConfig.model_validate(
        {
            "provider": PROVIDERS[dialect],
            "endpoint": "https://r.example",
            "deployment": "talk",
            "auth": "entra" if row.entra else "auto",
            "transcription_model": "whisper-1",
        }
    )
    return config_for_tests(
        realtime=realtime,
        profiles={"default": ProfileConfig.model_validate(row.profile)},
        conversation=ConversationConfig(follow_up_s=row.follow_up_s, no_speech_s=1.0),
    )


@pytest.mark.parametrize("dialect", PROVIDERS)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_the_daemon_survives_and_says_so(dialect: str, row: Row) -> None:
    # Only who is to wait in vain is in a hurry: a busy machine may be slow with all the others.
    is_late = row.name.endswith("late")
    is_watched = row.fault is not None and row.fault["kind"] in {"stall", "silence"} and not row.silent_in
    directory, way = Directory(row.nameless), Proxy(0) if row.silent_in else None
    async with at_home(
        scenario(row),
        config_of(row, dialect),
        environment=KEYS,
        new_identity=Issuer().identity,
        as_cloud=True,
        patience=PATIENCE if is_late else HASTE if row.silent_in else None,
        limits=LIMITS if is_watched else None,
        names=Names(look_up=directory.look_up) if row.nameless else None,
        way=way,
    ) as home:
        await fail(home, row, way)
        await settled(home)
        assert home.states()[-1] == ("error" if row.ends == "tone" and row.name in HOPELESS else "idle")
        attempts = len(home.simulator.attempts)
        assert attempts >= row.attempts if is_late else attempts == row.attempts
        assert len(told(home.diary, "event/turn", "finished")) == row.second + (row.ends == "answered")
        assert home.speaker.chimes == (2 if row.ends == "tone" else 1)
        everything = " ".join(json.loads(json.dumps(payload)) for _, payload in home.diary.history)
        assert re.search(row.says, everything, re.DOTALL), everything[-3000:]
        if not row.says:
            assert not told(home.diary, "event/error", "error")
            assert not home.reports.is_a_problem("service")
        elif row.ends == "tone":
            assert told(home.diary, "event/error", "error")
        directory.fails = 0
        if way is not None:
            await way.normal()
        before = len(told(home.diary, "event/turn", "finished"))
        home.speak()
        await home.until_told("finished", count=before + 1)
        await home.command("command/end")  # nobody waits for a follow-up
        await home.until_idle()
        assert not home.reports.is_a_problem("service")


async def test_a_mistake_of_ours_ends_the_session_and_not_the_daemon(caplog: pytest.LogCaptureFixture) -> None:
    mistakes = [LookupError("not what we thought")]

    async def look_up(_host: str, port: int) -> list[Address]:
        if mistakes:
            raise mistakes.pop()
        return await ask_dns("127.0.0.1", port)

    row = Row("mistake", "tone")
    async with at_home(
        scenario(row), config_of(row, "ga"), environment=KEYS, as_cloud=True, names=Names(look_up=look_up)
    ) as home:
        home.speak()
        await settled(home)
        (error,) = told(home.diary, "event/error", "error")
        assert error["code"] == "service"
        assert "LookupError" in error["message"]
        assert home.speaker.chimes == 2
        home.speak()
        await home.until_told("finished")
        assert "not what we thought" in caplog.text


async def fail(home: Home, row: Row, way: Proxy | None) -> None:
    """Begin the conversation that fails."""
    home.speak(after_s=0.0 if row.silent_in == "speech" else 1.0)
    if row.second:
        await home.until_told("finished")
        home.speak(wake=False)
        await home.until_told("started", count=2)
    if row.stops:
        await home.diary.until(lambda _: "responding" in home.states())
        await home.command("command/stop")
    if way is not None:
        if row.silent_in == "speech":
            await home.until_told("started")
        elif row.silent_in == "thought":
            await until_sent(home, "response.created")
        else:
            await home.diary.until(lambda _: "responding" in home.states())
        way.swallow()


async def until_sent(home: Home, kind: str) -> None:
    await eventually(lambda: home.simulator.sessions, "a session")
    await home.simulator.sessions[0].wait_for(kind)


async def settled(home: Home) -> None:
    """Wait until the conversation has been one, and is over."""
    await home.diary.until(lambda _: "listening" in home.states())
    await home.diary.until(lambda _: home.states()[-1] in {"idle", "error"})


def test_no_row_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\nfailures: {len(TABLE)} rows of the table and {len(WATCHDOGS)} watchdogs by {len(ROWS)} faults in "
            f"{len(PROVIDERS)} dialects"
        )
    named = [name for names in (*TABLE.values(), *WATCHDOGS.values()) for name in names]
    assert sorted(named) == sorted(row.name for row in ROWS)
