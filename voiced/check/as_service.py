"""The check as the service would do it: its user, its groups, its credentials, its state directory, by systemd-run."""

import shutil
import subprocess
from collections.abc import Sequence

from voiced.errors import VoicedError

UNIT = "voiced.service"
TAKEN = ("User", "Group", "SupplementaryGroups", "StateDirectory", "StateDirectoryMode", "EnvironmentFile", "UMask")
TAKEN_LISTS = ("LoadCredential", "LoadCredentialEncrypted", "ImportCredential", "Environment", "BindReadOnlyPaths")


def properties(unit: str) -> list[str]:
    """Return what systemd-run must be told, from a unit as ``systemctl cat`` shows it, drop-ins behind."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name not in (*TAKEN, *TAKEN_LISTS):
            continue
        if not value:
            found.pop(name, None)  # an empty one takes back those before
        elif name in TAKEN_LISTS:
            found.setdefault(name, []).append(value)
        else:
            found[name] = [value]
    return [f"--property={name}={value}" for name, values in found.items() for value in values]


def run(arguments: Sequence[str]) -> int:
    """Run ``voiced check ARGUMENTS`` as the service, and return its exit status.

    Raises:
        VoicedError: If there is no such service, or no right to it.

    """
    if not shutil.which("systemd-run"):
        raise VoicedError("--as-service needs systemd; leave it out to check as yourself")
    shown = subprocess.run(["systemctl", "cat", UNIT], capture_output=True, text=True, check=False)  # noqa: S603, S607 - words of ours; found on the path, as systemd-run is
    if shown.returncode:
        raise VoicedError(f"there is no {UNIT} here; install it with systemd/install.sh, or leave out --as-service")
    program = next(
        (line.partition("=")[2].split()[0] for line in shown.stdout.splitlines() if line.startswith("ExecStart=/")),
        "voiced",
    )
    command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *properties(shown.stdout)]
    return subprocess.run([*command, program, "check", *arguments], check=False).returncode  # noqa: S603 - all words are the unit's and ours
