"""The daemon, with every connection and name lookup of the process written down: ``python -m tests.watched_daemon FILE
ARGUMENT...``, where the arguments are those of ``voiced``."""

import sys
from pathlib import Path
from typing import Any

from voiced.cli import main

WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


def watch(file: Path) -> None:
    """Write down, from now on, who is spoken to. Source: Python's table of audit events."""
    notes = file.open("a", buffering=1)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in WATCHED:
            notes.write(f"{event} {arguments[1:] if event != 'socket.getaddrinfo' else arguments[:2]!r}\n")

    sys.addaudithook(note)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
