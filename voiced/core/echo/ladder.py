"""Which rung of the ladder holds: whether the service may hear the microphone while the speaker sounds, and why."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ENOUGH_DB = 10.0
"""Attenuation from which people can be told from the echo."""

LOST_DB = 8.0
"""Attenuation below which they no longer can, once they could."""

INAUDIBLE_DB = 6.0
"""How much louder than the quiet room the loudest tenth of an answer may be to count as not heard in it."""

KNOWN_S = 3.0
"""Seconds of an answer after which something is known."""

Policy: TypeAlias = Literal["auto", "on", "half-duplex", "device", "service"]
"""Measured; trusted; wished; the microphone cancels by itself; the service does."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known by now."""

    heard_s: float = 0.0
    """Seconds of played sound."""
    attenuation_db: float | None = None
    """What the canceller takes out."""
    above_room_db: float | None = None
    """How much louder than the quiet room the loudest tenth of what is left is; ``None``: nobody knows the room."""
    is_found: bool = False
    """Whether the canceller found the echo in the microphone's sound."""
    is_settled: bool = False
    """Whether the evidence of people counts."""
    is_missing: bool = False
    """Whether there is no evidence of people to be had."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Where one stands."""

    full_duplex: bool
    by: Literal["nothing", "canceller", "device", "service"]
    why: str


MISSING = Rung(
    full_duplex=False,
    by="canceller",
    why="WebRTC's echo canceller cannot be loaded, so nothing tells a person from the answer: no interrupting by voice",
)
_TRUSTED: dict[Policy, Rung] = {
    "on": Rung(full_duplex=True, by="canceller", why='audio.echo_cancellation is "on"'),
    "half-duplex": Rung(full_duplex=False, by="canceller", why='audio.echo_cancellation is "half-duplex"'),
    "device": Rung(full_duplex=True, by="device", why="the microphone is one that cancels echo, by its name"),
    "service": Rung(full_duplex=True, by="service", why="the service cancels echo, and so do we"),
}
UNKNOWN = Rung(full_duplex=False, by="canceller", why="not measured yet: that takes the first seconds of an answer")
GOOD = Rung(full_duplex=True, by="canceller", why=f"the canceller takes out {ENOUGH_DB:g} dB of the echo or more")
SOFT = Rung(
    full_duplex=True, by="canceller", why="the canceller leaves nothing of the echo that stands out of the room"
)
DEAF = Rung(full_duplex=True, by="device", why="the microphone does not hear the speaker")
POOR = Rung(full_duplex=False, by="canceller", why=f"the canceller takes out less than {ENOUGH_DB:g} dB of the echo")
LOST = Rung(full_duplex=False, by="nothing", why="the microphone hears the speaker, but its sound is not found again")


def rung(policy: Policy, measured: Measured, now: Rung = UNKNOWN) -> Rung:
    """Return where one stands by what is measured, coming from ``now``."""
    if policy == "half-duplex":
        return _TRUSTED[policy]
    if measured.is_missing:
        return MISSING
    if policy != "auto":
        return _TRUSTED[policy]
    if measured.heard_s < KNOWN_S:
        return now
    is_inaudible = measured.above_room_db is not None and measured.above_room_db <= INAUDIBLE_DB
    if not measured.is_found:
        return DEAF if is_inaudible else LOST
    if measured.attenuation_db is None or not measured.is_settled:
        return now
    if measured.attenuation_db >= (LOST_DB if now == GOOD else ENOUGH_DB):
        return GOOD
    return SOFT if is_inaudible else POOR
