"""Who may come in: path, query and credentials of an upgrade request, judged as each service judges them.

Azure refuses with an HTTP status. OpenAI lets everybody in, sends one ``error`` and closes with 3000 or 4000.
Source: Microsoft's references; a probe of the OpenAI endpoint of September 2026.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from voiced.simulator.dialect import GA, PREVIEW, VOICE_LIVE, Dialect
from voiced.simulator.scenario import Refusal

Provider = Literal["azure", "openai", "azure-preview", "voice-live", "custom"]

PATHS: Mapping[str, Provider] = {
    "/openai/v1/realtime": "azure",
    "/v1/realtime": "openai",
    "/openai/realtime": "azure-preview",
    "/voice-live/realtime": "voice-live",
}
_DIALECTS: Mapping[Provider, Dialect] = {
    "azure": GA,
    "openai": GA,
    "azure-preview": PREVIEW,
    "voice-live": VOICE_LIVE,
    "custom": GA,
}


@dataclass(frozen=True, slots=True)
class Request:
    """An upgrade request; header names in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def credential(self) -> str | None:
        """The key or token it shows, in any of the ways there are."""
        bearer = self.headers.get("authorization", "")
        if bearer.lower().startswith("bearer "):
            return bearer[7:].strip()
        return self.headers.get("api-key") or self.query.get("api-key")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is let in.

    ``keys`` and ``models``: what is accepted; ``None`` is anything. ``manner``: how to refuse; ``None`` is as the
    service of the path does. ``dialect``: of paths that belong to no service.
    """

    keys: Collection[str] | None = None
    models: Collection[str] | None = None
    manner: Literal["azure", "openai"] | None = None
    dialect: Literal["ga", "preview"] = "ga"


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request asks for, and whether it is refused."""

    provider: Provider
    dialect: Dialect
    model: str | None
    """The deployment or model it names."""
    refusal: Refusal | None = None


def judge(request: Request, rules: Rules) -> Admission:
    """Decide about a request."""
    provider = PATHS.get(request.path.rstrip("/"), "custom")
    dialect = _DIALECTS[provider]
    if provider == "custom" and rules.dialect == "preview":
        dialect = PREVIEW
    model = request.query.get("deployment" if provider == "azure-preview" else "model")
    manner = rules.manner or ("openai" if provider in {"openai", "custom"} else "azure")
    problem = _problem(request, rules, provider, model)
    return Admission(provider, dialect, model, None if problem is None else _refusal(problem, manner, model))


def _problem(request: Request, rules: Rules, provider: Provider, model: str | None) -> str | None:
    if rules.keys is not None and request.credential not in rules.keys:
        return "no_key" if request.credential is None else "bad_key"
    if provider == "azure" and "api-version" in request.query:
        return "api_version"
    if provider in {"azure", "openai"} and "openai-beta" in request.headers:
        return "beta"
    if provider in {"azure-preview", "voice-live"} and "api-version" not in request.query:
        return "no_api_version"
    if model is None and provider != "custom" and "agent-name" not in request.query:
        return "no_model"
    if rules.models is not None and model is not None and model not in rules.models:
        return "bad_model"
    return None


_AZURE = {
    "no_key": (401, "401", "Access denied: the request carries neither an api-key nor a bearer token."),
    "bad_key": (401, "401", "Access denied: the key or token is wrong, or belongs to another resource."),
    "api_version": (401, "401", "Access denied: the v1 address takes no api-version; leave it out of the query."),
    "beta": (400, "beta_api_shape_disabled", "The header OpenAI-Beta belongs to a retired interface; leave it out."),
    "no_api_version": (400, "BadRequest", "The query lacks api-version."),
    "no_model": (400, "BadRequest", "The query names no deployment."),
    "bad_model": (404, "DeploymentNotFound", "The resource has no deployment {model!r}."),
}
_OPENAI = {
    "no_key": (3000, "", "Missing bearer authentication in the header."),
    "bad_key": (3000, "invalid_api_key", "The API key provided is incorrect."),
    "api_version": (4000, "unknown_parameter", "Unknown parameter: 'api-version'."),
    "beta": (4000, "beta_api_shape_disabled", "The Realtime beta interface is no longer supported; use the GA one."),
    "no_api_version": (4000, "missing_required_parameter", "Missing required parameter: 'api-version'."),
    "no_model": (4000, "missing_model", "You must name a model in the query."),
    "bad_model": (4000, "invalid_model", "Model {model!r} does not exist, or is no Realtime model."),
}


def _refusal(problem: str, manner: Literal["azure", "openai"], model: str | None) -> Refusal:
    if manner == "azure":
        status, code, message = _AZURE[problem]
        return Refusal(status=status, code=code, message=message.format(model=model))
    close_code, code, message = _OPENAI[problem]
    return Refusal(close_code=close_code, code=code, message=message.format(model=model))


def http_refusal(refusal: Refusal) -> tuple[HTTPStatus, dict[str, str], bytes]:
    """Return status, headers and JSON body of a refusal by HTTP."""
    if refusal.status is None:
        raise ValueError("this refusal comes after the upgrade")
    body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}}).encode()
    headers = {"Content-Type": "application/json"}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    return HTTPStatus(refusal.status), headers, body
