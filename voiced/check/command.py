"""Goes through the subjects, shows each finding as it comes, and returns the exit status."""

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from voiced import __version__, configfile
from voiced.check import broker, bundle, echo, machine, media, microphone, models, network, service, speaker, update
from voiced.check.findings import Finding, Visit, failed, passed, reason, skipped, warned
from voiced.config import Config
from voiced.core.realtime.endpoint import Endpoint, endpoint
from voiced.edge.sound import needs_card
from voiced.edge.soundcard import Soundcard
from voiced.errors import ConfigError, DeviceError

logger = logging.getLogger(__name__)

Subject: TypeAlias = Callable[[Visit], list[Finding] | Awaitable[list[Finding]]]
SoundSubject: TypeAlias = Callable[[Visit, Soundcard], list[Finding]]

_SILENT: Mapping[str, Subject] = {
    "models": models.check,
    "media": media.check,
    "disk": machine.disk,
    "temperature": machine.temperature,
    "time": network.clock,
    "lookup": network.name,
    "tls": network.encryption,
    "sign-in": service.sign_in,
    "service": service.session,
    "broker": broker.check,
    "home-assistant": broker.home_assistant,
    "update": update.check,
}
# Last, because a sound system that hangs ends all; and after the broker, who knows what a running daemon holds.
_SOUND: Mapping[str, SoundSubject] = {
    "microphone": microphone.check,
    "speaker": speaker.check,
    "echo": echo.check,
}
SUBJECTS = ("configuration", *_SILENT, *_SOUND)
"""Words that ``voiced check`` takes to look at these alone."""


class _Report:
    """The findings so far, shown as they come."""

    def __init__(self, show: Callable[[str], None] | None) -> None:
        self.findings: list[Finding] = []
        self._show = show

    def add(self, *findings: Finding) -> None:
        """Take findings."""
        for finding in findings:
            self.findings.append(finding)
            if self._show:
                for line in finding.lines():
                    self._show(line)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status != "fail" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
        return {"ok": self.ok, "version": __version__, "checks": [finding.as_json() for finding in self.findings]}


def run(  # noqa: PLR0913 - what the command line can say
    explicit: str | None,
    environ: Mapping[str, str],
    *,
    only: Collection[str],
    show: Callable[[str], None] | None,
    document: Callable[[Any], None] | None,
    archive: Path | None,
) -> int:
    """Check everything, or ``only`` some subjects; return the exit status: 0 if nothing failed.

    Args:
        explicit: Configuration file named on the command line.
        environ: Of the process.
        only: Some of :data:`SUBJECTS`; empty: all.
        show: Takes the lines for a person.
        document: Takes the whole report in the end.
        archive: Where to write the support bundle.

    Raises:
        VoicedError: If the bundle cannot be written.

    """
    report = _Report(show)
    wanted = set(only) or set(SUBJECTS)
    config, where = _configuration(report, explicit, environ)
    status = 78 if config is None else 0
    daemon: dict[str, Any] = {}

    def finish() -> int:
        if document:
            document(report.as_json())
        if archive:
            bundle.write(archive, config, environ, report.as_json(), daemon)
            if show:
                show(f"The support bundle, without secrets and without anything said: {archive.name}")
        return status or (0 if report.ok else 1)

    if config is not None:
        visit = Visit(config=config, environ=environ, where=where, daemon=daemon)
        asyncio.run(_silent(visit, report, wanted))
        daemon.update(visit.daemon)

        def give_up(why: str) -> None:
            report.add(failed("sound", "ask the sound system", why, "restart the sound server, or this machine"))
            finish()
            os._exit(1)

        _sound(visit, report, wanted, give_up)
    return finish()


def _configuration(
    report: _Report, explicit: str | None, environ: Mapping[str, str]
) -> tuple[Config | None, Endpoint | None]:
    tried = "read the configuration"
    try:
        path = configfile.find(environ, explicit)
        config = configfile.load(path, environ)
        tried = f"read {path}" if path else "look for a file"
        where = None if config.realtime.provider == "simulator" else endpoint(config.realtime)
    except ConfigError as exc:
        remedy = "edit the key this names; config.toml.example shows every key with its default"
        report.add(*(failed("configuration", tried, problem, remedy) for problem in exc.problems))
        return None, None
    wishes = [*config.unmet(), *(where.warnings if where else ())]
    report.add(*(warned("configuration", tried, *reason(Exception(wish))) for wish in wishes))
    if not wishes:
        found = "every key is understood" if path else "there is none: every key has its default"
        report.add(passed("configuration", tried, found))
    return config, where


async def _silent(visit: Visit, report: _Report, wanted: Collection[str]) -> None:
    for name, subject in _SILENT.items():
        if name in wanted:
            made = await asyncio.to_thread(subject, visit)
            report.add(*(await made if inspect.isawaitable(made) else made))


def _sound(visit: Visit, report: _Report, wanted: Collection[str], give_up: Callable[[str], None]) -> None:
    audio = visit.config.audio
    ends = {"microphone": (audio.input,), "speaker": (audio.output,), "echo": (audio.input, audio.output)}
    there = [name for name in _SOUND if name in wanted]
    real = [name for name in there if all(needs_card(end) for end in ends[name])]
    for name in there:
        if name not in real:
            report.add(skipped(name, f"no device is configured: {', '.join(ends[name])}"))
    if not real:
        return
    try:
        card = Soundcard(give_up, ends={"input": audio.input, "output": audio.output})
    except DeviceError as exc:
        report.add(*(failed(name, "load PortAudio", *reason(exc)) for name in real))
        return
    try:
        for name in real:
            report.add(*_SOUND[name](visit, card))
    finally:
        card.close()
