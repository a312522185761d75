"""Keys in their order, tokens renewed in time and never twice at once, errors that help and tell no secret."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import Secret
from voiced.edge.credentials import Credentials
from voiced.errors import RefusedError, ServiceError

AZURE = {"provider": "azure", "endpoint": "https://kitchen.openai.azure.com"}


@dataclass
class Token:
    token: str
    expires_on: int


@dataclass
class Entra:
    """A sign-in service: makes identities, each of which hands out the same token until it has 5 min left."""

    now: float = 1_000_000.0
    lifetime_s: int = 3600
    fails: list[Exception] = field(default_factory=list)
    issued: int = 0
    identities: int = 0
    closed: int = 0
    scopes: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    holds: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.holds.set()

    set_by: float = 0.0
    """By how much the clock on the wall is wrong; identities go by it."""

    def clock(self) -> float:
        return self.now + self.set_by

    def since_boot(self) -> float:
        return self.now

    def identity(self) -> "FakeIdentity":
        self.identities += 1
        return FakeIdentity(self)


@dataclass
class FakeIdentity:
    entra: Entra
    held: Token | None = None

    async def get_token(self, *scopes: str) -> Token:
        entra = self.entra
        entra.at_once += 1
        entra.most_at_once = max(entra.most_at_once, entra.at_once)
        await entra.holds.wait()
        await asyncio.sleep(0)
        entra.at_once -= 1
        entra.scopes.extend(scopes)
        if entra.fails:
            raise entra.fails.pop(0)
        if self.held is None or self.held.expires_on - entra.clock() < 300:
            entra.issued += 1
            self.held = Token(f"token-{entra.issued}", int(entra.clock()) + entra.lifetime_s)
        return self.held

    async def close(self) -> None:
        self.entra.closed += 1


def made(entra: Entra | None = None, environment: Mapping[str, str] | None = None, **keys: Any) -> Credentials:
    entra = entra or Entra()
    return Credentials(
        RealtimeConfig(**{**AZURE, **keys}),
        environment=environment or {},
        new_identity=entra.identity,
        clock=entra.clock,
        since_boot=entra.since_boot,
    )


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_is_looked_for_in_file_then_systemd_then_environment(tmp_path: Path) -> None:
    systemd = tmp_path / "credentials"
    systemd.mkdir()
    (systemd / "azure_openai_api_key").write_text("from-systemd\n")
    (tmp_path / "key").write_text("  from-file\n")
    environment = {"AZURE_OPENAI_API_KEY": "from-environment"}
    assert await made(environment=environment).secret() == Secret("key", "from-environment")
    environment["CREDENTIALS_DIRECTORY"] = str(systemd)
    assert await made(environment=environment).secret() == Secret("key", "from-systemd")
    found = made(environment=environment, key_file=str(tmp_path / "key"))
    assert await found.secret() == Secret("key", "from-file")
    (tmp_path / "key").write_text("changed")
    assert await found.secret() == Secret("key", "changed")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"provider": "azure"}, "azure-key"),
        ({"provider": "azure-preview"}, "azure-key"),
        ({"provider": "voice-live"}, "azure-key"),
        ({"provider": "openai"}, "openai-key"),
        ({"provider": "custom", "url": "ws://nas/"}, None),
        ({"provider": "simulator"}, None),
    ],
)
async def test_every_provider_gets_its_own_key_and_no_other(keys: dict[str, Any], found: str | None) -> None:
    environment = {"AZURE_OPENAI_API_KEY": "azure-key", "OPENAI_API_KEY": "openai-key"}
    secret = await made(environment=environment, **keys).secret()
    assert (secret and secret.value) == found


async def test_a_custom_server_gets_the_key_meant_for_it(tmp_path: Path) -> None:
    (tmp_path / "realtime_key").write_text("mine")
    found = made(environment={"CREDENTIALS_DIRECTORY": str(tmp_path)}, provider="custom", url="ws://nas/", auth="key")
    assert await found.secret() == Secret("key", "mine")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"auth": "key"}, "There is no key: realtime.key_file is not set, .*AZURE_OPENAI_API_KEY is absent"),
        ({"provider": "openai"}, "OPENAI_API_KEY is absent"),
        ({"key_file": "/nowhere/key"}, "The key in /nowhere/key cannot be read: No such file"),
    ],
)
async def test_a_missing_key_is_one_sentence_that_lists_where_it_was_sought(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        await made(**keys).secret()


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"line\nline", b"caf\xc3\xa9", b"\xff\xfe"])
async def test_a_file_that_holds_no_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(RefusedError) as caught:
        await made(key_file=str(path)).secret()
    assert not any(word in str(caught.value) for word in ("two words", "line\nline", "café"))


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_is_used_only_where_there_is_no_key_or_it_is_asked_for() -> None:
    environment = {"AZURE_OPENAI_API_KEY": "azure-key"}
    assert await made(environment=environment).secret() == Secret("key", "azure-key")
    assert await made(environment=environment, auth="entra").secret() == Secret("token", "token-1")
    assert await made().secret() == Secret("token", "token-1")


async def test_a_token_is_renewed_five_minutes_before_its_end_and_nobody_waits_for_that() -> None:
    entra = Entra()
    async with made(entra, scope="https://ai.azure.com/.default") as credentials:
        await credentials.warm()
        assert (entra.issued, entra.scopes) == (1, ["https://ai.azure.com/.default"])
        entra.now += 3300
        await credentials.warm()
        assert len(entra.scopes) == 1
        entra.now += 1
        entra.holds = asyncio.Event()
        renewing = asyncio.create_task(credentials.warm())
        while not entra.at_once:
            await asyncio.sleep(0)
        assert await credentials.secret() == Secret("token", "token-1")  # would hang here if it waited
        entra.holds.set()
        await renewing
        assert await credentials.secret() == Secret("token", "token-2")
    assert (entra.identities, entra.closed) == (1, 1)


async def test_a_token_about_to_end_is_not_shown_any_more() -> None:
    entra = Entra()
    async with made(entra) as credentials:
        await credentials.warm()
        entra.now += 3600 - 15
        assert await credentials.secret() == Secret("token", "token-2")


@pytest.mark.parametrize("set_by", [-50 * 365 * 86_400.0, -7 * 3600.0, 7 * 3600.0])
async def test_a_clock_that_is_set_makes_no_token_live_longer(set_by: float) -> None:
    """Set forward, it is renewed early; set back, at its real end, although the identity's own cache knows better."""
    entra = Entra()
    async with made(entra) as credentials:
        await credentials.warm()
        entra.set_by = set_by
        assert await credentials.secret() == Secret("token", "token-2" if set_by > 0 else "token-1")
        entra.now += 3301
        await credentials.warm()
        assert await credentials.secret() == Secret("token", "token-3" if set_by > 0 else "token-2")
    assert entra.identities == entra.closed == (1 if set_by > 0 else 2)


async def test_warming_up_fetches_nothing_where_there_is_a_key() -> None:
    entra = Entra()
    async with made(entra, environment={"AZURE_OPENAI_API_KEY": "k"}) as credentials:
        await credentials.warm()
    assert entra.identities == 0


async def test_many_who_need_a_token_at_once_cause_one_request() -> None:
    entra = Entra()
    async with made(entra) as credentials:
        secrets = await asyncio.gather(credentials.warm(), *(credentials.secret() for _ in range(5)))
    assert secrets[1:] == [Secret("token", "token-1")] * 5
    assert (entra.most_at_once, len(entra.scopes)) == (1, 1)


async def test_a_refused_token_is_replaced_once_by_a_new_one() -> None:
    entra = Entra()
    async with made(entra) as credentials:
        first = await credentials.secret()
        both = await asyncio.gather(*(credentials.secret(refused=first) for _ in range(2)))
        assert both == [Secret("token", "token-2")] * 2
    assert entra.identities == entra.closed == 2


async def test_while_renewal_fails_the_old_token_serves_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    entra = Entra()
    async with made(entra) as credentials:
        await credentials.secret()
        entra.now += 3400
        entra.fails = [ServiceRequestError("Cannot connect to host login.microsoftonline.com:443")] * 3
        for _ in range(2):
            await credentials.warm()
            assert await credentials.secret() == Secret("token", "token-1")
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warned) == 1
        assert warned[0].endswith("The token there is holds for 3 min more.")
        entra.now += 201
        with pytest.raises(ServiceError, match="sign-in service cannot be reached") as caught:
            await credentials.secret()
        assert caught.value.code == "unreachable"
        assert not isinstance(caught.value, RefusedError)
        assert await credentials.secret() == Secret("token", "token-2")


async def test_a_cancelled_fetch_leaves_the_next_one_free() -> None:
    entra = Entra()
    async with made(entra) as credentials:
        first = asyncio.create_task(credentials.secret())
        while not entra.at_once:
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await credentials.secret() == Secret("token", "token-1")


async def test_a_failed_sign_in_says_what_was_tried_and_tells_no_secret() -> None:
    told = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
        "Attempted credentials:\n"
        "\tEnvironmentCredential: EnvironmentCredential authentication unavailable.\n"
        "\tManagedIdentityCredential: AADSTS7000215: Invalid client secret provided: s3cret, tenant 1234."
    )
    async with made(Entra(fails=[ClientAuthenticationError(message=told)])) as credentials:
        with pytest.raises(RefusedError) as caught:
            await credentials.secret()
    said = str(caught.value)
    for part in ("AZURE_OPENAI_API_KEY is absent", "AADSTS7000215", "az login", "Cognitive Services OpenAI User"):
        assert part in said
    assert "(tried EnvironmentCredential, ManagedIdentityCredential)" in said
    assert not any(secret in said for secret in ("s3cret", "1234"))
    assert caught.value.__cause__ is None


async def test_warming_up_never_fails_and_complains_once(caplog: pytest.LogCaptureFixture) -> None:
    entra = Entra(fails=[ClientAuthenticationError(message="no")] * 3)
    with caplog.at_level(logging.DEBUG):
        async with made(entra) as credentials:
            for _ in range(4):
                await credentials.warm()
            assert await credentials.secret() == Secret("token", "token-1")
    levels = [record.levelname for record in caplog.records if "Keyless sign-in failed" in record.getMessage()]
    assert levels == ["WARNING", "DEBUG", "DEBUG"]
    assert "token-1" not in caplog.text
