"""The terminal that a command runs in: what it prints and logs, and the signals that end it."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def log(level: str) -> None:
    """Log to standard error, from this level on."""
    # journald stamps the time itself
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    # A descriptor of our own: sounddevice leads 2 to nowhere while PortAudio starts, which may hang.
    stream = open(os.dup(2), "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor
    logging.basicConfig(level=level.upper(), format=f"{stamp}%(levelname)s %(name)s: %(message)s", stream=stream)


def say(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=sys.stderr, flush=True)


def out(line: str) -> None:
    """Print a line to standard output."""
    print(line, flush=True)


def write(text: str) -> None:
    """Print text to standard output as it is."""
    print(text, end="", flush=True)


def width() -> int:
    """Return how many columns the terminal has."""
    return shutil.get_terminal_size().columns


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def until_stopped(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``work`` and return its result; SIGTERM and SIGINT cancel it, so that it closes what it opened."""

    async def run() -> Any:
        task = asyncio.ensure_future(work())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    return asyncio.run(run())
