"""How long somebody has been speaking just now, from a yes or no for each frame."""

from collections import deque

from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, seconds

WINDOW_S = 0.6
"""How far back speech counts."""


class NearSpeech:
    """Counts the frames with speech among the newest."""

    def __init__(self) -> None:
        self._frames: deque[bool] = deque(maxlen=round(WINDOW_S * MICROPHONE_RATE / FRAME))
        self._end = 0

    @property
    def seconds(self) -> float:
        """Seconds of speech within the last :data:`WINDOW_S`."""
        return seconds(sum(self._frames) * FRAME, MICROPHONE_RATE)

    def note(self, frame: Frame, *, speaks: bool) -> None:
        """Take what the next frame holds; behind a gap in the sound nothing before it counts."""
        if frame.start != self._end:
            self._frames.clear()
        self._frames.append(speaks)
        self._end = frame.end

    def forget(self) -> None:
        """Let nothing before count."""
        self._frames.clear()
