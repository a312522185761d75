"""Where each provider leads, how it signs in, and that nothing secret shows."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.uri import parse_uri

from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import Endpoint, Secret, endpoint
from voiced.errors import ConfigError

KEY = Secret("key", "k-e-y")
TOKEN = Secret("token", "t-o-k")
AZURE = "https://kitchen.openai.azure.com"


def made(**keys: Any) -> Endpoint:
    return endpoint(RealtimeConfig(**keys))


@pytest.mark.parametrize(
    ("keys", "url", "dialect"),
    [
        (
            {"provider": "azure", "endpoint": AZURE, "deployment": "talk"},
            "wss://kitchen.openai.azure.com/openai/v1/realtime?model=talk",
            "ga",
        ),
        (
            {
                "provider": "azure",
                "endpoint": "https://kitchen.services.ai.azure.com/api/projects/p1",
                "deployment": "t",
            },
            "wss://kitchen.services.ai.azure.com/openai/v1/realtime?model=t",
            "ga",
        ),
        (
            {"provider": "azure", "endpoint": "https://gw.example/azure/openai/v1/", "deployment": "a b&c/d"},
            "wss://gw.example/azure/openai/v1/realtime?model=a%20b%26c%2Fd",
            "ga",
        ),
        (
            {"provider": "azure-preview", "endpoint": AZURE, "deployment": "talk"},
            "wss://kitchen.openai.azure.com/openai/realtime?api-version=2024-10-01-preview&deployment=talk",
            "preview",
        ),
        (
            {"provider": "azure-preview", "endpoint": AZURE, "deployment": "t", "api_version": "2025-04-01-preview"},
            "wss://kitchen.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=t",
            "preview",
        ),
        (
            {
                "provider": "voice-live",
                "endpoint": "https://kitchen.services.ai.azure.com/",
                "deployment": "gpt-realtime",
            },
            "wss://kitchen.services.ai.azure.com/voice-live/realtime?api-version=2026-07-15&model=gpt-realtime",
            "voice-live",
        ),
        (
            {"provider": "openai", "deployment": "gpt-realtime-2.1"},
            "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1",
            "ga",
        ),
        (
            {"provider": "openai", "endpoint": "https://eu.api.openai.com", "deployment": "m"},
            "wss://eu.api.openai.com/v1/realtime?model=m",
            "ga",
        ),
        (
            {"provider": "openai", "endpoint": "http://127.0.0.1:8765/v1/", "deployment": "m"},
            "ws://127.0.0.1:8765/v1/realtime?model=m",
            "ga",
        ),
        (
            {"provider": "custom", "url": "ws://nas.local:9000/rt?model=x", "dialect": "preview"},
            "ws://nas.local:9000/rt?model=x",
            "preview",
        ),
        ({"provider": "simulator", "url": "ws://127.0.0.1:1/v1/realtime"}, "ws://127.0.0.1:1/v1/realtime", "ga"),
    ],
)
def test_leads_to_the_documented_url(keys: dict[str, Any], url: str, dialect: str) -> None:
    there = made(**keys)
    assert (there.url, there.dialect) == (url, dialect)
    parse_uri(there.url)


@pytest.mark.parametrize("scheme", ["https", "wss"])
@pytest.mark.parametrize(
    "tail", ["", "/", "/openai", "/openai/", "/openai/v1", "/openai/v1/", "/openai/v1/realtime?model=x"]
)
def test_takes_whatever_form_of_azure_endpoint_people_paste(scheme: str, tail: str) -> None:
    pasted = f"{scheme}://kitchen.openai.azure.com{tail}"
    there = made(provider="azure", endpoint=pasted, deployment="talk")
    assert there.url == "wss://kitchen.openai.azure.com/openai/v1/realtime?model=talk"


@pytest.mark.parametrize(
    ("keys", "key_header", "token_header"),
    [
        ({"provider": "azure", "endpoint": AZURE}, {"api-key": "k-e-y"}, {"Authorization": "Bearer t-o-k"}),
        ({"provider": "azure-preview", "endpoint": AZURE}, {"api-key": "k-e-y"}, {"Authorization": "Bearer t-o-k"}),
        ({"provider": "voice-live", "endpoint": AZURE}, {"api-key": "k-e-y"}, {"Authorization": "Bearer t-o-k"}),
        ({"provider": "openai"}, {"Authorization": "Bearer k-e-y"}, {"Authorization": "Bearer t-o-k"}),
        (
            {"provider": "custom", "url": "wss://h/"},
            {"Authorization": "Bearer k-e-y"},
            {"Authorization": "Bearer t-o-k"},
        ),
        ({"provider": "simulator", "url": "ws://h/"}, {}, {}),
    ],
)
def test_signs_in_as_the_provider_wants(
    keys: dict[str, Any], key_header: dict[str, str], token_header: dict[str, str]
) -> None:
    there = made(**keys)
    assert there.headers(KEY) == key_header
    assert there.headers(TOKEN) == token_header
    assert there.headers(None) == {}


def test_secrets_do_not_show() -> None:
    there = made(provider="custom", url="wss://joe:pa55@h.example:8/rt?api-key=hidden#x")
    for shown in (repr(there), there.describe(), there.host, repr(KEY), str(TOKEN)):
        assert not any(secret in shown for secret in ("hidden", "pa55", "k-e-y", "t-o-k"))
    assert there.describe() == "wss://h.example:8/rt"
    assert "hidden" in there.url


def test_describes_what_answers_and_where() -> None:
    assert made(provider="azure", endpoint=AZURE, deployment="talk").describe() == (
        'deployment "talk" at kitchen.openai.azure.com'
    )
    assert made(provider="openai", deployment="m").describe() == 'model "m" at api.openai.com'


def test_a_profile_can_name_another_model_and_the_simulator_another_url() -> None:
    other = endpoint(RealtimeConfig(provider="openai"), model="gpt-realtime-mini")
    assert other.url.endswith("?model=gpt-realtime-mini")
    assert endpoint(RealtimeConfig(), url="ws://127.0.0.1:5/v1/realtime").host == "127.0.0.1:5"


def test_warns_of_the_retired_api_and_of_keys_in_clear() -> None:
    assert "retired" in made(provider="azure-preview", endpoint=AZURE).warnings[0]
    assert made(provider="azure", endpoint=AZURE).warnings == ()
    assert "not encrypted" in made(provider="azure", endpoint="http://gw.example").warnings[0]
    for host in ("127.0.0.1:80", "[::1]:80", "localhost"):
        assert made(provider="custom", url=f"ws://{host}/").warnings == ()


@pytest.mark.parametrize("url", ["", "ftp://h/", "ws://", "ws://h:port/", "ws://[::1/"])
def test_a_url_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^realtime\.url: "):
        endpoint(RealtimeConfig(), url=url)


@given(st.text())
def test_any_text_is_an_endpoint_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigError):
        there = endpoint(RealtimeConfig(provider="openai", endpoint=text, deployment=text))
        assert there.url.startswith(("ws://", "wss://"))
        assert there.describe()
