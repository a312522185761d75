"""No secret survives, and what is none does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.redaction import MASK, is_secret_name, redact

SECRETS = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=4, max_size=40)


@given(st.lists(SECRETS, min_size=1, max_size=4), st.text(max_size=30))
def test_a_known_secret_is_nowhere(secrets: list[str], between: str) -> None:
    text = between.join(f"{one}\n" for one in secrets)
    told = redact(text, secrets)
    assert not [one for one in secrets if one in told and one not in MASK]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcDEF123456ghi",
        "api-key: 0123456789abcdef0123456789abcdef",
        'password = "correct horse battery"',
        "mqtt_password='hunter22 and more'",
        "wss://me:hunter22hunter22@example.org/realtime",
        "https://example.org/?api-key=0123456789abcdef",
        "OPENAI_API_KEY=sk-proj-0123456789abcdef",
        "the key sk-0123456789abcdef is wrong",
        "eyJhbGciOi.eyJzdWIiOiIx.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_secret_goes_though_nobody_knows_it(text: str) -> None:
    told = redact(text, [])
    assert MASK in told
    for part in ("abcDEF123456ghi", "0123456789abcdef", "horse", "hunter22", "c2lnbmF0dXJl"):
        assert part not in told


@pytest.mark.parametrize(
    "text",
    [
        "session sess_0001 with the deployment kitchen is open",
        "no microphone: there is no microphone; plug one in",
        "Idle -> Listening",
        "https://my-resource.openai.azure.com/openai/v1/realtime?model=gpt-realtime-2.1",
        "tokens today: 1200",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert redact(text, ["other-secret"]) == text


def test_names_of_files_are_no_secrets() -> None:
    assert is_secret_name("AZURE_OPENAI_API_KEY")
    assert is_secret_name("VOICED_MQTT_PASSWORD")
    assert not is_secret_name("VOICED_MQTT__PASSWORD_FILE")
    assert not is_secret_name("VOICED_CONFIG")


@pytest.mark.parametrize(
    "piece", ["a-", "a", "?a", "a://", "key", "?key", "?key-", '"key', "eyJaaaa-", "eyJaaaa.", "a:", "key "]
)
def test_a_long_text_takes_no_longer_than_it_is_long(piece: str) -> None:
    """If it did, this test would time out."""
    text = piece * (200_000 // len(piece))
    assert redact(text, ()) == text
