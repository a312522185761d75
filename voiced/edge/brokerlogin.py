"""How to get into the broker: password, TLS, and why a connection fails, which the MQTT client does not tell."""

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from voiced.config import MqttConfig
from voiced.errors import ConfigError

PATIENCE_S = 5.0
"""Seconds to wait for the broker in each step of :func:`trouble`."""

SERVICE = Path("/run/credentials/voiced.service/mqtt_password")
"""The running service's own, which root may read: so that ``sudo voiced status`` gets in."""

ALERT_S = 0.5
"""How soon a broker refuses our certificate; it says nothing if it does not."""


class _TidySocket(ssl.SSLSocket):
    """A TLS socket that is closed when the handshake fails, which paho leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of ssl
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def password(config: MqttConfig) -> str | None:
    """Return the password: from ``mqtt.password_file``, else a systemd credential, else the environment.

    Whoever controls the service has none of these, and takes its credential where that may be read.

    Raises:
        ConfigError: If the file is named and cannot be read.

    """
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / "mqtt_password"
    if config.password_file:
        path, key = Path(config.password_file).expanduser(), "mqtt.password_file"
    elif "CREDENTIALS_DIRECTORY" in os.environ and credential.exists():
        path, key = credential, "systemd credential mqtt_password"
    elif "VOICED_MQTT_PASSWORD" in os.environ or not os.access(SERVICE, os.R_OK):
        return os.environ.get("VOICED_MQTT_PASSWORD")
    else:
        path, key = SERVICE, "systemd credential mqtt_password"
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{key}: cannot read {path}: {exc}; it must be a text file that voiced may read") from exc


def tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    """Return what TLS trusts; ``None`` without TLS.

    Raises:
        ConfigError: If ``mqtt.ca_file`` holds no certificates, or ours cannot be read.

    """
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"mqtt.ca_file: cannot read certificates from {config.ca_file}: {exc}; it must hold PEM certificates"
        ) from exc
    if config.cert_file:
        try:
            # without a password: a key that is encrypted would ask for it at a terminal that no daemon has
            context.load_cert_chain(config.cert_file, config.key_file or None, password=lambda: b"")
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(
                f"mqtt.cert_file: {config.cert_file} and its key {config.key_file or '(in the same file)'} cannot be "
                f"used: {exc}; they must be a PEM certificate and its own key, not encrypted"
            ) from exc
    context.sslsocket_class = _TidySocket
    return context


def host(config: MqttConfig) -> str:
    """Return the broker's host.

    Raises:
        ConfigError: If it cannot be a host name; looking it up would raise what the MQTT client does not expect.

    """
    try:
        config.host.encode("idna")
    except UnicodeError as exc:
        raise ConfigError(f"mqtt.host: {config.host!r} cannot be a host name ({exc}); like localhost") from exc
    return config.host


def trouble(config: MqttConfig) -> str | None:
    """Return why the broker cannot be reached, as a sentence; ``None`` where it can. Waits seconds."""
    where = _where(config)
    try:
        context = tls_context(config)
        with socket.create_connection((host(config), config.port), timeout=PATIENCE_S) as plain:
            return None if context is None else _tls_trouble(context, plain, config)
    except socket.gaierror as exc:
        return f"the name of the MQTT broker {config.host} is not known ({exc.strerror}); check mqtt.host and the DNS"
    except ConnectionRefusedError:
        return f"no MQTT broker listens at {where} (connection refused); check mqtt.host and mqtt.port, or start it"
    except TimeoutError:
        return f"the MQTT broker at {where} does not answer within {PATIENCE_S:g} s; check mqtt.host and the network"
    except OSError as exc:
        return f"the MQTT broker at {where} cannot be reached ({exc.strerror or exc}); check mqtt.host and the network"
    except ConfigError as exc:
        return str(exc)


def _tls_trouble(context: ssl.SSLContext, plain: socket.socket, config: MqttConfig) -> str | None:
    where = _where(config)
    try:
        with context.wrap_socket(plain, server_hostname=config.host) as secure:
            secure.settimeout(ALERT_S)
            with suppress(TimeoutError):
                secure.recv(1)  # with TLS 1.3 the broker says only now what it thinks of our certificate
    except ssl.SSLCertVerificationError as exc:
        return (
            f"the certificate of the MQTT broker at {where} is not trusted ({exc.verify_message}); "
            "set mqtt.ca_file to the CA that signed it, and mqtt.host to a name in it"
        )
    except OSError as exc:
        why = exc.strerror or exc
        if isinstance(exc, ssl.SSLError) and "CERTIFICATE" in str(exc.reason):
            return (
                f"the MQTT broker at {where} wants another certificate from us ({exc.reason}); "
                "set mqtt.cert_file and mqtt.key_file to one that it trusts"
            )
        return f"the MQTT broker at {where} seems to speak no TLS ({why}); check mqtt.port, or set mqtt.tls = false"
    return None


def refusal(config: MqttConfig, reason: str) -> str:
    """Return what the broker's refusal means, as a sentence; ``reason`` in its own words."""
    where = _where(config)
    if reason in {"Not authorized", "Bad user name or password"}:
        if config.username and not _has_password(config):
            return (
                f"the MQTT broker at {where} does not accept user {config.username!r} without a password ({reason}); "
                "set mqtt.password_file or VOICED_MQTT_PASSWORD; what the service has is for root alone: sudo"
            )
        who = f"user {config.username!r} with this password" if config.username else "anybody without a user name"
        return (
            f"the MQTT broker at {where} does not accept {who} ({reason}); check mqtt.username and mqtt.password_file"
        )
    return f"the MQTT broker at {where} refuses the connection ({reason})"


def _has_password(config: MqttConfig) -> bool:
    try:
        return bool(password(config))
    except ConfigError:
        return True  # named, and said elsewhere


def silent(config: MqttConfig) -> str:
    """Say that somebody takes connections there, and no broker."""
    keys = "mqtt.port, mqtt.tls and mqtt.transport"
    return f"{_where(config)} takes connections but does not answer as an MQTT broker; check {keys}"


def broken(config: MqttConfig, reason: str) -> str:
    """Say that a connection ended."""
    return f"the connection to the MQTT broker {_where(config)} was lost ({reason}); trying again"


def rival(config: MqttConfig, client_id: str) -> str:
    """Say that another client has our name."""
    return (
        f"another client uses the id {client_id} at the MQTT broker {_where(config)} and throws this one out; "
        "give each voiced its own device.id"
    )


def untaken(config: MqttConfig, topic: str | None, fault: str) -> str:
    """Say that the broker refused a message."""
    where = f" on {topic}" if topic else ""
    return f"the MQTT broker did not take a message{where} ({fault}); check its access rules{_who(config)}"


def deaf(config: MqttConfig, filters: tuple[str, ...]) -> str:
    """Say that no commands come through."""
    return f"the MQTT broker passes on no commands ({', '.join(filters)}); check its access rules{_who(config)}"


def _where(config: MqttConfig) -> str:
    return f"{config.host}:{config.port}"


def _who(config: MqttConfig) -> str:
    return f" for user {config.username!r}" if config.username else ""
