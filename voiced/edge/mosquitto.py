"""A private mosquitto on a free loopback port, for the demo and for tests; it keeps nothing on disk."""

import asyncio
import os
import pwd
import shutil
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from voiced.errors import VoicedError

START_PATIENCE_S = 10.0
STOP_ATTEMPTS = 10
STOP_PATIENCE_S = 0.5
_ATTEMPTS = 3


class Mosquitto:
    """A broker that lives as long as the async context, and may be stopped and started within."""

    def __init__(self, directory: Path, options: Sequence[str] = ("allow_anonymous true",)) -> None:
        """Prepare.

        Args:
            directory: An existing folder for its configuration.
            options: Lines of ``mosquitto.conf`` that belong to the listener.

        """
        self._directory = directory
        self._options = tuple(options)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=50)
        self._up = asyncio.Event()
        self.port = 0
        """The port on 127.0.0.1; the same after :meth:`start` again."""

    @property
    def log(self) -> str:
        """What it said last."""
        return "\n".join(self._lines)

    async def __aenter__(self) -> Self:
        """Start it on a free port.

        Raises:
            VoicedError: If it is not installed or does not start.

        """
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            try:
                await self.start()
            except VoicedError:
                # somebody else may have taken the port in between
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        await self.stop()

    async def start(self) -> None:
        """Start it on its port, and wait until it listens.

        Raises:
            VoicedError: If it is not installed or does not start.

        """
        self._up.clear()
        self._process = await asyncio.create_subprocess_exec(
            _program(),
            "-c",
            str(self._write_configuration()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read(self._process), name="mosquitto log")
        up = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait({up, self._reader}, timeout=START_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if not self._up.is_set():
            await self.stop()
            raise VoicedError(f"mosquitto does not start on port {self.port}; it says:\n{self.log}")

    async def stop(self) -> None:
        """End it in an orderly way; kill it if it does not."""
        await self._end(kill=False)

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(kill=True)

    async def _end(self, *, kill: bool) -> None:
        process, reader = self._process, self._reader
        self._process = self._reader = None
        if process is None or reader is None:
            return
        # a signal that comes between its "running" and its main loop is forgotten: say it again
        for _ in range(0 if kill else STOP_ATTEMPTS):
            with suppress(ProcessLookupError, TimeoutError):
                process.terminate()
                await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
            if process.returncode is not None:
                break
        else:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        await reader

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - asked for above
        async for line in process.stderr:
            self._lines.append(line.decode(errors="replace").rstrip())
            if self._lines[-1].endswith(" running"):
                self._up.set()

    def _write_configuration(self) -> Path:
        path = self._directory / "mosquitto.conf"
        # started by root it would become another user, who cannot read our private files
        user = pwd.getpwuid(os.geteuid()).pw_name
        lines = (
            f"user {user}",
            "persistence false",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
            f"listener {self.port} 127.0.0.1",
            *self._options,
        )
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def _program() -> str:
    # Debian has it in sbin, which is not on the path of ordinary users.
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin")
    if program is None:
        raise VoicedError("mosquitto, an MQTT broker, is not installed; install it: apt install mosquitto")
    return program


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
