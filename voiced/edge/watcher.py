"""Somebody else at the broker: hears everything that is published below a topic (paho-mqtt)."""

import asyncio
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Self

from voiced.config import MqttConfig
from voiced.core.mqtt.commands import Message
from voiced.edge.paholink import Link
from voiced.errors import VoicedError

PATIENCE_S = 10.0


class Watcher:
    """A client with a name of its own; an asynchronous context manager that is subscribed once it is entered."""

    def __init__(self, config: MqttConfig, topics: str, heard: Callable[[str, str], None]) -> None:
        """Prepare.

        Args:
            config: Where the broker is.
            topics: A topic filter.
            heard: Called on the event loop with topic and text of each message.

        """
        self._config = config
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._subscribed = asyncio.Event()
        self._link = Link(
            config,
            f"voiced-watcher-{secrets.token_hex(4)}",
            version=5,
            subscriptions=(topics,),
            listener=self,
            post=self._post,
        )

    async def __aenter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            VoicedError: If the broker is not there.

        """
        self._link.open()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._subscribed.wait()
        except TimeoutError as exc:
            await asyncio.to_thread(self._link.close)
            where = f"{self._config.host}:{self._config.port}"
            raise VoicedError(f"the MQTT broker {where} did not answer within {PATIENCE_S:g} s") from exc
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await asyncio.to_thread(self._link.close)

    def _post(self, news: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(news)

    # --- what the link tells ------------------------------------------------------------------------------------------

    def accepted(self, window: int) -> None:  # noqa: ARG002 - it sends nothing
        """Take it that we are subscribed."""
        self._subscribed.set()

    def denied(self, reason: str) -> None:
        """Wait on: the link tries again, and entering has a limit."""

    def lost(self, reason: str) -> None:
        """Wait on, as for :meth:`denied`."""

    def unreachable(self) -> None:
        """Wait on, as for :meth:`denied`."""

    def deaf_to(self, filters: tuple[str, ...]) -> None:
        """Wait for what there is."""

    def confirmed(self, number: int, fault: str | None) -> None:
        """Forget it: it sends nothing."""

    def got(self, message: Message, *, retained: bool) -> None:  # noqa: ARG002 - both kinds are of interest
        """Pass a message on."""
        self._heard(message.topic, message.payload.decode(errors="replace"))
