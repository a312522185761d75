"""Everything that can go wrong on purpose, and what happens then.

* :exc:`VoicedError`: exit status 1
    * :exc:`ConfigError`: a person must edit the configuration; exit status 78, which systemd does not restart.
    * :exc:`DeviceError`: a microphone or speaker is missing, stalled or refuses its format; reopened with back-off.
    * :exc:`SoundFileError`: a sound file cannot be read; named, never guessed at; exit status 78.
    * :exc:`ModelError`: a wake model is missing or broken; exit status 78: starting again does not bring it.
    * :exc:`MissingPartError`: a library is missing or broken; told once, and what needs it is left out.
    * :exc:`ServiceError`: the Realtime service is away; tried again for some seconds, and at the next wake.
        * :exc:`RefusedError`: it said no; trying again without a change is useless.
            * :exc:`NotAllowedError`: it does not take this key or token; with another token it may.
    * :exc:`ProtocolError`: a message of the service lacks what it must have.
    * :exc:`RestartError`: the daemon was told to end and be started again; exit status 75, at which systemd does so.
    * :exc:`CommandError`: somebody sent a command that cannot be obeyed; answered, never fatal.
"""

from typing import Literal, TypeAlias

Code: TypeAlias = Literal[
    "busy",
    "invalid",
    "unknown_action",
    "unavailable",
    "failed",
    "refused",
    "not_found",
    "not_audio",
    "too_long",
    "interrupted",
    "no_answer",
]
"""What may be wrong about a command, in a word."""


class VoicedError(Exception):
    """Base of all errors raised on purpose; ``str()`` is a sentence for a person."""

    exit_status = 1


class ConfigError(VoicedError):
    """The configuration is wrong.

    Attributes:
        problems: One sentence for each problem, each naming its full key.

    """

    exit_status = 78

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DeviceError(VoicedError):
    """A sound device is missing, stalled, or refuses its format."""


class SoundFileError(VoicedError):
    """A sound file is missing or broken."""

    exit_status = 78


class ModelError(VoicedError):
    """A wake model is missing or broken."""

    exit_status = 78


class MissingPartError(VoicedError):
    """A library that only some of the daemon needs is missing, broken, or not made for this machine."""


class ServiceError(VoicedError):
    """The Realtime service cannot be reached, or went away.

    Attributes:
        code: Short and stable, for ``health``: ``unreachable``, ``timeout``, ``closed``, ``expired`` or ``refused``.
        retry_after_s: When it may be tried again, where the service says so.

    """

    def __init__(self, message: str, *, code: str = "unreachable", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class RefusedError(ServiceError):
    """The service said no, and will again until something is changed."""

    def __init__(self, message: str, *, code: str = "refused") -> None:
        super().__init__(message, code=code)


class NotAllowedError(RefusedError):
    """The service does not let us in with what we signed in with."""


class ProtocolError(VoicedError):
    """A message of the service is not what the protocol says."""


class RestartError(VoicedError):
    """The daemon ends, to be started again."""

    exit_status = 75


class CommandError(VoicedError):
    """A command cannot be obeyed.

    Attributes:
        code: One of :data:`Code`.

    """

    def __init__(self, message: str, *, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code
