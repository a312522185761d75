"""What the daemon is put together from."""

from collections.abc import Callable
from dataclasses import dataclass

from voiced.config import Config
from voiced.core.frames import Samples
from voiced.ports import (
    Clips,
    Clock,
    Ears,
    Echo,
    Media,
    Memories,
    Microphone,
    Resample,
    Service,
    Settled,
    Speaker,
    Speech,
)
from voiced.spending import Means


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The world around the daemon."""

    microphone: Microphone
    """Entered already."""
    echo: Echo
    """Between the microphone and everybody else; knows what the speaker plays."""
    speech: Callable[[], Speech]
    """Makes what tells during a conversation whether somebody may be speaking."""
    ears: Ears
    speaker: Speaker
    """Its playout events go to :meth:`voiced.app.Daemon.post`."""
    service: Service
    settled: Settled
    """Remembers what was set."""
    past: Settled
    """Remembers finished turns."""
    resampler: Callable[[int, int], Resample]
    """Makes converters from one rate to another."""
    clock: Clock
    means: Means
    """Ledger and prices."""
    spent: Samples
    """Says in English that the budget is used up, 24 kHz."""
    media: Media
    """Sound files for announcements."""
    reread: Callable[[], Config] | None = None
    """Reads the configuration again; ``None``: it was not read from anywhere."""
    supervised: bool = False
    """Whether somebody starts the daemon again if it ends."""
    clips: Clips | None = None
    """Keeps recordings of wakes and near misses; ``None``: nobody does."""
    memories: Memories | None = None
    """Keep what was said over restarts; ``None``: it is forgotten then."""
