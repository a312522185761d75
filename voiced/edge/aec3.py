"""WebRTC's echo canceller, AEC3: silences what the speaker plays, and much of what is said over it at the same time.

What is left tells whether somebody really speaks; to be heard by others it is too broken (``core/echo/control.py``).
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from voiced.core.frames import MICROPHONE_RATE, Samples
from voiced.errors import MissingPartError


class Aec3:
    """AEC3 with WebRTC's noise suppression behind it; fits :class:`voiced.core.echo.evidence.Suppressor`.

    It finds the delay and learns the room by itself within 2 to 4 s. Measured in the room of ``tests/room.py``: with
    noise suppression it leaves 51 dB less of the speaker's sound (39 without, which is the room's noise), and hears
    as many people who speak over it.

    Raises:
        MissingPartError: If the package is missing, broken, or not made for this machine.

    """

    def __init__(self) -> None:
        self._processor = _load().AudioProcessor(
            sample_rate=MICROPHONE_RATE, num_channels=1, echo_cancellation=True, noise_suppression=True
        )

    def __call__(self, heard: Samples, played: Samples) -> Samples:
        """Take what the microphone heard and what was played at that time, 16 kHz, whole 10 ms of both; in order."""
        suppressed: Samples = self._processor.process(heard, played)
        return suppressed


class LateAec3:
    """Makes the canceller when first asked for it, in a thread of its own: a slow board takes 100 ms for that."""

    def __init__(self, make: Callable[[], Aec3] = Aec3) -> None:
        self._make = make
        self._made: Future[Aec3] | None = None

    def __call__(self) -> Aec3 | None:
        """Return it, or ``None`` while it is not there yet; never waits.

        Raises:
            MissingPartError: As :class:`Aec3`.

        """
        if self._made is None:
            thread = ThreadPoolExecutor(1, "aec3")
            self._made = thread.submit(self._make)
            thread.shutdown(wait=False)
        return self._made.result() if self._made.done() else None


def _load() -> Any:
    """Return the library; only who plays something pays for it (10 ms, 3 MB)."""
    try:
        import pywebrtc_audio  # noqa: PLC0415 - see above
    except (ImportError, OSError) as exc:
        raise MissingPartError(
            f"WebRTC's echo canceller cannot be loaded ({exc}): nobody can interrupt by voice, wake words still do;"
            f" mend it with: pip install --force-reinstall pywebrtc-audio (numpy is {np.__version__})"
        ) from exc
    return pywebrtc_audio
