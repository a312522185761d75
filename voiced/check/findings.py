"""What a subject says: tried, found, to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voiced.config import Config
from voiced.core.realtime.endpoint import Endpoint

Status: TypeAlias = Literal["pass", "warn", "fail", "skip"]

Value: TypeAlias = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    status: Status
    tried: str
    found: str
    remedy: str = ""
    """What to do; never empty where the status is ``warn`` or ``fail``."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Figures, for scripts."""

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "subject": self.subject,
            "status": self.status,
            "tried": self.tried,
            "found": self.found,
            "remedy": self.remedy,
            **({"values": dict(self.values)} if self.values else {}),
        }

    def lines(self) -> list[str]:
        """Return what a person reads."""
        mark = {"pass": "ok  ", "warn": "WARN", "fail": "FAIL", "skip": "-   "}[self.status]
        first = f"{mark} {self.subject:<15}{self.tried}: {self.found}"
        return [first, f"     {'':<15}-> {self.remedy}"] if self.remedy else [first]


@dataclass(slots=True, kw_only=True)
class Visit:
    """What the subjects share."""

    config: Config
    environ: Mapping[str, str]
    where: Endpoint | None
    """Where sessions go; ``None`` where the configuration does not tell."""
    daemon: dict[str, Any] = field(default_factory=dict)
    """What a running daemon has published, by topic; the broker's subject finds it."""

    def daemon_has(self, part: str) -> bool:
        """Whether a running daemon says that it has ``part``, such as ``microphone``."""
        return self.daemon.get("availability") == "online" and self.daemon.get("health", {}).get(part) == "ok"


def passed(subject: str, tried: str, found: str, remedy: str = "", /, **values: Value) -> Finding:
    """Return a good finding; a ``remedy`` is then only advice."""
    return Finding(subject, "pass", tried, found, remedy, values)


def warned(subject: str, tried: str, found: str, remedy: str, /, **values: Value) -> Finding:
    """Return a finding that a person should read, though nothing is broken."""
    return Finding(subject, "warn", tried, found, remedy, values)


def failed(subject: str, tried: str, found: str, remedy: str, /, **values: Value) -> Finding:
    """Return a bad finding."""
    return Finding(subject, "fail", tried, found, remedy, values)


def skipped(subject: str, why: str) -> Finding:
    """Return that there was nothing to try."""
    return Finding(subject, "skip", "not tried", why)


def reason(exc: Exception) -> tuple[str, str]:
    """Split the sentence of an error of ours into what was found, and what to do about it."""
    text = str(exc).strip().rstrip(".")
    found, _, remedy = text.partition("; ")
    return found, remedy or "mend what this sentence says, and check again"
