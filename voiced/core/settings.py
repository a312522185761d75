"""The settings that can be changed while the daemon runs: at the start, and after a command."""

from collections.abc import Collection, Mapping

from pydantic import ValidationError

from voiced.config import EVERY_WORD, Config
from voiced.core.mqtt.commands import SetSettings
from voiced.core.mqtt.payloads import Settings
from voiced.core.profiles import persona_at_first, voices
from voiced.core.words import choices
from voiced.errors import CommandError


def configured(config: Config) -> Settings:
    """Return the settings of the first start."""
    persona = persona_at_first(config)
    return Settings(
        mute=False,
        wake_enabled=True,
        follow_up=config.conversation.follow_up_s > 0,
        volume=config.audio.volume,
        wake_sensitivity=config.wake.sensitivity,
        wake_word=EVERY_WORD,
        persona=persona,
        voice=config.profiles[persona].voice_name,
    )


def remembered(config: Config, saved: Mapping[str, object]) -> Settings:
    """Return the settings as last set, where they still make sense, else as configured."""
    settings = configured(config)
    for key in SetSettings.KEYS:  # the voice behind the persona, whose it is
        if key in saved:
            try:
                wanted = Settings.model_validate({**dict(settings), key: saved[key]}, strict=True)
                settings = _checked(settings, wanted, config)
            except (ValidationError, CommandError):
                continue  # damaged, or a word, profile or voice that is gone
    return settings


def changed(settings: Settings, command: SetSettings, config: Config) -> Settings:
    """Return ``settings`` as ``command`` wants them.

    Raises:
        CommandError: If it names a word, profile or voice that does not exist.

    """
    return _checked(settings, command.applied(settings), config, voiced=command.voice is not None)


def outlived(before: Settings, settings: Settings, named: Collection[str]) -> bool:
    """Return whether the voice that was set is over: it was another persona's."""
    return settings.persona != before.persona and "voice" not in named


def _checked(before: Settings, wanted: Settings, config: Config, *, voiced: bool = False) -> Settings:
    """Return ``wanted`` if all of it exists. Another persona has its own voice, unless one came with it."""
    words = choices(config.wake)
    if wanted.wake_word not in words:
        raise CommandError(f'there is no wake word "{_short(wanted.wake_word)}"; there are: {", ".join(words)}')
    if wanted.persona not in config.profiles:
        profiles = ", ".join(sorted(config.profiles))
        raise CommandError(f'there is no profile "{_short(wanted.persona)}"; there are: {profiles}')
    if wanted.persona != before.persona and not voiced:
        return wanted.model_copy(update={"voice": config.profiles[wanted.persona].voice_name})
    known_voice(wanted.voice, config)
    return wanted


def known_voice(name: str, config: Config) -> str:
    """Return a voice, if it exists.

    Raises:
        CommandError: Else.

    """
    known = voices(config)
    if name not in known:
        raise CommandError(f'there is no voice "{_short(name)}"; there are: {", ".join(known)}')
    return name


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:37] + "..."
