"""A running daemon, controlled over MQTT from the command line: synchronous, one command at a time."""

import json
import math
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from voiced.config import MqttConfig
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import RETAINED, Topics
from voiced.edge import brokerlogin
from voiced.edge.paholink import LARGEST_PACKET, Link
from voiced.errors import CommandError

CONNECT_PATIENCE_S = 10.0
ANSWER_PATIENCE_S = 10.0
WATCH_S = 10.0
"""How long a daemon tells what it hears, once asked."""
_PUBLISHES = ("availability", *RETAINED, "ears")


class RemoteControl:
    """A way to one daemon. Entering connects, and reads what the daemon has published.

    Every failure is a :exc:`~voiced.errors.CommandError` that says what to do; with ``code`` ``unavailable`` it never
    reached the daemon.
    """

    def __init__(self, config: MqttConfig, topics: Topics, *, leftovers: bool = False) -> None:
        """Prepare; ``leftovers``: :meth:`remove` is to be called."""
        self._config = config
        self._leftovers = (f"{topics.root}/#", *topics.discoveries) if leftovers else ()
        self._retained: set[str] = set()
        self._confirmed: dict[int, str | None] = {}
        self._topics = topics
        self._name = f"voiced-control-{secrets.token_hex(6)}"
        self._answers = topics.own(f"response/{self._name}")
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._link: Link
        self._life = ExitStack()
        self._accepted = self._is_away = False
        self._refusal: str | None = None
        self._failed = False
        self._deaf: tuple[str, ...] = ()
        self._values: dict[str, Any] = {}
        self._responses: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            CommandError: If there is no way to the broker.
            ConfigError: If the password or the certificates cannot be read.

        """
        with ExitStack() as life:
            self._join(life)
            self._life = life.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._life.close()

    def status(self) -> dict[str, Any]:
        """Return what the daemon has published, by topic: ``availability`` and the latest values.

        Raises:
            CommandError: If nothing was ever published.

        """
        if "availability" not in self._values:
            raise CommandError(
                f"no voiced called {self._topics.id!r} is known at the MQTT broker "
                f"{self._config.host}:{self._config.port}; check device.id, and start it with: voiced run",
                code="unavailable",
            )
        return {name: self._values[name] for name in _PUBLISHES if name in self._values}

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield what the daemon has published, now and after each change, for ever.

        While the broker is away, ``availability`` is ``unreachable``.

        Raises:
            CommandError: If nothing was ever published.

        """
        while True:
            known = self._seen()
            yield known
            while not self._wait(lambda: self._seen() != known, CONNECT_PATIENCE_S):  # noqa: B023 - used at once
                pass

    def _seen(self) -> dict[str, Any]:
        return {**self.status(), **({"availability": "unreachable"} if self._is_away else {})}

    def watch(self) -> Iterator[dict[str, Any]]:
        """Yield as :meth:`changes`, with what the daemon hears as ``ears``; also once a second without a change.

        Raises:
            CommandError: If nothing was ever published.

        """
        asked = -math.inf
        while True:
            if time.monotonic() - asked > WATCH_S / 2:
                asked = time.monotonic()
                self._link.publish(self._topics.own("command/watch"), json.dumps({"for_s": WATCH_S}))
            known = self._seen()
            yield known
            self._wait(lambda: self._seen() != known, 1.0)  # noqa: B023 - used at once

    def command(self, action: str, *, patience_s: float = ANSWER_PATIENCE_S, **fields: object) -> Mapping[str, Any]:
        """Send ``command/<action>`` and return the result of it.

        Raises:
            CommandError: If the daemon is not there, does not answer in time, or refuses; with its ``code``.

        """
        return self._request(f"command/{action}", fields, patience_s)

    def set(self, **settings: object) -> Mapping[str, Any]:
        """Change settings, all or none, and return the result.

        Raises:
            CommandError: As :meth:`command`.

        """
        return self._request("set", settings, ANSWER_PATIENCE_S)

    def remove(self) -> list[str]:
        """Take the device out of Home Assistant, then clear every topic that it left at the broker; return them.

        Raises:
            CommandError: If the daemon is running, or the broker does not take it.

        """
        if self._values.get("availability") == "online":
            raise CommandError(
                f"voiced {self._topics.id!r} is running and would come back at once; stop it first", code="busy"
            )
        own = f"{self._topics.root}/"
        # Home Assistant first: without their discovery, entities do not see their topics become empty
        topics = sorted(self._retained, key=lambda topic: (topic.startswith(own), topic))
        if topics and self._config.discovery is True and all(topic.startswith(own) for topic in topics):
            topics.insert(0, self._topics.discovery)  # it may be there: rules often let us write it, and not read it
        for topic in topics:
            number = self._link.publish(topic, "", retain=True)
            if not self._wait(partial(self._confirmed.__contains__, number), ANSWER_PATIENCE_S):
                raise CommandError(f"the MQTT broker does not answer; {topic} is not cleared", code="failed")
            if (fault := self._confirmed[number]) is not None:
                raise CommandError(brokerlogin.untaken(self._config, topic, fault), code="failed")
        return topics

    def _request(self, topic: str, fields: Mapping[str, object], patience_s: float) -> Mapping[str, Any]:
        if self.status()["availability"] != "online":
            raise CommandError(
                f"voiced {self._topics.id!r} is not running, or has lost the broker; start it with: voiced run",
                code="unavailable",
            )
        number = secrets.token_hex(8)
        payload = json.dumps({**fields, "id": number}, ensure_ascii=False)
        try:
            self._link.publish(
                self._topics.own(topic), payload, response_topic=self._answers, correlation=number.encode()
            )
        except ValueError as exc:
            raise CommandError(f"{topic} cannot be sent: {exc}") from exc
        if not self._wait(lambda: number in self._responses, patience_s):
            raise CommandError(
                f"voiced {self._topics.id!r} did not answer within {patience_s:g} s; look at its log",
                code="failed",
            )
        response = self._responses.pop(number)
        if not response.get("ok"):
            error = response.get("error") or {}
            raise CommandError(error.get("message", "refused without a reason"), code=error.get("code", "failed"))
        return response.get("result") or {}

    def _join(self, life: ExitStack) -> None:
        self._open(5, life)
        if self._refusal == "Unsupported protocol version":
            self._link.close()
            self._failed, self._refusal = False, None
            self._open(3, life)
        if not self._accepted:
            raise CommandError(self._why(), code="unavailable")
        if self._deaf:
            raise CommandError(
                f"the MQTT broker does not let us read {', '.join(self._deaf)}; check its access rules",
                code="unavailable",
            )
        # What we send ourselves comes back behind the retained messages: then all of them are here.
        self._link.publish(self._answers, json.dumps({"id": self._name}))
        if not self._wait(lambda: self._name in self._responses, CONNECT_PATIENCE_S):
            raise CommandError(
                f"the MQTT broker does not let us read {self._answers}; check its access rules", code="unavailable"
            )

    def _open(self, version: Literal[3, 5], life: ExitStack) -> None:
        self._link = Link(
            self._config,
            self._name,
            version=version,
            subscriptions=(
                self._answers,
                self._topics.own("response"),  # where MQTT 3.1.1 is answered
                *(self._topics.own(name) for name in _PUBLISHES),
                *self._leftovers,
            ),
            listener=self,
            post=self._news.put,
            largest=LARGEST_PACKET,  # a hundred turns in one answer are more than a command may be
        )
        life.callback(self._link.close)
        self._link.open()
        self._wait(lambda: self._accepted or self._failed, CONNECT_PATIENCE_S)

    def _wait(self, done: Callable[[], bool], patience_s: float) -> bool:
        """Take news until ``done``; return whether it came to that in time."""
        end = time.monotonic() + patience_s
        while not done():
            try:
                self._news.get(timeout=max(0.0, end - time.monotonic()))()
            except queue.Empty:
                return False
        return True

    def _why(self) -> str:
        if self._refusal is not None:
            return brokerlogin.refusal(self._config, self._refusal)
        return brokerlogin.trouble(self._config) or brokerlogin.silent(self._config)

    # --- news from the link ---

    def accepted(self, window: int) -> None:  # noqa: ARG002 - one message at a time fits any window
        """Take it that the broker has us."""
        self._accepted, self._is_away = True, False

    def denied(self, reason: str) -> None:
        """Take it that the broker does not want us."""
        self._refusal, self._failed = reason, True

    def lost(self, reason: str) -> None:  # noqa: ARG002 - _why finds a better one
        """Take it that the connection is over; it is made again within the patience for the answer."""
        self._failed, self._is_away = True, self._accepted

    def unreachable(self) -> None:
        """Take it that there is no connection."""
        self._failed = True

    def deaf_to(self, filters: tuple[str, ...]) -> None:
        """Note that the broker's rules keep something from us, which the command will say."""
        self._deaf = filters

    def confirmed(self, number: int, fault: str | None) -> None:
        """Take it that the broker has a message, or refused it."""
        self._confirmed[number] = fault

    def got(self, message: Message, *, retained: bool) -> None:
        """Take a message."""
        if retained and message.payload:
            self._retained.add(message.topic)
        name = message.topic.removeprefix(f"{self._topics.root}/")
        if name == "availability":
            self._values[name] = message.payload.decode(errors="replace")
            return
        try:
            value = json.loads(message.payload)
        except (ValueError, RecursionError):
            return  # anybody may write there, and an empty payload clears a topic
        if not isinstance(value, dict):
            return
        if name in _PUBLISHES:
            self._values[name] = value
        elif isinstance(value.get("id"), str):
            self._responses[value["id"]] = value
