"""Does what the mind wants done: session, microphone, speaker, and the page on which it is written down."""

import logging

import numpy as np

from voiced.config import Config
from voiced.core.chimes import chime
from voiced.core.effects import (
    Accept,
    BeginTurn,
    Chime,
    ChimeKind,
    CloseSession,
    Cut,
    Deafen,
    Effect,
    EndTurn,
    GoOn,
    Hear,
    Hold,
    LetGo,
    OpenSession,
    OpenSuccessor,
    Pause,
    Play,
    Refuse,
    Resume,
    Send,
    Skip,
    TakeOver,
)
from voiced.core.events import SessionReady
from voiced.core.frames import MICROPHONE_RATE, Samples
from voiced.core.freshness import Freshness
from voiced.core.profiles import chimes, persona_at_first, session_settings
from voiced.core.realtime.codec import Dialect
from voiced.core.realtime.events import SpeechStarted
from voiced.core.realtime.settings import SessionSettings
from voiced.core.uplink import Uplink
from voiced.errors import CommandError
from voiced.ports import Service, Speaker
from voiced.reports import Reports
from voiced.scribe import Scribe
from voiced.sessions import Sessions
from voiced.spending import Spending

logger = logging.getLogger(__name__)


class Hands:
    """Carries out effects, one after the other; decides nothing.

    Args:
        config: For sessions and chimes.
        dialect: Of the service.
        speaker: Where answers and chimes are heard.
        uplink: What the service is to hear.
        service: What it refused is told.
        sessions: The way to it.
        scribe: Writes turns down.
        spending: Keeps account.
        reports: Tells other systems.
        spent: Says in English that the budget is used up, 24 kHz.

    """

    def __init__(  # noqa: PLR0913 - all by name, and each a part
        self,
        config: Config,
        dialect: Dialect,
        *,
        speaker: Speaker,
        uplink: Uplink,
        service: Service,
        sessions: Sessions,
        scribe: Scribe,
        spending: Spending,
        reports: Reports,
        spent: Samples,
    ) -> None:
        self._config = config
        self._dialect = dialect
        self._speaker = speaker
        self._uplink = uplink
        self._service = service
        self._sessions = sessions
        self._scribe = scribe
        self._spending = spending
        self._reports = reports
        self._spent = spent
        self._is_open = False
        self._is_told = False
        self._opening = OpenSession(0, "default")
        self._sounding = ""
        self._successor: tuple[SessionReady, float] | None = None
        self.freshness = Freshness()
        """Whether the session going on should be replaced."""
        self._profile = persona_at_first(config)
        self._voice = (self._profile, config.profiles[self._profile].voice_name)
        self.reason: str | None = None
        """Why the last session ended; ``None`` while one is open or before the first."""

    def follow(self, config: Config) -> None:
        """Take another configuration, for what begins from now on."""
        self._config = config

    def speak_as(self, profile: str, voice: str) -> None:
        """Let the sessions of a profile have another voice, from the next one on."""
        self._voice = profile, voice

    def do(self, effect: Effect) -> None:
        """Carry out ``effect``; never waits."""
        match effect:
            case OpenSession() | CloseSession() | OpenSuccessor() | TakeOver():
                self._change_session(effect)
            case Hear() | Deafen() | Skip():
                self._hear(effect)
            case Send():
                self._sessions.send(effect.event)
            case Hold(fresh):
                self._sessions.hold(fresh=fresh)
            case LetGo(said):
                self._let_go(said=said)
            case Play():
                self._play(effect)
            case Cut():
                self._cut(effect)
            case Pause():
                self._speaker.pause()
            case Resume():
                self._speaker.resume()
            case Chime(kind):
                self.chime(kind)
            case BeginTurn() | GoOn() | EndTurn() | Accept() | Refuse():
                self._write(effect)

    def chime(self, kind: ChimeKind) -> None:
        """Play a short sound, where the profile has any; who speaks English is told of a spent budget in words, too."""
        if not chimes(self._config, self._profile):
            return
        sound = chime("error" if kind == "budget" else kind)
        if kind == "budget" and self._config.profiles[self._profile].language in {"en", ""}:
            sound = np.concatenate((sound, self._spent))
        self._speaker.chime(sound)

    def session_is_ready(self, ready: SessionReady, opened: float) -> None:
        """Tell the new session, which was opened at that time, what was said before, and others that there is one."""
        self._is_open = True
        self.freshness.begin(opened, ready.lasts_s)
        self._spending.ready(ready.model)
        self._reports.service_is_open(self._service.refusals)
        if not self._is_told:
            self._is_told = True
            self._reports.session(self._scribe.session, started=True)
        for told in self._scribe.recall(self._profile):
            self._sessions.send(told)
        self._sessions.begin()

    def successor_is_ready(self, ready: SessionReady, opened: float) -> None:
        """Remember that the session beside the one going on could take its place, and when it was opened."""
        self._successor = ready, opened

    def _write(self, effect: BeginTurn | GoOn | EndTurn | Accept | Refuse) -> None:
        match effect:
            case BeginTurn():
                self._scribe.begin(effect, self._profile)
                self._keep_what_is_said(effect)
            case GoOn():
                self._scribe.go_on(effect)
            case EndTurn():
                if effect.outcome == "failed" or not self._sounding:
                    self._uplink.answered()
                self._sounding = ""
                self._scribe.end(effect)
                self._spending.turn_over()
            case Accept(request, result):
                self._scribe.accept(request, result)
            case Refuse(request, message, code):
                self._scribe.refuse(request, CommandError(message, code=code))

    def _change_session(self, effect: OpenSession | CloseSession | OpenSuccessor | TakeOver) -> None:
        match effect:
            case OpenSession():
                self._open(effect)
            case CloseSession():
                self._close(effect)
            case OpenSuccessor(session, tries):
                self._successor = None
                self._sessions.open_successor(session, *self._settings(), tries=tries)
            case TakeOver():
                self._take_over(effect)

    def _open(self, effect: OpenSession) -> None:
        self._scribe.open()
        self._spending.open(effect.session, self._scribe.session, effect.profile)
        self.reason = None
        self._is_open = self._is_told = False
        self._profile, self._opening = effect.profile, effect
        self._reports.cloud_is("connecting")
        self._sessions.open(effect.session, *self._settings())

    def _settings(self) -> tuple[SessionSettings, str]:
        """Return what sessions of the conversation are opened with, and their model if it is another than usual."""
        profile, voice = self._voice
        opening = self._opening
        chosen = opening.voice or (voice if opening.profile == profile else None)
        settings = session_settings(
            self._config, opening.profile, self._dialect, voice_name=chosen, answers=opening.answers
        )
        return settings, self._config.profiles[opening.profile].deployment

    def _take_over(self, effect: TakeOver) -> None:
        ready, self._successor = self._successor, None
        self._scribe.session_is_over(again=effect.resend in {"sound", "held"})
        self._spending.close()
        self._spending.open(effect.session, self._scribe.session, self._profile, goes_on=True)
        if effect.resend == "rest":
            self._uplink.said_since()
        self._sessions.take_over(effect.resend)
        self._is_open = False
        if effect.code is None:
            logger.info("session %d takes over", effect.session)
        else:
            self._reports.cloud_is("connecting")
            self._reports.error(effect.code, f"{effect.message} The conversation goes on in another session.")
        if ready is not None:
            self.session_is_ready(*ready)

    def _close(self, effect: CloseSession) -> None:
        self.reason = effect.reason
        if self._is_told:
            scribe = self._scribe
            self._reports.session(scribe.session, started=False, reason=effect.reason, turns=scribe.turns)
        if effect.failed and not self._is_open:
            self._reports.service_is_away(effect.message or effect.reason, refused=effect.refused)
        else:
            self._reports.cloud_is("down" if self._reports.is_a_problem("service") else "ok")
            if effect.failed:
                self._reports.error(effect.reason, effect.message or effect.reason)
        self._is_open = self._is_told = False
        self._successor = None
        self._spending.close()
        self._sessions.close()
        self._uplink.answered()
        self._uplink.said_since()

    def _hear(self, effect: Hear | Deafen | Skip) -> None:
        match effect:
            case Deafen():
                self._uplink.hold()
                return
            case Skip(after_s):
                self._uplink.skip(self._ahead(after_s))
                return
            case Hear(resume=True):
                self._uplink.resume()
            case Hear(after_s=after_s) if after_s:
                self._uplink.hear(self._ahead(after_s))
            case Hear(since):
                self._uplink.hear(since)
        self._sessions.sound_waits()

    def _keep_what_is_said(self, begun: BeginTurn) -> None:
        """Keep, to be sent again if need be, what belongs to this turn; it may have begun before the last answer."""
        starts = [event.audio_start_ms for event in begun.said if isinstance(event, SpeechStarted)]
        where = self._uplink.position(starts[0] * MICROPHONE_RATE // 1000) if starts else None
        self._uplink.said_since(where)

    def _play(self, effect: Play) -> None:
        sound = effect.sound
        if sound.response_id != self._sounding:
            self._sounding = sound.response_id
            self._uplink.answered()
        self._speaker.play(
            *(sound.item_id, sound.content_index, sound.pcm), announced=effect.announced, percent=effect.percent
        )

    def _let_go(self, *, said: bool) -> None:
        if said:
            self._scribe.said()
        self._sessions.let_go(said=said)

    def _ahead(self, seconds: float) -> int:
        return self._uplink.end + int(seconds * MICROPHONE_RATE)

    def _cut(self, effect: Cut) -> None:
        truncations = self._scribe.cut(self._speaker.cut(), effect.items)
        for told in truncations if effect.remembered else ():
            self._sessions.send(told)
