"""A short visit to the broker, to see whether anybody there takes Home Assistant's discovery messages."""

import queue
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from voiced.config import MqttConfig
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import Topics
from voiced.edge.paholink import Link

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the broker knows of discovery."""

    is_taken: bool | None
    """Whether anybody has subscribed to discovery messages; ``None`` where the broker does not tell."""
    is_announced: bool
    """Whether a message about this device is kept there."""


class _Visitor:
    """Listens to a link for one visit."""

    def __init__(self, topics: Topics) -> None:
        self.news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.is_in = self.is_out = self.is_announced = False
        self.sent: set[int] = set()
        self._topics = topics

    def wait(self, done: Callable[[], bool]) -> bool:
        """Take news until ``done``; return whether it came to that in time."""
        end = time.monotonic() + PATIENCE_S
        while not done():
            try:
                self.news.get(timeout=max(0.0, end - time.monotonic()))()
            except queue.Empty:
                return False
        return True

    def accepted(self, window: int) -> None:  # noqa: ARG002 - one message fits any window
        """Take it that the broker has us."""
        self.is_in = True

    def denied(self, reason: str) -> None:  # noqa: ARG002 - who visits knows that the broker can be reached
        """Take it that the broker does not want us, or not MQTT 5."""
        self.is_out = True

    def lost(self, reason: str) -> None:  # noqa: ARG002 - as above
        """Take it that the visit is over."""
        self.is_out = True

    def unreachable(self) -> None:
        """Take it that there is no connection."""
        self.is_out = True

    def deaf_to(self, filters: tuple[str, ...]) -> None:
        """Wait for what there is: whether Home Assistant's topic can be read shows in what comes."""

    def confirmed(self, number: int, fault: str | None) -> None:
        """Take it that the broker has what we sent, or may not take it from us."""
        if fault is None:
            self.sent.add(number)
        else:
            self.is_out = True

    def got(self, message: Message, *, retained: bool) -> None:
        """Take a message that is kept there."""
        if message.topic == self._topics.discovery and retained and message.payload:
            self.is_announced = True


def look_for_discovery(config: MqttConfig, topics: Topics) -> Discovery | None:
    """Ask the broker; waits seconds. What is sent takes away a device that does not exist, so nothing comes of it.

    Returns:
        What it knows; ``None`` where it does not let us in, or speaks no MQTT 5.

    Raises:
        ConfigError: If the password or the certificates cannot be read.

    """
    name = f"voiced-check-{secrets.token_hex(6)}"
    visitor = _Visitor(topics)
    link = Link(config, name, version=5, subscriptions=(topics.discovery,), listener=visitor, post=visitor.news.put)
    try:
        link.open()
        if not visitor.wait(lambda: visitor.is_in or visitor.is_out) or not visitor.is_in:
            return None
        number = link.publish(f"{topics.discovery_prefix}/device/{name}/config", "")
        visitor.wait(lambda: number in visitor.sent or visitor.is_out)
        known = number in visitor.sent
        return Discovery(number not in link.unheard if known else None, is_announced=visitor.is_announced)
    finally:
        link.close()
