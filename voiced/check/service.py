"""The Realtime service: signing in, and a session that is opened and closed without a sound."""

import time
from contextlib import AsyncExitStack

from voiced.check.findings import Finding, Visit, failed, passed, reason, skipped, warned
from voiced.core.profiles import session_settings
from voiced.core.realtime.endpoint import Endpoint, endpoint
from voiced.edge.credentials import Credentials
from voiced.edge.service import RealtimeService
from voiced.errors import ConfigError, ServiceError
from voiced.house import start_simulator


async def sign_in(visit: Visit) -> list[Finding]:
    """Find the key, or fetch a token."""
    subject, realtime = "sign-in", visit.config.realtime
    if realtime.provider == "simulator":
        return [skipped(subject, "the simulator wants no key")]
    tried = f"look for what signs in at {realtime.provider}"
    async with Credentials(realtime, environment=visit.environ) as credentials:
        began = time.monotonic()
        try:
            secret = await credentials.secret()
        except ServiceError as exc:
            return [failed(subject, tried, *reason(exc))]
    took = round((time.monotonic() - began) * 1000)
    if secret is None:
        remedy = "nothing, if the server lets everybody in; else name a file in realtime.key_file"
        return [passed(subject, tried, "there is no key, and none is needed", remedy)]
    found = f"a key of {len(secret.value)} letters" if secret.kind == "key" else f"a token, after {took} ms"
    return [passed(subject, tried, found, kind=secret.kind)]


async def session(visit: Visit) -> list[Finding]:
    """Open a session for each deployment that a profile names, and close it: nothing is said, nothing is paid."""
    realtime = visit.config.realtime
    single = realtime.provider in {"custom", "simulator"}
    profiles = {"" if single else profile.deployment: name for name, profile in visit.config.profiles.items()}
    async with AsyncExitStack() as parts:
        url = await start_simulator(parts) if realtime.provider == "simulator" else None
        credentials = await parts.enter_async_context(Credentials(realtime, environment=visit.environ))
        found = []
        for deployment, profile in sorted(profiles.items()):
            try:
                where = endpoint(realtime, url=url, model=deployment or None)
            except ConfigError as exc:
                return [failed("service", "read [realtime]", *reason(exc))]
            found.append(await _session(visit, where, credentials, profile))
    return found


async def _session(visit: Visit, where: Endpoint, credentials: Credentials, profile: str) -> Finding:
    subject = "service"
    tried = f"open and close a session with {where.describe()}"
    service = RealtimeService(where, credentials, ca_file=visit.config.realtime.ca_file)
    began = time.monotonic()
    try:
        async with service.open(session_settings(visit.config, profile, where.dialect)) as opened:
            took = round((time.monotonic() - began) * 1000)
            model = opened.model
    except ServiceError as exc:
        return failed(subject, tried, *reason(exc), code=exc.code)
    found = f"open after {took} ms" + (f", {model} answers" if model else "")
    figures: dict[str, str | float | None] = {"milliseconds": took, "model": model}
    if visit.config.realtime.provider == "simulator":
        remedy = 'its answers are canned; name a service in [realtime], such as provider = "azure" or "openai"'
        return warned(subject, tried, found, remedy, **figures)
    return passed(subject, tried, found, **figures)
