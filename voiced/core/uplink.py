"""What the service is to hear: the last seconds of the microphone, and what of them waits to be sent.

All frames pass through :meth:`Uplink.add`. While held back they only fill a ring; :meth:`Uplink.hear` lets them through
from a position in the past, so nothing said while a session opens, or while a chime plays, is lost. What a session was
sent since the person began to speak is kept, for another session in its place.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples

RING_S = 10.0
"""Seconds that can be gone back, and by which the room is known when somebody calls."""

BACKLOG_S = 90.0
"""Seconds that wait at most, and that are kept at most to be sent again; beyond them the oldest are dropped and
counted. A person speaks for a minute at most, after some silence, and a session opens within 15 s or not."""


@dataclass(slots=True)
class Uplink:
    """Keeps the ring and the backlog; all positions are :class:`~voiced.core.frames.Frame` positions."""

    lost: int = 0
    """Samples since the start that should have been sent and were not: backlog too long, or asked for too late."""
    kept: int = 0
    """Samples taken in this session that were not sent, because nobody spoke."""
    _ring: deque[Frame] = field(default_factory=lambda: deque(maxlen=int(RING_S * MICROPHONE_RATE / FRAME)))
    _backlog: deque[Frame] = field(default_factory=deque)
    _waiting: int = 0
    _open: bool = False
    _begun: bool = False
    _end: int = 0
    _passed: int = 0
    _taken: int = 0
    _segments: list[tuple[int, int]] = field(default_factory=list)
    _sent: deque[Frame] = field(default_factory=deque)
    _sent_samples: int = 0
    _unkept: int = 0
    _answered: int = 0

    @property
    def is_open(self) -> bool:
        """Whether frames go through."""
        return self._open

    @property
    def waiting(self) -> int:
        """Samples that can be taken."""
        return self._waiting

    @property
    def taken(self) -> int:
        """Samples taken in this session."""
        return self._taken

    @property
    def end(self) -> int:
        """Position behind the newest sample heard."""
        return self._end

    @property
    def recent(self) -> tuple[Frame, ...]:
        """The last seconds heard, oldest first."""
        return tuple(self._ring)

    def add(self, frame: Frame) -> None:
        """Take the next frame of the microphone."""
        self._ring.append(frame)
        if self._open:
            self.lost += max(0, frame.start - max(self._passed, self._end))
            self._queue_behind(frame, self._passed)
        self._end = frame.end

    def hear(self, since: int | None = None) -> None:
        """Let sound through: from ``since``, where the ring reaches that far, or from now on.

        ``since`` may lie ahead. What went through already does not go through twice. Something new is said here, unless
        sound goes through already.
        """
        if not self._open:
            self._keep_nothing()
        self._pass(since)

    def _pass(self, since: int | None) -> None:
        since = max(self._end if since is None else since, self._passed)
        self._open, self._begun, self._passed = True, True, since
        if self._ring and since < self._ring[0].start:
            self.lost += self._ring[0].start - since
        for frame in self._ring:
            self._queue_behind(frame, since)

    def skip(self, until: int) -> None:
        """Never let through what is heard before ``until``, which may lie ahead."""
        self._passed = max(self._passed, until)

    def resume(self) -> None:
        """Let sound through from where it was last held back; from now on, where nothing went through yet."""
        self._pass(self._passed if self._begun else None)

    def hold(self) -> None:
        """Let nothing more through; what waits already may still be taken."""
        self._open = False

    def restart(self) -> None:
        """Begin a new conversation: nothing waits, nothing was taken."""
        self._open = self._begun = False
        self._passed = self._answered = 0
        self._keep_nothing()
        self._drop_backlog()
        self._begin_session()

    def answered(self) -> None:
        """Note that what was heard until now is answered, or never will be."""
        self._answered = self._end

    def said_since(self, position: int | None = None) -> None:
        """Keep to be sent again only what was heard from ``position`` on, or since the last answer."""
        position = self._answered if position is None else position
        while self._sent and self._sent[0].end <= position:
            self._sent_samples -= len(self._sent.popleft().samples)
            self._unkept = 0

    def take_over(self, *, resend: bool) -> None:
        """Go on in a new session; ``resend``: it is to hear again what is kept."""
        if resend:
            self.lost += self._unkept
            self._backlog.extendleft(reversed(self._sent))
            self._waiting += self._sent_samples
        else:
            self._drop_backlog()
        self._keep_nothing()
        self._begin_session()

    def _keep_nothing(self) -> None:
        self._sent.clear()
        self._sent_samples = self._unkept = 0

    def _drop_backlog(self) -> None:
        self._backlog.clear()
        self._waiting = 0

    def _begin_session(self) -> None:
        self._segments.clear()
        self._taken = self.kept = 0

    def take(self, most: int) -> Samples:
        """Return up to ``most`` samples that wait, oldest first; empty if there are none."""
        parts: list[Samples] = []
        while self._backlog and most > 0:
            frame = self._backlog.popleft()
            if len(frame.samples) > most:
                self._backlog.appendleft(Frame(frame.start + most, frame.samples[most:]))
                frame = Frame(frame.start, frame.samples[:most])
            if not self._segments or frame.start != self._next_position():
                self._segments.append((self._taken, frame.start))
            parts.append(frame.samples)
            self._keep(frame)
            most -= len(frame.samples)
            self._taken += len(frame.samples)
            self._waiting -= len(frame.samples)
        return np.concatenate(parts) if parts else np.empty(0, np.int16)

    def position(self, taken: int) -> int | None:
        """Return where in the microphone's sound the ``taken``-th sample of this session stood."""
        index = bisect_right(self._segments, taken, key=lambda segment: segment[0]) - 1
        if index < 0:
            return None
        first, position = self._segments[index]
        return position + taken - first

    def _keep(self, frame: Frame) -> None:
        self._sent.append(frame)
        self._sent_samples += len(frame.samples)
        while self._sent_samples > BACKLOG_S * MICROPHONE_RATE:
            dropped = len(self._sent.popleft().samples)
            self._sent_samples -= dropped
            self._unkept += dropped

    def _next_position(self) -> int:
        first, position = self._segments[-1]
        return position + self._taken - first

    def _queue_behind(self, frame: Frame, position: int) -> None:
        """Queue what of ``frame`` lies behind ``position``."""
        skip = max(0, position - frame.start)
        if skip >= len(frame.samples):
            return
        frame = Frame(frame.start + skip, frame.samples[skip:])
        self._backlog.append(frame)
        self._passed = frame.end
        self._waiting += len(frame.samples)
        while self._waiting > BACKLOG_S * MICROPHONE_RATE:
            dropped = self._backlog.popleft()
            self._waiting -= len(dropped.samples)
            self.lost += len(dropped.samples)
