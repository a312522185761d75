"""One connection to an MQTT broker, by paho-mqtt, which makes it again by itself when it is lost.

paho calls back on a thread of its own, where an exception would end that thread unseen and waiting would stop the
keep-alive: every callback here only posts news. Source: paho-mqtt 2.1 and 2.2, measured against mosquitto 2.0.11.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from voiced.config import MqttConfig
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.parsing import LARGEST_PAYLOAD
from voiced.edge import brokerlogin

KEEPALIVE_S = 30
WILL_DELAY_S = 5
"""A loss shorter than this is not seen by others; nor is a command lost, which waits in the session."""
SESSION_EXPIRY_S = 30
RECEIVE_MAXIMUM = 65_535
"""What a broker takes unconfirmed if it does not say."""
LARGEST_PACKET = 16 << 20
"""Bytes the broker may send us at once, which MQTT 5 lets us say. What is a little too long for us is answered with a
sentence, but nobody can have us hold the 256 MB that a message may have."""
NO_MATCHING_SUBSCRIBERS = 16
"""Reason code of MQTT 5, 3.4.2.1: no failure, the message went nowhere. mosquitto tells, others may not."""
UNHEARD_KEPT = 16

_PROPERTIES = 1_024
"""Room for header and properties of a message; a response topic has 512 bytes at most."""

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears what becomes of a link."""

    def accepted(self, window: int) -> None:
        """Take it that the broker has us and our subscriptions, and may be sent ``window`` unconfirmed messages.

        Comes after paho has repeated what was on its way when the last connection broke.
        """

    def denied(self, reason: str) -> None:
        """Take it that the broker does not want us; ``lost`` follows."""

    def lost(self, reason: str) -> None:
        """Take it that a connection is over, or came to nothing."""

    def unreachable(self) -> None:
        """Take it that an attempt to connect failed, paho does not say why."""

    def deaf_to(self, filters: tuple[str, ...]) -> None:
        """Take it that the broker does not let us subscribe to some; ``accepted`` follows."""

    def confirmed(self, number: int, fault: str | None) -> None:
        """Take it that the broker has the message of this number, or refused it."""

    def got(self, message: Message, *, retained: bool) -> None:
        """Take a message; of a payload above the largest, only the beginning."""


class Link:
    """A connection and its news."""

    def __init__(  # noqa: PLR0913 - keyword-only parts, most with defaults
        self,
        config: MqttConfig,
        client_id: str,
        *,
        version: Literal[3, 5],
        subscriptions: tuple[str, ...],
        listener: Listener,
        post: Callable[[Callable[[], None]], None],
        will: str | None = None,
        loopback: str | None = None,
        longest_pause_s: int = 60,
        largest: int = LARGEST_PAYLOAD,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            config: Where the broker is, and how to sign in.
            client_id: Who we are; unique at the broker.
            version: MQTT 5, or 3.1.1.
            subscriptions: Topic filters.
            listener: Who hears the news.
            post: Called on paho's thread with each piece of news; must not wait or raise.
            will: Topic that the broker sets to ``offline`` when we are gone; without one, retained messages are asked
                for, and our own come back too.
            loopback: Topic on which our own messages come back even so; MQTT 5 only.
            longest_pause_s: Between two attempts to connect; the first pauses are shorter.
            largest: Bytes of a payload that we take whole.

        Raises:
            ConfigError: If the password or the certificates cannot be read, or the host cannot be one.

        """
        self._host = brokerlogin.host(config)
        self._config = config
        self._subscriptions = subscriptions
        self._listener = listener
        self._post_on = post
        self._will = will
        self._loopback = loopback
        self._is_v5 = version == 5
        self._most = largest
        self._window = RECEIVE_MAXIMUM
        self._largest: int | None = None
        self._closed = False
        self.unheard: deque[int] = deque(maxlen=UNHEARD_KEPT)
        """Numbers of the last messages that nobody had subscribed to; MQTT 5 tells."""
        protocol = MQTTProtocolVersion.MQTTv5 if self._is_v5 else MQTTProtocolVersion.MQTTv311
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, transport=config.transport
        )
        self._client = client
        client.suppress_exceptions = True
        client.on_log = self._on_log
        client.connect_timeout = brokerlogin.PATIENCE_S
        client.reconnect_delay_set(1, longest_pause_s)
        if config.username:
            client.username_pw_set(config.username, brokerlogin.password(config))
        if config.transport == "websockets":
            client.ws_set_options(path=config.ws_path)
        context = brokerlogin.tls_context(config)
        if context is not None:
            client.tls_set_context(context)
        if will is not None:
            properties = self._properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S)
            client.will_set(will, "offline", qos=1, retain=True, properties=properties)
        client.on_socket_open = _send_at_once
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message

    def open(self) -> None:
        """Begin to connect; does not wait for it."""
        expiry_s = 0 if self._will is None else SESSION_EXPIRY_S
        self._client.connect_async(
            self._host,
            self._config.port,
            keepalive=KEEPALIVE_S,
            properties=self._properties(
                PacketTypes.CONNECT, SessionExpiryInterval=expiry_s, MaximumPacketSize=LARGEST_PACKET
            ),
        )
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect, so that the will is not sent, and end the thread. Waits up to some seconds; no news follows."""
        if self._closed:
            return
        self._closed = True
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its inner pair of sockets when it is forgotten; do not leave that to the garbage collector
        del self._client

    def publish(  # noqa: PLR0913 - what a message may carry
        self,
        topic: str,
        payload: str,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
        qos: Literal[0, 1] = 1,
    ) -> int:
        """Send a message and return its number; MQTT 3.1.1 carries neither expiry nor correlation.

        Raises:
            ValueError: If topic or payload are not what MQTT, or this broker, can carry.

        """
        size = len(topic.encode()) + len(payload.encode()) + _PROPERTIES
        if self._largest is not None and size > self._largest:  # it would end the connection
            raise ValueError(f"the broker takes messages of {self._largest} bytes at most, and this one has {size}")
        properties = self._properties(
            PacketTypes.PUBLISH,
            MessageExpiryInterval=expiry_s,
            ResponseTopic=response_topic,
            CorrelationData=correlation,
        )
        return self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties).mid

    def _properties(self, packet: int, **values: object) -> Properties | None:
        if not self._is_v5:
            return None
        properties = Properties(packet)  # type: ignore[no-untyped-call] # paho has no types here
        for name, value in values.items():
            if value is not None:
                setattr(properties, name, value)
        return properties

    # --- on paho's thread ---

    def _post(self, call: Callable[..., None], *args: object, **named: object) -> None:
        def deliver() -> None:
            if not self._closed:
                call(*args, **named)

        self._post_on(deliver)

    def _on_log(self, _client: paho.Client, _data: Any, _level: int, text: str) -> None:
        # paho repeats every failed attempt as an error; the listener says each once
        logger.log(logging.ERROR if text.startswith("Caught exception") else logging.DEBUG, "paho: %s", text)

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._post(self._listener.denied, str(reason))
            return
        self._window = getattr(properties, "ReceiveMaximum", RECEIVE_MAXIMUM)
        self._largest = getattr(properties, "MaximumPacketSize", None)
        if self._is_v5:
            ours = self._will is not None
            options = SubscribeOptions(qos=1, noLocal=ours, retainHandling=2 if ours else 0)
            filters = [(name, options) for name in self._subscriptions]
            if self._loopback is not None:
                filters.append((self._loopback, SubscribeOptions(qos=1, retainHandling=2)))
            client.subscribe(filters)
        else:
            client.subscribe([(name, 1) for name in self._subscriptions])

    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        self._post(self._listener.unreachable)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _number: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        deaf = tuple(name for name, reason in zip(self._subscriptions, reasons, strict=False) if reason.is_failure)
        if deaf:
            self._post(self._listener.deaf_to, deaf)
        self._post(self._listener.accepted, self._window)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._post(self._listener.lost, str(reason))

    def _on_publish(
        self, _client: paho.Client, _data: Any, number: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        if reason.value == NO_MATCHING_SUBSCRIBERS:
            self.unheard.append(number)
        self._post(self._listener.confirmed, number, str(reason) if reason.is_failure else None)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        arrived = Message(
            message.topic,
            bytes(message.payload[: self._most + 1]),
            getattr(properties, "ResponseTopic", None),
            getattr(properties, "CorrelationData", None),
        )
        self._post(self._listener.got, arrived, retained=message.retain)


def _send_at_once(_client: paho.Client, _data: Any, sock: Any) -> None:
    """Have small messages not wait for the broker's TCP to confirm those before, which it puts off for 40 ms."""
    with socket.socket(fileno=os.dup(sock.fileno())) as same:  # paho's may be one of TLS, or of websockets
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
