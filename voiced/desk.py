"""Takes what is asked of the daemon, by MQTT or by a wake word, and holds the settings that this changes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from voiced.announcing import Announcer
from voiced.config import Config, WakeWordConfig
from voiced.core.effects import ChimeKind
from voiced.core.events import Asked, Called, Ended, Event, Woken
from voiced.core.mqtt import commands, payloads
from voiced.core.mqtt.parsing import parse
from voiced.core.mqtt.topics import Topics
from voiced.core.orders import Order, order, spoken
from voiced.core.reloading import reloaded
from voiced.core.settings import changed, outlived, remembered
from voiced.core.states import State
from voiced.core.wake import NearMiss, Wake
from voiced.core.words import is_active, word_named
from voiced.errors import CommandError, ConfigError, RestartError
from voiced.gauge import Gauge
from voiced.household import Household
from voiced.parts import Parts
from voiced.reports import Reports
from voiced.scribe import Scribe
from voiced.spending import Spending

logger = logging.getLogger(__name__)

_WHO = {"voice": "another voice", "speaker": "the speaker"}
"""Who said a wake word that wakes nobody."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """Reads, answers, remembers; the conversation itself is led elsewhere."""

    config: Config
    """Words and profiles that there are."""
    reports: Reports
    """Publishes settings and answers."""
    scribe: Scribe
    """Answers what takes a turn."""
    parts: Parts
    """Remember settings, and know whether anything can be heard."""
    spending: Spending
    """Knows whether the budget is used up."""
    step: Callable[[Event], None]
    """Takes events for the conversation."""
    later: Callable[[Callable[[], None]], None]
    """Has something done by the task that decides, once it comes to that."""
    chime: Callable[[ChimeKind], None]
    """Plays a short sound."""
    clearness: Callable[[Wake], float]
    """Tells how far a wake word stood out of the room, 0 to 1."""
    follow: Callable[[Config], None]
    """Makes another configuration hold, as far as it can."""
    apply: Callable[[payloads.Settings, payloads.Settings], None]
    """Makes new settings hold; given those before, too."""
    settings: payloads.Settings = field(init=False)
    """Those that hold now."""
    household: Household = field(init=False)
    """Other units."""
    gauge: Gauge = field(init=False)
    """Tells what is heard, to who watches."""
    _announcer: Announcer = field(init=False)
    _saved: dict[str, object] = field(init=False)
    _topics: Topics = field(init=False)

    def __post_init__(self) -> None:
        self._topics = Topics.of(self.config)
        self.household = Household(
            config=self.config,
            broker=self.reports.broker,
            clock=self.parts.clock,
            give_way=lambda: self.step(Ended("another_unit")),
            later=self.later,
        )
        self._announcer = Announcer(
            reports=self.reports,
            scribe=self.scribe,
            speaker=self.parts.speaker,
            media=self.parts.media,
            chime=self.chime,
            say=self._pass_on,
            play=self.step,
            later=self.later,
        )
        self.gauge = Gauge(
            ears=self.parts.ears,
            words=tuple(word.model for word in self.config.wake.words),
            reports=self.reports,
            clock=self.parts.clock,
        )
        self._saved = self.parts.settled.load()
        self.settings = remembered(self.config, self._saved)

    # --- commands -----------------------------------------------------------------------------------------------------

    def obey(self, message: commands.Message) -> None:
        """Do what ``message`` says, or answer why not.

        Raises:
            RestartError: If it says so.

        """
        if self.household.got(message):
            return
        try:
            command = parse(message, self._topics)
        except CommandError as exc:
            logger.warning("%s", exc)
            self.reports.refused(None, exc)
            self.reports.settings(self.settings)  # a slider that was refused jumps back
            return
        match command:
            case commands.SetSettings():
                self._set(command)
            case commands.Get() | commands.Watch() | commands.Turns() | commands.Ping():
                self._tell(command)
            case commands.NewConversation():
                self._start_over(command)
            case commands.Announce():
                self._announcer.announce(command)
            case commands.CancelAnnouncements():
                self._announcer.cancel(command)
            case commands.Reload():
                self.reload(command)
            case commands.Restart():
                self._restart(command)
            case _:
                self._pass_on(command, self.scribe.asked(command))

    def _tell(self, command: commands.Get | commands.Watch | commands.Turns | commands.Ping) -> None:
        """Tell what somebody wants to know."""
        result = None
        if isinstance(command, commands.Get):
            self.reports.again(command.topics)
        elif isinstance(command, commands.Watch):
            self.gauge.watch(command.for_s)
        elif isinstance(command, commands.Turns):
            result = {"turns": [turn.model_dump(mode="json") for turn in self.scribe.past(command.last)]}
        self.reports.obeyed(command, result)

    def _pass_on(self, command: Order, request: int) -> None:
        try:
            event = order(
                command,
                request=request,
                settings=self.settings,
                config=self.config,
                dumb=self.parts.speaker.problem,
            )
        except CommandError as exc:
            self.scribe.refuse(request, exc)
            return
        self._call(event)

    def _call(self, event: Event) -> None:
        """Pass on what somebody wants, unless it costs money that may not be spent."""
        if not isinstance(event, Woken | Called | Asked):
            self.step(event)
            return
        if (refusal := self.spending.refusal()) is None:
            cheap = self.config.budget.cheap_profile
            self.step(replace(event, profile=cheap) if cheap and self.spending.is_low() else event)
            return
        self.spending.tell()
        if isinstance(event, Woken):
            self.reports.wake(event.wake)
            self.step(Ended("budget"))  # the last answer, which the word would interrupt
        elif event.request is not None:
            self.scribe.refuse(event.request, CommandError(refusal, code="unavailable"))
        self.chime("budget")

    def notice(self, state: State) -> None:
        """Take the state of the conversation."""
        self.household.notice(state)
        self._announcer.notice(state)

    def leave(self) -> None:
        """Begin nothing any more."""
        self._announcer.leave()

    def _start_over(self, command: commands.NewConversation) -> None:
        self.scribe.forget()
        self.step(Ended("command"))
        self.reports.obeyed(command)

    def reload(self, command: commands.Reload | None = None) -> None:
        """Read the configuration again, and answer who asked for it; a bad one changes nothing."""
        if self.parts.reread is None:
            self._not_reloaded(command, "there is no configuration to be read again", "unavailable")
            return
        try:
            wanted = self.parts.reread()  # a small file; who asks for it waits for it
        except ConfigError as exc:
            self._not_reloaded(command, "the configuration stays as it was: " + "; ".join(exc.problems), "invalid")
            return
        after = reloaded(self.config, wanted)
        logger.info("configuration read again; holds now: %s", ", ".join(after.taken) or "nothing new")
        self.config = after.config
        self.follow(after.config)
        before, self.settings = self.settings, remembered(after.config, self._saved)
        self.reports.settings(self.settings)
        self.apply(before, self.settings)
        keys = ", ".join(after.later)
        self.reports.problem("restart_needed", f"after a restart only these changes hold: {keys}" if keys else None)
        if command is not None:
            self.reports.obeyed(command, {"taken": list(after.taken), "restart": list(after.later)})

    def _not_reloaded(self, command: commands.Reload | None, why: str, code: str) -> None:
        self.reports.error("reload", why)
        if command is not None:
            self.reports.refused(command, CommandError(why, code=code))

    def _restart(self, command: commands.Restart) -> None:
        if not self.parts.supervised:
            why = "nobody would start it again: it does not run as a systemd service"
            self.reports.refused(command, CommandError(why, code="unavailable"))
            return
        logger.info("told to start again")
        self.reports.obeyed(command)
        raise RestartError("told to start again")

    def _set(self, command: commands.SetSettings) -> None:
        try:
            settings = changed(self.settings, command, self.config)
        except CommandError as exc:
            self.reports.refused(command, exc)
            self.reports.settings(self.settings)  # and so does a choice
            return
        self._change(settings, command.named)
        self.reports.obeyed(command)

    def _change(self, settings: payloads.Settings, named: tuple[str, ...]) -> None:
        before, self.settings = self.settings, settings
        # Only what somebody set is kept, so that a new configuration holds for all the rest.
        kept = {
            key: value for key, value in self._saved.items() if key != "voice" or not outlived(before, settings, named)
        }
        self._saved = {**kept, **{key: getattr(settings, key) for key in named}}
        self.parts.settled.save(self._saved)
        self.reports.settings(settings)
        self.apply(before, settings)

    # --- words --------------------------------------------------------------------------------------------------------

    def heard(self, heard: Wake | NearMiss) -> None:
        """Do what a wake word means, or count a near miss."""
        word = word_named(self.config.wake, heard.word)
        settings = self.settings
        if word is None or not self._is_listened_to(word):
            return  # heard just before it was switched off
        if isinstance(heard, NearMiss):
            if heard.why == "score":
                self.reports.near_miss(heard)
            else:
                logger.info("%s heard, but %s said it", heard.word, _WHO[heard.why])
                self.reports.rejected(heard, heard.why)
            return
        meaning = spoken(word, heard, settings)
        if word.action not in {None, "listen"}:  # what calls somebody is published with the conversation
            logger.info("heard %s: %s", heard.word, word.action)
            self.reports.wake(heard, word.action)
        if isinstance(meaning, payloads.Settings):
            self._change(meaning, ("mute",) if word.action == "mute" else ("volume",))
        elif isinstance(meaning, Woken) and self.spending.refusal() is None:
            self.household.woken(
                heard,
                answer=partial(self._answer, meaning, word),
                leave=partial(self.reports.rejected, heard, "unit"),
                quality=partial(self.clearness, heard),
            )
        else:
            self._call(meaning)

    def _answer(self, woken: Woken, word: WakeWordConfig) -> None:
        """Answer a word, unless it was switched off while others could say that they heard it better."""
        if self._is_listened_to(word):
            self._call(woken)
        else:
            logger.info("%s heard, and switched off before it could be answered", word.model)

    def _is_listened_to(self, word: WakeWordConfig) -> bool:
        settings = self.settings
        return not settings.mute and settings.wake_enabled and is_active(word, settings.wake_word)
