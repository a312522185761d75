"""The MQTT broker: whether it lets us in, and whether Home Assistant listens there."""

import time

from voiced.check.findings import Finding, Visit, failed, passed, reason, skipped, warned
from voiced.core.mqtt.topics import Topics
from voiced.edge.brokervisit import look_for_discovery
from voiced.edge.remote import RemoteControl
from voiced.errors import CommandError, ConfigError


def check(visit: Visit) -> list[Finding]:
    """Sign in, write and read below this device's topic, and ask whether a daemon is there."""
    mqtt = visit.config.mqtt
    if not mqtt.host:
        return [skipped("broker", 'mqtt.host is ""')]
    tried = f"sign in at {mqtt.host}:{mqtt.port}, write and read {_topics(visit).root}"
    began = time.monotonic()
    try:
        with RemoteControl(mqtt, _topics(visit)) as remote:
            took = round((time.monotonic() - began) * 1000)
            try:
                visit.daemon = remote.status()
            except CommandError:
                visit.daemon = {}  # none has ever been here
    except (CommandError, ConfigError) as exc:
        return [failed("broker", tried, *reason(exc))]
    running = visit.daemon.get("availability", "unknown")
    found = f"in {took} ms; the daemon is {running} there"
    return [passed("broker", tried, found, milliseconds=took, daemon=str(running))]


def home_assistant(visit: Visit) -> list[Finding]:
    """Find out whether anybody takes discovery messages."""
    subject, config = "home-assistant", visit.config.mqtt
    if not config.host or not config.discovery:
        return [skipped(subject, "mqtt.discovery is off" if config.host else 'mqtt.host is ""')]
    tried = f"send an empty discovery message below {config.discovery_prefix}/"
    try:
        found = look_for_discovery(config, _topics(visit))
    except ConfigError as exc:
        return [failed(subject, tried, *reason(exc))]
    if found is None:
        return [skipped(subject, "the broker does not let us ask by MQTT 5; 'voiced check broker' says what is wrong")]
    figures = {"taken": found.is_taken, "announced": found.is_announced}
    said = "this device is announced" if found.is_announced else "this device is not announced yet"
    if found.is_taken is None:
        return [skipped(subject, f"the broker does not tell who listens; {said}")]
    if not found.is_taken:
        remedy = (
            "connect Home Assistant's MQTT integration to this broker, with mqtt.discovery_prefix as its discovery "
            "prefix; without Home Assistant set mqtt.discovery = false"
        )
        return [warned(subject, tried, f"nobody takes it; {said}", remedy, **figures)]
    remedy = "" if found.is_announced else "start the daemon, and the device appears: voiced run"
    return [passed(subject, tried, f"somebody takes it; {said}", remedy, **figures)]


def _topics(visit: Visit) -> Topics:
    config = visit.config
    return Topics.of(config)
