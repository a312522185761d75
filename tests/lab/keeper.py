"""Runs the daemon as systemd does: by its notices, its watchdog, its exit statuses; and starts it again."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROOT = Path(__file__).parents[2]
WATCHDOG_S, RESTART_S = 10.0, 1.0


class Keeper:
    """The daemon, kept alive: started again after any end but 0 and 78, killed where it stops feeding the watchdog."""

    def __init__(self, folder: Path, environ: Mapping[str, str], program: Sequence[str] = ("voiced",)) -> None:
        self.ends: list[int] = []
        """Exit statuses so far."""
        self.status = ""
        """What it told last."""
        self.ready_at = 0.0
        self.notices: list[str] = []
        self._folder = folder
        self._program = tuple(program)
        self._log = folder / "daemon.log"
        self.environ = dict(environ)
        """What the next one is started with."""
        self._process: subprocess.Popen[bytes] | None = None
        self._fed = 0.0
        self._wanted = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._folder / "notify"))
        self._socket.setblocking(False)
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wanted = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket.close()

    @property
    def pid(self) -> int:
        """The process now."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether there is one."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether it has said so since it was started last."""
        return self.is_alive and self.ready_at > 0

    def start(self) -> None:
        """Start it, and keep it."""
        self._wanted = True
        self.ready_at, self.status, self._fed = 0.0, "", time.monotonic() + 20
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program, "run", "-c", str(self._folder / "config.toml")],
                env={
                    **self.environ,
                    "NOTIFY_SOCKET": str(self._folder / "notify"),
                    "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
                    "STATE_DIRECTORY": str(self._folder / "state"),
                    "PYTHONPATH": str(ROOT),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def stop(self) -> int:
        """End it as ``systemctl stop`` does, and return its exit status."""
        self._wanted = False
        process = self._process
        assert process is not None
        process.terminate()
        return await asyncio.to_thread(process.wait, 15)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        """All it has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def size(self) -> tuple[int, int, float]:
        """Return open descriptors, threads, and resident megabytes."""
        process = psutil.Process(self.pid)
        return process.num_fds(), process.num_threads(), process.memory_info().rss / 1e6

    def listens(self) -> list[str]:
        """Return where it waits for connections."""
        found = psutil.Process(self.pid).net_connections("inet")
        return [str(one.laddr) for one in found if one.status == psutil.CONN_LISTEN]

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            notice = (await loop.sock_recv(self._socket, 4096)).decode()
            self.notices.append(notice)
            self._fed = time.monotonic()
            if "READY=1" in notice:
                self.ready_at = time.monotonic()
            if found := re.search(r"STATUS=(.*)", notice):
                self.status = found[1]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            if self._process is None or not self._wanted:
                continue
            if time.monotonic() - self._fed > WATCHDOG_S and self._process.poll() is None:
                self._process.kill()
            if (status := self._process.poll()) is None:
                continue
            self.ends.append(status)
            if status in {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS}:
                before, crash, where = self.log().rpartition("Fatal Python error")
                why = "\n".join(before.splitlines()[-20:])  # a library says there what it does not like
                sys.stderr.write(f"{why}\n{crash}{where}\n")
            if status in {0, 78}:
                self._wanted = False
                continue
            await asyncio.sleep(RESTART_S)
            if self._wanted:
                self.start()
