"""Where a session goes: one URL and one way to sign in for each provider.

Source: Microsoft's documents "Realtime API via WebSockets" and "Migrate from preview", OpenAI's "Realtime with
WebSocket", and the URLs that ``openai`` 3.52.0 and ``azure-ai-voicelive`` 1.3.1 were seen to open; November 2026.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from voiced.config import Config, RealtimeConfig
from voiced.core.realtime.codec import Dialect
from voiced.errors import ConfigError

SignIn: TypeAlias = Literal["azure", "bearer", "none"]
"""``azure``: a key as ``api-key``, a token as bearer; ``bearer``: either as bearer; ``none``: neither."""

PREVIEW_API = "2024-10-01-preview"
VOICE_LIVE_API = "2026-07-15"
OPENAI = "https://api.openai.com/v1"

RETIRED = (
    "Azure's preview Realtime API is retired (deprecated since 2026-04-30) and may refuse at any time; "
    'set realtime.provider = "azure" and name a deployment of a GA model such as gpt-realtime-2.1.'
)
UNENCRYPTED = (
    "The connection to {host} is not encrypted, and the key would be readable on the way; use https:// or wss://."
)

_WEBSOCKET = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}


@dataclass(frozen=True, slots=True)
class Secret:
    """What proves who we are; never shown.

    Attributes:
        kind: A ``key`` that was given, or a ``token`` from Microsoft Entra.
        value: The secret itself.

    """

    kind: Literal["key", "token"]
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how one session is opened.

    Attributes:
        url: The WebSocket URL; holds no key unless a person wrote one into ``realtime.url``, hence not shown.
        dialect: Which codec it speaks.
        sign_in: How a secret is shown to it.
        target: What answers there, such as ``deployment "kitchen"``; empty where we do not know.
        warnings: Sentences a person should read once, at the start.

    """

    url: str = field(repr=False)
    dialect: Dialect
    sign_in: SignIn
    target: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Host and, where it is written, port."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.url.startswith("wss:")

    def describe(self) -> str:
        """Return where this goes, for a person; without the query, which may hold anything."""
        parts = urlsplit(self.url)
        place = f"{parts.scheme}://{self.host}{parts.path}"
        return f"{self.target} at {self.host}" if self.target else place

    def headers(self, secret: Secret | None) -> dict[str, str]:
        """Return the headers that sign in with ``secret``."""
        if secret is None or self.sign_in == "none":
            return {}
        if self.sign_in == "azure" and secret.kind == "key":
            return {"api-key": secret.value}
        return {"Authorization": f"Bearer {secret.value}"}


def endpoint(realtime: RealtimeConfig, *, url: str | None = None, model: str | None = None) -> Endpoint:
    """Return where sessions go.

    Args:
        realtime: The section of the configuration.
        url: Where the simulator listens, for provider ``simulator``; overrides ``realtime.url``.
        model: Deployment or model instead of ``realtime.deployment``.

    Raises:
        ConfigError: If a URL is missing or is none.

    """
    name = model or realtime.deployment
    match realtime.provider:
        case "azure":
            base = _azure(realtime.endpoint)
            return _named(_join(base, "/openai/v1/realtime", model=name), "ga", f'deployment "{name}"')
        case "azure-preview":
            query = {"api-version": realtime.api_version or PREVIEW_API, "deployment": name}
            there = _join(_azure(realtime.endpoint), "/openai/realtime", **query)
            return _named(there, "preview", f'deployment "{name}"', RETIRED)
        case "voice-live":
            query = {"api-version": realtime.api_version or VOICE_LIVE_API, "model": name}
            there = _join(_azure(realtime.endpoint), "/voice-live/realtime", **query)
            return _named(there, "voice-live", f'model "{name}"')
        case "openai":
            base = _split("realtime.endpoint", realtime.endpoint or OPENAI)
            path = re.sub(r"(/v1)?(/realtime)?/*$", "", base.path) + "/v1"
            there = _join(base._replace(path=path), "/realtime", model=name)
            return _named(there, "ga", f'model "{name}"', sign_in="bearer")
        case "custom":
            there = urlunsplit(_split("realtime.url", realtime.url))
            return _named(there, realtime.dialect, "", sign_in="bearer")
        case "simulator":
            there = urlunsplit(_split("realtime.url", url or realtime.url))
            return Endpoint(there, realtime.dialect, "none", "the simulator")


def shown(config: Config) -> dict[str, Any]:
    """Return a configuration as it may be printed, without what its URLs may hold of secrets."""
    told: dict[str, Any] = config.model_dump(mode="json")
    told["realtime"] |= {key: masked(told["realtime"][key]) for key in ("url", "endpoint")}
    return told


def masked(url: str) -> str:
    """Return a URL as it may be shown: without user, and without what its query holds but names and versions."""
    parts = urlsplit(url)
    shown = [
        (name, value if name in {"model", "deployment", "api-version"} else "***")
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = urlencode(shown, quote_via=quote, safe="*")
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{'***' if user else ''}{at}{host}", query=query))


def _named(url: str, dialect: Dialect, target: str, *warnings: str, sign_in: SignIn = "azure") -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme == "ws" and not _here(parts.hostname or ""):
        warnings += (UNENCRYPTED.format(host=parts.hostname),)
    return Endpoint(url, dialect, sign_in, target, warnings)


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost" or host.endswith(".localhost")


def _azure(text: str) -> SplitResult:
    """Take what people paste: the resource, its ``/openai/v1/`` base, a Foundry project, a whole Realtime URL."""
    base = _split("realtime.endpoint", text)
    path = re.sub(r"/(openai|voice-live|api/projects)(/.*)?$", "", base.path)
    return base._replace(path=path.rstrip("/"))


def _split(key: str, text: str) -> SplitResult:
    """Return a URL, its scheme made ``ws`` or ``wss``."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        known = parts.scheme in _WEBSOCKET and parts.hostname and (parts.port or 1)
    except ValueError as exc:  # a port that is none, half an IPv6 address
        raise ConfigError(f"{key}: {exc}; write a URL like https://RESOURCE.openai.azure.com.") from exc
    if not known:
        shown = f'not "{parts.scheme}://{parts.hostname or ""}"' if text else "it is empty"
        raise ConfigError(f"{key}: must be an https:// or wss:// URL with a host; {shown}.")
    return parts._replace(scheme=_WEBSOCKET[parts.scheme], fragment="")


def _join(base: SplitResult, path: str, **query: str) -> str:
    return urlunsplit(base._replace(path=base.path + path, query=urlencode(query, quote_via=quote, safe="")))
