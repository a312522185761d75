"""``voiced simulate``: the service alone, until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from voiced.simulator.scenario import DEFAULT, load_scenario
from voiced.simulator.server import Simulator

# one line each would bury everything else
_UNTOLD = ("input_audio_buffer.append", ".delta")


async def serve_forever(
    write: Callable[[str], None], *, port: int = 8765, scenario: Path | None = None, host: str = "127.0.0.1"
) -> None:
    """Run the service until SIGINT or SIGTERM; write its addresses, then a line for each event but sound and deltas.

    Raises:
        ConfigError: If the scenario cannot be read.
        SoundFileError: If one of its sound files cannot be read.
        OSError: If the port is taken.

    """

    def watch(session: int, line: str) -> None:
        if line and not line.endswith(_UNTOLD):
            write(f"session {session} {line}")

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    told = load_scenario(scenario or DEFAULT)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with Simulator(told, host=host, port=port, record=False, watch=watch) as simulator:
            write(f"scenario {told.name}; addresses:")
            for provider in ("azure", "openai", "azure-preview", "voice-live"):
                write(f"  {provider}: {simulator.url_for(provider)}")
            await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
