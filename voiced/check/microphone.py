"""The microphone: opened, listened to for three seconds, and judged."""

from voiced.check.findings import Finding, Visit, failed, passed, reason, warned
from voiced.check.sound import Heard, open_microphone, record
from voiced.core.soundcheck import level, pace
from voiced.edge.soundcard import Soundcard
from voiced.errors import DeviceError

LISTEN_S, SETTLE_S = 3.0, 0.5
CLIPPED, CLIPPED_BADLY = 0.0001, 0.01
QUIET_DB, LOUD_DB = -80.0, -25.0
WRONG_RATE, DRIFTING = 0.005, 0.0005
"""Shares of the rate: beyond the first a clock is broken, beyond the second it wanders; crystals keep to 0.0001."""


def check(visit: Visit, card: Soundcard) -> list[Finding]:
    """Listen to the configured microphone."""
    name = visit.config.audio.input
    tried = f"listen {LISTEN_S:g} s to {name!r}"
    try:
        stream = open_microphone(card, name)
        try:
            return [judge(record(stream, LISTEN_S), tried)]
        finally:
            stream.close()
    except DeviceError as exc:
        if visit.daemon_has("microphone"):
            return [passed("microphone", tried, "a running voiced holds it, and hears it")]
        return [failed("microphone", tried, *reason(exc))]


def judge(heard: Heard, tried: str) -> Finding:
    """Say what is wrong with a recording, the worst first."""
    first = next(number for number, place in enumerate(heard.positions) if place >= SETTLE_S * heard.rate)
    loud = level(heard.samples[round(SETTLE_S * heard.rate) :])
    real = pace(heard.positions[first:], heard.times[first:])
    off, error = real.rate / heard.rate - 1, real.error / heard.rate
    figures = {
        "rms_db": round(loud.rms_db, 1),
        "peak_db": round(loud.peak_db, 1),
        "clipped_percent": round(100 * loud.clipped, 3),
        "rate": heard.rate,
        "drift_ppm": round(1e6 * off),
        "drift_error_ppm": round(1e6 * error),
        "faults": heard.faults,
    }
    found = (
        f"level {loud.rms_db:.0f} dB, loudest {loud.peak_db:.0f} dB, {heard.rate} Hz, "
        f"clock {1e6 * off:+.0f} ppm (± {1e6 * error:.0f})"
    )
    if loud.is_flat:
        remedy = "is it muted (alsamixer, F4; a switch on the device), or the wrong one (voiced devices)?"
        return failed("microphone", tried, "total silence: not even noise", remedy, **figures)
    if loud.clipped > CLIPPED:
        remedy = "turn the capture gain down: alsamixer, F4"
        judge_it = failed if loud.clipped > CLIPPED_BADLY else warned
        return judge_it("microphone", tried, f"{found}; {100 * loud.clipped:.2f} % is clipped", remedy, **figures)
    if abs(off) - error > WRONG_RATE:
        remedy = f"its clock is wrong: use another device, or one that runs at 48000 Hz instead of {heard.rate}"
        return failed("microphone", tried, f"{found}: it delivers {real.rate:.0f} Hz", remedy, **figures)
    if heard.faults:
        remedy = "something else keeps this machine busy, or the USB port: sound is lost and words with it"
        return warned("microphone", tried, f"{found}; sound was lost {heard.faults} times", remedy, **figures)
    if loud.rms_db < QUIET_DB:
        remedy = "turn the capture gain up (alsamixer, F4), or say something while this runs"
        return warned("microphone", tried, f"{found}: very quiet", remedy, **figures)
    if loud.rms_db > LOUD_DB:
        remedy = "a room is not so loud: turn the capture gain down, or look for hum"
        return warned("microphone", tried, f"{found}: very loud", remedy, **figures)
    if abs(off) - error > DRIFTING:
        remedy = "nothing, unless echo is not cancelled: then use one device for microphone and speaker"
        return warned("microphone", tried, f"{found}: it wanders", remedy, **figures)
    return passed("microphone", tried, found, **figures)
