"""What a person may send to somebody who helps: the report and what lies around it, without secrets or words said."""

import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from voiced.config import Config
from voiced.core.redaction import is_secret_name, redact
from voiced.edge.knownsecrets import known_secrets
from voiced.errors import VoicedError

JOURNAL_LINES = 500
PATIENCE_S = 20.0

_ASKED: Mapping[str, tuple[str, ...]] = {
    "journal.txt": ("journalctl", "--no-pager", "--unit", "voiced", f"--lines={JOURNAL_LINES}", "--output=short-iso"),
    "user-journal.txt": (
        *("journalctl", "--no-pager", "--user", "--unit", "voiced", f"--lines={JOURNAL_LINES}", "--output=short-iso"),
    ),
    "unit.txt": ("systemctl", "--no-pager", "--full", "status", "voiced"),
    "user-unit.txt": ("systemctl", "--no-pager", "--full", "--user", "status", "voiced"),
    "drop-ins.txt": ("systemctl", "--no-pager", "cat", "voiced"),
    "user-drop-ins.txt": ("systemctl", "--no-pager", "--user", "cat", "voiced"),
    "pulse.txt": ("pactl", "info"),
    "machine.txt": ("uname", "-a"),
    "memory.txt": ("free", "-m"),
    "usb.txt": ("lsusb",),
}
_READ = {
    "os-release.txt": "/etc/os-release",
    "model.txt": "/proc/device-tree/model",
    "cards.txt": "/proc/asound/cards",
    "pcm.txt": "/proc/asound/pcm",
    "asound.conf.txt": "/etc/asound.conf",
}


def write(
    path: Path, config: Config | None, environ: Mapping[str, str], report: Mapping[str, Any], daemon: Mapping[str, Any]
) -> None:
    """Write a compressed archive that only its owner can read.

    Args:
        path: Where; what was there is replaced.
        config: Whose secrets must not be in it.
        environ: Of the process; names and values of what is ours, secrets masked.
        report: Of the check.
        daemon: What a running daemon has published; the texts of its last turn are left out.

    Raises:
        VoicedError: If the file cannot be written.

    """
    kept = {name: value for name, value in daemon.items() if name != "turn"}
    parts = {
        "check.json": json.dumps(report, indent=2, ensure_ascii=False),
        "config.json": "" if config is None else json.dumps(_config(config), indent=2, ensure_ascii=False),
        "daemon.json": json.dumps(kept, indent=2, ensure_ascii=False),
        "environment.txt": _environment(environ),
        "versions.txt": _versions(),
        **{name: _without_values(_asked(command)) for name, command in _ASKED.items()},
        **{name: _read(Path(place)) for name, place in _READ.items()},
    }
    secrets = known_secrets(config, environ)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            os.fchmod(handle, 0o600)  # an older one may have been everybody's
            for name, text in parts.items():
                _add(archive, name, redact(text, secrets).encode(errors="replace"))
    except OSError as exc:
        raise VoicedError(f"{path} cannot be written: {exc.strerror}; name another file") from exc


def _config(config: Config) -> dict[str, Any]:
    """Return the configuration without what a person wrote for the model, which is nobody's business."""
    shown: dict[str, Any] = config.model_dump(mode="json")
    for profile in shown["profiles"].values():
        for key in ("instructions", "transcription_prompt"):
            profile[key] = f"({len(profile[key])} letters)"
        profile["transcription_keywords"] = f"({len(profile['transcription_keywords'])} words)"
    shown["realtime"]["url"] = shown["realtime"]["url"].partition("?")[0]
    return shown


def _environment(environ: Mapping[str, str]) -> str:
    ours = (
        "VOICED",
        "AZURE",
        "OPENAI",
        "ALSA",
        "PULSE",
        "PIPEWIRE",
        "PA_",
        "XDG",
        "LANG",
        "TZ",
        "STATE_",
        "CREDENTIALS",
    )
    lines = [
        f"{name}={'***' if is_secret_name(name) else value}"
        for name, value in sorted(environ.items())
        if name.startswith(ours)
    ]
    return "\n".join(lines)


def _versions() -> str:
    packages = sorted(f"{each.metadata['Name']} {each.version}" for each in metadata.distributions())
    return "\n".join([f"Python {sys.version}", platform.platform(), *packages])


def _asked(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - all words are ours
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{' '.join(command)}: {exc}"
    return f"$ {' '.join(command)}\n{done.stdout}{done.stderr}"


def _without_values(text: str) -> str:
    """Mask what a drop-in sets as a secret: to the end of its line, for a value may have blanks and quotes in it."""
    return re.sub(
        r"(?m)^(\s*(?:Environment|SetCredential)=[\"']?[\w.]*).*$",
        lambda found: f"{found[1]} ***" if is_secret_name(found[0]) or "SetC" in found[0] else found[0],
        text,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as exc:
        return f"{path}: {exc.strerror}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(f"voiced-support/{name}")
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))
