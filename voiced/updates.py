"""Asks once a day whether there is a newer voiced, where the user named an address that knows, and tells the broker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from voiced import __version__
from voiced.core.mqtt.updating import Update
from voiced.core.releases import Release, newest, update
from voiced.edge.download import document
from voiced.errors import CommandError, MissingPartError
from voiced.ports import Settled

FIRST_S = 10.0
"""The first time within so many seconds of the start, which has other things to do."""
DAY_S = 86_400.0
HOUR_S = 3_600.0
"""To the next time after a failure; doubled from one to the next, up to a day."""

logger = logging.getLogger(__name__)


async def ask(url: str) -> Release:
    """Return the newest release that ``url`` knows.

    Raises:
        CommandError: If it cannot be asked, or its answer is none; as a sentence.
        MissingPartError: If a library is not there.

    """
    try:
        return newest(await document(url))
    except ValueError as exc:
        raise CommandError(f"{url} does not tell the newest version: {exc}") from exc


class Updates:
    """Knows the newest version.

    Args:
        url: ``update.url``.
        tell: Takes what is known, each time.
        memory: Keeps it over restarts.
        pause: Waits so many seconds.
        chance: Anything from 0 to 1; houses full of units must not all ask in the same moment.

    """

    def __init__(
        self,
        url: str,
        tell: Callable[[Update], None],
        memory: Settled,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._url = url
        self._tell = tell
        self._memory = memory
        self._pause = pause
        self._chance = chance
        self._failures = 0

    async def follow(self) -> None:
        """Tell what was known last, then ask for ever."""
        match self._memory.load():
            case {"asked": self._url, "version": str(version), "url": str(url), "summary": str(summary)}:
                self._take(Release(version, url, summary))
        await self._pause(FIRST_S * self._chance())
        while True:
            await self._pause(await self._look())

    async def _look(self) -> float:
        """Ask; return how long to wait for the next time."""
        try:
            release = await ask(self._url)
        except (CommandError, MissingPartError) as exc:
            wait_s = min(DAY_S, HOUR_S * 2.0**self._failures)
            self._failures = min(self._failures + 1, 8)
            logger.log(logging.WARNING if self._failures == 1 else logging.DEBUG, "update.url: %s", exc)
        else:
            wait_s = DAY_S
            if self._failures:
                logger.info("update.url: the newest version is known again")
            self._failures = 0
            self._memory.save({"asked": self._url, **asdict(release)})
            self._take(release)
        return wait_s * (0.9 + self._chance() / 5)

    def _take(self, release: Release) -> None:
        try:
            told = update(__version__, release)
        except ValueError as exc:  # what is remembered was damaged
            logger.debug("the newest version is forgotten: %s", exc)
            return
        self._tell(told)
