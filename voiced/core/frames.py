"""Sound as values: signed 16-bit mono samples in native byte order, and the rates they come at."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]
"""Mono sound, shape ``(n,)``."""

MICROPHONE_RATE = 16_000
"""Samples per second that frames, gate and wake models work at."""

SERVICE_RATE = 24_000
"""Samples per second of PCM on the Realtime wire, both ways, and of playout."""

FRAME = 320
"""Samples in a frame: 20 ms at :data:`MICROPHONE_RATE`."""

STEP = 1_280
"""Samples in a step: 80 ms, one wake score per model."""


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of microphone sound.

    ``start`` counts samples since the microphone was first opened and never goes back. It jumps forward where
    sound was lost (overrun, device gone), so a gap shows as ``start`` beyond the end of the frame before.
    """

    start: int
    samples: Samples
    own: float = 1.0
    """Share of the sound's power, 0 to 1, that may be what the speaker plays; nobody who does not know says less."""

    @property
    def end(self) -> int:
        """Return the position just behind the last sample."""
        return self.start + len(self.samples)


def seconds(samples: int, rate: int) -> float:
    """Return how long ``samples`` last at ``rate``."""
    return samples / rate


def milliseconds(samples: int, rate: int) -> int:
    """Return how long ``samples`` last at ``rate``, rounded down."""
    return samples * 1000 // rate
