"""systemd as the daemon sees it: a datagram socket that takes one-line notices.

Source: sd_notify(3) and sd_watchdog_enabled(3) of systemd 252 and 257.
"""

import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Whoever started the daemon and wants to hear from it.

    Without an address nobody does, and every call does nothing. No call waits or raises: a supervisor that is away
    for a moment (systemd re-executing itself) is not a reason to stop talking.
    """

    address: str | None = None
    """Path of a Unix datagram socket; ``@`` in front means the abstract namespace."""
    watchdog_s: float | None = None
    """Longest time between two :meth:`alive`, seconds; ``None``: nobody counts. Half of it is a good beat."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> "Supervisor":
        """Read ``$NOTIFY_SOCKET``, ``$WATCHDOG_USEC`` and ``$WATCHDOG_PID``; ``pid`` is our own process."""
        address = environ.get("NOTIFY_SOCKET")
        if address and address[0] not in "/@":
            logger.warning("NOTIFY_SOCKET=%s is no Unix socket; systemd gets no notices from us", address)
            address = None
        return cls(address or None, _watchdog_s(environ, pid))

    def ready(self, status: str) -> None:
        """Say that everything is open; ``systemctl start`` returns now."""
        self._notify("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Say that the configuration is read again, as SIGHUP asks for; :meth:`ready` ends it."""
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, status: str) -> None:
        """Say in a few words what goes on, for ``systemctl status``."""
        self._notify(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Put off the watchdog."""
        self._notify("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """Say that the end was meant, and has begun."""
        self._notify("STOPPING=1", f"STATUS={_line(status)}")

    def _notify(self, *assignments: str) -> None:
        if self.address is None:
            return
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        message = "\n".join(assignments).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                # A full queue would make a blocking send hold up the event loop.
                channel.sendto(message, socket.MSG_DONTWAIT, path)
        except OSError as exc:
            logger.warning("systemd did not take %r: %s", assignments[0], exc)


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    limit = environ.get("WATCHDOG_USEC", "")
    if not limit or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not (limit.isascii() and limit.isdigit() and int(limit) > 0):
        logger.warning("WATCHDOG_USEC=%s is not a number of microseconds; the watchdog is not fed", limit)
        return None
    return int(limit) / 1_000_000


def _line(text: str) -> str:
    """A line break would begin another assignment."""
    return " ".join(text.split())
