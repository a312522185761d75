"""A web server on loopback, which answers as the test says."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(*, tls: ssl.SSLContext | None = None, **handlers: Handler) -> AsyncIterator[str]:
    """A web server on loopback; each handler answers below its name."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http{'s' if tls else ''}://localhost:{port}"
    finally:
        await runner.cleanup()


def gives(body: bytes, kind: str = "audio/mpeg", status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, status=status)

    return handler


def leads_to(place: str, seen: list[str] | None = None) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if seen is not None:
            seen.append(request.path)
        return web.Response(status=302, headers={"Location": place})

    return handler
