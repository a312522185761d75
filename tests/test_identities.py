"""Signing in without a key by the real azure-identity: principals, managed identities, ``az login``."""

import asyncio
import json
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import trustme
from azure.identity.aio import DefaultAzureCredential

from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import Secret
from voiced.edge.credentials import Credentials
from voiced.edge.identity import identity
from voiced.errors import RefusedError

AZURE = {"provider": "azure", "endpoint": "https://kitchen.openai.azure.com"}


@asynccontextmanager
async def authority(
    ca: trustme.CA | None, answer: dict[str, Any], status: int = 200
) -> AsyncIterator[tuple[str, list[str]]]:
    """A token endpoint on loopback, over TLS if there is a CA; yields its address and the requests it gets."""
    requests: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        requests.append(head.split("\r\n", 1)[0] + " " + body.decode())
        text = json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status)
        writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        await writer.drain()
        writer.close()

    tls = None
    if ca is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("127.0.0.1").configure_cert(tls)
    server = await asyncio.start_server(serve, "127.0.0.1", ssl=tls)
    async with server:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


@pytest.fixture
def principal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service principal in the environment, and nothing else that could sign in."""
    environment = {
        "AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555",
        "AZURE_CLIENT_ID": "66666666-7777-8888-9999-000000000000",
        "AZURE_CLIENT_SECRET": "s3cret",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def real(ca: trustme.CA, tmp_path: Path) -> Credentials:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Credentials(
        RealtimeConfig.model_validate(AZURE),
        environment={},
        new_identity=lambda: DefaultAzureCredential(connection_verify=str(tmp_path / "ca.pem")),
    )


@pytest.mark.usefixtures("principal")
async def test_the_real_library_fetches_a_token_and_closes_its_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ca = trustme.CA()
    token = {"access_token": "real-token", "expires_in": 3600, "token_type": "Bearer"}
    async with authority(ca, token) as (address, requests):
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", address)
        with caplog.at_level(logging.DEBUG):
            async with real(ca, tmp_path) as credentials:
                secrets = await asyncio.gather(*(credentials.secret() for _ in range(3)))
    assert secrets == [Secret("token", "real-token")] * 3
    (fetch,) = [one for one in requests if "/token" in one]
    assert fetch.startswith("POST /11111111-2222-")
    assert "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default" in fetch
    assert not any(secret in caplog.text for secret in ("real-token", "s3cret"))


@pytest.mark.usefixtures("principal")
async def test_the_real_library_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    refusal = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}
    async with authority(ca, refusal, status=401) as (address, _):
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", address)
        async with real(ca, tmp_path) as credentials:
            with pytest.raises(RefusedError, match=r"failed with AADSTS7000215 \(tried EnvironmentCredential\)"):
                await credentials.secret()


@pytest.mark.usefixtures("principal")
async def test_the_usual_chain_without_any_identity_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    async with Credentials(RealtimeConfig.model_validate(AZURE), environment={}) as credentials:
        with pytest.raises(
            RefusedError, match=r"Keyless sign-in failed \(tried EnvironmentCredential\)\. Run \"az login\""
        ):
            await credentials.secret()


async def test_no_shell_is_started_to_look_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would start one for PowerShell; ``az`` is started by itself."""
    for name in ("az", "pwsh"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >>{tmp_path / 'asked'}\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
    async with Credentials(RealtimeConfig.model_validate(AZURE), environment={}) as credentials:
        with pytest.raises(RefusedError, match="AzureCliCredential"):
            await credentials.secret()
    assert (tmp_path / "asked").read_text() == "az\n"


# --- a managed identity, and whoever ran az login ---------------------------------------------------------------------


@pytest.mark.parametrize("assigned", ["", "66666666-7777-8888-9999-000000000000"])
async def test_a_machine_in_azure_signs_in_by_itself(monkeypatch: pytest.MonkeyPatch, assigned: str) -> None:
    """By the metadata service of a virtual machine; ``AZURE_CLIENT_ID`` names a user-assigned identity."""
    token = {"access_token": "real-token", "expires_in": "86399", "resource": "x", "token_type": "Bearer"}
    async with authority(None, token) as (address, requests):
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", address)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        monkeypatch.setenv("AZURE_CLIENT_ID", assigned)
        if not assigned:
            monkeypatch.delenv("AZURE_CLIENT_ID")
        async with Credentials(RealtimeConfig.model_validate(AZURE), environment={}) as credentials:
            await credentials.warm()
            assert await credentials.secret() == Secret("token", "real-token")
    fetches = [one for one in requests if "/metadata/identity/oauth2/token" in one]
    assert "resource=https://cognitiveservices.azure.com" in unquote(fetches[-1])
    assert (f"client_id={assigned}" in fetches[-1]) == bool(assigned)


@pytest.mark.parametrize("scope", ["https://cognitiveservices.azure.com", "https://ai.azure.com"])
async def test_whoever_ran_az_login_signs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str) -> None:
    (tmp_path / "az").write_text(
        '#!/bin/sh\necho "$@" >>"${0%/*}/asked"\n'
        'echo \'{"accessToken": "real-token", "expires_on": 4000000000, "expiresOn": "2096-10-02 07:06:40.000000"}\'\n'
    )
    (tmp_path / "az").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    realtime = RealtimeConfig.model_validate({**AZURE, "scope": f"{scope}/.default"})
    async with Credentials(realtime, environment={}) as credentials:
        await credentials.warm()
        assert await credentials.secret() == Secret("token", "real-token")
        assert await credentials.secret() == Secret("token", "real-token")
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert f"account get-access-token --output json --resource {scope}" in asked


# --- a service principal of systemd credentials -----------------------------------------------------------------------

PRINCIPAL = {
    "azure_tenant_id": "11111111-2222-3333-4444-555555555555",
    "azure_client_id": "66666666-7777-8888-9999-000000000000",
    "azure_client_secret": "s3cret",
}


def stored(folder: Path, *names: str) -> dict[str, str]:
    """Put parts of the principal where systemd would; the rest stands in the environment."""
    for name in names:
        (folder / name).write_text(f"{PRINCIPAL[name]}\n")
    rest = {name.upper(): value for name, value in PRINCIPAL.items() if name not in names}
    return {"CREDENTIALS_DIRECTORY": str(folder), **rest}


@pytest.mark.parametrize("names", [tuple(PRINCIPAL), ("azure_client_secret",)])
async def test_a_service_principal_of_systemd_credentials_signs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, names: tuple[str, ...]
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (systemd := tmp_path / "credentials").mkdir()
    environment = stored(systemd, *names)
    token = {"access_token": "real-token", "expires_in": 3600, "token_type": "Bearer"}
    async with authority(ca, token) as (address, requests):
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", address)
        with caplog.at_level(logging.DEBUG):
            async with Credentials(
                RealtimeConfig.model_validate(AZURE),
                environment=environment,
                new_identity=lambda: identity(environment, connection_verify=str(tmp_path / "ca.pem")),
            ) as credentials:
                assert await credentials.secret() == Secret("token", "real-token")
    (fetch,) = [one for one in requests if "/token" in one]
    assert fetch.startswith(f"POST /{PRINCIPAL['azure_tenant_id']}/")
    assert f"client_id={PRINCIPAL['azure_client_id']}" in fetch
    assert not any(secret in caplog.text for secret in ("real-token", "s3cret"))


async def test_half_a_service_principal_is_named(tmp_path: Path) -> None:
    environment = stored(tmp_path, "azure_client_secret", "azure_client_id")
    del environment["AZURE_TENANT_ID"]
    async with Credentials(RealtimeConfig.model_validate(AZURE), environment=environment) as credentials:
        with pytest.raises(RefusedError, match='needs "azure_tenant_id" beside it, or AZURE_TENANT_ID'):
            await credentials.secret()
