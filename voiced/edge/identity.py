"""Who signs in without a key (azure-identity): a service principal, the machine itself, or whoever ran ``az login``.

The library costs 0.2 s and 36 MB, and is loaded at the first use only.
"""

import importlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from voiced.errors import RefusedError

PRINCIPAL = ("azure_tenant_id", "azure_client_id", "azure_client_secret")
"""Systemd credentials of a service principal; tenant and client may stand in the environment too, in capitals."""


class AccessToken(Protocol):
    """What an identity hands out."""

    @property
    def token(self) -> str:
        """The token itself."""

    @property
    def expires_on(self) -> int:
        """When it ends, Unix seconds."""


class Identity(Protocol):
    """The part of ``azure.core.credentials_async.AsyncTokenCredential`` that is used."""

    async def get_token(self, *scopes: str) -> AccessToken:
        """Return a token for ``scopes``."""

    async def close(self) -> None:
        """Close its connections."""


def identity(environment: Mapping[str, str], **options: Any) -> Identity:
    """Return who signs in: the service principal of systemd credentials, where there is one.

    Else Azure's usual chain: principal or workload of the environment, managed identity (a user-assigned one by
    ``AZURE_CLIENT_ID``), ``az login`` and others. May take 0.2 s.

    Args:
        environment: Says where systemd's credentials are.
        options: Passed on to the library.

    Raises:
        RefusedError: If half a service principal is there.

    """
    for noisy in ("azure", "msal"):  # their warnings say over twenty lines what we raise as a sentence
        logging.getLogger(noisy).setLevel(logging.ERROR)
    library = importlib.import_module("azure.identity.aio")
    principal = _principal(environment)
    if principal is None:
        # PowerShell would be asked through a shell, even where there is none; whoever has it may have `az`.
        return cast("Identity", library.DefaultAzureCredential(exclude_powershell_credential=True, **options))
    return cast("Identity", library.ClientSecretCredential(*principal, **options))


def _principal(environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory or not (Path(directory) / PRINCIPAL[2]).exists():
        return None
    found = []
    for name in PRINCIPAL:
        path = Path(directory) / name
        try:
            value = path.read_text(encoding="utf-8").strip() if path.exists() else environment.get(name.upper(), "")
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not text"
            raise RefusedError(f'The systemd credential "{name}" cannot be read: {why}.') from None
        if not value:
            raise RefusedError(
                f'The systemd credential "{PRINCIPAL[2]}" needs "{name}" beside it, or {name.upper()} in the '
                "environment: a service principal is tenant, client and secret."
            )
        found.append(value)
    return found[0], found[1], found[2]


def azure_errors() -> tuple[type[Exception], ...]:
    """Return what an identity raises; looked up when something was raised, by then the library is loaded."""
    return (importlib.import_module("azure.core.exceptions").AzureError, ValueError)


def is_unreachable(said: str) -> bool:
    """Return whether an error of the library means that the sign-in service cannot be reached."""
    away = re.search(r"Cannot connect to host|name resolution|Name or service not known", said)
    return away is not None and entra_code(said) is None


def entra_code(said: str) -> str | None:
    """Return Microsoft's number for what went wrong, where the library quotes one."""
    found = re.search(r"AADSTS\d+", said)
    return None if found is None else found[0]


def tried(said: str) -> str:
    """Return which identities the library tried."""
    attempts = dict.fromkeys(re.findall(r"^\t(\w+Credential)\b", said, re.MULTILINE))
    return ", ".join(attempts) or "one identity"
