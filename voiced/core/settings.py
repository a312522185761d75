"""The settings that can be changed while the daemon runs: at the start, and after a command."""

from collections.abc import Mapping

from pydantic import ValidationError

from voiced.config import EVERY_WORD, Config
from voiced.core.mqtt.commands import SetSettings
from voiced.core.mqtt.payloads import Settings
from voiced.core.profiles import persona_at_first
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
    for key, value in saved.items():
        if key in SetSettings.KEYS:
            try:
                candidate = Settings.model_validate({**dict(settings), key: value}, strict=True)
                settings = _checked(candidate, config)
            except (ValidationError, CommandError):
                continue  # damaged, or a word or profile that is gone
    return settings


def changed(settings: Settings, command: SetSettings, config: Config) -> Settings:
    """Return ``settings`` as ``command`` wants them.

    Raises:
        CommandError: If it names a word or profile that does not exist.

    """
    return _checked(command.applied(settings), config)


def _checked(settings: Settings, config: Config) -> Settings:
    words = choices(config.wake)
    if settings.wake_word not in words:
        raise CommandError(f'there is no wake word "{_short(settings.wake_word)}"; there are: {", ".join(words)}')
    if settings.persona not in config.profiles:
        known = ", ".join(sorted(config.profiles))
        raise CommandError(f'there is no profile "{_short(settings.persona)}"; there are: {known}')
    return settings.model_copy(update={"voice": config.profiles[settings.persona].voice})


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:37] + "..."
