"""From a command that somebody sent, or a word that somebody said, to an event of the conversation."""

from typing import TypeAlias

from voiced.config import Config, WakeWordConfig
from voiced.core.events import Asked, Called, Ended, Event, Released, Stopped, Woken
from voiced.core.mqtt import commands
from voiced.core.mqtt.payloads import Settings
from voiced.core.questions import Question
from voiced.core.settings import known_voice
from voiced.core.wake import Wake
from voiced.core.words import VOLUME_STEP
from voiced.errors import CommandError

Order: TypeAlias = (
    commands.Listen
    | commands.Release
    | commands.Stop
    | commands.End
    | commands.Say
    | commands.Ask
    | commands.AskQuestion
)
"""What the conversation has to do with."""


def order(
    command: Order,
    *,
    request: int,
    settings: Settings,
    config: Config,
    dumb: str | None = None,
) -> Event:
    """Return what ``command`` means for the conversation.

    Args:
        command: What was asked for.
        request: Number under which it will be answered.
        settings: Who answers where the command does not say, and whether the microphone is off.
        config: Profiles and voices that exist.
        dumb: Why nothing can be heard, if so.

    Raises:
        CommandError: If it names a profile or a voice that does not exist, wants to listen while muted, or
            to be heard where nothing sounds.

    """
    profile, muted, profiles = settings.persona, settings.mute, config.profiles
    match command:
        case commands.Stop():
            return Stopped(request)
        case commands.End():
            return Ended("command", request)
        case commands.Release():
            return Released(request)
        case commands.AskQuestion() if muted:
            raise CommandError("the microphone is muted; unmute it first", code="unavailable")
        case commands.Say() | commands.AskQuestion() if "audio" not in profiles[profile].modalities:
            raise CommandError(f'profile "{profile}" has no voice; choose another persona', code="unavailable")
        case commands.Say() | commands.AskQuestion() if dumb is not None:
            raise CommandError(f"nobody would hear it: {dumb}", code="unavailable")
        case commands.Say():
            return Asked(
                command.text,
                profile,
                literal=True,
                listen_after=command.listen_after and not muted,
                interrupt=command.interrupt,
                request=request,
                voice=None if command.voice is None else known_voice(command.voice, config),
                percent=command.volume,
            )
        case commands.AskQuestion():
            return Asked(
                command.text,
                profile,
                literal=True,
                listen_after=True,
                interrupt=command.interrupt,
                request=request,
                voice=None if command.voice is None else known_voice(command.voice, config),
                percent=command.volume,
                question=Question(request, command.text, command.answers, command.timeout_s),
                chime=command.chime,
            )
        case commands.Ask():
            return Asked(
                command.text,
                profile,
                instructions=command.instructions,
                listen_after=command.listen_after and not muted,
                request=request,
            )
        case commands.Listen():
            if command.profile is not None and command.profile not in profiles:
                known = ", ".join(sorted(profiles))
                raise CommandError(f'there is no profile "{command.profile}"; there are: {known}')
            if muted:
                raise CommandError("the microphone is muted; unmute it first", code="unavailable")
            return Called("mqtt", command.profile or profile, command.timeout_s, request, command.hold)


def spoken(word: WakeWordConfig, wake: Wake, settings: Settings) -> Event | Settings:
    """Return what a word that was heard means: something for the conversation, or other settings."""
    match word.action:
        case None:
            return Woken(wake, word.profile)
        case "listen":
            return Woken(wake, settings.persona)
        case "stop":
            return Stopped()
        case "end":
            return Ended("wake_word")
        case "mute":
            return settings.model_copy(update={"mute": True})
        case "volume_up":
            return settings.model_copy(update={"volume": min(100, settings.volume + VOLUME_STEP)})
        case "volume_down":
            return settings.model_copy(update={"volume": max(0, settings.volume - VOLUME_STEP)})
