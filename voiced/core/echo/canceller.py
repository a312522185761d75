"""The linear echo canceller: takes the echo of what is played out of the microphone's sound, and nothing else.

What is left of the echo is not suppressed: wake models and the service get the sound of a room with a softer speaker
in it, and a person in it undistorted. No sample is held back. While nothing plays it does nothing.

Played blocks come from the speaker's thread, frames from the microphone's, each counted by its own clock. When the
first block comes the two counts are laid side by side; from then on only counts matter, and how late an event came does
not. How much later the block is heard is searched for (:mod:`voiced.core.echo.delay`), the path of the echo is learnt
(:mod:`voiced.core.echo.kalman`), and the clocks' difference is followed (:mod:`voiced.core.echo.drift`). Where the
speaker ran dry, or the microphone lost sound, the counts are laid side by side anew; what was learnt is kept, and tells
within a few tenths of a second how they lie.
"""

import math
from collections import deque
from copy import deepcopy

import numpy as np

from voiced.core.echo.delay import HEARD, LONGEST, PLAYED, DelayFinder
from voiced.core.echo.drift import Drift
from voiced.core.echo.kalman import PARTS, EchoFilter
from voiced.core.echo.loss import Loss
from voiced.core.echo.tape import PACE, Floats, Tape
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Frame, Samples, seconds

_LEAD = 96
"""Microphone samples (6 ms) the filter begins before the echo's first strong sound."""
_TAIL = PARTS * FRAME
_KEPT = HEARD // FRAME + 1
"""Frames kept for finding the delay."""
_BLOCKS = 500
"""Blocks that wait at most; then the oldest go."""
_GAP = SERVICE_RATE // 2
"""Silence put on the tape where the speaker ran dry: all that a filter looks back on, and more."""
_DRY = 2 * FRAME
"""Microphone samples by which the speaker must be late to have run dry, as long as the delay is not known."""

_CATCH_UP = 4
"""Frames that are learnt from in the time of one, once the delay is found: all at once take a slow board 50 ms."""

_FIRST_LOOK = 16
"""Frames of sound before the delay is searched for, and between two searches."""
_LOOK = 8
_RELOOK = 4
"""Frames between two searches where the path is known and only its place is not."""
_UNSURE = 50
"""Frames of sound after which the place is believed even if nothing confirmed it."""
_POOR = 50
"""Frames in a row that leave most of the echo, before another delay is looked for."""
_GOOD = 25
"""Frames without most of the echo, after which most of it in one is strange: somebody speaks, or it slipped."""
_DOUBT = 16
"""Frames after which it is somebody, even if nothing tells where the echo is."""
_ASTRAY = 50
"""The same where it is no somebody, but an echo on another path."""
_IN_FLIGHT = 10
"""Frames for which a device may go on with what it was given before, at most: it holds some tenth of a second."""
_FAR = 8_000
"""Microphone samples (0.5 s) of delay, from which the counts are laid side by side anew where the speaker slips: each
time it ran dry the delay has grown, which is not searched for beyond :data:`LONGEST`."""
_CALM = 30
"""Frames (0.6 s) for which an echo must have come as expected, before other sound is somebody's."""
_LOST = 50
"""Frames, less those as expected, that it came otherwise, after which it is lost; found again once all are made up."""
_ENOUGH = 0.25
"""Share of the sound's power that the echo should have, if sound may be an echo that slipped."""
_SLIPPED = 16
"""Samples (1 ms) by which it must have slipped."""
_MOVED = 64
"""Samples (4 ms) by which a delay must differ to be another one."""


class LinearCanceller:
    """Told what is played by the speaker's thread, and given frames by another one."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque(maxlen=_BLOCKS)
        self._tape = Tape()
        self._filter = EchoFilter()
        self._finder = DelayFinder()
        self._drift = Drift()
        self._loss = Loss()
        self._heard: deque[Floats] = deque(maxlen=_KEPT)
        self._behind: deque[Floats] = deque()
        """Frames up to the last one that are still to be learnt from."""
        self._position: int | None = None
        """Microphone position behind the last frame."""
        self._origin: tuple[int, float] | None = None
        """A microphone position, and the place on the tape that was handed over at that time."""
        self._lag: float | None = None
        """Microphone samples from handing over to where the filter begins; ``None`` until the delay is found."""
        self._sound_end = -math.inf
        """Place on the tape behind the last sound that is not silence."""
        self._is_active = self._is_sure = self._has_slipped = False
        self._frames = self._poor = self._good = self._doubt = 0
        self._slips = 0
        self._strange = self._astray = self._settling = 0
        self._is_lost = False
        self._known = self._filter
        """As it was when doubt began; what it learns meanwhile holds unless the echo slipped."""
        self._reference: Floats | None = None

    @property
    def active(self) -> bool:
        """Whether the last frame may have held an echo; otherwise it was passed on as it came."""
        return self._is_active

    @property
    def reference(self) -> Floats | None:
        """What was played at the time of the last frame, 16 kHz, full scale being 1; ``None`` while not sure."""
        return self._reference

    @property
    def is_doubtful(self) -> bool:
        """Whether what is heard may be the speaker, at another time than before: that is being looked into."""
        return self._doubt > 0

    @property
    def is_strange(self) -> bool:
        """Whether the echo comes otherwise than expected, or just did: nothing that is heard is surely a person."""
        return self._strange > 0 or self._is_lost

    @property
    def is_lost(self) -> bool:
        """Whether that has lasted, and what is taken out must be measured anew."""
        return self._is_lost

    @property
    def slips(self) -> int:
        """How often it was."""
        return self._slips

    @property
    def delay_s(self) -> float | None:
        """Seconds from handing sound over until its echo is heard; ``None`` until it is found."""
        if self._lag is None:
            return None
        onset = self._filter.onset
        return seconds(round(self._lag) + (_LEAD if onset is None else onset), MICROPHONE_RATE)

    @property
    def drift_ppm(self) -> float:
        """How much faster the microphone's clock runs than the speaker's, in millionths."""
        return self._drift.ppm

    @property
    def attenuation_db(self) -> float | None:
        """By how much the echo was softened lately; ``None`` until enough of it was heard."""
        return None if self._lag is None else self._loss.attenuation_db

    def played(self, block: Samples) -> None:
        """Take 24 kHz sound that is handed to the loudspeaker now, silence too; from any thread, never waits."""
        self._blocks.append(block)

    def slipped(self) -> None:
        """Note that the device lost or repeated sound: what is played is heard at another time; from any thread."""
        self._has_slipped = True

    def clean(self, frame: Frame) -> Frame:
        """Return the next frame without the echo; the very frame while there can be none."""
        before = frame.start if self._position is None else min(self._position, frame.start)
        self._position = frame.end
        self._reference = None
        while self._blocks:
            self._take(self._blocks.popleft(), before)
        is_gap, self._has_slipped = before != frame.start or self._has_slipped, False
        if self._origin is None or not self._sounds(frame):
            self._is_active = False
            return frame
        if is_gap or not self._is_active:
            self._resume(frame, is_gap=is_gap)
        microphone = frame.samples.astype(np.float32) * np.float32(1 / 32_768)
        self._heard.append(microphone)
        self._frames += 1
        if self._lag is None:
            self._search(frame)
            if self._lag is None:
                return frame
            self._behind.extend(self._heard)
            self._refill(frame.end - len(self._behind) * FRAME)
            self._catch_up(frame)
            return frame
        if self._behind:
            self._behind.append(microphone)
            cleaned = self._catch_up(frame)
            if self._behind:
                return frame
        else:
            if not self._is_sure:
                self._confirm(frame)
            elif self._doubt:
                self._look_into(frame)
            cleaned = self._cancel(frame.start, microphone, learn=self._is_sure)
            self._follow(frame)
        kept = self._loss.choose(microphone, cleaned)
        self._judge()
        self._wonder(microphone, cleaned)
        if kept is microphone:
            return frame
        samples: Samples = np.clip(np.rint(kept * np.float32(32_768)), -32_768, 32_767).astype(np.int16)
        is_known = self._is_sure and not self._loss.is_astray
        own = self._loss.own_share(microphone, cleaned, self._filter.leakage) if is_known else 1.0
        return Frame(frame.start, samples, own)

    # --- the two counts ---

    def _take(self, block: Samples, position: int) -> None:
        """Put a block on the tape, handed over at a microphone position or a little later.

        Where the speaker had run dry by then, lay the counts side by side anew.
        """
        if self._origin is None or self._is_dry(position):
            if self._origin is not None:
                self._tape.add(np.zeros(_GAP, np.int16))
            self._origin = position, float(self._tape.end)
            self._begin()
        self._tape.add(block)
        if block.any():
            self._sound_end = self._tape.end

    def _is_dry(self, position: int) -> bool:
        """Whether all that was handed over must have been heard before a microphone position."""
        late = _DRY if self._lag is None else max(FRAME, self._lag)
        return self._now(position) - late * PACE > self._tape.end

    def _now(self, position: int) -> float:
        """Return the place on the tape that was handed over at a microphone position."""
        assert self._origin is not None  # noqa: S101 - frames before the first block are passed on
        then, place = self._origin
        return place + (position - then) * self._pace

    @property
    def _pace(self) -> float:
        return PACE / (1 + self._drift.rate)

    def _sounds(self, frame: Frame) -> bool:
        lag = LONGEST if self._lag is None else self._lag
        return self._now(frame.start) - (lag + _TAIL) * PACE < self._sound_end

    def _begin(self) -> None:
        """The counts lie side by side as well as is known, and that is to be confirmed."""
        self._finder.restart()
        self._heard.clear()
        self._behind.clear()
        if self._is_active:
            self._strange = _CALM
        self._is_active = self._is_sure = False
        self._frames = self._poor = self._good = self._doubt = 0
        # What was handed over before is still being heard as it was until now.
        self._settling = 0 if self._lag is None else min(math.ceil(self._lag / FRAME) + 1, _IN_FLIGHT)

    def _resume(self, frame: Frame, *, is_gap: bool) -> None:
        """There is sound again after none: what the filter looks back on is on the tape."""
        if is_gap:
            if self._lag is not None and self._lag > _FAR:
                self._origin = frame.start, float(self._tape.end)
            self._begin()
        self._is_active = True
        self._frames = 0
        self._heard.clear()
        self._behind.clear()
        self._drift.pause()
        self._refill(frame.start)

    def _refill(self, position: int) -> None:
        if self._lag is not None:
            count = (PARTS + 1) * FRAME
            self._filter.fill(self._tape.read(self._now(position - count) - self._lag * PACE, self._pace, count))

    # --- the delay ---

    def _search(self, frame: Frame) -> None:
        """Look for the delay now and then, as long as it is not known."""
        if self._frames < _FIRST_LOOK or self._frames % _LOOK:
            return
        found = self._look(frame)
        if found is not None:
            self._lag = float(max(0, found - _LEAD))
            self._is_sure = True

    def _confirm(self, frame: Frame) -> None:
        """Look where the path that was learnt lies now."""
        if self._settling:
            self._settling -= 1
            self._frames = 0
            self._heard.clear()
        elif self._frames >= _UNSURE:
            self._is_sure = True
        elif self._frames >= _RELOOK and not self._frames % _RELOOK:
            found = self._look(frame, self._filter.response)
            if found is not None:
                self._move(float(found), frame.start)

    def _judge(self) -> None:
        """Note whether the echo comes as expected; while its place is not sure there is nothing to expect."""
        if not self._is_sure:
            return
        is_astray = self._loss.is_astray
        self._strange = _CALM if is_astray else max(0, self._strange - 1)
        self._astray = min(_LOST, self._astray + 1) if is_astray else max(0, self._astray - 1)
        if self._astray == _LOST and not self._is_lost:
            self._is_lost = True
            self._loss.forget()
        elif not self._astray:
            self._is_lost = False

    def _wonder(self, microphone: Floats, cleaned: Floats) -> None:
        """Begin to look for the echo elsewhere where all of it is there of a sudden: a server may have stalled."""
        echo = microphone - cleaned
        if not self._loss.is_poor:
            self._good += 1
        elif self._is_sure and self._good >= _GOOD and float(echo @ echo) > _ENOUGH * float(microphone @ microphone):
            self._good, self._doubt = 0, 1
            self._known = deepcopy(self._filter)
            self._finder.restart()
            self._heard.clear()

    def _look_into(self, frame: Frame) -> None:
        found = None if self._doubt % _RELOOK else self._look(frame, self._known.response)
        most = _ASTRAY if self._loss.is_astray else _DOUBT
        self._doubt = 0 if found is not None or self._doubt >= most else self._doubt + 1
        if not self._doubt:
            self._poor = 0  # another delay is looked for anew, if at all: what was found until now was a path's
        assert self._lag is not None  # noqa: S101 - asked for where the delay is known only
        if found is not None and abs(found - self._lag) > _SLIPPED:
            self._slips += 1
            self._filter = self._known
            self._move(float(found), frame.start)

    def _move(self, lag: float, position: int) -> None:
        self._lag = lag
        self._is_sure = True
        self._loss.compare_anew()
        self._drift.pause()
        self._refill(position)

    def _catch_up(self, frame: Frame) -> Floats:
        """Learn from the next of the frames in which the delay was found; return the last of them without the echo."""
        position = frame.end - len(self._behind) * FRAME
        for _ in range(min(_CATCH_UP, len(self._behind))):
            cleaned = self._cancel(position, self._behind.popleft(), learn=True)
            position += FRAME
        if self._behind:
            self._reference = None
        return cleaned

    def _look(self, frame: Frame, response: Floats | None = None) -> int | None:
        heard = np.concatenate(self._heard)[-HEARD:]
        if len(heard) < HEARD:
            heard = np.concatenate((np.zeros(HEARD - len(heard), np.float32), heard))
        played = self._tape.last(PLAYED, round(self._now(frame.end)))
        return self._finder.look(played, heard, response, longest=self._frames * FRAME)

    # --- the filter ---

    def _cancel(self, position: int, microphone: Floats, *, learn: bool) -> Floats:
        assert self._lag is not None  # noqa: S101 - asked for where the delay is known only
        reference = self._tape.read(self._now(position) - self._lag * PACE, self._pace, FRAME)
        self._reference = reference if self._is_sure else None
        cleaned = self._filter.step(reference, microphone, learn=learn)
        if learn:
            now = self._now(position + FRAME)
            late = self._drift.follow(self._filter.error, self._filter.expected, self._filter.noise)
            self._origin = position + FRAME, now - late * PACE
        if not math.isfinite(float(cleaned @ cleaned)):
            self._filter.reset()
            return microphone
        return cleaned

    def _follow(self, frame: Frame) -> None:
        """Look for another delay where most of the echo is left for long: the speaker may be another one."""
        self._poor = self._poor + 1 if self._loss.is_poor else 0
        if self._poor < _POOR or not self._is_sure or self._doubt:
            return
        if self._poor == _POOR:
            self._finder.restart()
        if self._poor % _LOOK:
            return
        found = self._look(frame)
        assert self._lag is not None  # noqa: S101 - asked for where the delay is known only
        if found is not None and abs(found - _LEAD - self._lag) > _MOVED:
            self._move(float(max(0, found - _LEAD)), frame.end)
            self._poor = 0
