"""The book of turns: what was said, when, at what cost; from the same events that move the conversation.

Decides nothing. ``now`` is monotonic seconds, for latencies; ``time`` is the time of day, for the record.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from voiced.core.effects import EndTurn, Source
from voiced.core.mqtt import payloads
from voiced.core.playout import Part
from voiced.core.prices import NANO
from voiced.core.realtime import events as wire
from voiced.core.truncation import Answer

WAIT_S = 4.0
"""How long a turn that is over waits for the transcript of what the person said, and for what a cut answer cost."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """A turn being written down."""

    number: int
    session: str
    profile: str = "default"
    source: Source
    wake_word: str | None
    language: str | None
    time: datetime
    began: float
    request: int | None = None
    user: str | None = None
    user_ms: int = 0
    speech_start_ms: int | None = None
    speech_start: float | None = None
    speech_end: float | None = None
    lead_ms: int = 0
    """What the service adds before speech it heard: ``prefix_padding_ms``."""
    tail_ms: int = 0
    """What it adds behind it: ``silence_duration_ms``."""
    pending: set[str] = field(default_factory=set)
    """Items of the person whose transcript is to come, and answers whose usage is."""
    answer: Answer = field(default_factory=Answer)
    first_sound: float | None = None
    first_piece: float | None = None
    """When something of the answer came."""
    called: float | None = None
    """When somebody called, in the first turn."""
    ready: float | None = None
    """When the session took sound, then."""
    usage: payloads.TokenCount = field(default_factory=payloads.TokenCount)
    nano: int | None = 0
    """Nano-dollars; ``None``: a price is not known."""
    heard: Mapping[Part, int] | None = None
    """Milliseconds heard of each part of the answer, where it was cut."""
    tools: list[payloads.ToolCall] = field(default_factory=list)
    pieces: dict[str, str] = field(default_factory=dict)
    """What is known so far of what the person says, by item."""
    passed_on: int = 0
    """Messages of its live text so far."""
    passing: float = -math.inf
    """When the last one was sent."""
    ended: EndTurn | None = None
    over: float = 0.0

    @property
    def id(self) -> str:
        """Its unique name: sessions have random ones."""
        return f"{self.session}-{self.number}"

    def turn(self) -> payloads.Turn:
        """Return what is published of it."""
        ended = self.ended or EndTurn(self.number, "finished")
        since = self.began if self.speech_end is None else self.speech_end
        return payloads.Turn(
            id=self.id,
            turn=self.number,
            session=self.session,
            time=self.time,
            source=self.source,
            wake_word=self.wake_word,
            outcome=ended.outcome,
            user=payloads.User(text=self.user, language=self.language or None, duration_ms=self.user_ms),
            assistant=payloads.Assistant(
                text=(self.answer.text if self.heard is None else self.answer.heard(self.heard)) or None,
                duration_ms=self.answer.ms,
                interrupted_at_ms=sum(self.heard.values()) if self.heard and ended.outcome == "interrupted" else None,
            ),
            latency_ms=payloads.Latency(
                wake_to_listen=_ms(self.called, self.ready),
                end_of_speech_to_first_audio=_ms(since, self.first_sound),
                total=_ms(since, self.over) or 0,
            ),
            timeline_ms=self._timeline(),
            tools=tuple(self.tools),
            usage=self.usage,
            cost=None if self.nano is None else self.nano / NANO,
            error=payloads.Cause(code=ended.code, message=ended.message or "") if ended.code else None,
        )

    def _timeline(self) -> payloads.Timeline:
        began = self.began if self.speech_start is None else self.speech_start
        zero = min(moment for moment in (self.called, began, self.speech_end) if moment is not None)
        return payloads.Timeline(
            called=_ms(zero, self.called),
            ready=_ms(zero, self.ready),
            began=_ms(zero, began) or 0,
            said=_ms(zero, self.speech_end),
            answered=_ms(zero, self.first_piece),
            sounded=_ms(zero, self.first_sound),
            over=_ms(zero, self.over) or 0,
        )


@dataclass(slots=True)
class TurnBook:
    """Writes turns down: the one going on, and those that are over but not yet whole."""

    transcribes: bool = False
    """Whether transcripts of the person can be expected."""
    _draft: Draft | None = None
    _late: list[Draft] = field(default_factory=list)
    _called: float | None = None
    _ready: float | None = None

    @property
    def draft(self) -> Draft | None:
        """The turn going on."""
        return self._draft

    def called(self, now: float | None) -> None:
        """Note that a conversation was called for; ``None``: by text, so that nobody waits to be listened to."""
        self._called, self._ready = now, None

    def ready(self, now: float) -> None:
        """Note that the session takes sound."""
        if self._called is not None:
            self._ready = now

    def begin(self, draft: Draft) -> None:
        """Open a page. ``ready`` before it, in the same conversation, gives its first turn ``wake_to_listen``."""
        if self._ready is not None:
            draft.called, draft.ready = self._called, self._ready
            self._called = self._ready = None
        self._draft = draft

    def note(self, event: wire.ServerEvent, when: float | None = None, nano: int | None = 0) -> None:
        """Write down what the service says.

        Args:
            event: Of the session going on.
            when: With ``SpeechStarted`` and ``SpeechStopped``: when the person really did, on the clock of ``now``.
            nano: With ``ResponseDone`` and ``InputTranscript``: nano-dollars it costs; ``None``: not known.

        """
        match event:
            case wire.InputTranscript() | wire.InputTranscriptFailed():
                self._transcribed(event, nano)
            case wire.ResponseDone():
                self._used(event, nano)
        if (draft := self._draft) is None:
            return
        match event:
            case wire.SpeechStarted():
                draft.speech_start_ms = event.audio_start_ms
                draft.speech_start = when if draft.speech_start is None else draft.speech_start
            case wire.SpeechStopped():
                around = (draft.speech_start_ms or 0) + draft.lead_ms + draft.tail_ms
                draft.user_ms += max(0, event.audio_end_ms - around)
                draft.speech_end = when
            case wire.InputCommitted() if self.transcribes:
                draft.pending.add(event.item_id)
            case wire.ResponseStarted():
                draft.pending.add(event.response_id)
            case wire.AudioDelta() | wire.TextDelta():
                draft.answer.note(event)

    def heard_so_far(self, delta: wire.InputTranscriptDelta) -> str:
        """Return what the person is known to have said in the turn going on; of other turns nothing."""
        if self._draft is None or delta.item_id not in self._draft.pending:
            return ""
        pieces = self._draft.pieces
        pieces[delta.item_id] = pieces.get(delta.item_id, "") + delta.text
        return " ".join(filter(None, (self._draft.user, pieces[delta.item_id])))

    def said(self, now: float) -> None:
        """Note that the person, who spoke from the turn's beginning on, says that they are done."""
        if self._draft is not None:
            self._draft.speech_end = now
            self._draft.user_ms = max(0, round((now - self._draft.began) * 1000))

    def answered(self, now: float) -> None:
        """Note that a piece of the answer came."""
        if self._draft is not None and self._draft.first_piece is None:
            self._draft.first_piece = now

    def again(self, *, spoken: bool) -> None:
        """Note that the answer is to come from another session; ``spoken``: what was said will be told of again."""
        if (draft := self._draft) is None:
            return
        draft.pending.clear()
        draft.answer, draft.first_piece = Answer(), None
        if spoken:
            draft.user, draft.user_ms, draft.speech_start_ms, draft.speech_end = None, 0, None, None

    def sounded(self, now: float) -> float | None:
        """Note that the answer can be heard; return the seconds from the end of what was said, the first time."""
        if (draft := self._draft) is None or draft.first_sound is not None:
            return None
        draft.first_sound = now
        return None if draft.speech_end is None else now - draft.speech_end

    def end(self, ended: EndTurn, now: float) -> None:
        """Close the page; :meth:`finished` hands it out."""
        if self._draft is not None:
            self._draft.ended, self._draft.over = ended, now
            self._late.append(self._draft)
            self._draft = None

    def finished(self, now: float, *, session_over: bool = False) -> list[Draft]:
        """Return turns that are over and complete, or have waited long enough."""
        done = [draft for draft in self._late if not draft.pending or session_over or now - draft.over >= WAIT_S]
        self._late = [draft for draft in self._late if draft not in done]
        return done

    @property
    def all_written(self) -> bool:
        """Whether no turn is going on, or over and not yet whole."""
        return self._draft is None and not self._late

    def due(self) -> float | None:
        """Return when :meth:`finished` is to be asked again at the latest."""
        return min((draft.over + WAIT_S for draft in self._late), default=None)

    def _waiting_for(self, name: str) -> list[Draft]:
        drafts = [draft for draft in (*self._late, self._draft) if draft is not None and name in draft.pending]
        for draft in drafts:
            draft.pending.discard(name)
        return drafts

    def _transcribed(self, event: wire.InputTranscript | wire.InputTranscriptFailed, nano: int | None) -> None:
        for draft in self._waiting_for(event.item_id):
            draft.nano = _plus(draft.nano, nano)
            if isinstance(event, wire.InputTranscript):
                draft.user = f"{draft.user} {event.text}" if draft.user else event.text

    def _used(self, event: wire.ResponseDone, nano: int | None) -> None:
        for draft in self._waiting_for(event.response_id):
            draft.answer.note(event)
            draft.usage = _sum(draft.usage, event.usage)
            draft.nano = _plus(draft.nano, nano)


def _ms(since: float | None, then: float | None) -> int | None:
    return None if since is None or then is None else max(0, round((then - since) * 1000))


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _sum(so_far: payloads.TokenCount, usage: wire.Usage) -> payloads.TokenCount:
    return payloads.TokenCount(
        input=so_far.input + usage.input,
        output=so_far.output + usage.output,
        cached=so_far.cached + usage.cached,
        audio_input=so_far.audio_input + usage.input_audio,
        audio_output=so_far.audio_output + usage.output_audio,
    )
