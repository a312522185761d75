"""The daemon with a clock at each station that sound passes: ``python -m tests.bench.timed FILE ARGUMENT...``.

The arguments are those of ``voiced``. Each line of the file is a moment of the machine's monotonic clock, a station,
and how far sound has come there, as a position in the microphone's. :func:`stages` makes of them what became of the
time.
"""

import functools
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voiced.cli import main
from voiced.core.frames import Frame, Samples
from voiced.core.realtime.events import AppendAudio
from voiced.core.uplink import Uplink
from voiced.edge.microphone import FrameCutter
from voiced.edge.output import CardOutput
from voiced.edge.service import RealtimeSession
from voiced.edge.speaker import Speaker

STAGES = ("capture", "gate", "encode", "network", "service", "decode", "buffer", "device")
"""From the last sample of speech to the first of the answer; ``network`` is a loopback, and ``service`` not ours."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Somewhere, sound came so far."""

    at: float
    station: str
    position: int


def note_all(file: Path) -> None:
    """Write down, from now on, when sound passes."""
    notes = file.open("a", buffering=1)

    def note(station: str, position: int) -> None:
        notes.write(f"{time.monotonic():.6f} {station} {position}\n")

    def behind(owner: type, name: str, told: Callable[..., None]) -> None:
        """Call ``told`` whenever a method is done, with what it returned and what it was given."""
        method = getattr(owner, name)

        @functools.wraps(method)
        def noted(self: Any, *given: Any, **named: Any) -> Any:
            result = method(self, *given, **named)
            told(result, self, *given)
            return result

        setattr(owner, name, noted)

    def cut(frames: list[Frame], *_: Any) -> None:
        if frames:
            note("captured", frames[-1].end)

    def gave(_none: None, _output: CardOutput, block: Samples) -> None:
        if block.any():
            note("given", 0)

    def took(_sound: Samples, uplink: Uplink, _most: int) -> None:
        note("begins", uplink.position(0) or 0)
        note("taken", uplink.position(uplink.taken) or 0)

    send = RealtimeSession.send

    async def sent(self: RealtimeSession, event: Any) -> None:
        if isinstance(event, AppendAudio):
            note("sending", 0)
        await send(self, event)

    behind(FrameCutter, "feed", cut)
    behind(Uplink, "add", lambda _none, uplink, _frame: note("kept", uplink.end))
    behind(Uplink, "take", took)
    behind(Speaker, "play", lambda *_: note("came", 0))
    behind(CardOutput, "write", gave)
    setattr(RealtimeSession, "send", sent)  # noqa: B010 - as the others, but awaited


def passages(file: Path, since: float) -> list[Passage]:
    """Return what was written down from a moment on."""
    lines = (line.split() for line in file.read_text().splitlines())
    return [Passage(float(at), station, int(position)) for at, station, position in lines if float(at) >= since]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the world saw of a question and its answer: moments, and samples at the microphone's rate."""

    spoken: float
    """The last sample of speech stood at the microphone."""
    length: int
    """So many samples from the first sent to that one."""
    arrived: float
    """It came to the service."""
    answered: float
    """The service sent the first sound."""
    heard: float
    """It could be heard."""


def stages(noted: list[Passage], seen: Seen) -> dict[str, float]:
    """Return how long each of :data:`STAGES` took, in milliseconds."""
    begins = [p.position for p in noted if p.station == "begins" and p.at <= seen.arrived][-1]

    def reached(station: str) -> float:
        """Return when the last sample of speech was there."""
        return next(p.at for p in noted if p.station == station and p.position >= begins + seen.length)

    came = next(p.at for p in noted if p.station == "came" and p.at >= seen.answered)
    moments = (
        seen.spoken,
        reached("captured"),
        reached("kept"),
        max(p.at for p in noted if p.station == "sending" and p.at <= seen.arrived),
        seen.arrived,
        seen.answered,
        came,
        next(p.at for p in noted if p.station == "given" and p.at >= came),
        seen.heard,
    )
    lasted = (1000 * (after - before) for before, after in itertools.pairwise(moments))
    return dict(zip(STAGES, lasted, strict=True))


if __name__ == "__main__":
    note_all(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
