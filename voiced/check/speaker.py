"""The speaker: opened, and played a chime."""

import time

import numpy as np

from voiced.check.findings import Finding, Visit, failed, passed, reason, warned
from voiced.check.sound import loudness, open_speaker, play
from voiced.core.chimes import chime
from voiced.core.frames import SERVICE_RATE
from voiced.edge.soundcard import Soundcard
from voiced.errors import DeviceError

CHIME_S = 1.0
SLOW = 2.0
"""How many times longer than it lasts a sound may take to be swallowed."""


def check(visit: Visit, card: Soundcard) -> list[Finding]:
    """Play a chime on the configured speaker."""
    name = visit.config.audio.output
    percent, factor = loudness(visit)
    tried = f"play a chime on {name!r} at volume {percent}"
    sound = np.zeros(round(CHIME_S * SERVICE_RATE), np.int16)
    sound[: len(chime("wake"))] = np.rint(chime("wake") * factor)
    try:
        stream = open_speaker(card, name)
        try:
            began = time.monotonic()
            play(stream, 0.0, sound)
            took = time.monotonic() - began
            rate, faults = stream.rate, stream.faults
        finally:
            stream.close()
    except DeviceError as exc:
        if visit.daemon_has("speaker"):
            return [passed("speaker", tried, "a running voiced holds it, and can play")]
        return [failed("speaker", tried, *reason(exc))]
    figures = {"rate": rate, "faults": faults, "seconds": round(took, 2), "volume": percent}
    found = f"{rate} Hz, {len(sound) / SERVICE_RATE:g} s of sound taken in {took:.1f} s"
    if took > SLOW * CHIME_S:
        remedy = "its clock is wrong, or the machine too busy: answers will stutter"
        return [failed("speaker", tried, found, remedy, **figures)]
    if faults:
        remedy = "something else keeps this machine busy: answers will crackle"
        return [warned("speaker", tried, f"{found}; it ran dry {faults} times", remedy, **figures)]
    return [passed("speaker", tried, found, "if you heard nothing: alsamixer, or another audio.output", **figures)]
