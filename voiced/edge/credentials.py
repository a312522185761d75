"""Keys and tokens: found when a session opens, never kept longer than needed, never shown.

A key is read anew for every session, so a changed one needs no restart. A token is fetched beforehand and renewed in
the background; a session waits for one only where there is none that holds.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import Secret
from voiced.edge.identity import AccessToken, Identity, azure_errors, entra_code, identity, is_unreachable, tried
from voiced.edge.machine import since_boot
from voiced.errors import RefusedError, ServiceError

logger = logging.getLogger(__name__)

RENEW_S = 300.0
"""A token is renewed when it has less than this left; azure-identity's own cache does the same."""

SPARE_S = 15.0
"""A token with less left is not shown any more: it is judged when the connection is made, which takes some seconds."""

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


class Credentials:
    """What to sign in with; an asynchronous context manager that closes the identity's sockets."""

    def __init__(
        self,
        realtime: RealtimeConfig,
        *,
        environment: Mapping[str, str] | None = None,
        new_identity: Callable[[], Identity] | None = None,
        clock: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = since_boot,
    ) -> None:
        self._config = realtime
        self._environment = os.environ if environment is None else environment
        self._new_identity = new_identity or partial(identity, self._environment)
        self._clock, self._since_boot = clock, since_boot
        self._identity: Identity | None = None
        self._token: AccessToken | None = None
        self._until = 0.0  # seconds since the machine started
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
        await self._leave_identity()

    async def _leave_identity(self) -> None:
        identity, self._identity = self._identity, None
        if identity is not None:
            await identity.close()

    async def secret(self, *, refused: Secret | None = None) -> Secret | None:
        """Return what to sign in with now; ``None`` where nothing is needed.

        A token that holds is returned at once, also while it is being renewed.

        Args:
            refused: A token the service did not take although it looked valid; another one is fetched.

        Raises:
            RefusedError: If nothing is found that could sign in.
            ServiceError: If the sign-in service cannot be reached.

        """
        key = None if self._config.auth == "entra" else self._key()
        if key is not None:
            return Secret("key", key)
        if self._keyless():
            if refused is None and self._left() > SPARE_S:
                return self._shown()
            return await self._another(refused)
        if self._config.auth == "key" or self._config.provider == "openai":
            raise RefusedError(f"There is no key: {self._tried()}. Put one there.")
        return None

    async def warm(self) -> None:
        """Fetch or renew the token where sign-in is keyless, in good time; a failure is logged once."""
        try:
            if self._keyless() and (self._config.auth == "entra" or self._key() is None):
                await self._renew()
        except ServiceError as exc:
            left = self._left()
            still = f" The token there is holds for {left / 60:.0f} min more." if left > 0 else ""
            logger.log(logging.DEBUG if self._warned else logging.WARNING, "%s%s", exc, still)
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

    def _left(self) -> float:
        """Return for how many seconds the token holds: a clock that is set makes it older, never younger."""
        if self._token is None:
            return 0.0
        return min(self._token.expires_on - self._clock(), self._until - self._since_boot())

    def _shown(self) -> Secret:
        assert self._token is not None  # noqa: S101 - whoever asks has looked, or has just fetched it
        return Secret("token", self._token.token)

    async def _renew(self) -> None:
        async with self._fetching:  # whoever comes second finds what the first one fetched
            if self._left() < RENEW_S:
                await self._take()

    async def _another(self, refused: Secret | None) -> Secret:
        """Return a token that holds and is not the refused one."""
        async with self._fetching:
            if self._token is not None and refused is not None and self._token.token == refused.value:
                await self.close()  # only a new identity has no cache that would hand out the same token again
            if self._left() <= SPARE_S:
                await self._take()
            return self._shown()

    async def _take(self) -> None:
        """Fetch another token than the one that ends."""
        before = self._token
        taken = await self._fetch()
        if before is not None and taken.token == before.token:
            # The identity's cache goes by the clock on the wall, which was set back: only a new one asks.
            await self._leave_identity()
            taken = await self._fetch()
        until = self._since_boot() + taken.expires_on - self._clock()
        self._until = min(until, self._until) if before is not None and taken.token == before.token else until
        self._token = taken

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
        except azure_errors() as exc:
            raise self._no_token(str(exc)) from None  # a cause would be logged, and quotes tenants and requests
        logger.info("Keyless sign-in: a token for %d min", (token.expires_on - self._clock()) / 60)
        return token

    def _no_token(self, said: str) -> ServiceError:
        if is_unreachable(said):
            return ServiceError(
                "Microsoft's sign-in service cannot be reached for keyless sign-in; check the network and DNS."
            )
        code = entra_code(said)
        role = "Cognitive Services User" if self._config.provider == "voice-live" else "Cognitive Services OpenAI User"
        key = "" if self._config.auth == "entra" else f"There is no key: {self._tried()}. "
        return RefusedError(
            f"{key}Keyless sign-in failed{f' with {code}' if code else ''} (tried {tried(said)}). "
            f'Run "az login" as the user of the daemon, or give the machine a managed identity with the role "{role}" '
            "on the resource, or set a key."
        )


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
