"""From a command that somebody sent, or a word that somebody said, to an event of the conversation."""

from collections.abc import Collection

from voiced.config import WakeWordConfig
from voiced.core.mqtt import commands
from voiced.core.mqtt.payloads import Settings
from voiced.core.states import Asked, Called, Ended, Event, Stopped, Woken
from voiced.core.wake import Wake
from voiced.core.words import VOLUME_STEP
from voiced.errors import CommandError


def order(
    command: commands.Listen | commands.Stop | commands.End | commands.Say | commands.Ask,
    *,
    request: int,
    profile: str,
    profiles: Collection[str],
    muted: bool,
) -> Event:
    """Return what ``command`` means for the conversation.

    Args:
        command: What was asked for.
        request: Number under which it will be answered.
        profile: Who answers where the command does not say.
        profiles: Those that exist.
        muted: Whether the microphone is off.

    Raises:
        CommandError: If it names a profile that does not exist, or wants to listen while muted.

    """
    match command:
        case commands.Stop():
            return Stopped(request)
        case commands.End():
            return Ended("command", request)
        case commands.Say():
            return Asked(command.text, profile, literal=True, interrupt=command.interrupt, request=request)
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
            return Called("mqtt", command.profile or profile, command.timeout_s, request)


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
