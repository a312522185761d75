"""Every way the service says no is one sentence with a remedy, and the right class and code."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.config import RealtimeConfig
from voiced.core.realtime import refusal
from voiced.core.realtime.endpoint import Secret, endpoint
from voiced.core.realtime.events import ServiceProblem
from voiced.errors import RefusedError, ServiceError

AZURE = endpoint(RealtimeConfig(provider="azure", endpoint="https://kitchen.openai.azure.com", deployment="talk"))
OPENAI = endpoint(RealtimeConfig(provider="openai", deployment="gpt-realtime-2.1"))
KEY = Secret("key", "k-e-y")
TOKEN = Secret("token", "t-o-k")


def body(code: str, message: str = "") -> bytes:
    return json.dumps({"error": {"code": code, "message": message}}).encode()


@pytest.mark.parametrize(
    ("error", "final", "code", "parts"),
    [
        (
            refusal.http(AZURE, KEY, 401, b""),
            True,
            "refused",
            ['"talk" at kitchen.openai', "key", "AZURE_OPENAI_API_KEY"],
        ),
        (refusal.http(AZURE, TOKEN, 401, b""), True, "refused", ["identity", "Cognitive Services OpenAI User"]),
        (refusal.http(AZURE, None, 401, b""), True, "refused", ["wants a key", "realtime.key_file"]),
        (refusal.http(OPENAI, KEY, 401, b""), True, "refused", ["OPENAI_API_KEY"]),
        (refusal.http(AZURE, KEY, 403, body("Forbidden")), True, "refused", ["HTTP 403 Forbidden", "network rules"]),
        (
            refusal.http(AZURE, KEY, 404, body("DeploymentNotFound", "No.")),
            True,
            "refused",
            ['no deployment "talk" at kitchen.openai.azure.com', "HTTP 404 DeploymentNotFound", "realtime.deployment"],
        ),
        (refusal.http(AZURE, KEY, 404, b"<html>"), True, "refused", ["no Realtime API", "realtime.endpoint"]),
        (refusal.http(AZURE, KEY, 400, body("OpperationNotSupported")), True, "refused", ["not a realtime model"]),
        (refusal.http(AZURE, KEY, 400, body("x", "Bad\nthing.")), True, "refused", ['HTTP 400 x: "Bad thing."']),
        (refusal.http(AZURE, KEY, 429, b"", 17.0), False, "refused", ["try again in 17 s", "rate limit"]),
        (refusal.http(AZURE, KEY, 429, body("insufficient_quota")), True, "refused", ["used up", "billing"]),
        (refusal.http(AZURE, KEY, 431, b""), True, "refused", ["headers too many"]),
        (refusal.http(AZURE, KEY, 307, b""), True, "refused", ["sends us elsewhere"]),
        (refusal.http(AZURE, KEY, 503, body("x", "Busy.")), False, "unreachable", ["HTTP 503", "Busy."]),
        (refusal.http(AZURE, KEY, 504, b""), False, "timeout", ["HTTP 504"]),
        (refusal.ended(OPENAI, KEY, 3000, "invalid_request_error.invalid_api_key", None), True, "refused", ["the key"]),
        (refusal.ended(OPENAI, KEY, 3000, "invalid_request_error", None), True, "refused", ["close 3000"]),
        (
            refusal.ended(OPENAI, KEY, 4000, "invalid_request_error.invalid_model", None),
            True,
            "refused",
            ['no model "gpt-realtime-2.1" at api.openai.com', "realtime.deployment"],
        ),
        (
            refusal.ended(OPENAI, KEY, 4000, "invalid_request_error.beta_api_shape_disabled", None),
            True,
            "refused",
            ["OpenAI-Beta", "realtime.dialect"],
        ),
        (refusal.ended(OPENAI, KEY, 4000, "something", None), True, "refused", ["something"]),
        (
            refusal.ended(OPENAI, KEY, 1001, "", ServiceProblem("e", "session_expired", "60 minutes.")),
            False,
            "expired",
            ["60 minutes."],
        ),
        (
            refusal.ended(OPENAI, KEY, 1001, "Your session hit the maximum duration of 60 minutes.", None),
            False,
            "expired",
            ["maximum duration"],
        ),
        (refusal.ended(OPENAI, KEY, 1001, "going away", None), False, "closed", ['close 1001 "going away"']),
        (refusal.ended(OPENAI, KEY, 1011, "keepalive ping timeout", None), False, "closed", ["stopped answering"]),
        (refusal.ended(OPENAI, KEY, None, "", None), False, "closed", ["broke"]),
        (refusal.ended(OPENAI, KEY, 1008, "policy", None), True, "refused", ["policy"]),
        (
            refusal.ended(OPENAI, KEY, 1011, "", ServiceProblem("e", "insufficient_quota", "Pay.")),
            True,
            "refused",
            ["quota", "Pay."],
        ),
    ],
)
def test_says_what_where_and_how_to_mend_it(error: ServiceError, final: bool, code: str, parts: list[str]) -> None:
    said = str(error)
    assert isinstance(error, RefusedError) is final, said
    assert error.code == code, said
    for part in parts:
        assert part in said
    assert said.endswith(".")
    assert "\n" not in said


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(
    status=st.integers(300, 599),
    answer=st.binary()
    | st.builds(lambda error: json.dumps({"error": error}).encode(), JSON)
    | st.builds(body, st.text(), st.text()),
    secret=st.sampled_from([KEY, TOKEN, None]),
)
def test_any_http_answer_is_one_line_that_can_be_written_anywhere(
    status: int, answer: bytes, secret: Secret | None
) -> None:
    said = str(refusal.http(AZURE, secret, status, answer, 1e9))
    assert said.encode()
    assert said.isprintable()
    assert said.splitlines() == [said]
    assert len(said) < 600


def test_a_service_that_quotes_the_key_does_not_get_it_into_our_log() -> None:
    quoting = body("invalid_api_key", "Incorrect API key provided: k-e-y. Or was it sk-abc***xyz?")
    said = str(refusal.http(OPENAI, KEY, 401, quoting))
    assert "k-e-y" not in said
    assert "sk-" not in said
    closed = refusal.ended(OPENAI, KEY, 3000, "k-e-y", ServiceProblem("e", None, "k-e-y"))
    assert "k-e-y" not in str(closed)
