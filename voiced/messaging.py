"""Opens what stands between the daemon and the MQTT broker: link, outbox, and what Home Assistant is told."""

import asyncio
import logging
import platform
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from voiced import __version__
from voiced.config import Config
from voiced.core import discovery
from voiced.core.mqtt import payloads
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import CONTRACT, Topics
from voiced.core.mqtt.updating import Update
from voiced.core.profiles import voices
from voiced.core.words import choices
from voiced.edge.broker import MqttBroker
from voiced.edge.knownsecrets import known_secrets
from voiced.edge.logtap import LogTap
from voiced.edge.outboxfile import OutboxFile
from voiced.edge.store import SettingsFile
from voiced.ports import Broker

logger = logging.getLogger(__name__)

Announced: TypeAlias = tuple[dict[str, str], tuple[str, ...]]
"""What Home Assistant is told, by topic, and topics to be emptied before."""


class NoBroker:
    """Nobody to tell; fits :class:`voiced.ports.Broker`. For ``mqtt.host = ""``."""

    connected = False
    problem = disk_problem = None
    health = payloads.BrokerHealth()

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        """Forget it."""

    def tell(self, topic: str, payload: str) -> None:
        """Forget it."""

    def deliver(self, topic: str, payload: str, *, parcel: str) -> None:
        """Forget it."""

    def shout(self, topic: str, payload: str) -> bool:  # noqa: ARG002 - nobody hears it
        """Forget it."""
        return False

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        """Forget it."""

    def republish(self, names: tuple[str, ...] = ()) -> None:
        """Do nothing."""

    async def obey(self, post: Callable[[Message], None]) -> None:  # noqa: ARG002 - nobody asks
        """Wait for ever."""
        await asyncio.Event().wait()


async def open_broker(config: Config, state: Path, parts: AsyncExitStack, *, restarts: bool) -> Broker:
    """Return the way to the broker, which closes with ``parts``.

    Args:
        config: Where the broker is, and who we are.
        state: Folder for the outbox, and for what Home Assistant was told.
        parts: Where it is entered.
        restarts: Whether somebody starts the daemon again if it ends.

    Raises:
        ConfigError: If the password or the certificates cannot be read.

    """
    if not config.mqtt.host:
        return NoBroker()
    topics = Topics.of(config)
    device = discovery.Device(
        topics,
        __version__,
        name=config.device.name,
        area=config.device.area,
        wake_words=tuple(word.model for word in config.wake.words),
        active_words=choices(config.wake),
        personas=tuple(config.profiles),
        voices=voices(config),
        restarts=restarts,
        updates=bool(config.update.url),
    )
    messages, withdrawn = await asyncio.to_thread(_announcement, device, _style(config), state / "discovery.json")
    outbox = await asyncio.to_thread(parts.enter_context, OutboxFile(state / "outbox.sqlite"))
    broker = await parts.enter_async_context(
        MqttBroker(config=config.mqtt, topics=topics, discovery=messages, withdrawn=withdrawn, outbox=outbox)
    )
    if not config.mqtt.hermes:
        return broker
    from voiced.hermes import HermesBroker  # noqa: PLC0415 - few want it, and it takes memory

    return HermesBroker(broker, topics, config.mqtt.hermes_site_id or topics.id)


def about(config: Config) -> payloads.Info:
    """Return what others may know of this daemon."""
    return payloads.Info(
        contract=CONTRACT,
        id=config.device.id,
        version=__version__,
        started=datetime.now(UTC),
        host=platform.node(),
        platform=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        provider=config.realtime.provider,
        model=config.realtime.deployment,
        base_topic=config.mqtt.base_topic,
        wake_words=tuple(word.model for word in config.wake.words),
        voices=voices(config),
        personas=tuple(config.profiles),
        features=(
            "follow_up",
            "wake_barge_in",
            "near_misses",
            "push_to_talk",
            "ask_question",
            "media",
            *(("turns",) if config.history.turns else ()),
            *(("live_transcript",) if config.mqtt.live_transcript else ()),
            *(("transcripts",) if config.mqtt.transcripts != "off" else ()),
            *(("update",) if config.update.url else ()),
        ),
    )


@contextmanager
def log_told(config: Config, environ: Mapping[str, str], broker: Broker) -> Iterator[None]:
    """Pass the log on to the broker, where that is wished, without the secrets that can be found here."""
    if config.mqtt.log == "off":
        yield
        return
    loop, topic = asyncio.get_running_loop(), Topics.of(config).own("log")

    def send(line: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(broker.shout, topic, line)

    tap = LogTap(config.mqtt.log, secrets=known_secrets(config, environ), send=send)
    logging.getLogger().addHandler(tap)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(tap)


@asynccontextmanager
async def update_told(config: Config, state: Path, broker: Broker) -> AsyncIterator[None]:
    """Tell the newest version meanwhile, where the user named who knows it; else take back what was told once."""
    with SettingsFile(state / "update.json", "the newest version") as memory:
        if not (config.update.url and config.mqtt.host):
            if await asyncio.to_thread(memory.path.exists):
                broker.keep("update", "")  # at each start: nobody knows whether the broker was there before
            yield
            return
        from voiced.updates import Updates  # noqa: PLC0415 - few want it, and it takes memory

        def tell(update: Update) -> None:
            broker.keep("update", update.json_text())

        # No TaskGroup: it would wrap what ends the daemon.
        following = asyncio.create_task(Updates(config.update.url, tell, memory).follow(), name="update")
        following.add_done_callback(_followed)
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait({following})


def _followed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.error("the newest version is not asked for any more", exc_info=exc)


def _announcement(device: discovery.Device, style: discovery.Style | None, memory: Path) -> Announced:
    with SettingsFile(memory) as told:
        messages, withdrawn, known = discovery.announcement(device, style, told.load())
        told.save(known)  # before it is told: who is killed in between takes away what never was
    return messages, withdrawn


def _style(config: Config) -> discovery.Style | None:
    if config.mqtt.discovery == "components":
        return "components"
    return "device" if config.mqtt.discovery else None
