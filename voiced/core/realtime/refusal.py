"""How the service says no, as one sentence: by HTTP status, or by an ``error`` event and a close code.

Azure refuses at the upgrade; OpenAI accepts the WebSocket, sends ``error`` and closes with 3000 or 4000.
"""

import json
import re
from typing import Any

from voiced.core.realtime.endpoint import Endpoint, Secret
from voiced.core.realtime.events import ANOTHER_ANSWER, ServiceProblem
from voiced.core.redaction import redact
from voiced.errors import NotAllowedError, RefusedError, ServiceError

_ROLES = {"voice-live": "Cognitive Services User"}
"""What the identity needs on the resource; everywhere else ``Cognitive Services OpenAI User``."""


def http(
    endpoint: Endpoint, secret: Secret | None, status: int, body: bytes, retry_after_s: float | None = None
) -> ServiceError:
    """Return the error for an HTTP answer other than 101.

    Args:
        endpoint: Where we wanted to go.
        secret: What we signed in with.
        status: HTTP status.
        body: What the answer holds; usually ``{"error": {"code", "message"}}``.
        retry_after_s: When it may be tried again, where the answer says so.

    """
    code, message = _service_words(body, secret)
    said = f"HTTP {status}" + (f" {code}" if code and code != str(status) else "")
    quoted = f': "{message}"' if message else ""
    if status in (401, 403):
        return _not_allowed(endpoint, secret, f"{said}{quoted}", network=status == 403)
    if code in ("DeploymentNotFound", "model_not_found"):
        return _no_model(endpoint, said)
    if code in ("OpperationNotSupported", "OperationNotSupported"):  # the service spells it wrong
        return RefusedError(
            f"The {endpoint.describe()} is not a realtime model ({said}); "
            "set realtime.deployment to one of gpt-realtime-2.1 or its family."
        )
    if status == 404:
        return RefusedError(
            f"{endpoint.host} has no Realtime API at this address ({said}{quoted}); "
            "check realtime.provider and realtime.endpoint (or realtime.url)."
        )
    if status == 429 or code in ("insufficient_quota", "rate_limit_exceeded"):
        return _quota(endpoint, code, said, retry_after_s)
    if status == 408 or status >= 500:
        kind = "timeout" if status in (408, 504) else "unreachable"
        return ServiceError(
            f"{endpoint.host} is out of order ({said}{quoted}); it will be tried again.",
            code=kind,
            retry_after_s=retry_after_s,
        )
    if status == 431:
        return RefusedError(
            f"{endpoint.host} finds the request's headers too many (HTTP 431; Azure takes 10 of one's own); "
            "look for a proxy that adds some."
        )
    if 300 <= status < 400:
        return RefusedError(
            f"{endpoint.host} sends us elsewhere ({said}); the key is not carried to another host, "
            "so write the new address into realtime.endpoint (or realtime.url)."
        )
    return RefusedError(
        f"{endpoint.describe()} refused the connection ({said}{quoted}); check [realtime] in the configuration."
    )


def ended(
    endpoint: Endpoint, secret: Secret | None, code: int | None, reason: str, problem: ServiceProblem | None
) -> ServiceError:
    """Return the error for a WebSocket that the service or the network closed.

    Args:
        endpoint: Where it went.
        secret: What we signed in with.
        code: Close code; nothing or 1006 where the connection broke.
        reason: Close reason; OpenAI writes ``error.type[.code]`` there.
        problem: The last ``error`` event.

    """
    why = (problem.code if problem else None) or reason.rpartition(".")[2]
    message = _scrub(problem.message if problem else reason, secret)
    said = f"close {code}" + (f' "{message}"' if message else "")
    host = endpoint.host
    if why == "session_expired" or "maximum duration" in reason:
        return ServiceError(f"{host} ended the session at its maximum duration ({said}).", code="expired")
    if why in ("invalid_model", "missing_model", "model_not_found", "DeploymentNotFound"):
        return _no_model(endpoint, said)
    if why == "beta_api_shape_disabled":
        return RefusedError(
            f"{host} no longer speaks the beta protocol ({said}); "
            'your server or proxy adds the retired header "OpenAI-Beta", or realtime.dialect should be "ga".'
        )
    if why in ("insufficient_quota", "rate_limit_exceeded"):
        return _quota(endpoint, why, said, None)
    if code == 3000 or why == "invalid_api_key":
        return _not_allowed(endpoint, secret, said, network=False)
    if code == 4000 or code in (1008, 1009):
        return RefusedError(f"{endpoint.describe()} refused the session ({said}); check [realtime] and the profile.")
    if code in (None, 1006):
        return ServiceError(f"The connection to {host} broke.", code="closed")
    if code == 1011 and "ping timeout" in reason:
        return ServiceError(f"{host} stopped answering; the network may be down.", code="closed")
    return ServiceError(f"{host} ended the session ({said}).", code="closed")


def _not_allowed(endpoint: Endpoint, secret: Secret | None, said: str, *, network: bool) -> NotAllowedError:
    if secret is None:
        what, remedy = "wants a key", "set realtime.key_file, AZURE_OPENAI_API_KEY or OPENAI_API_KEY as it fits"
    elif secret.kind == "token":
        what = "does not let this identity in"
        role = _ROLES.get(endpoint.dialect, "Cognitive Services OpenAI User")
        remedy = f'give it the role "{role}" on the resource, or use a key'
    elif endpoint.sign_in == "azure":
        what = "refused the key"
        remedy = "check AZURE_OPENAI_API_KEY or realtime.key_file: the key must be one of this very resource"
    else:
        what, remedy = "refused the key", "check OPENAI_API_KEY or realtime.key_file"
    if network:
        remedy += "; see also whether the resource's network rules admit this address"
    return NotAllowedError(f"{endpoint.describe()} {what} ({said}); {remedy}.")


def _no_model(endpoint: Endpoint, said: str) -> RefusedError:
    wanted = endpoint.target or "such model"
    hint = "a new deployment needs some minutes" if endpoint.sign_in == "azure" else "its access may be restricted"
    return RefusedError(
        f"There is no {wanted} at {endpoint.host} ({said}); set realtime.deployment to one that exists ({hint})."
    )


def _quota(endpoint: Endpoint, code: str | None, said: str, retry_after_s: float | None) -> ServiceError:
    if code == "insufficient_quota":
        return RefusedError(f"The account's quota at {endpoint.host} is used up ({said}); check plan and billing.")
    wait = "in a while" if retry_after_s is None else f"in {retry_after_s:.0f} s"
    return ServiceError(
        f"{endpoint.describe()} takes no more sessions for now ({said}); try again {wait}, or raise its rate limit.",
        code="refused",
        retry_after_s=1.0 if retry_after_s is None else retry_after_s,
    )


def _service_words(body: bytes, secret: Secret | None) -> tuple[str | None, str]:
    """Find code and message in what may be anything."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None, ""
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None, ""
    code, message = error.get("code"), error.get("message")
    shown = _scrub(message, secret) if isinstance(message, str) else ""
    return (code if isinstance(code, str) and re.fullmatch(r"\w{1,64}", code) else None), shown


def _scrub(text: str, secret: Secret | None) -> str:
    """Take the secret, line breaks and excess out of a text of the service, which may quote what it was sent."""
    text = redact(text, () if secret is None else (secret.value,))
    text = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return text if len(text) <= 200 else text[:197] + "..."


_RACES = frozenset(
    {
        "response_cancel_not_active",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "input_audio_buffer_commit_empty",
        "unsupported_content_type",  # of an item without sound, which cannot be truncated
        ANOTHER_ANSWER,
    }
)


def harmless(problem: ServiceProblem) -> bool:
    """Whether an ``error`` says only that something was over before we stopped it.

    Source: public issues of clients of OpenAI's Realtime API, November 2026.
    """
    return problem.code in _RACES or "already shorter" in problem.message
