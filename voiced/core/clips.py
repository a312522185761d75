"""Clips: the sound around a wake or a near miss, cut from what the ears have just heard, with the scores beside it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame, Samples
from voiced.core.wake import NearMiss, Wake

BEFORE_S = 2.3
"""Sound kept from before the decision: the longest wake words, said slowly, and a little silence."""
AFTER_S = 0.7
"""And from behind it: the word may end 140 ms after the decision, and a syllable may follow."""
KEPT_S = 6.0
"""Seconds remembered: a near miss is known for one only when its utterance is over."""
MOST_WAITING = 8
"""Clips whose end is still to be heard; more at once are not worth having."""

Kind = Literal["wake", "near_miss", "rejected"]
"""Rejected: a wake but for the voice that said the word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """About three seconds of the microphone, 16 kHz, and what the models thought of them."""

    kind: Kind
    word: str
    score: float
    threshold: float
    decided: int
    """Sample of the clip behind the step that decided."""
    samples: Samples
    words: tuple[str, ...]
    """Names of the scores."""
    trace: tuple[tuple[int, tuple[float, ...]], ...]
    """Where in the clip (in samples) a step ends, and its row of scores. Without speech there are none."""


class ClipRecorder:
    """Remembers the last seconds, and cuts clips from them.

    Args:
        words: Names of the scores, in their order.

    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._frames: deque[Frame] = deque(maxlen=round(KEPT_S * MICROPHONE_RATE / FRAME))
        self._trace: deque[tuple[int, tuple[float, ...]]] = deque(maxlen=round(KEPT_S * MICROPHONE_RATE / STEP))
        self._waiting: deque[tuple[Kind, Wake | NearMiss]] = deque(maxlen=MOST_WAITING)

    def hear(self, frame: Frame) -> None:
        """Take the next frame. A gap before it ends everything: clips that wait for more are given up."""
        if self._frames and frame.start != self._frames[-1].end:
            self.forget()
        self._frames.append(frame)

    def score(self, end: int, scores: tuple[float, ...]) -> None:
        """Take the next row of scores, of the step that ends at microphone position ``end``."""
        self._trace.append((end, scores))

    def note(self, kind: Kind, heard: Wake | NearMiss) -> None:
        """Have a clip made of ``heard`` as soon as its end has been heard."""
        self._waiting.append((kind, heard))

    def forget(self) -> None:
        """Forget everything heard."""
        self._frames.clear()
        self._trace.clear()
        self._waiting.clear()

    def due(self) -> list[Clip]:
        """Return the clips that are whole by now, each once."""
        if not self._waiting or not self._frames:
            return []
        end = self._frames[-1].end
        whole = [(kind, heard) for kind, heard in self._waiting if _until(heard) <= end]
        for done in whole:
            self._waiting.remove(done)
        return [self._cut(kind, heard) for kind, heard in whole]

    def _cut(self, kind: Kind, heard: Wake | NearMiss) -> Clip:
        first, last = heard.end - round(BEFORE_S * MICROPHONE_RATE), _until(heard)
        inside = [frame for frame in self._frames if frame.end > first and frame.start < last]
        begin = inside[0].start if inside else last
        sound = np.concatenate([frame.samples for frame in inside]) if inside else np.empty(0, np.int16)
        return Clip(
            kind=kind,
            word=heard.word,
            score=heard.score,
            threshold=heard.threshold,
            decided=heard.end - begin,
            samples=sound,
            words=self._words,
            trace=tuple((end - begin, scores) for end, scores in self._trace if begin < end <= last),
        )


def _until(heard: Wake | NearMiss) -> int:
    return heard.end + round(AFTER_S * MICROPHONE_RATE)
