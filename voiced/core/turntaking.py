"""Whose turn it is, where the service does not say: when the person begins to speak, and when they are done.

Stands between the microphone's sound and a service whose turn detection is off, and makes the two look like a service
that has one: the same events, names of items included. Sound in which nobody speaks is not sent at all.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from voiced.core.energy import RISE_DB
from voiced.core.frames import FRAME, MICROPHONE_RATE, Samples
from voiced.core.nearness import level_db
from voiced.core.realtime import events as wire
from voiced.core.realtime.settings import LocalVad

BLOCK_MS = FRAME * 1000 // MICROPHONE_RATE

ONSET = 8
"""Newest blocks that are looked at for a beginning."""

ENOUGH = 5
"""Of them those with speech that make one; fewer are a click."""

QUIETEST_DB = -60.0

SOFTER_DB = 30.0
"""What is so much softer than the loudest of a turn is silence: speech of one person varies by some 20 dB."""

MOST_NAMES = 32
"""Items whose names are remembered."""

Deed: TypeAlias = Samples | wire.ClientEvent | wire.SpeechStarted | wire.SpeechStopped
"""Sound or an event to be sent, or what is to be told."""


class TurnTaker:
    """Takes all sound of one session, in order.

    Args:
        vad: How turns are told apart.
        speech: Tells whether a frame may hold speech (:class:`voiced.ports.Speech`).

    """

    def __init__(self, vad: LocalVad, speech: Callable[[Samples], bool]) -> None:
        self._vad = vad
        self._speech = speech
        self._kept = -(-vad.prefix_padding_ms // BLOCK_MS)
        self._taken = 0
        self._next: int | None = None
        self._floor = QUIETEST_DB
        self._number = 0
        self._item: str | None = None
        self._sent = 0
        self._held = False
        self._committed: deque[str | None] = deque()
        self._names: dict[str, str] = {}
        self._listen()

    def _listen(self) -> None:
        """Wait for somebody to begin."""
        self._item = None
        self._lead: deque[Samples] = deque(maxlen=self._kept + ONSET)
        self._recent: deque[bool] = deque(maxlen=ONSET)
        self._quiet_ms = 0
        self._loudest = QUIETEST_DB

    @property
    def kept(self) -> int:
        """Samples taken and not sent, because nobody spoke."""
        return self._taken - self._sent

    # --- sound --------------------------------------------------------------------------------------------------------

    def hear(self, samples: Samples, where: Callable[[int], int | None]) -> list[Deed]:
        """Take the next sound of the session.

        Args:
            samples: Whole frames; any number of samples while a turn is held.
            where: Tells the microphone position of a sample of this session: sound may have been left out.

        Returns:
            What is to be done, in order.

        """
        if self._held:
            self._taken += len(samples)
            self._sent += len(samples)
            self._next = None
            return [samples]
        deeds: list[Deed] = []
        for start in range(0, len(samples), FRAME):
            position = where(self._taken)
            if self._next is not None and position != self._next:
                deeds += self._broken_off()
            block = samples[start : start + FRAME]
            deeds += self._judge(block)
            self._next = None if position is None else position + len(block)
        return deeds

    def _judge(self, block: Samples) -> list[Deed]:
        self._taken += len(block)
        level = level_db(block)
        is_voice = self._speech(block) and level >= self._limit_db()
        self._floor = max(QUIETEST_DB, min(level, self._floor + RISE_DB))
        if self._item is None:
            self._lead.append(block)
            self._recent.append(is_voice)
            return self._begun(level) if sum(self._recent) >= ENOUGH else []
        self._sent += len(block)
        self._loudest = max(self._loudest, level)
        self._quiet_ms = 0 if is_voice else self._quiet_ms + BLOCK_MS
        if self._quiet_ms < self._vad.silence_duration_ms:
            return [block]
        stopped = wire.SpeechStopped(self._item, self._ms(self._taken))
        self._committed.append(self._item)
        self._listen()
        asked = [wire.CreateResponse()] if self._vad.answered else []
        return [block, stopped, wire.CommitAudio(), *asked]

    def _begun(self, level: float) -> list[Deed]:
        before_onset = len(self._lead) - len(self._recent) + self._recent.index(True)
        for _ in range(before_onset - self._kept):
            self._lead.popleft()
        self._number += 1
        self._item = f"turn_{self._number}"
        self._loudest = level
        said = sum(len(block) for block in self._lead)
        self._sent += said
        started = wire.SpeechStarted(self._item, self._ms(self._taken - said))
        return [started, *self._lead]

    def _broken_off(self) -> list[Deed]:
        """Forget half a sentence: what follows it was not sent, and belongs to something else."""
        item = self._item
        self._listen()
        if item is None:
            return []
        return [wire.SpeechStopped(item, self._ms(self._taken)), wire.ClearAudio()]

    def _limit_db(self) -> float:
        """Return from what level on a block counts; less within speech, whose ends are soft."""
        threshold = self._vad.threshold
        limit = max(QUIETEST_DB + 20.0 * threshold, self._floor + 3.0 + 6.0 * threshold)
        return limit if self._item is None else max(limit - 4.0, self._loudest - SOFTER_DB)

    def _ms(self, sample: int) -> int:
        return sample * 1000 // MICROPHONE_RATE

    # --- a turn that is held ------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """From now on all sound belongs to one turn; what was said of it so far stays."""
        self._held = True
        self._listen()

    def let_go(self, *, committed: bool) -> None:
        """The turn is over: committed under the service's name, or forgotten."""
        self._held = False
        if committed:
            self._committed.append(None)

    # --- names of items -----------------------------------------------------------------------------------------------

    def told(self, event: wire.ServerEvent) -> wire.ServerEvent:
        """Return what the service says under the names that :meth:`hear` gave."""
        match event:
            case wire.InputCommitted(item_id) if self._committed:
                if (name := self._committed.popleft()) is None:
                    return event
                self._names[item_id] = name
                for old in list(self._names)[:-MOST_NAMES]:
                    del self._names[old]
                return wire.InputCommitted(name)
            case wire.ServiceProblem(code="input_audio_buffer_commit_empty") if self._committed:
                self._committed.popleft()
            case wire.InputTranscriptDelta(item_id, text) if item_id in self._names:
                return wire.InputTranscriptDelta(self._names[item_id], text)
            case wire.InputTranscript(item_id, text, usage) if item_id in self._names:
                return wire.InputTranscript(self._names[item_id], text, usage)
            case wire.InputTranscriptFailed(item_id, message) if item_id in self._names:
                return wire.InputTranscriptFailed(self._names[item_id], message)
        return event

    def named(self, event: wire.ClientEvent) -> wire.ClientEvent:
        """Return what is said to the service under its own names."""
        if isinstance(event, wire.DeleteItem):
            own = [own for own, name in self._names.items() if name == event.item_id]
            return wire.DeleteItem(own[0] if own else event.item_id)
        return event
