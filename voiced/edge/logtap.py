"""The log as others may read it over MQTT: no secrets, not too much of it, and nothing about sending it."""

import logging
import time
from collections.abc import Callable, Collection
from typing import Literal, cast

from voiced.core.mqtt.passing import LogLine
from voiced.core.mqtt.payloads import moment
from voiced.core.redaction import redact

MOST = 50
"""Lines in a second; of those beyond, only the number is told."""
LONGEST = 2_000
"""Characters of a line."""
OUR_OWN = ("voiced.edge.broker", "voiced.edge.paholink", "voiced.edge.mailbox", "paho", "asyncio")
"""Who speaks of sending: to send that would make more of it."""

Level = Literal["debug", "info", "warning", "error"]


class LogTap(logging.Handler):
    """Hands lines on, from any thread.

    Args:
        level: From which level on.
        secrets: What is masked, besides what looks like a secret.
        send: Takes the payload of a line; must not wait.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        level: Level,
        *,
        secrets: Collection[str],
        send: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(level.upper())
        self._secrets = frozenset(secrets)
        self._send = send
        self._clock = clock
        self._second, self._lines = 0, 0

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on, unless it is one of too many; who logs is not told of mistakes in that."""
        try:
            self._hand_on(record)
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def _hand_on(self, record: logging.LogRecord) -> None:
        if record.name.startswith(OUR_OWN):
            return
        second = int(self._clock())
        if second != self._second:
            left_out, self._second, self._lines = max(0, self._lines - MOST), second, 0
            if left_out:
                self._tell(record.created, "warning", __name__, f"{left_out} lines of the log were left out")
        self._lines += 1
        if self._lines <= MOST:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            name = "error" if record.levelno > logging.ERROR else record.levelname.lower()
            self._tell(record.created, cast("Level", name), record.name, text)

    def _tell(self, unix_s: float, level: Level, name: str, text: str) -> None:
        # A file's name may hold bytes that are no text.
        masked = redact(text, self._secrets)[:LONGEST].encode(errors="replace").decode()
        self._send(LogLine(time=moment(unix_s), level=level, logger=name, message=masked).json_text())
