"""What arrives from the MQTT broker: commands wait here, Home Assistant's birth is answered, our own word is known."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable

from voiced.core.discovery import BIRTH_PATIENCE_S
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import SELF_TEST, Topics

MOST = 100
"""Commands not yet taken; then the newest are dropped."""
SELF_TEST_S = 5.0
"""How long a message to ourselves may take."""

logger = logging.getLogger(__name__)


class Mailbox:
    """Belongs to the event loop.

    Args:
        topics: Our names.
        born: Called a random moment after Home Assistant has started.
        deaf: Called when what we sent ourselves did not come back in time.

    """

    def __init__(self, topics: Topics, *, born: Callable[[], None], deaf: Callable[[], None]) -> None:
        self._topics = topics
        self._born = born
        self._deaf = deaf
        self.self_test = topics.own(SELF_TEST)
        self.token = secrets.token_hex(8)
        """What we send ourselves there."""
        self.tested = False
        """Whether commands come through, as far as the broker lets us find out."""
        self._commands: asyncio.Queue[Message] = asyncio.Queue(MOST)
        self._birth: asyncio.TimerHandle | None = None
        self._test: asyncio.TimerHandle | None = None

    async def next(self) -> Message:
        """Return the next command."""
        return await self._commands.get()

    def got(self, message: Message, *, retained: bool) -> None:
        """Take a message."""
        if message.topic == self._topics.birth:
            if message.payload == b"online" and not retained and self._birth is None:
                pause_s = random.uniform(0, BIRTH_PATIENCE_S)  # noqa: S311 - spreads load, guards nothing
                self._birth = asyncio.get_running_loop().call_later(pause_s, self._is_born)
        elif message.topic == self.self_test:
            if message.payload == self.token.encode():
                self.passed()
        elif retained:
            # somebody's retained "listen" must not open the microphone at every connect
            logger.warning("ignored a retained command on %s; remove it there", message.topic)
        else:
            try:
                self._commands.put_nowait(message)
            except asyncio.QueueFull:
                logger.warning("too many commands at once; dropped one on %s", message.topic)

    def expect(self) -> None:
        """Wait for what we have just sent ourselves."""
        self._test = asyncio.get_running_loop().call_later(SELF_TEST_S, self._deaf)

    def passed(self) -> None:
        """Note that the test is over: it came, or the broker does not let us find out."""
        self.tested = True
        self.stop_waiting()

    def stop_waiting(self) -> None:
        """Note that the connection is over."""
        if self._test is not None:
            self._test.cancel()

    def close(self) -> None:
        """Answer nothing any more."""
        self.stop_waiting()
        if self._birth is not None:
            self._birth.cancel()

    def _is_born(self) -> None:
        self._birth = None
        self._born()
