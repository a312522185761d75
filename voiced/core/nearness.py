"""Does somebody near speak? Our own evidence, from frames of the microphone less the speaker's sound.

A person who talks to the daemon is about as loud as when they called it, and louder than what the room sounds like
anyway; a television is part of that. Levels cannot tell a television that is as loud as the person; what is heard then
is called unsure, and the mind lets only a few turns in a row begin that way.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from voiced.core.events import Near
from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples, seconds
from voiced.core.quantile import quantile
from voiced.core.states import (
    Attending,
    Connecting,
    Finishing,
    Hearing,
    Idle,
    Listening,
    Responding,
    Sounding,
    State,
    going_on,
)

FRAME_S = seconds(FRAME, MICROPHONE_RATE)

SOME_S = 0.1
"""Seconds of near speech within :data:`WINDOW_S` that may be somebody."""

ENOUGH_S = 0.3
"""Seconds that are somebody: a short word."""

WINDOW_S = 0.6
"""How far back speech counts."""

OVER_S = 2.0
"""Silence after which nobody speaks any more; so long the service may take to say that it heard them, too."""

ROOM_S = 30.0
"""How much of the room is remembered."""

SETTLE_S = 1.5
"""After how long sound counts as the room's."""

MEANT_S = 8.0
"""After how long speech taken for near counts as the room's, because nobody took it for a turn."""

WORD_S = 1.4
"""The wake word and what precedes the decision that it was one."""

ABOVE_ROOM_DB = 3.0
"""How much louder than the room's loudest twentieth near speech is. Speech of one loudness varies by some 20 dB."""

BELOW_CALLER_DB = 20.0
"""How much softer than the caller, at the loudest, near speech may be: the person turned away or went back."""

SURE_DB = 10.0
"""How much softer it may be and still be surely theirs, once it is enough."""

LITTLE_SURE_DB = 6.0
"""The same before: the loudest tenth of a second of a television comes close to anybody, but not three in a row."""

APART_DB = 6.0
"""By how much caller and room must differ to be told apart at all."""

UNSURE_DB = 8.0
"""Where they do not: how much softer than the caller near speech may be."""

LOOKED_AT_S = 5.0
"""Of the past, to compare a wake word with the room before it."""

CLEAREST_DB = 60.0

SILENCE_DB = -96.0

Role: TypeAlias = Literal["caller", "room", "answer", "echo"]
"""Whose sound is expected: the person's, the room's, the room's under an answer, or mostly the speaker's own."""


def role(state: State, *, full_duplex: bool) -> Role:
    """Return whose sound to expect in ``state``; ``full_duplex``: the speaker's own is taken out of it."""
    match going_on(state):
        case Idle() | Attending() | Connecting() | Hearing() | Listening(follow_up=False):
            return "caller"
        case Responding() | Finishing() | Sounding():
            return "answer" if full_duplex else "echo"
        case _:
            return "room"


class Nearness:
    """Listens during a conversation; costs nothing between two.

    Args:
        speech: Tells whether a frame may hold speech (:class:`voiced.ports.Speech`).

    """

    def __init__(self, speech: Callable[[Samples], bool]) -> None:
        self._speech = speech
        self.begin((), None)

    def begin(self, past: Iterable[Frame], wake_end: int | None) -> None:
        """Begin a conversation.

        Args:
            past: The last seconds of the microphone.
            wake_end: Position at which the wake word was decided; ``None``: nobody said one.

        """
        self._room: deque[float] = deque(maxlen=round(ROOM_S / FRAME_S))
        self._settling: deque[float] = deque()
        self._caller: list[float] = []
        self._caller_db: float | None = None
        self._is_first = True
        self._room_db = SILENCE_DB
        self._due = 0
        self._recent: deque[tuple[int, float | None]] = deque(maxlen=round(WINDOW_S / FRAME_S))
        self._silent = 0
        self._spoken = 0
        self._whose: Role = "caller"
        self._told: Literal["none", "some", "enough"] = "none"
        self._is_sure = True
        word_begins = None if wake_end is None else wake_end - round(WORD_S * MICROPHONE_RATE)
        word: list[float] = []
        frames = tuple(past)
        for frame, level in zip(frames, _levels_db(frames), strict=True):
            if wake_end is None or word_begins is None or frame.end <= word_begins:
                self._room.append(level)
            elif frame.end <= wake_end:
                word.append(level)
        if word:
            self._caller_db = quantile(word, 0.9)
        self._look_around()

    @property
    def limit_db(self) -> float:
        """Level from which speech may be near."""
        if self._caller_db is None:
            return self._room_db + ABOVE_ROOM_DB
        if not self.tells_apart:
            return self._caller_db - UNSURE_DB
        return max(self._room_db + ABOVE_ROOM_DB, self._caller_db - BELOW_CALLER_DB)

    @property
    def tells_apart(self) -> bool:
        """Whether the person who called is louder than the room."""
        return self._caller_db is None or self._caller_db - self._room_db >= APART_DB

    @property
    def spoken_s(self) -> float:
        """Seconds with a voice since :meth:`count`, by whomever and however loud."""
        return self._spoken * FRAME_S

    def count(self) -> None:
        """Begin to count voices anew."""
        self._spoken = 0

    def hear(self, frame: Frame, whose: Role, evidence_s: float) -> Near | None:
        """Take the next frame.

        Args:
            frame: Less the speaker's sound.
            whose: Whose sound is expected.
            evidence_s: During an answer: seconds of speech that is not the speaker's within :data:`WINDOW_S`.

        Returns:
            What is to be told, where it is other than before.

        """
        level = level_db(frame.samples)
        begins = whose != self._whose
        if whose == "echo" or (begins and (whose == "answer" or self._whose == "caller")):
            # Who spoke before does not talk over an answer, and the end of what they said is not its continuation.
            self._recent.clear()
            self._settling.clear()
        self._whose = whose
        if whose == "echo" or (whose != "caller" and begins and self._told != "none"):
            return self._tell("none", frame)  # whoever goes on is noticed again at once
        speaks = self._speech(frame.samples)
        self._spoken += speaks
        if whose == "caller":
            self._settling.clear()
            if speaks:
                self._caller.append(level)
        else:
            self._know_caller()
            self._settle(level)
        is_near = speaks and level >= self.limit_db
        self._recent.append((frame.start, level if is_near else None))
        self._silent = 0 if is_near else self._silent + 1
        near_s = sum(near is not None for _, near in self._recent) * FRAME_S
        if whose == "answer":
            near_s = min(near_s, evidence_s)
        if self._silent * FRAME_S >= OVER_S:
            return self._tell("none", frame)
        if near_s >= ENOUGH_S - FRAME_S / 2:
            return self._tell("enough", frame)
        if near_s >= SOME_S - FRAME_S / 2:
            return self._tell("enough" if self._told == "enough" else "some", frame)
        return None

    def _tell(self, speech: Literal["none", "some", "enough"], frame: Frame) -> Near | None:
        """Return what is to be told: what is other than before, or has become sure."""
        near = [(start, level) for start, level in self._recent if level is not None]
        sure = True
        if speech != "none":
            loudest = max(level for _, level in near)
            softer_db = SURE_DB if speech == "enough" else LITTLE_SURE_DB
            sure = self.tells_apart and (self._caller_db is None or loudest >= self._caller_db - softer_db)
        if speech == self._told and (not sure or self._is_sure):
            return None
        self._told, self._is_sure = speech, sure
        return Near(speech, near[0][0] if near else frame.start, sure=sure)

    def _know_caller(self) -> None:
        """Learn from a turn: the first tells how loud the person is, one that is much softer is the room's."""
        if len(self._caller) * FRAME_S >= ENOUGH_S:
            level = quantile(self._caller, 0.9)
            if self._caller_db is None or (self._is_first and level >= self._room_db + APART_DB):
                self._caller_db = level if self._caller_db is None else min(level, self._caller_db)
            elif level < self._caller_db - SURE_DB:
                self._room.extend(self._caller)
                self._look_around()
            self._is_first = False
        self._caller.clear()

    def _settle(self, level: float) -> None:
        self._settling.append(level)
        while len(self._settling) * FRAME_S > (SETTLE_S if self._told == "none" else MEANT_S):
            self._room.append(self._settling.popleft())
            self._due -= 1
            if self._due <= 0:
                self._look_around()

    def _look_around(self) -> None:
        """Measure the room anew, twice a second at most."""
        self._due = 25
        if self._room:
            self._room_db = quantile(self._room, 0.95)


def clearness(past: Sequence[Frame], wake_end: int) -> float:
    """Return how far a wake word stood out of the room: 0, not at all, to 1, by 60 dB or more.

    Args:
        past: The last seconds of the microphone.
        wake_end: Position at which the word was decided.

    """
    frames = past[-round(LOOKED_AT_S / FRAME_S) :]
    word_begins = wake_end - round(WORD_S * MICROPHONE_RATE)
    word, room = [], []
    for frame, level in zip(frames, _levels_db(frames), strict=True):
        if frame.end <= word_begins:
            room.append(level)
        elif frame.end <= wake_end:
            word.append(level)
    if not (word and room):
        return 0.0
    return min(1.0, max(0.0, quantile(word, 0.9) - quantile(room, 0.5)) / CLEAREST_DB)


def level_db(samples: Samples) -> float:
    """Return how loud sound is, dB below full scale."""
    power = float(np.mean(np.square(samples, dtype=np.float32))) / 32768.0**2
    return max(SILENCE_DB, 10 * math.log10(power)) if power > 0 else SILENCE_DB


def _levels_db(frames: Sequence[Frame]) -> list[float]:
    """Return the levels of many frames: one by one, ten seconds of them take a slow board 20 ms."""
    if not frames:
        return []
    power = np.mean(np.square(np.stack([frame.samples for frame in frames]), dtype=np.float32), axis=1) / 32768.0**2
    levels: list[float] = (10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))).tolist()
    return levels
