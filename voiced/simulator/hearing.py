"""The input buffer of a session: sound that came, and which part of it is the next turn."""

import numpy as np

from voiced.simulator import turns
from voiced.simulator.checks import Wrong
from voiced.simulator.shapes import RATE

_KEPT_S = 30
"""Silence kept while turn detection waits for speech; a session of an hour must not hold an hour of silence."""

SHORTEST_COMMIT_MS = 100


class InputBuffer:
    """Counts sound in samples since the start of the session."""

    def __init__(self, rate: int = RATE) -> None:
        self.rate = rate
        self.position = 0
        self._begin = 0
        self._pcm = bytearray()
        self._detector: turns.TurnDetector | None = None
        self._settings: turns.Settings | None = None

    def configure(self, settings: turns.Settings | None, rate: int) -> None:
        """Tell turns apart by ``settings`` from here on; the same settings change nothing."""
        if (settings, rate) == (self._settings, self.rate):
            return
        self._settings, self.rate = settings, rate
        self._detector = None if settings is None else turns.TurnDetector(settings, rate, self.position)

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks."""
        return self._detector is not None and self._detector.speaking

    def append(self, pcm: bytes) -> list[turns.Started | turns.Stopped]:
        """Take sound; return what turn detection found in it.

        Raises:
            Wrong: If it is half a sample.

        """
        if len(pcm) % 2:
            raise Wrong("invalid_value", "Invalid 'audio': the number of bytes must be even, two a sample.", "audio")
        self._pcm += pcm
        self.position += len(pcm) // 2
        if self._detector is None:
            return []
        found = self._detector.feed(np.frombuffer(pcm, "<i2").astype(np.int16))
        if not found and not self._detector.speaking:
            self._drop(self.position - _KEPT_S * self.rate)
        return found

    def take(self, begin: int, end: int) -> tuple[int, bytes]:
        """Return the first sample and the sound of the turn from ``begin`` to ``end``, as far as kept.

        All before ``end`` is dropped.
        """
        first = max(begin, self._begin)
        pcm = bytes(self._pcm[(first - self._begin) * 2 : (end - self._begin) * 2])
        self._drop(end)
        return first, pcm

    def commit(self) -> tuple[int, bytes]:
        """Return all there is with its first sample, and drop it.

        Raises:
            Wrong: If it is less than 100 ms.

        """
        milliseconds = len(self._pcm) / 2 * 1000 / self.rate
        if milliseconds < SHORTEST_COMMIT_MS:
            raise Wrong(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least {SHORTEST_COMMIT_MS}ms of audio, "
                f"but buffer only has {milliseconds:.2f}ms of audio.",
            )
        return self.take(self._begin, self.position)

    def clear(self) -> None:
        """Forget all there is; whoever speaks is heard anew."""
        self._drop(self.position)
        if self._settings is not None:
            self._detector = turns.TurnDetector(self._settings, self.rate, self.position)

    def _drop(self, before: int) -> None:
        if before > self._begin:
            del self._pcm[: (before - self._begin) * 2]
            self._begin = before
