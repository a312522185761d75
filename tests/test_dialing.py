"""The way to the service made short: names kept, TLS resumed, connections made beforehand."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import trustme

from tests.callers import KEYS, SETTINGS, scenario, service
from tests.stories import at_home, config_for_tests
from tests.waiting import eventually
from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import endpoint
from voiced.edge.credentials import Credentials
from voiced.edge.dialing import DOUBTED_S, FRESH_S, KEPT_S, Address, Names, ask_dns, reach
from voiced.edge.link import Patience
from voiced.edge.service import RealtimeService
from voiced.errors import ServiceError
from voiced.simulator import Simulator

SILENCE = np.zeros(16 * 320, np.int16)

# --- names ------------------------------------------------------------------------------------------------------------

HERE: list[Address] = [(socket.AF_INET, ("127.0.0.1", 1))]
THERE: list[Address] = [(socket.AF_INET, ("127.0.0.2", 1))]


@dataclass
class Dns:
    """A name server, and the clock beside it."""

    answer: Sequence[Address] | None = field(default_factory=lambda: list(HERE))
    now: float = 1000.0
    asked: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    def clock(self) -> float:
        return self.now

    async def look_up(self, _host: str, _port: int) -> Sequence[Address]:
        self.asked += 1
        await self.answers.wait()
        if self.answer is None:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return self.answer

    def names(self) -> Names:
        return Names(look_up=self.look_up, clock=self.clock)


async def test_a_name_is_kept_for_some_minutes_and_then_looked_up_anew() -> None:
    dns = Dns()
    names = dns.names()
    assert [await names.addresses("r", 1) for _ in range(3)] == [HERE] * 3
    assert dns.asked == 1
    dns.now += FRESH_S - 1
    dns.answer = THERE
    assert await names.addresses("r", 1) == HERE
    dns.now += 1
    assert await names.addresses("r", 1) == THERE
    assert await names.addresses("r", 2) == THERE
    assert dns.asked == 3


async def test_without_dns_the_old_addresses_serve_for_a_day() -> None:
    dns = Dns()
    names = dns.names()
    await names.addresses("r", 1)
    dns.answer = None
    dns.now += KEPT_S
    assert await names.addresses("r", 1) == HERE
    dns.now += 1
    with pytest.raises(socket.gaierror):
        await names.addresses("r", 1)


async def test_slow_dns_is_not_waited_for_where_there_are_old_addresses() -> None:
    dns = Dns()
    names = dns.names()
    await names.addresses("r", 1)
    dns.answers.clear()
    dns.now += FRESH_S
    dns.answer = THERE
    assert await names.addresses("r", 1) == HERE
    dns.answers.set()
    while await names.addresses("r", 1) == HERE:  # what was asked goes on, and is taken once it is there
        await asyncio.sleep(0)
    assert dns.asked == 2


async def test_nothing_hangs_where_dns_does() -> None:
    dns = Dns()
    names = dns.names()
    dns.answers.clear()
    waiting = [asyncio.create_task(names.addresses("r", 1)) for _ in range(2)]
    while not dns.asked:
        await asyncio.sleep(0)
    waiting[0].cancel()
    await names.close()
    with suppress(asyncio.CancelledError):
        await waiting[1]
    assert dns.asked == 1
    assert len(asyncio.all_tasks()) == 1


async def test_an_address_that_nobody_answers_at_is_doubted_once() -> None:
    dns = Dns()
    names = dns.names()
    await names.addresses("r", 1)
    assert not names.doubt("r", 1)  # just looked up
    dns.now += DOUBTED_S
    assert names.doubt("r", 1)
    dns.answer = THERE
    assert await names.addresses("r", 1) == THERE
    assert not names.doubt("other", 1)


async def test_an_address_needs_no_dns() -> None:
    dns = Dns(answer=None)
    assert await dns.names().addresses("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert dns.asked == 0


async def test_a_service_that_moved_is_found_at_once() -> None:
    async with Simulator(scenario()) as simulator:
        realtime = RealtimeConfig(provider="azure", endpoint=f"http://moving.example:{simulator.port}")
        dns = Dns(answer=[(socket.AF_INET, ("127.0.0.1", simulator.port))])
        line = RealtimeService(endpoint(realtime), Credentials(realtime, environment=KEYS), names=dns.names())
        async with line.open(SETTINGS):
            pass
        gone, dns.answer = dns.answer, None
        dns.now += FRESH_S
        async with line.open(SETTINGS):  # no DNS
            pass
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            dns.answer = [(socket.AF_INET, bound.getsockname())]
            dns.now += FRESH_S
            with pytest.raises(ServiceError):  # where DNS says, nobody listens
                async with line.open(SETTINGS):
                    pass
        dns.now += DOUBTED_S
        dns.answer = gone
        async with line.open(SETTINGS):
            pass


# --- reaching an address ----------------------------------------------------------------------------------------------


async def local(port: int) -> Address:
    return (await ask_dns("127.0.0.1", port))[0]


async def test_the_first_that_answers_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as refuses:
        refuses.bind(("127.0.0.1", 0))
        wrong, right = await local(refuses.getsockname()[1]), await local(server.getsockname()[1])
        for order in ([wrong, right], [right, wrong], [wrong, wrong, right]):
            with await reach(order) as reached:
                assert reached.getpeername() == right[1]
        with pytest.raises(ConnectionRefusedError):
            await reach([wrong, wrong])


async def test_one_that_hangs_does_not_hold_up_the_next() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        ExitStack() as queue,
    ):
        for _ in range(2):  # Linux drops who comes to a full queue
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        with await reach([await local(full.getsockname()[1]), await local(server.getsockname()[1])]) as reached:
            assert reached.getpeername() == server.getsockname()


# --- TLS, and connections made beforehand -----------------------------------------------------------------------------


@dataclass
class Trust:
    server: ssl.SSLContext
    ca_file: str


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Trust(context, str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_second_connection_resumes_the_tls_of_the_first(trust: Trust, version: ssl.TLSVersion) -> None:
    trust.server.maximum_version = version
    async with Simulator(scenario(), ssl=trust.server) as simulator:
        line = service(simulator.url, ca_file=trust.ca_file)
        await line.warm()
        resumed = []
        for _ in range(3):
            async with line.open(SETTINGS) as session:
                connection = session._link._connection.transport.get_extra_info("ssl_object")
                resumed.append((connection.version(), connection.session_reused))
    name = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert resumed == [(name, False), (name, True), (name, True)]


async def test_a_server_that_knows_no_ticket_any_more_is_judged_by_its_certificate(trust: Trust) -> None:
    ca_file = trust.ca_file
    async with Simulator(scenario(), ssl=trust.server) as simulator:
        line, port = service(simulator.url, ca_file=ca_file), simulator.port
        async with line.open(SETTINGS):
            pass
    anew = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca = trustme.CA()
    ca.issue_cert("127.0.0.1").configure_cert(anew)
    async with Simulator(scenario(), port=port, ssl=anew):
        with pytest.raises(ServiceError, match="certificate"):  # a ticket is no pass
            async with line.open(SETTINGS):
                pass


@pytest.mark.parametrize("secure", [False, True])
async def test_a_connection_made_beforehand_is_silent_and_used_once(trust: Trust, secure: bool) -> None:
    async with Simulator(scenario(), ssl=trust.server if secure else None) as simulator:
        line = service(simulator.url, ca_file=trust.ca_file)
        await asyncio.gather(line.prepare(), line.prepare())
        assert (simulator.connections, len(simulator.attempts)) == (1, 0)
        async with line.open(SETTINGS):
            assert simulator.connections == 1
        async with line.open(SETTINGS):
            assert simulator.connections == 2
        await line.close()


async def test_a_wake_that_comes_while_it_is_being_made_waits_for_it(trust: Trust) -> None:
    async with Simulator(scenario(), ssl=trust.server) as simulator:
        line = service(simulator.url, ca_file=trust.ca_file)
        await line.warm()
        making = asyncio.create_task(line.prepare())
        await asyncio.sleep(0)
        async with line.open(SETTINGS):
            assert simulator.connections == 1
        await making


async def test_one_that_nobody_uses_or_that_is_gone_is_no_trouble() -> None:
    async with Simulator(scenario()) as simulator:
        line = service(simulator.url, patience=Patience(ready_s=0.05))
        await line.prepare()
        made = line._connector._made
        assert made is not None
        async with asyncio.timeout(5):
            await made._connection.wait_closed()
        async with line.open(SETTINGS):
            assert simulator.connections == 2
        await line.prepare()
        simulator.abort()
        async with line.open(SETTINGS):
            pass
        await line.prepare()
        await line.close()
    await line.prepare()  # nobody is there any more


async def test_one_that_is_dead_without_a_word_is_given_up_soon() -> None:
    silent: list[asyncio.StreamWriter] = []

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not silent:
            silent.append(writer)  # whatever comes is swallowed
            return
        to_us, to_them = await asyncio.open_connection("127.0.0.1", simulator.port)
        await asyncio.wait([asyncio.create_task(carry(reader, to_them)), asyncio.create_task(carry(to_us, writer))])

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65_536):
            writer.write(some)
        writer.close()

    async with Simulator(scenario()) as simulator, await asyncio.start_server(visit, "127.0.0.1", 0) as door:
        line = service(f"ws://127.0.0.1:{door.sockets[0].getsockname()[1]}", patience=Patience(made_s=0.2))
        await line.prepare()
        await eventually(lambda: silent, "the connection made beforehand")
        async with line.open(SETTINGS):
            assert simulator.connections == 1
        await line.close()
        silent[0].close()


async def test_a_rising_score_has_it_made_and_the_wake_uses_it() -> None:
    config = config_for_tests(
        realtime=RealtimeConfig(provider="azure", endpoint="https://r.example", prepare_at=0.5),
    )
    async with at_home(config=config, environment=KEYS, as_cloud=True) as home:
        await home.microphone.all_heard()
        limit = next(iter(home.ears.words)).threshold
        home.ears.open, home.ears.scores = True, (0.51 * limit,)  # a score rises where there is a voice
        home.microphone.hear(SILENCE)
        await eventually(lambda: home.simulator.connections, "connected beforehand")
        assert home.simulator.attempts == []
        home.speak()
        await home.until_told("finished")
        assert (home.simulator.connections, len(home.simulator.attempts)) == (1, 1)


async def test_without_a_wish_nothing_is_connected_beforehand() -> None:
    async with at_home() as home:
        home.ears.open, home.ears.scores = True, (1.0,)
        home.microphone.hear(SILENCE)
        await home.microphone.all_heard()
        home.speak()
        await home.until_told("finished")
        assert home.simulator.connections == 1
