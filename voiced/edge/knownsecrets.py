"""Every secret that can be found on this machine, so that none of them leaves it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from voiced.config import Config
from voiced.core.redaction import is_secret_name

STORES = (Path("/etc/credstore"), Path("/run/credstore"), Path("/run/credentials/voiced.service"))
"""The last has those of a running service in clear, sealed ones too."""


def known_secrets(config: Config | None, environ: Mapping[str, str]) -> set[str]:
    """Return every secret that can be found here: of variables, of credentials, of files that the configuration names.

    What cannot be read is not known to this process, and cannot get out of it.
    """
    secrets = {value.strip() for name, value in environ.items() if is_secret_name(name)}
    files = [] if config is None else [config.realtime.key_file, config.mqtt.password_file]
    places = [Path(one).expanduser() for one in files if one]
    for store in (*STORES, *([Path(environ["CREDENTIALS_DIRECTORY"])] if environ.get("CREDENTIALS_DIRECTORY") else [])):
        with suppress(OSError):
            places += store.iterdir()
    for place in places:
        with suppress(OSError):
            if place.is_file():
                secrets.add(place.read_text(errors="replace").strip())
    return secrets - {""}
