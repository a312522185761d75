"""From the wake word to the first sound on the wire, against the handshakes that nobody can spare.

The daemon with its real service, credentials and converter, over TLS, through a line with a round trip of its own; the
reference is a bare socket that does the same handshakes with messages written beforehand, and nothing else: TCP, TLS,
upgrade, ``session.update`` until ``session.updated``, sound. Both are timed until the service has the first sound.
"""

import asyncio
import base64
import json
import logging
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trustme

from tests.recordings import NOTES, SOUNDS, load
from tests.stories import QUICK, Home, at_home, config_for_tests
from voiced.config import RealtimeConfig
from voiced.core.frames import FRAME
from voiced.simulator import Simulator

SAID = "hey_jarvis_1"
ROUND_TRIPS_MS = (0, 20, 50, 150)
ALLOWANCE_MS = 15.0
"""What may be added to a multiple of the floor: threads, converter, and the first chunk of sound."""
REFERENCE = "a bare socket that does the same handshakes"

_UPDATE = {"type": "session.update", "session": {"type": "realtime", "instructions": "x"}}
_APPEND = {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(1920)).decode()}


def measure_wire(*, quick: bool) -> dict[str, Any]:
    """Wake to wire for each round trip: medians, and the worst ratio to the floor once the allowance is taken off."""
    logging.disable(logging.WARNING)
    try:
        told = asyncio.run(_all(rounds=2 if quick else 10))
    finally:
        logging.disable(logging.NOTSET)
    return {
        "wake_to_wire_ratio": max(each["ratio"] for each in told.values()),
        "wake_to_wire_allowance_ms": ALLOWANCE_MS,
        "wake_to_wire_reference": REFERENCE,
        "wake_to_wire": {f"{rtt_ms} ms": each for rtt_ms, each in told.items()},
    }


def measure(*, quick: bool) -> dict[str, Any]:
    """Run alone."""
    return measure_wire(quick=quick)


async def _all(rounds: int) -> dict[int, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="voiced-bench-") as folder:
        async with _cloud(Path(folder)) as cloud:
            return {rtt_ms: await _compare(cloud, rtt_ms, rounds) for rtt_ms in ROUND_TRIPS_MS}


# --- the cloud: a simulator over TLS, behind lines of several lengths, in a process of its own


class _Cloud:
    """Where the lines begin, and when sound arrived at their end."""

    def __init__(self, ca_file: str, told: asyncio.StreamReader) -> None:
        self.ca_file = ca_file
        self.ports: dict[int, int] = {}
        self._told = told

    async def greet(self) -> None:
        ports = json.loads(await self._told.readline())
        self.ports = {int(rtt_ms): port for rtt_ms, port in ports.items()}

    async def arrival(self) -> float:
        """Return when the first sound of the next session came, on the clock of this machine."""
        async with asyncio.timeout(20):
            return float(await self._told.readline())


@asynccontextmanager
async def _cloud(folder: Path) -> AsyncIterator[_Cloud]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.wire", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        cloud = _Cloud(str(folder / "ca.pem"), process.stdout)
        await cloud.greet()
        yield cloud
    finally:
        process.stdin.close()  # it ends with that
        await process.wait()


async def _be_the_cloud(folder: Path) -> None:
    ca = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(tls)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    heard: set[int] = set()

    def watch(session: int, line: str) -> None:
        if line == "> input_audio_buffer.append" and session not in heard:
            heard.add(session)
            print(time.monotonic(), flush=True)

    async with AsyncExitStack() as parts:
        simulator = await parts.enter_async_context(Simulator(QUICK, ssl=tls, record=False, watch=watch))
        lines = {
            rtt_ms: await parts.enter_async_context(_line(simulator.port, rtt_ms / 2000)) for rtt_ms in ROUND_TRIPS_MS
        }
        print(json.dumps(lines), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def _line(port: int, one_way_s: float) -> AsyncIterator[int]:
    """Pass bytes on to ``port`` late; the first ones a round trip later still, for the TCP handshake nobody delays."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first_s: float) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    writer.close()
                    return
                writer.write(data)

        delivering = asyncio.create_task(deliver())
        earliest = loop.time() + first_s
        while True:
            try:
                data = await reader.read(65_536)
            except ConnectionError:
                data = b""
            earliest = max(earliest, loop.time())
            waiting.put_nowait((earliest + one_way_s, data))
            if not data:
                break
        await delivering

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pass_on(reader, outer, 2 * one_way_s), pass_on(inner, writer, 0.0))
        except asyncio.CancelledError:  # the bench is over
            outer.transport.abort()
            writer.transport.abort()

    async with await asyncio.start_server(visit, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


# --- the two that are compared ----------------------------------------------------------------------------------------


async def _compare(cloud: _Cloud, rtt_ms: int, rounds: int) -> dict[str, float]:
    floors, ours = [], []
    realtime = RealtimeConfig(
        provider="openai", endpoint=f"https://localhost:{cloud.ports[rtt_ms]}", ca_file=cloud.ca_file
    )
    async with at_home(config=config_for_tests(realtime=realtime), environment={"OPENAI_API_KEY": "k"}) as home:
        home.ears.open = True  # as it is while somebody speaks: each frame is scored at once
        for _ in range(rounds):
            floors.append(await _bare(cloud, rtt_ms))
            ours.append(await _woken(cloud, home))
    floor, wire = statistics.median(floors) * 1000, statistics.median(ours) * 1000
    return {
        "floor_ms": round(floor, 1),
        "wake_to_wire_ms": round(wire, 1),
        "first_ms": round(ours[0] * 1000, 1),
        "ratio": round((wire - ALLOWANCE_MS) / floor, 3),
    }


async def _woken(cloud: _Cloud, home: Home) -> float:
    sound = load(SOUNDS / f"{SAID}.wav")[: NOTES[SAID]["wake_end"] // FRAME * FRAME]
    home.microphone.hear(sound[:-FRAME])
    await _until_heard(home)  # in a room it came long before the word is decided
    home.ears.wakes_at[home.microphone.end + FRAME] = "hey_jarvis"
    home.microphone.hear(sound[-FRAME:])
    arrived = await cloud.arrival()
    await home.command("command/end")
    await home.until_idle()
    return arrived - home.ears.woken_at[-1]


async def _until_heard(home: Home) -> None:
    async with asyncio.timeout(10):
        while not home.ears.fed or home.ears.fed[-1].end < home.microphone.end:
            await asyncio.sleep(0.002)


async def _bare(cloud: _Cloud, rtt_ms: int) -> float:
    tls = ssl.create_default_context(cafile=cloud.ca_file)
    began = await asyncio.to_thread(_handshakes, cloud.ports[rtt_ms], tls)
    return await cloud.arrival() - began


def _handshakes(port: int, tls: ssl.SSLContext) -> float:
    upgrade = (
        b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    update, append = _frame(_UPDATE), _frame(_APPEND)
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        tls.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(upgrade)
        _until(link, b"session.created")
        link.sendall(update)
        _until(link, b"session.updated")
        link.sendall(append)
        link.settimeout(10)
        link.sendall(b"\x88\x80\x00\x00\x00\x00")  # close
        while link.recv(65_536):
            pass
    return began


def _until(link: ssl.SSLSocket, word: bytes) -> None:
    heard = b""
    while word not in heard:
        heard += link.recv(65_536)


def _frame(event: dict[str, Any]) -> bytes:
    """Return a WebSocket text frame, masked with zeros."""
    text = json.dumps(event).encode()
    length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


if __name__ == "__main__":
    asyncio.run(_be_the_cloud(Path(sys.argv[1])))
