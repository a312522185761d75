"""The daemon, which tells how many asyncio tasks it has whenever it gets SIGUSR1: ``python -m tests.counted_daemon FILE
ARGUMENT...``, where the arguments are those of ``voiced``."""

import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType

from voiced.cli import main


def count(file: Path) -> None:
    """Add a line with the number of tasks at each signal, from now on."""
    counts = file.open("a", buffering=1)

    def tell(_number: int, _frame: FrameType | None) -> None:
        counts.write(f"{len(asyncio.all_tasks(asyncio.get_running_loop()))}\n")

    signal.signal(signal.SIGUSR1, tell)


if __name__ == "__main__":
    count(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
