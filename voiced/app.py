"""The house: one task hears, one decides, one watches; a session has a line of its own.

Only the second changes the state of the conversation; everything else posts to it.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from voiced.attention import Attention, Heard
from voiced.config import Config
from voiced.core import conversation as mind
from voiced.core import renewing
from voiced.core.doubting import is_doubtful
from voiced.core.events import Called, Drained, Ended, Event, Released, SessionReady, SuccessorReady, Tick, Woken
from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, seconds
from voiced.core.mqtt import commands, payloads
from voiced.core.nearness import Nearness, clearness, role
from voiced.core.playout import Drained as PlayoutDrained
from voiced.core.playout import PlayoutEvent, Started
from voiced.core.profiles import deployment, rules
from voiced.core.realtime import events as wire
from voiced.core.realtime.codec import Dialect
from voiced.core.realtime.refusal import harmless
from voiced.core.states import Connecting, Hearing, Idle, State, deadline, going_on, published, visible
from voiced.core.turning import rules_changed
from voiced.core.uplink import Uplink
from voiced.core.wake import NearMiss, Rising, Wake
from voiced.core.words import word_rules
from voiced.desk import Desk
from voiced.hands import Hands
from voiced.parts import Parts
from voiced.reports import Reports
from voiced.scribe import Scribe
from voiced.sessions import Sessions
from voiced.spending import Spending

logger = logging.getLogger(__name__)

WARM_S = 60.0
"""Between two looks at the token."""

LEAST_SAID_S = 0.1
"""Of voice, by whomever and however loud, while the microphone is held open; less is nothing."""

News: TypeAlias = Event | PlayoutEvent | Heard | commands.Message | Callable[[], None]
"""Whatever is posted to the task that decides."""


class Daemon:
    """Listens, talks, and reports.

    Args:
        config: What the user wants.
        dialect: Of the service.
        parts: The world.
        reports: Tells other systems.

    """

    def __init__(self, config: Config, dialect: Dialect, parts: Parts, reports: Reports) -> None:
        self._config = config
        self._parts, self._speaker, self._clock = parts, parts.speaker, parts.clock
        self._reports = reports
        self._news: asyncio.Queue[tuple[int | None, News]] = asyncio.Queue()
        self._uplink = Uplink()
        self.spending = Spending(
            config=config, means=parts.means, reports=reports, clock=parts.clock, uplink=self._uplink
        )
        self._scribe = Scribe(
            config=config,
            reports=reports,
            clock=parts.clock,
            when_said=self._when_said,
            price=self.spending.price,
            memories=parts.memories,
            past=parts.past,
        )
        self._sessions = Sessions(
            service=parts.service,
            uplink=self._uplink,
            resampler=parts.resampler,
            speech=parts.speech,
            post=self._post_of_session,
        )
        self._attention = Attention(
            parts.ears,
            post=self.post,
            clips=parts.clips,
            words=[word.model for word in config.wake.words],
            rising_at=config.realtime.prepare_at,
            calm=lambda calm: parts.microphone.calm(calm=calm),
        )
        self._nearness = Nearness(parts.speech())
        self._hands = Hands(
            config,
            dialect,
            speaker=parts.speaker,
            uplink=self._uplink,
            service=parts.service,
            sessions=self._sessions,
            scribe=self._scribe,
            spending=self.spending,
            reports=reports,
            spent=parts.spent,
        )
        self._is_starting, self.frames = True, 0
        self._desk = Desk(
            config=config,
            reports=reports,
            scribe=self._scribe,
            parts=parts,
            spending=self.spending,
            step=self._step,
            later=self.post,
            chime=self._hands.chime,
            clearness=lambda wake: clearness(self._uplink.recent, wake.end),
            follow=self._follow,
            apply=self._apply,
        )
        self._rules = rules(
            config,
            follow_up=self._desk.settings.follow_up,
            full_duplex=parts.echo.full_duplex,
            answer_s=parts.service.limits.answer_s,
        )
        self._state: State = Idle()
        self._resting = asyncio.Event()
        self._resting.set()

    # --- what others may ask or post ----------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """What it is doing, in a word."""
        return "muted" if self.is_muted and isinstance(self._state, Idle) else published(self._state)

    @property
    def is_muted(self) -> bool:
        """Whether no frames are to be expected."""
        return self._desk.settings.mute

    @property
    def lost_samples(self) -> int:
        """Samples that should have gone to the service and did not."""
        return self._uplink.lost

    @property
    def vetoed(self) -> int:
        """Wakes that did not count because the speaker said the word."""
        return self._parts.ears.vetoed

    def begin(self) -> None:
        """Say that all is open: until then the state is ``starting``."""
        self._is_starting = False
        self._tell_state()

    def reload(self) -> None:
        """Have the configuration read again."""
        self.post(self._desk.reload)

    def post(self, news: News, session: int | None = None) -> None:
        """Take what happened; ``session`` where it belongs to one. From the event loop only."""
        self._news.put_nowait((session, news))

    # --- the tasks ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until cancelled, or until a microphone that is a file is over and the conversation too."""
        self._speaker.volume(self._desk.settings.volume)
        self._parts.microphone.mute(muted=self.is_muted)
        self._tell_state()
        self._reports.settings(self._desk.settings)
        self.spending.tell()
        self._hands.speak_as(self._desk.settings.persona, self._desk.settings.voice)
        self._adjust_ears()
        async with self._attention:
            await self._live()

    async def _live(self) -> None:
        warming = asyncio.create_task(self._warm(), name="warm")
        deciding = asyncio.create_task(self._decide(), name="decide")
        hearing = asyncio.create_task(self._hear(), name="hear")
        try:
            done, _ = await asyncio.wait({deciding, hearing, warming}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (hearing, deciding, warming):
                task.cancel()
            await asyncio.gather(hearing, deciding, warming, return_exceptions=True)
            await self._leave()

    async def _warm(self) -> None:
        """Keep a token at hand, so that no conversation waits for one."""
        while True:
            await self._parts.service.warm()
            await asyncio.sleep(WARM_S)

    async def _hear(self) -> None:
        """Take frames for ever: the only reader of the microphone."""
        async for frame in self._parts.microphone.frames():
            self.frames += 1
            if self._desk.settings.mute:
                continue
            cleaned = self._parts.echo.clean(frame)
            if self._parts.echo.full_duplex != self._rules.full_duplex:
                self.post(Tick())  # so that it holds at once
            self._uplink.add(cleaned)
            if self._uplink.is_open:
                self._sessions.sound_waits()
            self._look_for_speech(cleaned)
            if self._desk.settings.wake_enabled:
                self._attention.hear(cleaned)
            self._desk.gauge.hear(cleaned)
        await self._attention.settled()
        await self._news.join()  # what was heard last may have begun a conversation
        await self._be_silent()

    def _begin_to_look(self, woken: int | None) -> None:
        """Learn what the room sounds like, and hear again what came behind the wake word before it was decided."""
        recent = self._uplink.recent
        self._nearness.begin(recent, woken)
        for frame in recent:
            if woken is not None and frame.start >= woken:
                self._look_for_speech(frame)

    def _look_for_speech(self, frame: Frame) -> None:
        """Find out whether somebody near speaks, while that matters."""
        if not isinstance(self._state, Idle):
            echo = self._parts.echo
            whose = role(self._state, full_duplex=echo.full_duplex)
            near = self._nearness.hear(frame, whose, echo.near_speech_s)
            if near is not None:
                self.post(near, self._open_session())

    async def _be_silent(self) -> None:
        """Behind the end of a recording: silence, by which the service notices that a turn is over."""
        while not self._resting.is_set():
            self._uplink.add(Frame(self._uplink.end, np.zeros(FRAME, np.int16)))
            if self._uplink.is_open:
                self._sessions.sound_waits()
            await asyncio.sleep(seconds(FRAME, MICROPHONE_RATE))

    async def _decide(self) -> None:
        """Take news for ever: the only one who changes the state."""
        while True:
            session, news = await self._next()
            if session is None:
                self._take(news)
            elif (told := renewing.of_session(self._state, session, news)) is not None:
                self._take(told)
            if self._scribe.publish(idle=isinstance(self._state, Idle)) and not isinstance(self._state, Idle):
                self.post(Tick())  # a session may have waited for that to take over

    def _take(self, news: News) -> None:
        match news:
            case _ if callable(news):
                news()
            case commands.Message():
                self._desk.obey(news)
            case Wake() | NearMiss():
                self._desk.heard(news)
            case Rising(word):
                self._sessions.prepare(deployment(self._config, word), idle=isinstance(self._state, Idle))
            case Started():
                if (waited_s := self._scribe.sounded()) is not None:
                    self._hands.freshness.waited(waited_s)
            case PlayoutDrained():
                if not self._speaker.busy:  # more may have been queued since
                    self._step(Drained())
            case _:
                self._step(news)

    async def _next(self) -> tuple[int | None, News]:
        moments = [moment for moment in (deadline(self._state), self._scribe.due()) if moment is not None]
        if not isinstance(self._state, Idle) and self._clock() < self._hands.freshness.stale_at < math.inf:
            moments.append(self._hands.freshness.stale_at)
        try:
            async with asyncio.timeout(max(0.0, min(moments) - self._clock()) if moments else None):
                news = await self._news.get()
        except TimeoutError:
            return None, Tick()
        self._news.task_done()  # done before the loop can look: nothing is awaited until it is taken
        return news

    async def _leave(self) -> None:
        """Close the session on the way out, and say so."""
        self._desk.leave()
        if not isinstance(self._state, Idle):
            self._step(Ended("shutdown"))
        self._scribe.publish(idle=isinstance(self._state, Idle))
        await self._sessions.left(timeout_s=5)

    # --- one step -----------------------------------------------------------------------------------------------------

    def _open_session(self) -> int | None:
        return None if isinstance(self._state, Idle) else self._state.talk.session

    def _step(self, event: Event) -> None:
        self._renew_rules(event)
        if isinstance(event, Released):
            event = replace(event, said=self._nearness.spoken_s >= LEAST_SAID_S)
        elif isinstance(event, Called) and not isinstance(going_on(self._state), Connecting | Hearing):
            self._nearness.count()  # else what has been said already belongs to the turn
        now, before = self._clock(), self._state
        self._scribe.before(event, now, idle=isinstance(before, Idle))
        if isinstance(event, SessionReady):
            self._hands.session_is_ready(event, now)
        elif isinstance(event, SuccessorReady):
            self._hands.successor_is_ready(event.ready, now)
        elif isinstance(event, wire.ServiceProblem) and not harmless(event):
            self._reports.error(event.code or event.type, event.message)
        self._state, effects = mind.step(before, event, now, self._rules)
        if type(before) is not type(self._state):
            logger.info("%s: %s -> %s", *(type(value).__name__ for value in (event, before, self._state)))
        if _conversation(self._state) not in {None, _conversation(before)}:
            self._begin_to_look(event.wake.end if isinstance(event, Woken) else None)
        for effect in effects:
            self._hands.do(effect)
        self._scribe.after(event, self._state)
        if isinstance(event, wire.SpeechStarted) and is_doubtful(event, self._state):
            logger.info("the service hears speech; whether anybody near says it is not known")
        resting = isinstance(self._state, Idle)
        self._parts.microphone.pace(prompt=not resting)
        (self._resting.set if resting else self._resting.clear)()
        if visible(before) != visible(self._state):
            self._tell_state()

    def _renew_rules(self, event: Event) -> None:
        before = self._rules
        self._rules = replace(
            before,
            spent=self.spending.is_spent(event, self._state),
            full_duplex=self._parts.echo.full_duplex,
            renews=self._hands.freshness.is_stale(self._clock()) and self.spending.refusal() is None,
            all_written=self._scribe.all_written,
        )
        if self._rules != before:
            for effect in rules_changed(self._state, before, self._rules):
                self._hands.do(effect)

    def _post_of_session(self, session: int, news: News) -> None:
        self.spending.noted(session, news)  # at once: what comes too late for the conversation costs as much
        self.post(news, session)

    def _when_said(self, sent_ms: int) -> float | None:
        """Return when the sound stood at the microphone that is ``sent_ms`` into what was sent."""
        position = self._uplink.position(sent_ms * MICROPHONE_RATE // 1000)
        return None if position is None else self._clock() - (self._uplink.end - position) / MICROPHONE_RATE

    # --- settings and reports -----------------------------------------------------------------------------------------

    def _apply(self, before: payloads.Settings, settings: payloads.Settings) -> None:
        """Make other settings hold."""
        if settings.mute != before.mute:
            logger.info("microphone %s", "muted" if settings.mute else "open")
            self._parts.microphone.mute(muted=settings.mute)
        if (settings.mute, settings.wake_enabled) != (before.mute, before.wake_enabled):
            self._attention.forget()
        self._adjust_ears()
        self._rules = replace(self._rules, follow_up_s=rules(self._config, follow_up=settings.follow_up).follow_up_s)
        self._speaker.volume(settings.volume)
        self._hands.speak_as(settings.persona, settings.voice)
        if settings.mute and not isinstance(self._state, Idle):
            self._step(Ended("muted"))
        self._tell_state()

    def _follow(self, config: Config) -> None:
        """Make another configuration hold: for the conversation at once, for sessions from the next one on."""
        self._config = config
        for part in (self._hands, self._scribe, self.spending, self._reports):
            part.follow(config)
        logging.getLogger().setLevel(config.log.level.upper())
        before = self._rules
        meant = rules(config, full_duplex=before.full_duplex, answer_s=before.answer_s)
        self._rules = replace(meant, spent=before.spent)  # whether to listen on, the settings say

    def _adjust_ears(self) -> None:
        settings = self._desk.settings
        self._attention.adjust(word_rules(self._config.wake, settings.wake_sensitivity, settings.wake_word))

    def _tell_state(self) -> None:
        self._desk.notice(self._state)
        self._reports.state(
            self._state,
            self._desk.settings,
            session=self._scribe.session or None,
            reason=self._hands.reason,
            starting=self._is_starting and isinstance(self._state, Idle),
        )


def _conversation(state: State) -> int | None:
    return None if isinstance(state, Idle) else state.talk.first
