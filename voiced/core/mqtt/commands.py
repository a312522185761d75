"""What may be asked of voiced, and the answers. :mod:`voiced.core.mqtt.parsing` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias

from voiced.core.mqtt.payloads import Refusal, Response, Settings
from voiced.core.sentences import Answer
from voiced.errors import CommandError

Switch: TypeAlias = bool | Literal["toggle"]
SWITCHES = frozenset({"mute", "wake_enabled", "follow_up"})
"""Settings that can be toggled."""


@dataclass(frozen=True, slots=True)
class Message:
    """A command as the broker delivered it."""

    topic: str
    payload: bytes
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the answer goes and what it carries."""

    topic: str
    """Full name: what the command asked for, else ``<base>/<id>/response``."""
    correlation: bytes | None = None
    id: str | None = None
    ignored: tuple[str, ...] = ()
    """Keys of the command that mean nothing to this version."""


class RefusedCommandError(CommandError):
    """A command that cannot even be read.

    Attributes:
        action: What was asked for, as far as it is known.
        reply: Where to say so.

    """

    def __init__(self, message: str, *, code: str, action: str, reply: Reply) -> None:
        super().__init__(message, code=code)
        self.action = action
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Listen:
    """Open the microphone as if the wake word had been said."""

    reply: Reply
    timeout_s: float | None = None
    """How long to wait for speech; ``None``: as configured."""
    profile: str | None = None
    hold: bool = False
    """Whether the turn lasts until :class:`Release`."""


@dataclass(frozen=True, slots=True)
class Release:
    """Whoever held the microphone open is done."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Stop:
    """Fall silent and end the turn."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class End:
    """End the conversation."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class NewConversation:
    """End the conversation, and forget what was said before."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the configuration again."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Restart:
    """End, to be started again."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a text word for word."""

    reply: Reply
    text: str
    interrupt: bool = False
    """Whether it may cut a running turn short."""
    voice: str | None = None
    """Whose voice, if not that of the profile."""
    volume: int | None = None
    """How loud, percent of the volume; ``None``: as ``audio.announcement_volume`` says."""
    listen_after: bool = False
    """Whether the person may speak then, as after an answer."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Speak a text word for word, or play a sound file, with a chime, once nothing else is going on."""

    reply: Reply
    text: str = ""
    chime: bool = True
    urgent: bool = False
    """Whether it goes before others that wait."""
    interrupt: bool = False
    """Whether it waits for nothing."""
    voice: str | None = None
    """As of :class:`Say`."""
    volume: int | None = None
    """As of :class:`Say`."""
    media: str | None = None
    """Path or URL of what is played in place of a text."""
    listen_after: bool = False
    """As of :class:`Say`; of a text only."""


@dataclass(frozen=True, slots=True)
class CancelAnnouncements:
    """Forget the announcements that wait."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Ask:
    """Take a text as what the person said, and speak the answer."""

    reply: Reply
    text: str
    instructions: str | None = None
    listen_after: bool = False


@dataclass(frozen=True, slots=True)
class AskQuestion:
    """Speak a question, listen to what is answered, and tell."""

    reply: Reply
    text: str
    answers: tuple[Answer, ...] = ()
    """What is expected."""
    timeout_s: float | None = None
    """How long to wait for speech; ``None``: as configured."""
    chime: bool = True
    interrupt: bool = False
    """As of :class:`Say`, as are ``voice`` and ``volume``."""
    voice: str | None = None
    volume: int | None = None


@dataclass(frozen=True, slots=True)
class SetSettings:
    """Change settings; ``None`` leaves one as it is."""

    KEYS: ClassVar[tuple[str, ...]] = (
        *("mute", "volume", "wake_enabled", "wake_sensitivity", "wake_word", "follow_up", "persona", "voice"),
    )
    """What can be set; also the names in :class:`~voiced.core.mqtt.payloads.Settings`."""

    reply: Reply
    mute: Switch | None = None
    volume: int | None = None
    wake_enabled: Switch | None = None
    wake_sensitivity: float | None = None
    wake_word: str | None = None
    follow_up: Switch | None = None
    persona: str | None = None
    voice: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The settings that it changes."""
        return tuple(key for key in self.KEYS if getattr(self, key) is not None)

    def applied(self, settings: Settings) -> Settings:
        """Return ``settings`` as they are to be from now on."""
        changes: dict[str, object] = {}
        for key in self.named:
            wanted = getattr(self, key)
            changes[key] = not getattr(settings, key) if wanted == "toggle" and key in SWITCHES else wanted
        return settings.model_copy(update=changes)


@dataclass(frozen=True, slots=True)
class Get:
    """Publish latest values again: those named, or all."""

    reply: Reply
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """Tell what the ears hear."""

    reply: Reply
    for_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Turns:
    """Answer with the last finished turns."""

    reply: Reply
    last: int = 10


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer."""

    reply: Reply


Command: TypeAlias = (
    Listen
    | Release
    | Stop
    | End
    | NewConversation
    | Reload
    | Restart
    | Say
    | Announce
    | CancelAnnouncements
    | Ask
    | AskQuestion
    | SetSettings
    | Get
    | Turns
    | Watch
    | Ping
)

_NAMES: Mapping[type, str] = {
    Listen: "listen",
    Release: "release",
    Stop: "stop",
    End: "end",
    NewConversation: "new_conversation",
    Reload: "reload",
    Restart: "restart",
    Say: "say",
    Announce: "announce",
    CancelAnnouncements: "cancel_announcements",
    Ask: "ask",
    AskQuestion: "ask_question",
    SetSettings: "set",
    Get: "get",
    Turns: "turns",
    Watch: "watch",
    Ping: "ping",
}


def succeeded(command: Command, now: datetime, result: Mapping[str, Any] | None = None) -> Response:
    """Return the answer to a command that was obeyed."""
    reply = command.reply
    if reply.ignored:
        result = {**(result or {}), "ignored": list(reply.ignored)}
    return Response(id=reply.id, action=_NAMES[type(command)], ok=True, result=result, time=now)


def failed(command: Command | None, error: CommandError, now: datetime) -> Response:
    """Return the answer to a command that was not obeyed; ``command`` is ``None`` where it could not be read."""
    reply = error.reply if isinstance(error, RefusedCommandError) else None
    if command is not None:
        action, number = _NAMES[type(command)], command.reply.id
    else:
        action, number = getattr(error, "action", ""), reply.id if reply else None
    refusal = Refusal.model_validate({"code": error.code, "message": str(error)})
    return Response(id=number, action=action, ok=False, error=refusal, time=now)
