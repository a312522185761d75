"""Asks a desktop's sound server, by its own ``pactl``, whether what this process hears is a microphone, and which.

When a microphone goes, PulseAudio and PipeWire give its streams another source, a speaker's monitor if there is nothing
better, and the microphone again when it is back. Sound goes on all the while, and ALSA and PortAudio tell nobody; where
something plays, it does not even fall silent.
"""

import asyncio
import json
import logging
import os
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from voiced.core.devices import NODE, Device

logger = logging.getLogger(__name__)

CLIENTS = ("libpulse.so", "libasound_module_pcm_pipewire.so")
"""What is loaded into a process that hears through one."""

AGAIN_S = 10.0
"""Until another look for a server that is not there, or not used."""

ANSWER_S = 2.0
"""For its answer. One that stands still is noticed by the sound that does not come."""


class SoundServer:
    """Watches the source of this process's streams."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Prepare; ``environ`` says where the server is."""
        self._address = _address(environ)
        self.problem: str | None = None
        """What is wrong with the source now, as a sentence; ``None`` also where nobody knows."""

    async def watch(self) -> None:
        """Watch until cancelled; where there is no server, or no ``pactl``, nothing is watched."""
        while self._address:
            if _hears_through_one():
                try:
                    await self._follow()
                except (OSError, ValueError, LookupError, TimeoutError) as exc:
                    logger.debug("the sound server cannot be asked: %r", exc)
                self.problem = None
            await asyncio.sleep(AGAIN_S)
        await asyncio.Event().wait()

    async def _follow(self) -> None:
        """Look at the source whenever something about streams changes, until the server is gone."""
        async with self._pactl("subscribe") as told:
            self.problem = await self._found()
            async for line in told:
                if b"source-output" in line:
                    self.problem = await self._found()

    async def _found(self) -> str | None:
        sources = {one["index"]: one["name"] for one in await self._listed("sources")}
        # Streams themselves name no process where PipeWire's own plug-in for ALSA made them.
        clients = {str(one["index"]): one["properties"] for one in await self._listed("clients")}
        for stream in await self._listed("source-outputs"):
            name = sources.get(stream["source"], "")
            process = clients.get(str(stream["client"]), {}).get("application.process.id")
            if process == str(os.getpid()) and name.endswith(".monitor"):
                return (
                    f"the sound server gives {name!r} in place of the microphone: what a speaker plays, and nothing of "
                    "the room; plug the microphone in, or choose another one in the desktop's settings of sound"
                )
        return None

    async def _listed(self, what: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(ANSWER_S), self._pactl("--format=json", "list", what) as told:
            found: list[dict[str, Any]] = json.loads(await told.read())
            return found

    @asynccontextmanager
    async def _pactl(self, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
        process = await asyncio.create_subprocess_exec(
            *("pactl", f"--server={self._address}", *arguments),
            env={**os.environ, "LC_ALL": "C"},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        try:
            yield cast("asyncio.StreamReader", process.stdout)  # a pipe
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def default_source(environ: Mapping[str, str]) -> str:
    """Return name, description and driver of the microphone that the server gives who names none; empty if unknown.

    Source: libpulse takes ``PULSE_SOURCE`` before the server's default.
    """
    try:
        name = environ.get("PULSE_SOURCE") or _told(environ, "get-default-source").strip()
        sources = json.loads(_told(environ, "--format=json", "list", "sources"))
        mine = [source for source in sources if source["name"] == name]
        return " ".join(str(source[key]) for source in mine for key in ("name", "description", "driver"))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError) as exc:
        logger.debug("the sound server cannot be asked: %r", exc)
        return ""


def nodes(environ: Mapping[str, str]) -> list[Device]:
    """Return microphones and speakers of the server by names that can be configured; none where none answers."""
    found: list[Device] = []
    for listed, inputs in (("sources", 1), ("sinks", 0)):
        try:
            names = [one["name"] for one in json.loads(_told(environ, "--format=json", "list", listed))]
        except (OSError, subprocess.SubprocessError, ValueError, LookupError) as exc:
            logger.debug("the sound server cannot be asked: %r", exc)
            return []
        found += [
            Device(NODE + name, -1, inputs, 1 - inputs, 0, is_default_input=False, is_default_output=False)
            for name in names
            if not name.endswith(".monitor")
        ]
    return found


def _told(environ: Mapping[str, str], *arguments: str) -> str:
    if not (address := _address(environ)):
        raise FileNotFoundError("there is no sound server")
    command = ("pactl", f"--server={address}", *arguments)
    env = {**environ, "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_S, env=env).stdout  # noqa: S603 - all words are ours


def _address(environ: Mapping[str, str]) -> str:
    """Return where the server is. It is named even where it is the usual one: pactl would start one it has to find."""
    own = Path(environ.get("XDG_RUNTIME_DIR", "/run")) / "pulse" / "native"
    return environ.get("PULSE_SERVER") or (f"unix:{own}" if own.is_socket() else "")


def _hears_through_one() -> bool:
    loaded = Path("/proc/self/maps").read_text()  # no disk
    return any(client in loaded for client in CLIENTS)
