"""Every secret that can be found on this machine, so that none of them leaves it."""

import os
from collections.abc import Mapping
from pathlib import Path

from voiced.config import Config
from voiced.core.redaction import is_secret_name

STORES = (Path("/etc/credstore"), Path("/run/credstore"))


def known_secrets(config: Config | None, environ: Mapping[str, str]) -> set[str]:
    """Return every secret that can be found here: of variables, of credentials, of files that the configuration names.

    What cannot be read is not known to this process, and cannot get out of it.
    """
    secrets = {value.strip() for name, value in environ.items() if is_secret_name(name)}
    places = [*STORES, *([Path(environ["CREDENTIALS_DIRECTORY"])] if environ.get("CREDENTIALS_DIRECTORY") else [])]
    files = [file for place in places if place.is_dir() and os.access(place, os.R_OK) for file in place.iterdir()]
    if config is not None:
        files += [Path(one).expanduser() for one in (config.realtime.key_file, config.mqtt.password_file) if one]
    for file in files:
        if file.is_file() and os.access(file, os.R_OK):
            secrets.add(file.read_text(errors="replace").strip())
    return secrets - {""}
