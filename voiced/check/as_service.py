"""The check as the service would do it: its user, its groups, its credentials, its state directory, by systemd-run."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from voiced.errors import VoicedError

UNIT = "voiced.service"
TAKEN = ("User", "Group", "StateDirectory", "StateDirectoryMode", "UMask")
TAKEN_LISTS = (
    *("SupplementaryGroups", "LoadCredential", "LoadCredentialEncrypted", "ImportCredential"),
    *("EnvironmentFile", "Environment", "BindReadOnlyPaths"),
)
JOURNAL = "--property=SupplementaryGroups=systemd-journal"
"""Whoever packs the journal must read it."""


def found(unit: str) -> dict[str, list[str]]:
    """Return what holds of a unit as ``systemctl cat`` shows it, drop-ins behind: the values of each key."""
    values: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name not in (*TAKEN, *TAKEN_LISTS, "ExecStart"):
            continue
        if not value:
            values.pop(name, None)  # an empty one takes back those before
        elif name in TAKEN_LISTS:
            values.setdefault(name, []).append(value)
        else:
            values[name] = [value]
    return values


def properties(unit: str) -> list[str]:
    """Return what systemd-run must be told of it."""
    keys = found(unit).items()
    return [f"--property={name}={value}" for name, values in keys if name != "ExecStart" for value in values]


def run(arguments: Sequence[str], archive: Path | None, environ: Mapping[str, str]) -> int:
    """Run ``voiced check ARGUMENTS`` as the service, or as the person's own, and return its exit status.

    Args:
        arguments: Behind what the unit says of the configuration.
        archive: Where to put the support bundle.
        environ: Of the process.

    Raises:
        VoicedError: If there is no such service, or the bundle cannot be written.

    """
    if not shutil.which("systemd-run"):
        raise VoicedError("--as-service needs systemd; leave it out to check as yourself")
    scope, unit = _unit(environ)
    keys = found(unit)
    program, *rest = shlex.split(keys.get("ExecStart", ["voiced run"])[0])
    check = [program, "check", *rest[1:], *arguments]
    command = ["systemd-run", *scope, "--quiet", "--pipe", "--wait", "--collect", *properties(unit)]
    if archive is None:
        return _status([*command, *check])
    if scope:
        return _status([*command, *check, "--bundle", str(archive.resolve())])
    # The service's user may not write where root wants it.
    with tempfile.TemporaryDirectory(prefix="voiced-") as name:
        made = Path(name) / (archive.name or "bundle")
        shutil.chown(name, user=keys.get("User", ["root"])[0])
        status = _status([*command, JOURNAL, *check, "--bundle", str(made)])
        if made.exists():
            _move(made, archive)
    return status


def _unit(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the scope in which a service is installed, as systemd's programs take it, and its unit."""
    scopes: list[list[str]] = [["--user"], []]  # one's own first; root has none
    for scope in scopes if os.geteuid() else reversed(scopes):
        shown = subprocess.run(["systemctl", *scope, "cat", UNIT], capture_output=True, text=True, check=False)  # noqa: S603, S607 - words of ours; found on the path, as systemd-run is
        if shown.returncode:
            continue
        if not scope:
            return scope, shown.stdout
        home = environ.get("HOME") or str(Path.home())
        settings = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
        return scope, shown.stdout.replace("%h", home).replace("%E", settings)  # systemd-run does not
    raise VoicedError(
        f"there is no {UNIT} here; install it with systemd/install.sh, or leave out --as-service (or sudo)"
    )


def _status(command: list[str]) -> int:
    return subprocess.run(command, check=False).returncode  # noqa: S603 - all words are the unit's and the caller's


def _move(made: Path, archive: Path) -> None:
    try:
        handle = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600)  # an older one may have been everybody's
            with os.fdopen(os.open(made, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:  # another user's folder
                shutil.copyfileobj(source, file)
    except OSError as exc:
        raise VoicedError(f"{archive} cannot be written: {exc.strerror}; name another file") from exc
