"""Every way in which the service fails, as realtime.md 4.2 has them, on the real daemon, in both dialects.

Each row fails one conversation, or seems to. Either it is answered all the same, or the person hears the error tone and
``health`` says why, with a remedy; then the daemon is idle, and the next wake is answered.
"""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from tests.callers import KEYS
from tests.stories import Home, at_home, config_for_tests, told
from voiced.config import ConversationConfig, RealtimeConfig
from voiced.core.realtime.mending import Limits
from voiced.edge.link import Patience
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Scenario

Json = dict[str, Any]
QUESTION: Json = {"user": "What time is it?", "assistant": "Nine.", "sound": "time.wav", "transcription_delay_ms": 20}
PATIENCE = Patience(connect_s=1.0, created_s=1.0, updated_s=1.0)
LIMITS = Limits(begun_s=1.0, answer_s=1.5, cancelled_s=1.0)


@dataclass(frozen=True)
class Row:
    """One way to fail.

    ``ends``: whether the person is answered, hears the error tone, or neither (nobody waited for anything). ``says``:
    in ``health`` or as an event. ``attempts``: connections made for the first conversation; further ones go well.
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
        for code in ("response_cancel_not_active", "input_audio_buffer_commit_empty", "item_truncate_invalid_item_id")
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
    Row("not transcribed", "answered", turn={"transcription": "failed"}),
    # an answer that fails
    Row("server error", "answered", fault=failed("server_error")),
    Row("server error event", "answered", fault=error(None, "server_error")),
    Row("server error twice", "tone", "failed twice", fault=failed("server_error"), times=2),
    Row("rate limit", "answered", fault=failed("rate_limit_exceeded", "Please try again in 0.2s.")),
    Row("rate limit event", "answered", fault=error("rate_limit_exceeded", message="Please try again in 200ms.")),
    Row("rate limit long", "tone", "in 60s", fault=failed("rate_limit_exceeded", "Please try again in 60s.")),
    Row("quota", "tone", "quota is used up.*plan and billing", fault=failed("insufficient_quota")),
    Row("quota event", "tone", "quota is used up.*plan and billing", fault=error("insufficient_quota")),
    Row("filtered", "answered", "content_filter", fault={"kind": "incomplete", "reason": "content_filter"}),
    Row("cut", "answered", "max_output_tokens", fault={"kind": "incomplete", "reason": "max_output_tokens"}),
    Row("too long", "tone", "context window", fault=failed("context_length_exceeded", "It fills the context window.")),
    # watchdogs
    Row("no answer begun", "tone", "began no answer within 1 s", fault={"kind": "silence"}),
    Row("answer stalls", "tone", "stopped for 1.5 s", fault={"kind": "stall", "after_ms": 200}),
    Row(
        "stalls at once", "tone", "no answer within 1.5 s", fault={"kind": "stall"}, turn={"sound": "", "assistant": ""}
    ),
    Row(
        "cancelled and not ended",
        "quietly",
        "did not end a cancelled answer",
        fault={"kind": "stall", "after_ms": 200, "deaf": True},
        stops=True,
        follow_up_s=3.0,
    ),
]
WATCHDOGS = 7
PROVIDERS = {"ga": "azure", "preview": "azure-preview"}


def scenario(row: Row) -> Scenario:
    turn = {**QUESTION, **row.turn}
    if row.fault is not None:
        turn |= {"fault": row.fault, "fault_times": row.times}
    connections = [] if row.connection is None else [row.connection]
    return Scenario.model_validate({"turns": [turn], "connections": connections, "pace": 0, **row.more})


@pytest.mark.parametrize("dialect", PROVIDERS)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_the_daemon_survives_and_says_so(dialect: str, row: Row) -> None:
    realtime = RealtimeConfig.model_validate(
        {"provider": PROVIDERS[dialect], "endpoint": "https://r.example", "deployment": "talk"}
    )
    config = config_for_tests(
        realtime=realtime.model_copy(update={"transcription_model": "whisper-1"}),
        profiles={"default": ProfileConfig.model_validate(row.profile)},
        conversation=ConversationConfig(follow_up_s=row.follow_up_s, no_speech_s=1.0),
    )
    # Only who is to wait in vain is in a hurry: a busy machine may be slow with all the others.
    is_late = row.name.endswith("late")
    is_watched = row.fault is not None and row.fault["kind"] in {"stall", "silence"}
    async with at_home(
        scenario(row),
        config,
        environment=KEYS,
        as_cloud=True,
        patience=PATIENCE if is_late else None,
        limits=LIMITS if is_watched else None,
    ) as home:
        home.speak()
        if row.stops:
            await home.diary.until(lambda _: "responding" in home.states())
            await home.command("command/stop")
        await settled(home)
        attempts = len(home.simulator.attempts)
        assert attempts >= row.attempts if is_late else attempts == row.attempts
        assert len(told(home.diary, "event/turn", "finished")) == (row.ends == "answered")
        assert home.speaker.chimes == (2 if row.ends == "tone" else 1)
        everything = " ".join(json.loads(json.dumps(payload)) for _, payload in home.diary.history)
        assert re.search(row.says, everything, re.DOTALL), everything[-3000:]
        if row.ends == "tone":
            assert told(home.diary, "event/error", "error")
        before = len(told(home.diary, "event/turn", "finished"))
        home.speak()
        await home.until_told("finished", count=before + 1)
        await home.until_idle()
        assert not home.reports.is_a_problem("service")


async def settled(home: Home) -> None:
    """Wait until the conversation has been one, and is over."""
    await home.diary.until(lambda _: "listening" in home.states())
    async with asyncio.timeout(20):
        await home.diary.until(lambda _: home.states()[-1] == "idle", timeout_s=20)


def test_no_row_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nfailures: {len(ROWS)} rows in {len(PROVIDERS)} dialects, {WATCHDOGS} of them watchdogs")
    assert len({row.name for row in ROWS}) == len(ROWS)
