"""A network that swallows everything, without FIN or RST, is noticed; one that is only slow is not taken for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection

from tests.callers import CREATED, SETTINGS, UPDATED, server, service, until_done
from tests.lab.proxy import Proxy
from tests.waiting import eventually
from voiced.core.realtime import events as ev
from voiced.edge.link import Patience
from voiced.edge.service import RealtimeSession
from voiced.errors import ServiceError

SHORT = Patience(quiet_s=0.1, silent_s=0.3)


async def willing(line: ServerConnection) -> None:
    await line.send(CREATED)
    await line.recv()
    await line.send(UPDATED)
    await line.wait_closed()


@asynccontextmanager
async def session_over(way: Proxy, patience: Patience = SHORT) -> AsyncIterator[RealtimeSession]:
    async with server(willing) as there:
        way.target = int(there.rpartition(":")[2])
        async with way, service(f"ws://127.0.0.1:{way.port}", "custom", patience).open(SETTINGS) as session:
            yield session


@pytest.mark.parametrize("speaks", [False, True])
async def test_silence_ends_the_session_though_nobody_hung_up(speaks: bool) -> None:
    """Also where so much waits to be sent that a ping cannot leave."""

    async def speak() -> None:
        while True:
            await session.send(ev.AppendAudio(bytes(48_000)))

    way = Proxy(0)
    async with session_over(way) as session:
        way.swallow()
        speaking = asyncio.create_task(speak()) if speaks else None
        with pytest.raises(ServiceError, match="stopped answering; the network may be down") as caught:
            await until_done(session.events())
        if speaking is not None:
            with pytest.raises(ServiceError, match="stopped answering"):
                await speaking
    assert caught.value.code == "closed"


async def sign_of_life(session: RealtimeSession) -> None:
    connection = session._link._connection
    came = connection.pieces
    await eventually(lambda: connection.pieces > came, "a sign of life")


async def test_pauses_of_the_network_are_outlived() -> None:
    """Though together they are longer than a silence that is taken for the end."""
    way = Proxy(0)
    async with session_over(way, Patience(quiet_s=0.1, silent_s=2.0)) as session:
        reading = asyncio.create_task(until_done(session.events()))
        for _ in range(3):
            way.swallow()
            await asyncio.sleep(0.8)  # a pause itself is what this is about
            way.flow()
            await sign_of_life(session)
        await session.send(ev.CommitAudio())
        assert not reading.done()
    assert await reading == []


async def test_a_long_answer_over_a_slow_network_is_a_sign_of_life() -> None:
    """The pong comes behind it: for all that time there is neither a message nor a pong."""
    answer = json.dumps({"type": "response.done", "response": {"id": "r", "status": "completed", "much": "x" * 20_000}})

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_us, to_them = await asyncio.open_connection("127.0.0.1", port)
        asking = asyncio.create_task(pour(reader, to_them))
        while some := await to_us.read(200):
            writer.write(some)
            if slow.is_set():
                await asyncio.sleep(0.015)
        asking.cancel()
        to_them.transport.abort()
        writer.transport.abort()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65_536):
            writer.write(some)

    async def talk(line: ServerConnection) -> None:
        await line.send(CREATED)
        await line.recv()
        await line.send(UPDATED)
        await line.recv()
        slow.set()
        await line.send(answer)
        await line.wait_closed()

    slow = asyncio.Event()
    async with server(talk) as there:
        port = int(there.rpartition(":")[2])
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as door:
            over = f"ws://127.0.0.1:{door.sockets[0].getsockname()[1]}"
            async with service(over, "custom", SHORT).open(SETTINGS) as session:
                await session.send(ev.CommitAudio())
                began = asyncio.get_running_loop().time()
                (done,) = await until_done(session.events())
                took_s = asyncio.get_running_loop().time() - began
                slow.clear()
    assert isinstance(done, ev.ResponseDone)
    assert took_s > 3 * (SHORT.quiet_s + SHORT.silent_s)
