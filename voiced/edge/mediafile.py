"""Sound files to be played on command, from a folder or an address that the configuration allows."""

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from voiced.core.frames import Samples
from voiced.edge.decoder import decoded
from voiced.edge.download import LARGEST, download
from voiced.errors import CommandError, MissingPartError
from voiced.places import allowed_path, is_url, is_within

PATIENCE_S = 30.0
"""For all of it."""


class MediaFiles:
    """Fits :class:`voiced.ports.Media`.

    Args:
        allowed: ``mqtt.media``.
        read: Returns what a file holds, given its path and ``allowed``; waits for the disk.

    """

    def __init__(
        self, allowed: tuple[str, ...], *, read: Callable[[str, tuple[str, ...]], bytes] | None = None
    ) -> None:
        self._allowed = allowed
        self._read = read or _read
        # Of their own: a folder that hangs keeps its thread, also when nobody waits for it any more.
        self._threads = ThreadPoolExecutor(2, "read media")

    async def load(self, place: str) -> Samples:
        """Return the sound of a file; see :class:`voiced.ports.Media`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE_S):
                if is_url(place):
                    content = await download(place, self._allowed)
                else:
                    content = await loop.run_in_executor(self._threads, self._read, place, self._allowed)
                return await asyncio.to_thread(decoded, content, place)
        except TimeoutError as exc:
            raise CommandError(f"{place} could not be read within {PATIENCE_S:g} s", code="unavailable") from exc
        except MissingPartError as exc:
            raise CommandError(str(exc), code="unavailable") from exc


def _read(place: str, allowed: tuple[str, ...]) -> bytes:
    """Return what a file holds: a plain one, in a folder that is allowed, wherever its links lead.

    Raises:
        CommandError: Else.

    """
    path = Path(allowed_path(place, allowed))
    try:
        _check_kind(path.stat().st_mode, place)  # first of all: to open a device may do something
        # A pipe that nobody writes to must not hold us up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            _check_kind(found.st_mode, place)
            # What was opened, not what stands there now.
            real = Path(f"/proc/self/fd/{file.fileno()}").readlink()
            if not is_within(real, tuple(os.path.realpath(known) for known in allowed if not is_url(known))):
                raise CommandError(f"{place} leads out of mqtt.media", code="refused")
            content = file.read(LARGEST + 1)
    except FileNotFoundError as exc:
        raise CommandError(f"there is no file {place}", code="not_found") from exc
    except PermissionError as exc:
        raise CommandError(f"{place} may not be read by the user of the daemon", code="refused") from exc
    except OSError as exc:
        raise CommandError(f"{place} cannot be read: {exc.strerror}", code="unavailable") from exc
    if len(content) > LARGEST:
        raise CommandError(f"{place} has more than {LARGEST // 2**20} MB", code="too_long")
    return content


def _check_kind(mode: int, place: str) -> None:
    if not stat.S_ISREG(mode):
        raise CommandError(f"{place} is no plain file", code="refused")
