"""The Realtime service on this machine: listens, lets clients in, and runs their sessions."""

import asyncio
import logging
import ssl as tls
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request as UpgradeRequest
from websockets.http11 import Response as HttpResponse

from voiced.simulator.admission import PATHS, Admission, Provider, Request, Rules, http_refusal, judge
from voiced.simulator.recording import Recording, Watch
from voiced.simulator.scenario import Connection, Refusal, Scenario, load_scenario
from voiced.simulator.script import Script
from voiced.simulator.session import Session, Stage
from voiced.simulator.socket import Socket
from voiced.simulator.speech import Voice

logger = logging.getLogger(__name__)

_LARGEST_MESSAGE = 32 * 2**20
"""Above the 15 MiB of sound in base64 that one event may hold, so that more gets an answer."""

_PING_S = 20.0
"""Source: a probe of the OpenAI endpoint of September 2026."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An upgrade request; ``outcome`` is ``accepted``, ``aborted``, or like ``http 401`` or ``close 3000``."""

    request: Request
    outcome: str


class _Socket(Socket):
    """A connection that remembers how it was let in."""

    admission: Admission
    plan: Connection
    request_seen: Request


class Simulator:
    """The service, for tests and the demo; an async context manager, which fails on exit if a session of it failed.

    Attributes:
        connections: TCP connections accepted so far (with TLS, those whose handshake succeeded).
        attempts: Upgrade requests so far, refused ones included.
        sessions: Recordings of all upgraded connections, oldest first; with ``record=False`` the open ones, empty.

    """

    def __init__(  # noqa: PLR0913 - each is a decision of its own, named where it is made
        self,
        scenario: Scenario | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: tls.SSLContext | None = None,
        rules: Rules | None = None,
        record: bool = True,
        watch: Watch | None = None,
    ) -> None:
        """Prepare a service; nothing listens before the context is entered.

        Args:
            scenario: What it says; the short English conversation by default.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            ssl: Makes it ``wss://``.
            rules: Keys, models, and the manner of refusing; by default everybody is let in.
            record: Whether what happens is kept for tests; a daemon that runs for months does not want it.
            watch: Hears of each event as it happens.

        Raises:
            ConfigError: If the default scenario cannot be read.

        """
        self.scenario = load_scenario() if scenario is None else scenario
        self.rules = Rules() if rules is None else rules
        self.connections = 0
        self.attempts: list[Attempt] = []
        self.sessions: list[Recording] = []
        self._host, self._port, self._ssl = host, port, ssl
        self._record, self._watch = record, watch
        self._stage = Stage(self.scenario, Script(self.scenario), Voice(self.scenario.speech_voice))
        self._started = 0
        self._opened = asyncio.Event()
        self._failures: list[Exception] = []
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        for said in (each for turn in self.scenario.turns for each in (turn, *turn.more)):
            if said.sound:
                await self._stage.voice.say(said.assistant, said.sound)
        simulator = self

        class Counted(_Socket):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                simulator.connections += 1
                super().connection_made(transport)

        self._server = await serve(
            self._converse,
            self._host,
            self._port,
            ssl=self._ssl,
            process_request=self._admit,
            create_connection=Counted,
            compression=None,
            max_size=_LARGEST_MESSAGE,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=2,
            server_header=None,
            logger=_quiet,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._failures and error is None:
            raise ExceptionGroup("sessions of the simulator failed", self._failures)

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the simulator is not running; enter its context first")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Scheme, host and port, as ``ws://127.0.0.1:8765``."""
        return f"{'ws' if self._ssl is None else 'wss'}://{self._host}:{self.port}"

    def url_for(self, provider: Provider, model: str = "gpt-realtime-2.1") -> str:
        """Return the whole address that a client of a service would use."""
        path = next((path for path, name in PATHS.items() if name == provider), "/realtime")
        query = {
            "azure-preview": f"api-version=2024-10-01-preview&deployment={model}",
            "voice-live": f"api-version=2026-07-15&model={model}",
        }.get(provider, f"model={model}")
        return f"{self.url}{path}?{query}"

    async def session(self, index: int = 0, *, timeout_s: float = 10.0) -> Recording:
        """Wait for a session, counted from 0, and return its recording.

        Raises:
            TimeoutError: If there is none in time.

        """
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.sessions) <= index:
                    await self._opened.wait()
        except TimeoutError:
            outcomes = [each.outcome for each in self.attempts]
            raise TimeoutError(f"no session {index} in {timeout_s} s; attempts: {outcomes}") from None
        return self.sessions[index]

    def abort(self) -> None:
        """Reset all TCP connections, as a network does that goes away."""
        for connection in self._running().connections:
            connection.transport.abort()

    async def close_sessions(self, code: int = 1011, reason: str = "") -> None:
        """Close all sessions."""
        await asyncio.gather(*(each.close(code, reason) for each in self._running().connections))

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the simulator is not running; enter its context first")
        return self._server

    # --- connections ----------------------------------------------------------------------------------------------

    async def _admit(self, socket: ServerConnection, upgrade: UpgradeRequest) -> HttpResponse | None:
        """Judge an upgrade request: let it pass, answer it with an HTTP error, or reset the connection."""
        if not isinstance(socket, _Socket):
            raise TypeError("connections are made by serve, as told")
        socket.request_seen = request = _request(upgrade)
        socket.plan = plan = self.scenario.connection(len(self.attempts))
        socket.admission = admission = judge(request, self.rules)
        refusal = plan.refuse or admission.refusal
        self.attempts.append(Attempt(request, _outcome(plan, refusal)))
        await asyncio.sleep(plan.accept_delay_ms / 1000)
        if plan.abort:
            socket.transport.abort()
            return None
        if refusal is None or refusal.status is None:
            return None
        status, headers, body = http_refusal(refusal)
        headers["Content-Length"] = str(len(body))
        return HttpResponse(HTTPStatus(status).value, status.phrase, Headers(headers), body)

    async def _converse(self, socket: ServerConnection) -> None:
        if not isinstance(socket, _Socket):
            raise TypeError("connections are made by serve, as told")
        prices = self.scenario.prices
        recording = Recording(self._started, socket.request_seen, prices, keep=self._record, watch=self._watch)
        self._stage.script.begin()
        session = Session(socket, socket.admission, socket.plan, recording, self._stage)
        self._started += 1
        self.sessions.append(recording)
        waiting, self._opened = self._opened, asyncio.Event()
        waiting.set()
        refusal = socket.plan.refuse or socket.admission.refusal
        try:
            if refusal is not None:
                await session.refuse(refusal)
            else:
                await session.run()
        except Exception as exc:
            logger.exception("session %d of the simulator failed", recording.number)
            self._failures.append(exc)
            raise
        finally:
            if not self._record:
                self.sessions.remove(recording)


def _outcome(plan: Connection, refusal: Refusal | None) -> str:
    if plan.abort:
        return "aborted"
    if refusal is None:
        return "accepted"
    return f"http {refusal.status}" if refusal.status else f"close {refusal.close_code}"


def _request(upgrade: UpgradeRequest) -> Request:
    parts = urlsplit(upgrade.path)
    headers = {name.lower(): value for name, value in upgrade.headers.raw_items()}
    return Request(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers)


# websockets writes a traceback for every connection that a scenario breaks on purpose
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)
