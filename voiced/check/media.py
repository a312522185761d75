"""Sound files for announcements: whether they can be decoded, and the folders be read. No address is asked."""

import io
import os
import wave
from pathlib import Path

from voiced.check.findings import Finding, Visit, failed, passed, reason, skipped, warned
from voiced.core.chimes import chime
from voiced.core.frames import SERVICE_RATE
from voiced.edge.decoder import decoded
from voiced.errors import CommandError, MissingPartError
from voiced.places import is_url

_REMEDY = (
    "take a folder that the daemon's user may read, such as /usr/share/sounds; the service (user voiced) sees no home "
    "folders: voiced check media --as-service"
)


def check(visit: Visit) -> list[Finding]:
    """Decode a sound of ours, and look into what ``mqtt.media`` names."""
    allowed = visit.config.mqtt.media
    if not allowed:
        return [skipped("media", "mqtt.media is empty: no sound files are played")]
    try:
        decoded(_sound(), "a WAV file")
    except (CommandError, MissingPartError) as exc:
        return [failed("media", "decode a sound", *reason(exc))]
    folders = [Path(place) for place in allowed if not is_url(place)]
    for folder in folders:
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
            found = "may not be read" if folder.is_dir() else "there is no such folder"
            return [warned("media", f"look into {folder}", found, _REMEDY)]
    return [passed("media", "decode a sound, and look into the folders of mqtt.media", "all is well")]


def _sound() -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, SERVICE_RATE, 0, "NONE", ""))
        file.writeframes(chime("wake").astype("<i2").tobytes())
    return content.getvalue()
