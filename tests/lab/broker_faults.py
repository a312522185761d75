"""The broker: away, frozen, slow, unkind, or full of rubbish."""

import asyncio
import signal

from tests.lab.faults import fault
from tests.lab.lab import ROOM, Lab

GONE = r"MQTT broker .* (was lost|cannot be reached)|no MQTT broker|does not answer"


async def _gone(lab: Lab, *, kill: bool = False) -> None:
    """Take the broker away, and its port."""
    await (lab.broker.kill() if kill else lab.broker.stop())
    await lab.broker_line.shut()


async def _back(lab: Lab) -> None:
    await lab.broker.start()
    await lab.broker_line.open()


def _signal(lab: Lab, number: signal.Signals) -> None:
    process = lab.broker._process
    assert process is not None
    process.send_signal(number)


@fault("broker")
async def broker_down_at_start(lab: Lab) -> None:
    """The daemon starts before the broker does."""
    await lab.keeper.stop()
    await _gone(lab)
    lab.keeper.start()
    lab.break_now()
    await lab.noticed("no MQTT broker listens")
    await _back(lab)


@fault("broker")
async def broker_restarted(lab: Lab) -> None:
    """An update of mosquitto."""
    await _gone(lab)
    await lab.noticed(GONE)
    await _back(lab)


@fault("broker", quick=True)
async def broker_killed(lab: Lab) -> None:
    """It dies, and its door is shut."""
    await _gone(lab, kill=True)
    await lab.noticed(GONE)
    await _back(lab)


@fault("broker")
async def broker_killed_during_an_answer(lab: Lab) -> None:
    """The conversation goes on, and its turn is told later."""
    await lab.conversing("Responding")
    await _gone(lab, kill=True)
    await lab.noticed(GONE)
    await lab.until_state("Idle")
    await _back(lab)
    await lab.until(lambda: _finished(lab), "the turn is told when the broker is back")


@fault("broker")
async def broker_frozen_during_a_conversation(lab: Lab) -> None:
    """It takes connections and says nothing; the conversation must not wait for it."""
    _signal(lab, signal.SIGSTOP)
    try:
        await lab.conversing("Responding")
        await lab.until_state("Idle")
    finally:
        _signal(lab, signal.SIGCONT)
    await lab.until(lambda: _finished(lab), "the turn is told when the broker goes on")


@fault("broker")
async def broker_frozen_beyond_its_keepalive(lab: Lab) -> None:
    """The client itself must find out that nobody answers."""
    _signal(lab, signal.SIGSTOP)
    try:
        await lab.noticed(GONE, patience_s=75)
    finally:
        _signal(lab, signal.SIGCONT)


@fault("broker")
async def broker_lets_nobody_in(lab: Lab) -> None:
    """Its password was changed: anonymous clients are refused."""
    usual = lab.broker._options
    await lab.broker.stop()
    lab.broker._options = ("allow_anonymous false",)
    await lab.broker.start()
    await lab.noticed("[Nn]ot authori[sz]ed|does not accept")
    await lab.broker.stop()
    lab.broker._options = usual
    await lab.broker.start()


@fault("broker")
async def broker_slow(lab: Lab) -> None:
    """Half a second each way: nothing is wrong, everything is late."""
    lab.broker_line.delay_s = 0.5
    if not await lab.answered():
        raise AssertionError("a slow broker stops the conversation")


@fault("broker")
async def broker_connection_reset(lab: Lab) -> None:
    """A router forgets the connection; nothing need be said of so short a loss."""
    lab.broker_line.cut()
    await lab.until(lambda: lab.broker_line._visits, "connected again")


@fault("broker")
async def broker_black_hole(lab: Lab) -> None:
    """Packets vanish for five seconds, and then all come at once."""
    lab.broker_line.swallow()
    await lab.conversing("Responding")
    await lab.until_state("Idle")
    lab.broker_line.flow()
    await lab.until(lambda: _finished(lab), "the turn is told when packets pass again")


@fault("broker")
async def broker_talks_rubbish(lab: Lab) -> None:
    """Bytes that are no MQTT; the connection is made anew."""
    lab.broker_line.say(bytes(range(256)) * 8)
    await asyncio.sleep(0)
    await lab.until(lambda: lab.keeper.is_alive, "it lives")
    lab.broker_line.cut()


@fault("broker")
async def broker_commands_of_all_kinds(lab: Lab) -> str:
    """Somebody sends what is no command, a great deal of it, and a payload of a megabyte."""
    for number in range(150):
        await lab.neighbour.send(f"{ROOM}/command", b"\xff{" * (number + 1))
        await lab.neighbour.send(f"{ROOM}/set/volume", f"loud {number}")
    await lab.neighbour.send(f"{ROOM}/command", b"x" * 1_000_000)
    await lab.neighbour.send(f"{ROOM}/set", '{"volume": ' + "[" * 20_000)
    await lab.until(lambda: len(lab.told("response")) >= 100, "refusals")
    return "commands beyond the inbox were dropped"


def _finished(lab: Lab) -> bool:
    return any(turn["event_type"] == "finished" for turn in lab.told("event/turn"))
