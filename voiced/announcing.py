"""Speaks for others: what waits for a quiet moment, and sound files that are loaded before they are heard."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from voiced.core.announcements import Announcements
from voiced.core.chimes import chime
from voiced.core.effects import ChimeKind
from voiced.core.events import Recording
from voiced.core.frames import Samples
from voiced.core.mqtt import commands
from voiced.core.states import Idle, State
from voiced.errors import CommandError
from voiced.ports import Media, Speaker
from voiced.reports import Reports
from voiced.scribe import Scribe

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Announcer:
    """Keeps announcements in their order; all of it belongs to the task that decides."""

    reports: Reports
    scribe: Scribe
    speaker: Speaker
    media: Media
    chime: Callable[[ChimeKind], None]
    """Plays a short sound."""
    say: Callable[[commands.Say, int], None]
    """Has a text read aloud, under a number that the scribe gave."""
    play: Callable[[Recording], None]
    """Has a sound heard."""
    later: Callable[[Callable[[], None]], None]
    """Has something done by the task that decides."""
    _waiting: Announcements = field(default_factory=Announcements)
    _loads: dict[int, asyncio.Task[Samples]] = field(default_factory=dict)
    _is_busy: bool = False

    def notice(self, state: State) -> None:
        """Take the state of the conversation; what waits for a quiet moment may have come to it."""
        self._is_busy = not isinstance(state, Idle)
        if not self._is_busy and self._waiting:
            self.later(self._go_on)

    def announce(self, command: commands.Announce) -> None:
        """Have it heard now, or wait for its turn."""
        if command.listen_after and command.media is not None:
            why = 'nobody listens behind a sound file: send "listen_after" with "text", or "listen" when it is over'
            self.reports.refused(command, CommandError(why))
            return
        if command.interrupt and command.media is None:
            self._say(command)
            return
        if not self._waiting.add(command):
            why = f"{len(self._waiting)} announcements wait already; cancel_announcements forgets them"
            self.reports.refused(command, CommandError(why, code="busy"))
            return
        self._go_on()

    def cancel(self, command: commands.CancelAnnouncements) -> None:
        """Forget those that wait."""
        waiting = list(self._waiting.all())
        self.leave()
        for announcement in waiting:
            self.reports.refused(announcement, CommandError("it was cancelled before its turn came", code="failed"))
        self.reports.obeyed(command, {"cancelled": len(waiting)})

    def leave(self) -> None:
        """Load nothing any more."""
        for load in self._loads.values():
            load.cancel()
        self._loads.clear()

    def _go_on(self) -> None:
        """Let be heard what can be, in its order. Of sound files only the next is loaded: they take memory."""
        while (first := self._waiting.first()) is not None:
            load = self._load(first)
            if load is not None and not load.done():
                return
            fault = load.exception() if load is not None else None
            if self._is_busy and not first.interrupt and fault is None:
                return
            self._waiting.next()
            self._loads.pop(id(first), None)
            if fault is not None:
                self._refuse(first, fault)
            elif load is not None:
                self._play(first, load.result())
            else:
                self._say(first)

    def _load(self, command: commands.Announce) -> asyncio.Task[Samples] | None:
        if command.media is None:
            return None
        load = self._loads.get(id(command))
        if load is None:
            load = asyncio.create_task(self.media.load(command.media), name="load media")
            load.add_done_callback(lambda done: None if done.cancelled() else self.later(self._go_on))
            self._loads[id(command)] = load
        return load

    def _say(self, command: commands.Announce) -> None:
        self._announce(command)
        said = commands.Say(
            command.reply, command.text, command.interrupt, command.voice, command.volume, command.listen_after
        )
        self.say(said, self.scribe.asked(command))

    def _play(self, command: commands.Announce, sound: Samples) -> None:
        if self.speaker.problem is not None:
            why = f"nobody would hear it: {self.speaker.problem}"
            self.reports.refused(command, CommandError(why, code="unavailable"))
            return
        lead = bytes(2 * len(chime("wake"))) if self._announce(command) else b""
        pcm = lead + sound.astype("<i2", copy=False).tobytes()
        self.play(Recording(pcm, self.scribe.asked(command), interrupt=command.interrupt, percent=command.volume))

    def _refuse(self, command: commands.Announce, fault: BaseException) -> None:
        if not isinstance(fault, CommandError):
            raise fault
        logger.warning("announce: %s", fault)
        self.reports.refused(command, fault)

    def _announce(self, command: commands.Announce) -> bool:
        if command.chime and self.speaker.problem is None:
            self.chime("wake")
        return command.chime
