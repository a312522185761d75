"""The network: slow, lossy, without names, without a route, or without a word."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.faults import every, fault
from tests.lab.lab import Act, Lab
from tests.lab.service_faults import ask

NOT_TRIED = "not tried: needs nft, root, and a network of its own (unshare --net)"


def _is_own_network() -> bool:
    """Whether there is nothing but loopback here, so that rules hurt nobody else."""
    return [name for _, name in socket.if_nameindex()] == ["lo"] and shutil.which("nft") is not None


@contextmanager
def _ruled(lab: Lab, chain: str, rule: str) -> Iterator[None]:
    """Let the kernel treat all packets to and from broker and service like this."""
    ports = f"{{ {lab.broker_line.port}, {lab.service_line.port} }}"
    rules = f"""
        table inet lab {{
            chain lab {{
                type filter hook {chain} priority 0
                tcp dport {ports} {rule}
                tcp sport {ports} {rule}
            }}
        }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "lab"], check=True)


@fault("network")
async def network_drops_one_packet_in_ten(lab: Lab) -> str:
    """Each way, in the kernel: TCP itself must mend it."""
    if not _is_own_network():
        return NOT_TRIED
    with _ruled(lab, "input", "numgen random mod 100 < 10 drop"):
        for _ in range(3):
            if not await lab.answered():
                raise AssertionError("a lossy network loses the question")
    return ""


@fault("network")
async def route_lost_while_idle(lab: Lab) -> str:
    """The router is gone: every packet comes back as undeliverable."""
    if not _is_own_network():
        return NOT_TRIED
    with _ruled(lab, "output", "reject with icmpx type no-route"):
        return await ask(lab, "unreachable|No route|cannot be reached|did not answer")


@fault("network")
async def route_lost_during_an_answer(lab: Lab) -> str:
    """The same with connections that stand: they must not be waited for for ever."""
    if not _is_own_network():
        return NOT_TRIED
    lab.answer(think_ms=3000)
    await lab.conversing("Processing")
    with _ruled(lab, "output", "reject with icmpx type no-route"):
        lab.break_now()
        await lab.until_state("Idle")
        lab.detected_s = asyncio.get_running_loop().time() - lab.began
    return "the rest of the answer"


def _black_hole(state: str) -> Act:
    async def black_hole(lab: Lab) -> str:
        await lab.conversing(state)
        lab.service_line.swallow()
        await lab.until_state("Idle")
        lab.detected_s = asyncio.get_running_loop().time() - lab.began
        return "the question" if state != "Responding" else "the rest of the answer"

    return black_hole


every("network", ("Listening", "Hearing", "Processing", "Responding"), _black_hole)


@fault("network")
async def network_half_a_second_away(lab: Lab) -> str:
    """500 ms each way to service and broker."""
    lab.service_line.delay_s = lab.broker_line.delay_s = 0.5
    if not await lab.answered():
        raise AssertionError("a slow network loses the question")
    return ""


@fault("network")
async def network_that_loses_one_in_ten(lab: Lab) -> str:
    """Above TCP a lost packet is a pause: up to a second, one piece in ten, both ways."""
    lab.service_line.jitter_s = lab.broker_line.jitter_s = 1.0
    if not await lab.answered():
        raise AssertionError("a lossy network loses the question")
    return ""


@fault("network")
async def network_gone_altogether(lab: Lab) -> str:
    """Broker and service at once."""
    await lab.broker_line.shut()
    await lab.service_line.shut()
    return await ask(lab, "Nothing listens|hung up")


@fault("network")
async def network_without_names(lab: Lab) -> str:
    """The DNS is gone: the daemon stays, says so, and needs no restart once an address is there."""
    right = (lab.folder / "config.toml").read_text()
    (lab.folder / "config.toml").write_text(right.replace("ws://127.0.0.1:", "ws://nobody.invalid:"))
    await lab.keeper.stop()
    lab.keeper.start()
    await lab.healthy()
    lost = await ask(lab, "cannot be found")
    (lab.folder / "config.toml").write_text(right)
    await lab.keeper.stop()
    lab.keeper.start()
    return lost
