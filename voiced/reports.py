"""What other systems are told: facts become payloads on the broker.

Holds the problems that are going on, because ``health`` repeats them until they are over.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from voiced.config import Config
from voiced.core import states
from voiced.core.effects import Source
from voiced.core.mqtt import commands, passing, payloads
from voiced.core.mqtt.topics import Topics
from voiced.core.realtime import events as wire
from voiced.core.turns import Draft
from voiced.core.wake import NearMiss, Wake
from voiced.errors import CommandError
from voiced.ports import Broker, Machine

LONGEST_ARGUMENTS = 1_000
"""Characters of what a tool was called with."""

STEP = timedelta(seconds=2)
"""By so much a clock was set; less is the time between two looks."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Reports:
    """Publishes; decides nothing."""

    broker: Broker
    config: Config
    machine: Machine
    today: Callable[[], datetime]
    """The time of day, with its zone."""
    cloud: str = "ok"
    last_wake: payloads.Wake | None = None
    """The last wake word accepted since the start."""
    _problems: dict[str, payloads.Problem] = field(default_factory=dict)
    _last_error: payloads.LastError | None = None
    _unable: str | None = None
    """Why the state is ``error`` where it would be ``idle``."""
    _refused: bool = False
    """Whether the service will not answer until somebody changes something."""
    _stale: bool = True
    _echo: payloads.EchoHealth | None = None
    _dropped: int = 0
    _detected: int = 0
    _near_misses: int = 0
    _rejected: int = 0
    _unwritten: int = 0
    _booted: datetime | None = None
    _info: payloads.Info | None = None
    _state: payloads.State | None = None
    _ducking: passing.Ducking | None = None

    def clock(self, since_boot_s: float) -> None:
        """Look at the wall clock, beside one that nobody can set; if it was set, tell anew what holds since when.

        A board without a clock of its own begins in 1970, and knows better when the network is there.
        """
        booted = self.today() - timedelta(seconds=since_boot_s)
        if self._booted is None:
            self._booted = booted
        if abs(by := booted - self._booted) < STEP:
            return
        self._booted = booted
        logger.info("the clock was set by %+.0f s", by.total_seconds())
        if self._info is not None:
            self.info(self._info.model_copy(update={"started": self._info.started + by}))
        if self._state is not None:
            self._tell_state(self._state.model_copy(update={"since": self._state.since + by}))
        if self.last_wake is not None:
            self._tell_wake(self.last_wake.model_copy(update={"time": self.last_wake.time + by}))
        for code, problem in self._problems.items():
            self._problems[code] = problem.model_copy(update={"since": problem.since + by})
        if self._last_error is not None:
            self._last_error = self._last_error.model_copy(update={"time": self._last_error.time + by})
        self._stale = True

    def state(
        self,
        state: states.State,
        settings: payloads.Settings,
        *,
        session: str | None,
        reason: str | None,
        starting: bool = False,
    ) -> None:
        """Publish ``state``: ``error`` instead of ``idle`` while nobody could be heard, or answered."""
        talk = None if isinstance(state, states.Idle | states.Sounding) else state.talk
        shown = states.going_on(state)
        self._tell_state(
            payloads.State(
                state="starting" if starting else states.published(state),
                since=self.today(),
                session=session if talk else None,
                turn=(talk.turn or None) if talk else None,
                follow_up=isinstance(shown, states.Listening) and shown.follow_up,
                muted=settings.mute,
                wake_enabled=settings.wake_enabled,
                reason=reason,
                source=None if isinstance(state, states.Idle) else state.talk.source,
            )
        )

    def _tell_state(self, state: payloads.State) -> None:
        self._state, self._unable = state, self._cannot()
        if state.state == "idle" and self._unable is not None:
            state = state.model_copy(update={"state": "error", "reason": self._unable})
        self.broker.keep("state", state.json_text())
        ducking: passing.Ducking = "began" if state.state in {"listening", "processing", "responding"} else "ended"
        if ducking != self._ducking:
            self._ducking = ducking
            self.broker.tell("event/ducking", passing.DuckingEvent(event_type=ducking, time=self.today()).json_text())

    def _cannot(self) -> str | None:
        """Return the code of the problem with which no conversation is possible until somebody does something."""
        return "microphone" if "microphone" in self._problems else "service" if self._refused else None

    def forget_texts(self) -> None:
        """Overwrite the texts of a turn that an earlier run left at the broker, where they may not stay."""
        if self.config.mqtt.transcripts != "retained":
            empty = payloads.Turn(id="", turn=0, session="", time=self.today(), source="mqtt", outcome="finished")
            self.broker.keep("turn", empty.json_text())

    def settings(self, settings: payloads.Settings) -> None:
        """Publish ``settings``."""
        self.broker.keep("settings", settings.json_text())

    def info(self, info: payloads.Info) -> None:
        """Publish ``info``."""
        self._info = info
        self.broker.keep("info", info.json_text())

    def usage(self, usage: payloads.Usage) -> None:
        """Publish ``usage``."""
        self.broker.keep("usage", usage.json_text())

    def wake(self, wake: Wake, action: payloads.Action | None = None) -> None:
        """Publish an accepted wake word; ``action``: of a command word."""
        self._detected += 1
        heard = {
            "time": self.today(),
            "wake_word": wake.word,
            "score": round(wake.score, 3),
            "threshold": wake.threshold,
            "action": action,
        }
        self._tell_wake(payloads.Wake.model_validate(heard))
        self._woken(payloads.WakeEvent.model_validate({**heard, "event_type": "detected"}))

    def _tell_wake(self, wake: payloads.Wake) -> None:
        self.last_wake = wake
        self.broker.keep("wake", wake.json_text())

    def rejected(self, heard: Wake | NearMiss, reason: payloads.Rejection) -> None:
        """Publish a wake word that is not answered, though it was heard; one of another voice is counted, too."""
        self._rejected += reason == "voice"
        self._woken(
            payloads.WakeEvent(
                event_type="rejected",
                time=self.today(),
                wake_word=heard.word,
                score=round(heard.score, 3),
                threshold=heard.threshold,
                reason=reason,
            )
        )

    def near_miss(self, near: NearMiss) -> None:
        """Publish a score that came near the threshold and did not wake."""
        self._near_misses += 1
        self._woken(
            payloads.WakeEvent(
                event_type="near_miss",
                time=self.today(),
                wake_word=near.word,
                score=round(near.score, 3),
                threshold=near.threshold,
            )
        )

    def called(self, source: Source) -> None:
        """Publish that somebody had the daemon listen without a wake word."""
        by: Literal["button", "mqtt"] = "button" if source == "button" else "mqtt"
        self._woken(payloads.WakeEvent(event_type="detected", time=self.today(), source=by))

    def _woken(self, event: payloads.WakeEvent) -> None:
        self.broker.tell("event/wake", event.json_text())

    def session(self, session: str, *, started: bool, reason: str | None = None, turns: int = 0) -> None:
        """Publish that a session opened or closed."""
        kind = "started" if started else "ended"
        event = payloads.SessionEvent.model_validate(
            {"event_type": kind, "time": self.today(), "session": session, "reason": reason, "turns": turns}
        )
        self.broker.tell("event/session", event.json_text())

    def turn_begun(self, draft: Draft) -> None:
        """Publish that a turn began."""
        event = payloads.TurnEvent(
            event_type="started",
            id=draft.id,
            turn=draft.number,
            session=draft.session,
            time=draft.time,
            source=draft.source,
            wake_word=draft.wake_word,
        )
        self.broker.tell("event/turn", event.json_text())

    def turn_ended(self, turn: payloads.Turn) -> None:
        """Publish a turn that is over, its texts as the configuration wants them; the event is sure to arrive."""
        kept, passed_on = turn.as_published(self.config.mqtt.transcripts)
        self.broker.keep("turn", kept.json_text(), expiry_s=86_400)
        self.broker.deliver("event/turn", payloads.TurnEvent.ended(passed_on).json_text(), parcel=turn.id)

    def tool(
        self, event_type: Literal["called", "finished", "failed"], call: wire.FunctionCall, turn: int, ms: int | None
    ) -> None:
        """Publish that the model used a tool; ``ms``: for how long, once it is over."""
        told = self.config.mqtt.transcripts != "off"
        event = passing.ToolEvent(
            event_type=event_type,
            time=self.today(),
            turn=turn,
            name=call.name,
            arguments=call.arguments[:LONGEST_ARGUMENTS] if told else None,
            duration_ms=ms,
        )
        self.broker.tell("event/tool", event.json_text())

    def transcript(self, draft: Draft, role: Literal["user", "assistant"], text: str, *, final: bool = False) -> None:
        """Pass a text on while it is being said, where that is wished."""
        mqtt = self.config.mqtt
        if mqtt.live_transcript and mqtt.transcripts != "off" and text:
            said = passing.Transcript(
                turn=draft.number, session=draft.session, role=role, text=text, final=final, seq=draft.passed_on
            )
            draft.passed_on += 1
            self.broker.shout(Topics.of(self.config).own("transcript"), said.json_text())

    def hearing(self, level_db: float, *, gate: bool, scores: Mapping[str, float]) -> None:
        """Tell what the ears hear, to who watches now."""
        heard = passing.Hearing(
            time=self.today(),
            level_db=round(level_db, 1),
            gate=gate,
            scores={word: round(score, 3) for word, score in scores.items()},
        )
        self.broker.shout(Topics.of(self.config).own("ears"), heard.json_text())

    def follow(self, config: Config) -> None:
        """Take another configuration."""
        self.config = config

    def error(self, code: str, message: str) -> None:
        """Log and publish something that went wrong once."""
        logger.warning("%s: %s", code, message)
        self._last_error = payloads.LastError(code=code, message=message, time=self.today())
        self._stale = True
        self._told("error", code, message)

    def problem(self, code: str, message: str | None) -> None:
        """Note what is wrong from now on under ``code``; ``None``: nothing any more."""
        known = self._problems.get(code)
        if message is None and known is not None:
            del self._problems[code]
            self._stale = True
            logger.info("%s: over", code)
            self._told("recovered", code, known.message)
        elif message is not None and (known is None or known.message != message):
            since = known.since if known else self.today()
            self._problems[code] = payloads.Problem(code=code, message=message, since=since)
            self.error(code, message)
        if self._state is not None and self._state.state == "idle" and self._cannot() != self._unable:
            self._tell_state(self._state.model_copy(update={"since": self.today()}))

    def is_a_problem(self, code: str) -> bool:
        """Return whether something is wrong under ``code``."""
        return code in self._problems

    def service_is_open(self, refusals: str | None) -> None:
        """Note that a session opened; ``refusals``: which settings were refused."""
        self.cloud_is("ok")
        self._refused = False
        self.problem("service", None)
        self.problem("settings", refusals)

    def service_is_away(self, message: str, *, refused: bool) -> None:
        """Note that no session opened; ``refused``: and none will until somebody changes something."""
        self.cloud_is("down")
        self._refused = refused
        self.problem("service", message)

    def transcribed(self, failure: str | None = None) -> None:
        """Note that what somebody said was written down, or why not: twice in a row is no mumbling any more."""
        self._unwritten = 0 if failure is None else self._unwritten + 1
        if failure is None:
            self.problem("transcription", None)
        elif self._unwritten == 2:
            self.problem(
                "transcription",
                f"what is said is not written down, and only the answers are remembered ({failure[:200]}); check "
                "realtime.transcription_model: Azure wants the name of a deployment there",
            )

    def _told(self, kind: str, code: str, message: str) -> None:
        event = payloads.ErrorEvent.model_validate(
            {"event_type": kind, "time": self.today(), "code": code, "message": message}
        )
        self.broker.tell("event/error", event.json_text())

    def cloud_is(self, cloud: str) -> None:
        """Note how the way to the service is: ``ok``, ``connecting`` or ``down``."""
        self._stale |= cloud != self.cloud
        self.cloud = cloud

    def health(
        self, *, overruns: int, echo: payloads.EchoHealth, underruns: int = 0, vetoed: int = 0, always: bool = False
    ) -> None:
        """Publish ``health`` if something changed, or ``always``.

        Args:
            overruns: How often sound was lost since the start.
            underruns: How often the speaker ran dry since then.
            echo: How the speaker's sound is kept out of the microphone's.
            vetoed: Wakes dropped since then because the speaker said the word.
            always: Even if nothing changed.

        """
        self._look_at_the_outbox()
        if not (self._stale or always or echo != self._echo):
            return
        self._stale, self._echo = False, echo
        usage = self.machine()
        health = payloads.Health.model_validate(
            {
                "time": self.today(),
                "problems": tuple(self._problems.values()),
                "cloud": self.cloud,
                "microphone": self._device("microphone"),
                "speaker": self._device("speaker"),
                "overruns": overruns,
                "underruns": underruns,
                "rss_mb": usage.rss_mb,
                "cpu_percent": usage.cpu_percent,
                "cpu_temperature": usage.temperature,
                "mqtt": self.broker.health,
                "last_error": self._last_error,
                "wake": {
                    "detected": self._detected,
                    "near_misses": self._near_misses,
                    "vetoed": vetoed,
                    "rejected": self._rejected,
                },
                "echo": echo,
            }
        )
        self.broker.keep("health", health.json_text())

    def _device(self, name: str) -> str:
        if name in self._problems:
            return "missing"
        return "silent" if f"{name}_silent" in self._problems else "ok"

    def _look_at_the_outbox(self) -> None:
        """Say that finished turns were dropped, or cannot be kept."""
        self.problem("outbox", self.broker.disk_problem)
        dropped = self.broker.health.dropped_turns
        if dropped > self._dropped:
            self.error(
                "turns_dropped",
                f"{dropped - self._dropped} finished turns could not be told to the broker in time and were dropped; "
                "look at the problem mqtt, and raise mqtt.outbox_turns or mqtt.outbox_days if it is away for so long",
            )
            self._dropped = dropped

    def again(self, topics: tuple[str, ...]) -> None:
        """Publish latest values again: those named, or all."""
        self.broker.republish(topics)

    def obeyed(self, command: commands.Command, result: Mapping[str, Any] | None = None) -> None:
        """Answer a command that was obeyed."""
        answer = commands.succeeded(command, self.today(), result)
        self.broker.answer(command.reply.topic, answer.json_text(), command.reply.correlation)

    def refused(self, command: commands.Command | None, error: CommandError) -> None:
        """Answer a command that cannot be obeyed."""
        reply = command.reply if command is not None else getattr(error, "reply", None)
        if reply is None:
            return
        answer = commands.failed(command, error, self.today())
        self.broker.answer(reply.topic, answer.json_text(), reply.correlation)
