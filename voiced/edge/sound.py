"""The two ends of the house as the configuration names them, opened and closed together."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from voiced.core.devices import Kind
from voiced.core.frames import Samples
from voiced.core.loudness import QuietHours
from voiced.core.playout import PlayoutEvent
from voiced.edge.microphone import FileMicrophone, SoundcardMicrophone
from voiced.edge.output import CardOutput, NullOutput
from voiced.edge.soundcard import Soundcard
from voiced.edge.soundfile import WavWriter
from voiced.edge.speaker import Loudness, Speaker

AnyMicrophone: TypeAlias = SoundcardMicrophone | FileMicrophone

_FILE = "file:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSettings:
    """What ``[audio]`` says of the two ends, in its words."""

    input: str = "default"
    """Besides what a user may say: ``null``, a microphone in a silent room."""
    output: str = "default"
    volume: int = 60
    chime_volume: int = 100
    announcement_volume: int = 100
    quiet: QuietHours | None = None
    zone: tzinfo = UTC
    """Where the quiet hours are."""
    media_role: str = ""
    input_end: Literal["stop", "silence"] = "stop"
    copy: Path | None = None
    """A WAV file that gets all that is played, whatever ``output`` is."""
    copy_silence: bool = False
    """Whether the file written (``copy`` or a ``file:`` output) holds the pauses as well."""


@asynccontextmanager
async def open_sound(
    settings: SoundSettings,
    *,
    notify: Callable[[PlayoutEvent], None],
    give_up: Callable[[str], None],
    tap: Callable[[Samples], None] | None = None,
    slipped: Callable[[], None] | None = None,
) -> AsyncIterator[tuple[AnyMicrophone, Speaker]]:
    """Open microphone and speaker; PortAudio is loaded only if one of them is a sound card's.

    A device that is not there is no error: it is in ``problem`` until it comes.

    Args:
        settings: Which ends.
        notify: See :class:`voiced.edge.speaker.Speaker`.
        give_up: See :class:`voiced.edge.soundcard.Soundcard`.
        tap: See :class:`voiced.edge.speaker.Speaker`.
        slipped: Likewise.

    Raises:
        SoundFileError: If a file cannot be read or written.
        DeviceError: If PortAudio is missing.

    """
    async with AsyncExitStack() as house:
        card: Soundcard | None = None
        if needs_card(settings.input) or needs_card(settings.output):
            ends: dict[Kind, str] = {"input": settings.input, "output": settings.output}
            card = Soundcard(give_up, role=settings.media_role, ends=ends)
            house.callback(card.close)
        microphone: AnyMicrophone
        if card and needs_card(settings.input):
            microphone = SoundcardMicrophone(card, settings.input)
        elif settings.input == "null":
            microphone = FileMicrophone(None, end="silence")
        else:
            microphone = FileMicrophone(Path(settings.input.removeprefix(_FILE)), end=settings.input_end)
        path = Path(settings.output.removeprefix(_FILE)) if settings.output.startswith(_FILE) else settings.copy
        speaker = Speaker(
            CardOutput(card, settings.output) if card and needs_card(settings.output) else NullOutput(),
            notify,
            loudness=Loudness(
                volume=settings.volume,
                chimes=settings.chime_volume,
                announcements=settings.announcement_volume,
                most=partial(_most, settings.quiet, settings.zone),
            ),
            copy=house.enter_context(WavWriter(path)) if path else None,
            copy_silence=settings.copy_silence,
            tap=tap,
            slipped=slipped,
        )
        yield await house.enter_async_context(microphone), await house.enter_async_context(speaker)


def _most(quiet: QuietHours | None, zone: tzinfo) -> int:
    return 100 if quiet is None else quiet.most(datetime.now(zone).time())


def needs_card(setting: str) -> bool:
    """Whether ``audio.input`` or ``audio.output`` names a device, and neither a file nor ``null``."""
    return setting != "null" and not setting.startswith(_FILE)
