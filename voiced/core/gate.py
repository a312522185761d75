"""Speech or silence: only what may hold speech goes on to the wake models, and nothing detectable is lost.

The models look back over the last 25 steps, so they must see contiguous sound. The gate therefore keeps a ring of what
it held back. When it opens soon after it closed, it hands out what was missed; when it was closed for longer, the whole
ring, from which the models build their memory anew.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Samples

FRAMES_PER_STEP = STEP // FRAME

RING_STEPS = 26
"""Least length of the ring: the 25 steps that the models look back, and one for the 480 samples before those.

The melspectrogram of a step begins 480 samples before it.
"""


_HANG_OVER = MICROPHONE_RATE // FRAME
"""Frames the gate stays open after the last one with speech: 1 s."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Sound that the gate lets through: a whole number of steps, the newest last."""

    samples: Samples
    fresh: bool
    """``False``: follows without a gap on the passage before. ``True``: it does not; the models must forget first."""

    @property
    def steps(self) -> int:
        """Return the number of steps."""
        return len(self.samples) // STEP


class Gate:
    """Collects frames into steps and lets those through that come with, or soon after, speech.

    Args:
        always_open: Let every step through (``gate = "off"``).
        ring_steps: Steps kept for when it opens; at least :data:`RING_STEPS`.

    """

    def __init__(self, *, always_open: bool = False, ring_steps: int = RING_STEPS) -> None:
        if ring_steps < RING_STEPS:
            raise ValueError(f"ring_steps is {ring_steps}, but the wake models need at least {RING_STEPS}")
        self._always_open = always_open
        self._ring: deque[Samples] = deque(maxlen=ring_steps)
        self.reset()

    def reset(self) -> None:
        """Forget all sound; the next frame begins a new step."""
        self._ring.clear()
        self._frames: list[Samples] = []
        self._silence = _HANG_OVER + 1
        self._missed: int | None = None

    @property
    def open(self) -> bool:
        """Whether sound goes through now."""
        return self._always_open or self._silence <= _HANG_OVER

    @property
    def between_steps(self) -> bool:
        """Whether the next frame begins a step."""
        return not self._frames

    def feed(self, samples: Samples, *, voiced: bool) -> Passage | None:
        """Take the next frame, and whether it may hold speech; return what goes on to the models.

        Something is returned at most once a step, with its last frame.
        """
        self._silence = 0 if voiced else self._silence + 1
        self._frames.append(samples)
        if len(self._frames) < FRAMES_PER_STEP:
            return None
        step = np.concatenate(self._frames)
        self._frames = []
        return self._pass(step)

    def feed_step(self, samples: Samples, *, voiced: Sequence[bool]) -> Passage | None:
        """Take the next four frames at once, where :attr:`between_steps`; do as :meth:`feed` would with each."""
        for each in voiced:
            self._silence = 0 if each else self._silence + 1
        return self._pass(samples)

    def _pass(self, step: Samples) -> Passage | None:
        self._ring.append(step)
        # _missed counts steps held back since the last passage; None: there was none, or the ring has lost some.
        if self._missed is not None:
            self._missed = self._missed + 1 if self._missed < len(self._ring) else None
        return self._passage() if self.open else None

    def _passage(self) -> Passage:
        fresh = self._missed is None
        steps = list(self._ring) if self._missed is None else list(self._ring)[-self._missed :]
        self._missed = 0
        return Passage(steps[0] if len(steps) == 1 else np.concatenate(steps), fresh)
