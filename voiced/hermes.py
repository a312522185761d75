"""The Hermes bridge: stands between the daemon and the broker, and passes all on.

What the daemon publishes is told in the words of Hermes as well, and what is asked in them comes to the daemon as
commands of our own contract. :mod:`voiced.core.hermes` translates; nothing else knows of it.
"""

import json
import secrets
from collections.abc import Callable

from voiced.core import hermes
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.payloads import BrokerHealth
from voiced.core.mqtt.topics import Topics
from voiced.edge.broker import MqttBroker


class HermesBroker:
    """A broker with which Hermes clients can talk as well; fits :class:`voiced.ports.Broker`.

    Args:
        broker: To which all goes.
        topics: Our own.
        site: Our ``siteId``.

    """

    def __init__(self, broker: MqttBroker, topics: Topics, site: str) -> None:
        self._broker = broker
        self._topics = topics
        self._answers = topics.own("response/hermes")
        self._state = hermes.State(site, secrets.token_hex(4))
        self._waiting: list[Message] = []
        self._post: Callable[[Message], None] = self._waiting.append

    # --- what is asked ------------------------------------------------------------------------------------------------

    async def obey(self, post: Callable[[Message], None]) -> None:
        """Hand what others ask of us to ``post``, in whichever words, for ever."""
        self._post = post
        for message in self._waiting:
            post(message)
        await self._broker.obey(self._sorted)

    def _sorted(self, message: Message) -> None:
        if message.topic in hermes.SUBSCRIBED:
            self._take(hermes.Received(message.topic, message.payload))
        else:
            self._post(message)

    def _take(self, event: hermes.Event) -> None:
        self._state, effects = hermes.step(self._state, event)
        for effect in effects:
            match effect:
                case hermes.Tell(topic, payload):
                    self._broker.shout(topic, json.dumps(payload))
                case hermes.Do(name, payload, tag):
                    message = Message(self._topics.own(name), payload.encode(), self._answers, tag.encode())
                    self._post(message)

    # --- what is told -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """As the broker's."""
        return self._broker.connected

    @property
    def problem(self) -> str | None:
        """As the broker's."""
        return self._broker.problem

    @property
    def disk_problem(self) -> str | None:
        """As the broker's."""
        return self._broker.disk_problem

    @property
    def health(self) -> BrokerHealth:
        """As the broker's."""
        return self._broker.health

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        """Publish a latest value."""
        self._broker.keep(topic, payload, expiry_s=expiry_s)
        if topic == "state":
            self._published(topic, payload)

    def tell(self, topic: str, payload: str) -> None:
        """Publish an event."""
        self._broker.tell(topic, payload)
        self._published(topic, payload)

    def deliver(self, topic: str, payload: str, *, parcel: str) -> None:
        """Publish an event that must arrive."""
        self._broker.deliver(topic, payload, parcel=parcel)
        self._published(topic, payload)

    def republish(self, names: tuple[str, ...] = ()) -> None:
        """Publish latest values again."""
        self._broker.republish(names)

    def shout(self, topic: str, payload: str) -> bool:
        """Publish at once or not at all."""
        return self._broker.shout(topic, payload)

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        """Publish the response to a command, or take it, if it was a command of ours."""
        if topic == self._answers:
            self._take(hermes.Answered((correlation or b"").decode(), json.loads(payload)))
        else:
            self._broker.answer(topic, payload, correlation)

    def _published(self, topic: str, payload: str) -> None:
        self._take(hermes.Published(topic, json.loads(payload)))
