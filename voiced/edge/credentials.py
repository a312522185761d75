"""Keys and tokens: found when a session opens, never kept longer than needed, never shown (azure-identity).

A key is read anew for every session, so a changed one needs no restart. Keyless sign-in loads ``azure.identity`` at
its first use only: it costs 0.2 s and 36 MB.
"""

import asyncio
import importlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import Secret
from voiced.errors import RefusedError, ServiceError

logger = logging.getLogger(__name__)

RENEW_S = 300.0
"""A token is renewed when it has less than this left; azure-identity's own cache does the same."""

FETCH_S = 30.0
"""How long all identities together may take; the Azure CLI alone may need 10 s."""

_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "azure": (("azure_openai_api_key", "realtime_key"), ("AZURE_OPENAI_API_KEY",)),
    "azure-preview": (("azure_openai_api_key", "realtime_key"), ("AZURE_OPENAI_API_KEY",)),
    "voice-live": (
        ("azure_openai_api_key", "realtime_key"),
        ("AZURE_VOICELIVE_API_KEY", "AZURE_OPENAI_API_KEY"),
    ),
    "openai": (("openai_api_key", "realtime_key"), ("OPENAI_API_KEY",)),
    "custom": (("realtime_key",), ()),  # never the key of a cloud: the server may be anybody's
    "simulator": ((), ()),
}
"""Of each provider: names of systemd credentials, names of environment variables."""


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


def default_identity() -> Identity:
    """Return Azure's usual chain: environment, managed identity, ``az login`` and others. Loads a large library."""
    # Its warnings say over twenty lines what we raise as a sentence.
    logging.getLogger("azure").setLevel(logging.ERROR)
    return cast("Identity", importlib.import_module("azure.identity.aio").DefaultAzureCredential())


class Credentials:
    """What to sign in with; an asynchronous context manager that closes the identity's sockets."""

    def __init__(
        self,
        realtime: RealtimeConfig,
        *,
        environment: Mapping[str, str] | None = None,
        new_identity: Callable[[], Identity] = default_identity,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = realtime
        self._environment = os.environ if environment is None else environment
        self._new_identity = new_identity
        self._clock = clock
        self._identity: Identity | None = None
        self._token: AccessToken | None = None
        self._fetching = asyncio.Lock()
        self._warned = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Forget the token and close the identity's sockets."""
        self._token = None
        identity, self._identity = self._identity, None
        if identity is not None:
            await identity.close()

    async def secret(self, *, refused: Secret | None = None) -> Secret | None:
        """Return what to sign in with now; ``None`` where nothing is needed.

        Args:
            refused: A token the service did not take although it looked valid; another one is fetched.

        Raises:
            RefusedError: If nothing is found that could sign in.
            ServiceError: If the sign-in service cannot be reached.

        """
        if self._config.auth != "entra":
            key = self._key()
            if key is not None:
                return Secret("key", key)
        if self._keyless():
            return await self._current_token(refused)
        if self._config.auth == "key" or self._config.provider == "openai":
            raise RefusedError(f"There is no key: {self._tried()}. Put one there.")
        return None

    async def warm(self) -> None:
        """Fetch or renew the token where sign-in is keyless; a failure is logged once."""
        try:
            await self.secret()
        except ServiceError as exc:
            logger.log(logging.DEBUG if self._warned else logging.WARNING, "%s", exc)
            self._warned = True
        else:
            self._warned = False

    # --- keys ---------------------------------------------------------------------------------------------------------

    def _key(self) -> str | None:
        credentials, variables = _NAMES[self._config.provider]
        if self._config.provider != "simulator" and self._config.key_file:
            return _clean("realtime.key_file", _read(Path(self._config.key_file).expanduser()))
        directory = self._environment.get("CREDENTIALS_DIRECTORY")
        if directory:
            for name in credentials:
                path = Path(directory) / name
                if path.exists():
                    return _clean(f'systemd credential "{name}"', _read(path))
        for name in variables:
            value = self._environment.get(name, "").strip()
            if value:
                return _clean(name, value)
        return None

    def _tried(self) -> str:
        credentials, variables = _NAMES[self._config.provider]
        named = [f'systemd credential "{name}"' for name in credentials]
        return ", ".join(["realtime.key_file is not set", *(f"{one} is absent" for one in [*named, *variables])])

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _keyless(self) -> bool:
        azure = self._config.provider in ("azure", "azure-preview", "voice-live")
        return self._config.auth == "entra" or (azure and self._config.auth == "auto")

    async def _current_token(self, refused: Secret | None) -> Secret:
        async with self._fetching:  # whoever comes second finds what the first one fetched
            held = self._token
            left = 0.0 if held is None else held.expires_on - self._clock()
            if held is not None and refused is not None and held.token == refused.value:
                await self.close()  # only a new identity has no cache that would hand out the same token again
                left = 0.0
            if left < RENEW_S:
                try:
                    self._token = await self._fetch()
                except ServiceError as exc:
                    if left <= 0:
                        raise
                    logger.warning("The old token is used for another %d s: %s", left, exc)
            return Secret("token", cast("AccessToken", self._token).token)

    async def _fetch(self) -> AccessToken:
        try:
            async with asyncio.timeout(FETCH_S):
                if self._identity is None:
                    self._identity = await asyncio.to_thread(self._new_identity)  # imports for 0.2 s
                token = await self._identity.get_token(self._config.scope)
        except TimeoutError as exc:
            raise ServiceError(
                f"Keyless sign-in took longer than {FETCH_S:.0f} s; check the network, or use a key.", code="timeout"
            ) from exc
        except ImportError as exc:
            raise RefusedError(
                f"Keyless sign-in needs azure-identity and aiohttp ({exc}); install voiced anew, or use a key."
            ) from exc
        except _azure_errors() as exc:
            raise self._no_token(str(exc)) from None  # a cause would be logged, and quotes tenants and requests
        logger.info("Keyless sign-in: a token for %d min", (token.expires_on - self._clock()) / 60)
        return token

    def _no_token(self, said: str) -> ServiceError:
        attempts = list(dict.fromkeys(re.findall(r"^\t(\w+Credential)\b", said, re.MULTILINE)))
        entra = re.search(r"AADSTS\d+", said)
        if entra is None and re.search(r"Cannot connect to host|name resolution|Name or service not known", said):
            return ServiceError(
                "Microsoft's sign-in service cannot be reached for keyless sign-in; check the network and DNS."
            )
        tried = ", ".join(attempts) or "one identity"
        role = "Cognitive Services User" if self._config.provider == "voice-live" else "Cognitive Services OpenAI User"
        key = "" if self._config.auth == "entra" else f"There is no key: {self._tried()}. "
        return RefusedError(
            f"{key}Keyless sign-in failed{f' with {entra[0]}' if entra else ''} (tried {tried}). "
            f'Run "az login" as the user of the daemon, or give the machine a managed identity with the role "{role}" '
            "on the resource, or set a key."
        )


def _azure_errors() -> tuple[type[Exception], ...]:
    """Return what an identity raises; looked up when something was raised, by then the library is loaded."""
    return (importlib.import_module("azure.core.exceptions").AzureError, ValueError)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise RefusedError(f"The key in {path} cannot be read: {why}; check path, owner and mode.") from None


def _clean(where: str, text: str) -> str:
    """Return a key that fits into a header."""
    key = text.strip()
    if not key:
        raise RefusedError(f"{where} holds no key: it is empty.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise RefusedError(f"{where} holds more than a key: it must be one word of printable ASCII.")
    return key
