"""The MQTT broker as the daemon sees it: always there to be told, connected or not.

What is to be sent waits in :class:`voiced.core.outgoing.Outgoing`, finished turns on disk as well. All of it happens on
the event loop; :mod:`voiced.edge.paholink` posts to it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Literal, Self

from voiced.config import MqttConfig
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.payloads import BrokerHealth
from voiced.core.mqtt.topics import Topics, published
from voiced.core.outgoing import WINDOW, Bounds, Outgoing, Parcel, Sending
from voiced.core.rivals import QUICK_S, Rivals
from voiced.edge import brokerlogin
from voiced.edge.mailbox import Mailbox
from voiced.edge.outboxfile import OutboxFile
from voiced.edge.paholink import Link

WITHDRAWN_S = 3.0
"""What Home Assistant needs to take a device out, before it is told of it in another way."""
SHOUT_S = 2
FAREWELL_S = 2.0
"""How long leaving waits for the broker's confirmations."""

logger = logging.getLogger(__name__)


class MqttBroker:
    """A connection that is made again whenever it is lost. Enter it as an async context.

    While inside, no method waits or raises because the broker is away. All methods belong to the event loop.
    """

    def __init__(  # noqa: PLR0913 - keyword-only parts, most with defaults
        self,
        *,
        config: MqttConfig,
        topics: Topics,
        discovery: Mapping[str, str] = MappingProxyType({}),
        withdrawn: tuple[str, ...] = (),
        outbox: OutboxFile | None = None,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        longest_pause_s: int = 60,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            config: Where the broker is. The host must not be empty.
            topics: Our names.
            discovery: What Home Assistant is told, by full topic; published first, in this order.
            withdrawn: Topics of an earlier discovery that are emptied before.
            outbox: Keeps finished turns until the broker has confirmed them; entered already. ``None``: memory does.
            changed: Called on the loop when :attr:`connected` or :attr:`problem` changed.
            clock: Monotonic seconds.
            longest_pause_s: Between two attempts to connect; the first pauses are shorter.

        """
        self._config = config
        self._topics = topics
        self._changed = changed
        self._clock = clock
        self._longest_pause_s = longest_pause_s
        self._availability = topics.own("availability")
        self._outbox = outbox
        self._outgoing = Outgoing(
            Bounds(turns=config.outbox_turns, age_s=config.outbox_days * 86_400),
            forget=self._delivered,
            kept=outbox.kept if outbox is not None else (),
            now=clock(),
            today=time.time(),
        )
        self._discovery = discovery
        self._withdrawn = withdrawn
        for topic in withdrawn:
            self._outgoing.set(topic, "")
        self._announced = False
        self._announcing: asyncio.TimerHandle | None = None
        self._window = WINDOW
        self._progress = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: asyncio.TimerHandle | None = None
        self._connected = self._refused = self._deaf = False
        self._problem: str | None = f"not connected to the MQTT broker {config.host}:{config.port} yet"
        self._connects = 0
        self._connected_at = -math.inf
        self._rivals = Rivals()
        self._mailbox = Mailbox(topics, born=self.republish, deaf=lambda: self.deaf_to((self._mailbox.self_test,)))
        self._client_id = f"voiced-{topics.id}"
        self._version: Literal[3, 5] = 5
        if not withdrawn:
            self._announce()

    # --- for the app ---

    @property
    def connected(self) -> bool:
        """Whether the broker has us."""
        return self._connected

    @property
    def problem(self) -> str | None:
        """Why it does not have us, or what is wrong although it has, as a sentence."""
        return self._problem

    @property
    def tested(self) -> bool:
        """Whether commands come through, as far as the broker lets us find out."""
        return self._mailbox.tested

    @property
    def disk_problem(self) -> str | None:
        """Why finished turns would not survive a restart."""
        return None if self._outbox is None else self._outbox.problem

    @property
    def health(self) -> BrokerHealth:
        """How it has been since the start."""
        return BrokerHealth(
            reconnects=max(0, self._connects - 1),
            dropped_events=self._outgoing.dropped_events,
            waiting_turns=self._outgoing.turns,
            dropped_turns=self._outgoing.dropped_turns,
        )

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        """Publish a latest value, retained; while away only the newest is kept. Topic below ``<base>/<id>/``.

        Raises:
            ValueError: If the table of topics says that it is not retained.

        """
        if not published(topic).retain:
            raise ValueError(f"{topic} is an event; tell it")
        dies = None if expiry_s is None else self._clock() + expiry_s
        self._set(self._topics.own(topic), payload, dies)

    def tell(self, topic: str, payload: str) -> None:
        """Publish an event, never retained. Kept for a minute while away. Topic below ``<base>/<id>/``.

        Raises:
            ValueError: If the table of topics says that it is retained.

        """
        if published(topic).retain:
            raise ValueError(f"{topic} is a latest value; keep it")
        self._add(Sending(self._topics.own(topic), payload))

    def deliver(self, topic: str, payload: str, *, parcel: str) -> None:
        """Publish an event, never retained, that must arrive: it is kept on disk until the broker has confirmed it.

        Args:
            topic: Below ``<base>/<id>/``.
            payload: At most as long as a message may be.
            parcel: Unique name, the same over restarts.

        """
        kept = Parcel(parcel, self._topics.own(topic), payload, time.time())
        if self._outbox is not None:
            self._outbox.keep(kept)
        self._outgoing.deliver(kept, self._clock())
        self._pump()

    def shout(self, topic: str, payload: str) -> bool:
        """Publish at once or not at all, on a full topic; return whether it is on its way. Nobody gets it late."""
        return self._connected and self._publish(topic, payload, qos=0, expiry_s=SHOUT_S) is not None

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        """Publish the response to a command, on the full topic it asked for."""
        self._add(Sending(topic, payload, correlation=correlation))

    def republish(self, names: tuple[str, ...] = ()) -> None:
        """Publish latest values again: those named (below ``<base>/<id>/``), or all, and discovery."""
        self._outgoing.again([self._topics.own(name) for name in names] or None)
        self._pump()

    async def obey(self, post: Callable[[Message], None]) -> None:
        """Hand what others ask of us to ``post``, for ever."""
        while True:
            post(await self._mailbox.next())

    async def __aenter__(self) -> Self:
        """Begin to connect; does not wait for it.

        Raises:
            ConfigError: If the password or the certificates cannot be read.

        """
        self._loop = asyncio.get_running_loop()
        self._start(5)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Say ``offline``, wait at most 2 s for what is on its way, and disconnect."""
        self._mailbox.close()
        self._be_patient_no_more()
        if self._announcing is not None:
            self._announcing.cancel()
        if self._connected:
            self._set(self._availability, "offline")
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    while not self._outgoing.is_empty:
                        self._progress.clear()
                        await self._progress.wait()
        self._connected = False
        # they wait for threads, which cannot be cancelled; each ends within the patience of a connection attempt
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._link.close)

    # --- outgoing, on the loop ---

    def _set(self, topic: str, payload: str, dies: float | None = None) -> None:
        self._outgoing.set(topic, payload, dies=dies)
        self._pump()

    def _add(self, event: Sending) -> None:
        self._outgoing.add(event, self._clock())
        self._pump()

    def _announce(self) -> None:
        self._announced = True
        for topic in self._withdrawn:  # once is enough: Home Assistant warns of what is not there
            self._outgoing.drop(topic)
        for topic, payload in self._discovery.items():
            self._outgoing.set(topic, payload)
        self._pump()

    def _delivered(self, parcel: str) -> None:
        if self._outbox is not None:
            self._outbox.forget(parcel)

    def _pump(self) -> None:
        """Send what waits, as far as the window lets it."""
        while self._connected:
            sending = self._outgoing.next(self._clock(), window=self._window)
            if sending is None:
                return
            self._send(sending)
        self._outgoing.tidy(self._clock())

    def _send(self, sending: Sending) -> None:
        number = self._publish(
            sending.topic,
            sending.payload,
            retain=sending.retain,
            expiry_s=sending.expiry_s,
            correlation=sending.correlation,
        )
        if number is None:
            self._outgoing.unsendable(sending)
        else:
            self._outgoing.sent(number, sending)

    def _publish(self, topic: str, payload: str, **how: Any) -> int | None:
        """Give the link a message; return its number, or ``None`` where it can never be sent, which is logged."""
        try:
            return self._link.publish(topic, payload, **how)
        except ValueError as exc:
            logger.error("%s cannot be published: %s", topic, exc)
            return None

    # --- news from the link, on the loop ---

    def accepted(self, window: int) -> None:
        """Take it that the broker has us and our subscriptions."""
        logger.info("connected to the MQTT broker %s:%s", self._config.host, self._config.port)
        self._connected, self._connected_at = True, self._clock()
        self._connects += 1
        self._window = min(WINDOW, window)
        if self._rivals.suspected(self._clock()):
            self._settling = self._loop.call_later(QUICK_S, self._settled)
        elif not self._deaf:
            self._problem = None
        self._outgoing.connected()
        if not self._announced and self._announcing is None:
            self._announcing = self._loop.call_later(WITHDRAWN_S, self._announce)
        self._outgoing.drop(self._availability)  # so that it comes last
        self._outgoing.again()
        self._set(self._availability, "online")
        if self._version == 5:
            self._add(Sending(self._mailbox.self_test, self._mailbox.token))
            self._mailbox.expect()
        self._changed()

    def denied(self, reason: str) -> None:
        """Take it that the broker does not want us."""
        self._refused = True
        if reason == "Unsupported protocol version" and self._version == 5:
            logger.warning("the MQTT broker does not speak MQTT 5; going on with MQTT 3.1.1")
            self._spawn(self._speak_older())
        else:
            self._complain(brokerlogin.refusal(self._config, reason))

    def lost(self, reason: str) -> None:
        """Take it that a connection is over, or came to nothing."""
        refused, self._refused = self._refused, False
        if not self._connected:
            if not refused:
                self.unreachable()
            return
        self._connected = False
        self._mailbox.stop_waiting()
        self._be_patient_no_more()
        now = self._clock()
        self._rivals.lost(now, connected_s=now - self._connected_at, reason=reason)
        self._deaf = False
        if self._rivals.suspected(now):
            self._complain(brokerlogin.rival(self._config, self._client_id))
        else:
            self._complain(brokerlogin.broken(self._config, reason))

    def _settled(self) -> None:
        """The other client has let us be."""
        self._rivals.settled()
        self._problem = None
        self._changed()

    def unreachable(self) -> None:
        """Take it that an attempt to connect failed."""
        if not self._tasks:
            self._spawn(self._find_out())

    async def _find_out(self) -> None:
        why = await asyncio.to_thread(brokerlogin.trouble, self._config)
        if not self._connected:
            self._complain(why or brokerlogin.silent(self._config))

    def _complain(self, problem: str) -> None:
        logger.log(logging.DEBUG if problem == self._problem else logging.WARNING, "%s", problem)
        if problem != self._problem:
            self._problem = problem
            self._changed()

    def deaf_to(self, filters: tuple[str, ...]) -> None:
        """Take it that the broker does not let us hear commands: some say so, mosquitto just passes nothing on."""
        self._deaf = True
        self._complain(brokerlogin.deaf(self._config, filters))

    def confirmed(self, number: int, fault: str | None) -> None:
        """Take it that the broker has a message, or says why not."""
        topic = self._outgoing.topic(number)
        if fault is not None and topic == self._mailbox.self_test:
            self._mailbox.passed()  # nobody may write there: whether we could read it, it does not tell
        elif fault is not None and topic is not None and self._topics.is_foreign(topic):
            logger.warning("an answer was asked for there: %s", brokerlogin.untaken(self._config, topic, fault))
        elif fault is not None:
            self._complain(brokerlogin.untaken(self._config, topic, fault))
        self._outgoing.confirmed(number, refused=fault is not None)
        self._progress.set()
        self._pump()

    def got(self, message: Message, *, retained: bool) -> None:
        """Take a message."""
        self._mailbox.got(message, retained=retained)

    def _be_patient_no_more(self) -> None:
        if self._settling is not None:
            self._settling.cancel()

    # --- the connection ---

    def _start(self, version: Literal[3, 5]) -> None:
        self._version = version
        self._link = Link(
            self._config,
            self._client_id,
            version=version,
            subscriptions=(*self._topics.subscriptions, self._topics.birth),
            will=self._availability,
            loopback=self._mailbox.self_test,
            listener=self,
            post=self._post,
            longest_pause_s=self._longest_pause_s,
        )
        self._link.open()

    async def _speak_older(self) -> None:
        # the thread ends within a second, or when an attempt to connect has timed out
        await asyncio.to_thread(self._link.close)
        self._outgoing.lost()
        self._refused = False
        self._start(3)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _post(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call)
