"""The way from the speaker back into the microphone: a sweep is played, and looked for in what is heard."""

from concurrent.futures import ThreadPoolExecutor

from voiced.check.findings import Finding, Visit, failed, passed, reason, skipped, warned
from voiced.check.sound import Heard, loudness, open_microphone, open_speaker, play, record
from voiced.core.frames import SERVICE_RATE, Samples
from voiced.core.resample import resample
from voiced.core.soundcheck import Found, find, sweep
from voiced.edge.soundcard import Soundcard
from voiced.errors import DeviceError

BEFORE_S, SWEEP_S, AFTER_S = 0.8, 1.0, 1.2
SILENT_DB = 40.0
"""From so much attenuation on the service does not mistake the echo for somebody who speaks."""
MONITOR_DB, MONITOR_LIKENESS = 3.0, 0.999
LONG_MS = 500.0
PEAK = 0.5


def check(visit: Visit, card: Soundcard) -> list[Finding]:
    """Play the sweep as loud as answers are, and measure what comes back."""
    percent, factor = loudness(visit)
    tried = f"play a sweep of {SWEEP_S:g} s at volume {percent} and listen"
    sound = sweep(SERVICE_RATE, SWEEP_S, PEAK * factor)
    try:
        ears = open_microphone(card, visit.config.audio.input)
        try:
            mouth = open_speaker(card, visit.config.audio.output)
            try:
                with ThreadPoolExecutor(1) as beside:
                    playing = beside.submit(play, mouth, BEFORE_S, sound)
                    heard = record(ears, BEFORE_S + SWEEP_S + AFTER_S)
                    began = playing.result()
            finally:
                mouth.close()
        finally:
            ears.close()
    except DeviceError as exc:
        if visit.daemon_has("microphone") and visit.daemon_has("speaker"):
            return [skipped("echo", "a running voiced holds the devices; stop it, and check again")]
        return [failed("echo", tried, *reason(exc))]
    return [judge(*_measured(sound, heard, began), tried, visit.config.audio.echo_cancellation)]


def _measured(sound: Samples, heard: Heard, began: float) -> tuple[Found | None, float]:
    """Return what came back, and how many milliseconds after it was handed to the speaker."""
    found = find(resample(sound, SERVICE_RATE, heard.rate), heard.samples)
    if found is None:
        return None, 0.0
    # When the sample at which it begins was there to be read.
    number = next(i for i, position in enumerate(heard.positions) if position > found.start)
    arrived = heard.times[number] - (heard.positions[number] - found.start) / heard.rate
    return found, (arrived - began) * 1000


def judge(found: Found | None, delay_ms: float, tried: str, mode: str) -> Finding:
    """Say which way of interrupting suits.

    Args:
        found: What came back; ``None``: nothing.
        delay_ms: How late.
        tried: For the finding.
        mode: ``audio.echo_cancellation``.

    """
    if found is None:
        advice = "" if mode == "off" else 'with a headset set audio.echo_cancellation = "off": it then always listens'
        remedy = advice or "if you heard no sweep, look at the speaker first"
        return passed("echo", tried, "nothing of it comes back", remedy, heard=False, suits="off")
    figures = {
        "heard": True,
        "delay_ms": round(delay_ms),
        "attenuation_db": round(found.attenuation_db, 1),
        "likeness": round(found.likeness, 3),
    }
    said = f"it comes back after {delay_ms:.0f} ms, {found.attenuation_db:.0f} dB quieter"
    if found.likeness > MONITOR_LIKENESS and abs(found.attenuation_db) < MONITOR_DB:
        remedy = "audio.input is the speaker's own monitor, no microphone: choose another one (voiced devices)"
        return failed("echo", tried, f"{said}, and unchanged", remedy, suits="half-duplex", **figures)
    if found.attenuation_db >= SILENT_DB:
        remedy = "" if mode == "off" else 'audio.echo_cancellation = "off" suits: so little echo needs no cancelling'
        return passed("echo", tried, said, remedy, suits="off", **figures)
    suits = "half-duplex" if delay_ms > LONG_MS else "auto"
    remedy = f'audio.echo_cancellation = "{suits}" suits'
    if mode == "off":
        return warned("echo", tried, said, f"{remedy}: as it is the service hears itself", suits=suits, **figures)
    return passed("echo", tried, said, "" if mode == suits else remedy, suits=suits, **figures)
