"""How to get into the broker: password, TLS, and why a connection fails, which the MQTT client does not tell."""

import os
import socket
import ssl
from pathlib import Path

from voiced.config import MqttConfig
from voiced.errors import ConfigError

PATIENCE_S = 5.0
"""Seconds to wait for the broker in each step of :func:`trouble`."""


def password(config: MqttConfig) -> str | None:
    """Return the password: from ``mqtt.password_file``, else a systemd credential, else the environment.

    Raises:
        ConfigError: If the file is named and cannot be read.

    """
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / "mqtt_password"
    if config.password_file:
        path, key = Path(config.password_file), "mqtt.password_file"
    elif "CREDENTIALS_DIRECTORY" in os.environ and credential.exists():
        path, key = credential, "systemd credential mqtt_password"
    else:
        return os.environ.get("VOICED_MQTT_PASSWORD")
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{key}: cannot read {path}: {exc}; it must be a text file that voiced may read") from exc


def tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    """Return what TLS trusts; ``None`` without TLS.

    Raises:
        ConfigError: If ``mqtt.ca_file`` holds no certificates.

    """
    if not config.tls:
        return None
    try:
        return ssl.create_default_context(cafile=config.ca_file or None)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"mqtt.ca_file: cannot read certificates from {config.ca_file}: {exc}; it must hold PEM certificates"
        ) from exc


def trouble(config: MqttConfig) -> str | None:
    """Return why the broker cannot be reached, as a sentence; ``None`` where it can. Waits seconds."""
    where = f"{config.host}:{config.port}"
    try:
        with socket.create_connection((config.host, config.port), timeout=PATIENCE_S) as plain:
            context = tls_context(config)
            if context is not None:
                context.wrap_socket(plain, server_hostname=config.host).close()
    except socket.gaierror as exc:
        return f"the name of the MQTT broker {config.host} is not known ({exc.strerror}); check mqtt.host and the DNS"
    except ConnectionRefusedError:
        return f"no MQTT broker listens at {where} (connection refused); check mqtt.host and mqtt.port, or start it"
    except ssl.SSLCertVerificationError as exc:
        return (
            f"the certificate of the MQTT broker at {where} is not trusted ({exc.verify_message}); "
            "set mqtt.ca_file to the CA that signed it, and mqtt.host to a name in it"
        )
    except ssl.SSLError as exc:
        return f"the MQTT broker at {where} speaks no TLS ({exc.reason}); check mqtt.port, or set mqtt.tls = false"
    except TimeoutError:
        return f"the MQTT broker at {where} does not answer within {PATIENCE_S:g} s; check mqtt.host and the network"
    except OSError as exc:
        return f"the MQTT broker at {where} cannot be reached ({exc.strerror or exc}); check mqtt.host and the network"
    except ConfigError as exc:
        return str(exc)
    return None


def refusal(config: MqttConfig, reason: str) -> str:
    """Return what the broker's refusal means, as a sentence; ``reason`` in its own words."""
    where = f"{config.host}:{config.port}"
    if reason in {"Not authorized", "Bad user name or password"}:
        who = f"user {config.username!r} with this password" if config.username else "anybody without a user name"
        return (
            f"the MQTT broker at {where} does not accept {who} ({reason}); check mqtt.username and mqtt.password_file"
        )
    return f"the MQTT broker at {where} refuses the connection ({reason})"
