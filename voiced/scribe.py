"""Writes conversations down: turns as they are published, and the memory that the next session is told."""

import math
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from voiced.config import Config
from voiced.core.doubting import is_doubtful
from voiced.core.effects import BeginTurn, EndTurn, GoOn
from voiced.core.events import Asked, Called, Event, SessionReady, Woken
from voiced.core.history import History
from voiced.core.memory import Memory, Said
from voiced.core.mqtt import commands, payloads
from voiced.core.playout import Part
from voiced.core.profiles import transcriber
from voiced.core.realtime import events as wire
from voiced.core.states import Paused, Responding, State
from voiced.core.tools import GOODBYE
from voiced.core.turns import Draft, TurnBook
from voiced.errors import CommandError
from voiced.ports import Clock, Memories, Settled
from voiced.reports import Reports

LIVE_S = 0.1
"""Between two messages of live text."""

LONGEST = 100
"""Turns of one conversation that a session which goes on with it is told, at most."""


class Scribe:
    """Notes what happens; decides nothing.

    Args:
        config: For languages, transcripts and memory.
        reports: Publishes turns.
        clock: Monotonic seconds.
        when_said: Tells when the sound stood at the microphone that is so many ms into what was sent.
        price: Tells what an answer or a transcript costs, in nano-dollars; ``None`` where that is not known.
        past: Remembers turns over restarts.
        memories: Keep what was said over restarts; ``None``: nothing does.

    """

    def __init__(  # noqa: PLR0913 - all by name, and each a part
        self,
        *,
        config: Config,
        reports: Reports,
        clock: Clock,
        when_said: Callable[[int], float | None],
        price: Callable[[wire.ResponseDone | wire.InputTranscript], int | None],
        past: Settled,
        memories: Memories | None = None,
    ) -> None:
        self._config = config
        self._reports = reports
        self._clock = clock
        self._when_said = when_said
        self._price = price
        self._book = TurnBook()
        talk = config.conversation
        self._memory = Memory(turns=talk.memory_turns, keep_s=talk.memory_minutes * 60)
        self._memories = memories
        self._conversation: deque[Said] = deque(maxlen=LONGEST)
        self._past = past
        saved = past.load()
        self._history = History(config.history.turns, texts=config.history.texts, saved=saved)
        if saved and saved != self._history.saved():  # what may not be kept any more
            past.save(self._history.saved())
        self._forgotten = -math.inf
        self._requests: dict[int, commands.Command] = {}
        self._wake_word: str | None = None
        self.session = ""
        """Name of the conversation going on, or of the last one."""
        self.turns = 0
        """Turns of it so far."""
        self._remember()

    def follow(self, config: Config) -> None:
        """Take another configuration, for turns from now on."""
        self._config = config

    def open(self) -> None:
        """Begin a conversation; of one before it nothing more can come."""
        self._publish(session_over=True)
        self.session = secrets.token_hex(6)
        self.turns = 0
        self._conversation.clear()

    def due(self) -> float | None:
        """Return when :meth:`publish` is to be called again at the latest."""
        moments = [moment for moment in (self._book.due(), self._memory.due()) if moment is not None]
        return min(moments, default=None)

    def before(self, event: Event, now: float, *, idle: bool) -> None:
        """Note what an event says before the conversation goes on."""
        match event:
            case Woken():
                if idle:
                    self._book.called(now)
                self._wake_word = event.wake.word
                self._reports.wake(event.wake)
            case Called():
                if idle:
                    self._book.called(now)
                self._wake_word = None
                self._reports.called(event.source)
            case Asked() if idle:
                self._book.called(None)
            case SessionReady():
                self._book.ready(now)
            case wire.ResponseDone():
                self._book.note(event, nano=self._price(event))

    def after(self, event: Event, state: State) -> None:
        """Note what an event says once the conversation has gone on to ``state``."""
        match event:
            case wire.AudioDelta() | wire.TextDelta():
                answer = state.answer if isinstance(state, Paused) else state
                if isinstance(answer, Responding) and answer.response == event.response_id:
                    self._book.answered(self._clock())
                    self._book.note(event)
                    self._pass_on("assistant", self._book.draft.answer.text if self._book.draft else "")
            case wire.InputTranscriptDelta():
                self._pass_on("user", self._book.heard_so_far(event))
            case wire.InputTranscript():
                self._book.note(event, nano=self._price(event))
                self._reports.transcribed()
            case wire.FunctionCall():
                if getattr(state, "response", None) == event.response_id:
                    self._used(event)
            case wire.InputTranscriptFailed(message=why):
                self._book.note(event)
                self._reports.transcribed(why)
            case wire.ResponseStarted() | wire.SpeechStarted() | wire.SpeechStopped() | wire.InputCommitted():
                if not is_doubtful(event, state):
                    self._note(event)

    def _pass_on(self, role: Literal["user", "assistant"], text: str) -> None:
        """Have text passed on while it is being said, not too often."""
        draft, now = self._book.draft, self._clock()
        if draft is not None and now - draft.passing >= LIVE_S:
            draft.passing = now
            self._reports.transcript(draft, role, text)

    def _used(self, call: wire.FunctionCall) -> None:
        """Write down that the model called a tool; those that there are, are done at once."""
        if (draft := self._book.draft) is None:
            return
        is_known = call.name == GOODBYE
        draft.tools.append(payloads.ToolCall(name=call.name, ok=is_known, duration_ms=0))
        self._reports.tool("called", call, draft.number, None)
        self._reports.tool("finished" if is_known else "failed", call, draft.number, 0)

    def _note(self, event: wire.ServerEvent) -> None:
        draft = self._book.draft
        # The service counts what it adds before the speech, and the silence that ended the turn, as part of it.
        if draft is not None and isinstance(event, wire.SpeechStarted):
            self._book.note(event, self._when_said(event.audio_start_ms + draft.lead_ms))
        elif draft is not None and isinstance(event, wire.SpeechStopped):
            self._book.note(event, self._when_said(event.audio_end_ms - draft.tail_ms))
        else:
            self._book.note(event)

    def begin(self, begun: BeginTurn, profile: str) -> None:
        """Open a page for a turn, and publish that."""
        self.turns = begun.turn
        spoken_to = self._config.profiles[profile]
        self._book.transcribes = transcriber(self._config, profile) is not None
        by_silence = spoken_to.turn_detection in {"server_vad", "local"}
        draft = Draft(
            number=begun.turn,
            session=self.session,
            profile=profile,
            source=begun.source,
            wake_word=self._wake_word if begun.source == "wake_word" else None,
            language=spoken_to.language or None,
            time=self._reports.today(),
            began=self._clock(),
            request=begun.request,
            user=begun.text,
            lead_ms=spoken_to.vad_prefix_ms if by_silence else 0,
            tail_ms=spoken_to.vad_silence_ms if by_silence else 0,
        )
        self._book.begin(draft)
        for event in begun.said:
            self._note(event)
        self._reports.turn_begun(draft)

    def go_on(self, more: GoOn) -> None:
        """Note what the service told of more that the person says in the turn going on."""
        for event in more.said:
            self._note(event)

    def said(self) -> None:
        """Note that the person says that they are done."""
        self._book.said(self._clock())

    def sounded(self) -> float | None:
        """Note that the answer can be heard; return the seconds that whoever spoke waited for it."""
        return self._book.sounded(self._clock())

    @property
    def all_written(self) -> bool:
        """Whether all turns so far are written down."""
        return self._book.all_written

    def session_is_over(self, *, again: bool) -> None:
        """Publish what nothing more can come of; a turn going on is answered by another session.

        Args:
            again: Whether that session will tell once more what the person said.

        """
        self._publish(session_over=True)
        self._book.again(spoken=again)

    def cut(self, heard: Mapping[Part, int], items: Sequence[str] = ()) -> tuple[wire.ClientEvent, ...]:
        """Note how much of the answer was heard before it was cut; return what to tell the service.

        See :meth:`voiced.core.truncation.Answer.truncations`.
        """
        if (draft := self._book.draft) is None:
            return ()
        draft.heard = draft.answer.own(heard)
        return draft.answer.truncations(draft.heard, items)

    def end(self, ended: EndTurn) -> None:
        """Close the page."""
        self._book.end(ended, self._clock())

    def publish(self, *, idle: bool) -> bool:
        """Publish turns that are over and whole, and answer who asked for them; return whether there were any."""
        are_any = self._publish(session_over=idle)
        if idle:
            self._conversation.clear()
        return are_any

    def _publish(self, *, session_over: bool) -> bool:
        now = self._clock()
        finished = self._book.finished(now, session_over=session_over)
        for draft in finished:
            turn = draft.turn()
            self._reports.transcript(draft, "user", turn.user.text or "", final=True)
            self._reports.transcript(draft, "assistant", turn.assistant.text or "", final=True)
            self._reports.turn_ended(turn)
            self._note_down(turn)
            is_said = turn.user.text or turn.user.duration_ms  # not all that is spoken is transcribed
            if is_said and turn.assistant.text and draft.began > self._forgotten:
                said = Said(now, self._own(draft.profile), turn.user.text or "", turn.assistant.text)
                if draft.session == self.session:
                    self._conversation.append(said)
                self._memory.add(said)
                self._keep()
            command = self._requests.pop(draft.request, None) if draft.request is not None else None
            if command is not None:
                self._answer(command, turn)
        if self._memory.pass_time(now):
            self._keep()
        return bool(finished)

    def _note_down(self, turn: payloads.Turn) -> None:
        if self._history.add(turn):
            self._past.save(self._history.saved())

    def past(self, count: int) -> list[payloads.Turn]:
        """Return the last turns that may be told, oldest first."""
        return [turn.as_published(self._config.mqtt.transcripts)[1] for turn in self._history.last(count)]

    def recall(self, profile: str) -> list[wire.ClientEvent]:
        """Return what a new session of ``profile`` is told of turns before it.

        All those of the conversation going on are, whatever is remembered afterwards: it is not their end.
        """
        self._memory.pass_time(self._clock())
        told: list[wire.ClientEvent] = []
        before = [said for said in self._memory.told(self._own(profile)) if said not in self._conversation]
        for said in (*before, *self._conversation):
            told += [wire.CreateMessage("user", said.user)] if said.user else []
            told.append(wire.CreateMessage("assistant", said.assistant))
        return told

    def forget(self) -> None:
        """Forget all turns so far: no session is told of them."""
        self._memory.forget()
        self._conversation.clear()
        self._forgotten = self._clock()
        self._keep()

    def _own(self, profile: str) -> str:
        """Return whose memory a profile has: its own, or the shared one."""
        return profile if self._config.profiles[profile].history == "own" else ""

    def _remember(self) -> None:
        """Take up what was said before the daemon started."""
        kept = self._memories.load() if self._memories else ()
        ahead, now = self._time_ahead(), self._clock()
        for said in kept:  # one from the future, because the clock was set back, does not last longer than others
            self._memory.add(replace(said, over=min(said.over - ahead, now)))
        if self._memory.pass_time(now) or len(self._memory.all()) < len(kept):
            self._keep()

    def _keep(self) -> None:
        if self._memories:
            ahead = self._time_ahead()
            self._memories.save([replace(said, over=said.over + ahead) for said in self._memory.all()])

    def _time_ahead(self) -> float:
        """Return by how much the time of day, in seconds since 1970, is ahead of the clock."""
        return self._reports.today().timestamp() - self._clock()

    # --- who asked ----------------------------------------------------------------------------------------------------

    def asked(self, command: commands.Command) -> int:
        """Return the number under which ``command`` is answered by :meth:`accept`, :meth:`refuse`, or with its turn."""
        request = id(command)
        self._requests[request] = command
        return request

    def accept(self, request: int, result: Mapping[str, object] | None = None) -> None:
        """Answer that it is done, and what came of it."""
        self._reports.obeyed(self._requests.pop(request), result)

    def refuse(self, request: int, error: CommandError) -> None:
        """Answer that it cannot be."""
        self._reports.refused(self._requests.pop(request), error)

    def _answer(self, command: commands.Command, turn: payloads.Turn) -> None:
        if turn.outcome == "failed":
            why = turn.error.message if turn.error else "the turn failed"
            self._reports.refused(command, CommandError(why, code="failed"))
        else:
            result = {"text": turn.assistant.text, "outcome": turn.outcome, "session": turn.session, "turn": turn.turn}
            self._reports.obeyed(command, result)
