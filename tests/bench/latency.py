"""How soon it falls silent, how well the service remembers what was heard, and how late the answer is for our part.

The daemon is ``voiced run`` on a virtual sound card (PulseAudio through ALSA and PortAudio), a real broker, and the
simulator over a real WebSocket. A tap at the virtual loudspeaker tells which samples were played, and when. What it
plays is noise without a single zero, so that a zero is silence, and what was played can be counted.

``*_to_silence`` ends with the last sample that is not zero: the fade of 40 ms is in it, and the sound that was in the
device already. The reference is that device alone, in the same run: from the moment a plain program hands sound over to
the same PortAudio, with as much in its buffer, to the moment it is there (:mod:`tests.bench.device`).

``own_share`` is the time from the last sample of speech at the microphone to the first of the answer at the speaker,
less the service's; ``--svg`` draws of which stages it consists (:mod:`tests.bench.timed`).

``wake_to_wire*`` are those of :mod:`tests.bench.wire`.
"""

import asyncio
import base64
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.bench import device, wire
from tests.bench.picture import stacked
from tests.bench.rig import Rig, at_work
from tests.bench.timed import STAGES, Seen, passages, stages
from tests.bench.wire import measure_wire
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.waiting import eventually
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.likeness import best_match
from voiced.core.resample import resample
from voiced.core.uplink import RING_S
from voiced.edge.soundfile import WavWriter
from voiced.simulator import Scenario, Turn
from voiced.simulator.recording import Recording

MESSAGES = (("The gate is open.", 900), ("Tomorrow will be cold.", 1_100), ("See you at nine.", 800))
"""Text and milliseconds of what is said; each message is an item of its own."""

GAP = SERVICE_RATE // 20
"""Zeros in a row that are silence: 50 ms."""

FADE_MS = 40
ROUNDING_MS = 0.4

NOTICE_S = 6.0
"""So long somebody speaks at most without being noticed; longer than an answer lasts."""

WHOLE_MS = 85
"""What may be missing at the end of a message that the service keeps as it is."""

SAID = "hey_jarvis_1"

CONFIGURATION = """
[audio]
volume = 100
chime = false
echo_cancellation = "off"
[conversation]
follow_up_s = 20.0
[[wake.words]]
model = "hey_jarvis"
[[wake.words]]
model = "alexa"
action = "stop"
"""

Kind = Literal["mqtt", "word", "voice"]


@dataclass
class Figures:
    """What was measured, in milliseconds."""

    to_silence: dict[Kind, list[float]] = field(default_factory=lambda: {"mqtt": [], "word": [], "voice": []})
    truncation: list[float] = field(default_factory=list)
    kept_whole: list[float] = field(default_factory=list)
    leaked: int = 0
    remembered: int = 0
    told: int = 0
    interruptions: int = 0
    too_late: int = 0
    gaps: int = 0
    own: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    lost: int = 0
    broken_off: int = 0
    unheard: int = 0
    stages: dict[str, list[float]] = field(default_factory=dict)


def measure(*, quick: bool) -> dict[str, Any]:
    """Interrupt many answers, and hold some conversations."""
    figures = Figures()
    began = time.monotonic()
    asyncio.run(_all(figures, quick=quick))
    silence = {kind: sorted(values) for kind, values in figures.to_silence.items()}
    return {
        **measure_wire(quick=quick),
        "word_to_silence_p95_ms": _p95(silence["word"]),
        "mqtt_stop_to_silence_p95_ms": _p95(silence["mqtt"]),
        "voice_to_silence_p95_ms": _p95(silence["voice"]),
        "truncation_max_error_ms": round(max(figures.truncation, default=0.0), 1),
        "truncation_kept_whole": len(figures.kept_whole),
        "truncation_kept_whole_max_ms": round(max(figures.kept_whole, default=0.0), 1),
        "interruptions": figures.interruptions,
        "samples_after_the_fade": figures.leaked,
        "memory_equals_heard": figures.remembered,
        "text_told_equals_heard": figures.told,
        "own_share_p95_ms": _p95(sorted(figures.own)),
        "own_share_stages_ms": _stages(figures),
        "picture": _picture(figures),
        **wire.measure(quick=quick),
        "lost_samples": figures.lost,
        "player_broke_off": figures.broken_off,
        "words_not_heard": figures.unheard,
        "gaps_in_answers": figures.gaps,
        "device_p95_ms": _p95(figures.device),
        "device_reference": "sound given to the same PortAudio by a program that does nothing else",
        "ratio_mqtt_stop_to_fade_and_device": _ratio(silence["mqtt"], figures.device),
        "medians_ms": {kind: round(statistics.median(values), 1) for kind, values in silence.items() if values},
        "not_noticed_in_time": figures.too_late,
        "trials": {kind: len(values) for kind, values in silence.items()} | {"own_share": len(figures.own)},
        "seconds": round(time.monotonic() - began, 1),
    }


def _p95(ordered: list[float]) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1) if ordered else None


def _stages(figures: Figures) -> dict[str, dict[str, float | None]]:
    return {
        stage: {"median": round(statistics.median(lasted), 1), "p95": _p95(sorted(lasted))}
        for stage, lasted in figures.stages.items()
    }


def _picture(figures: Figures) -> str:
    """Draw where the time went in each conversation, from the quickest to the slowest; without the service's."""
    ours = [stage for stage in STAGES if stage != "service"]
    rows = sorted(zip(*(figures.stages[stage] for stage in ours), strict=True), key=sum)
    medians = [statistics.median(figures.stages[stage]) for stage in ours]
    bars = {"medians": medians} | {f"{number} of {len(rows)}": row for number, row in enumerate(rows, 1)}
    return stacked("End of speech to first sound of the answer, less the service", "ms", bars, ours)


def _ratio(silence: list[float], device_ms: list[float]) -> float:
    return round(statistics.median(silence) / (FADE_MS + statistics.median(device_ms)), 2)


async def _all(figures: Figures, *, quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="sounds-") as name:
        scenario, sounds = _scenario(Path(name))
        async with at_work(scenario, CONFIGURATION, timed=True) as rig:
            figures.device = await asyncio.to_thread(_device, rig, 5 if quick else 40)
            for number in range(2 if quick else 12):
                await _converse(rig, figures, number)
            await _interrupt_often(rig, figures, sounds, "mqtt", 5 if quick else 200)
            await _interrupt_often(rig, figures, sounds, "voice", 1 if quick else 10)
            await _interrupt_often(rig, figures, sounds, "word", 2 if quick else 20)


def _scenario(folder: Path) -> tuple[Scenario, list[Samples]]:
    rng = np.random.default_rng(7)
    sounds, messages = [], []
    for number, (text, ms) in enumerate(MESSAGES):
        sound = rng.integers(1_000, 9_000, ms * SERVICE_RATE // 1000) * rng.choice([-1, 1], ms * SERVICE_RATE // 1000)
        sounds.append(sound.astype(np.int16))
        path = folder / f"{number}.wav"
        with WavWriter(path) as file:
            file.write(sounds[-1])
        messages.append({"assistant": text, "sound": str(path)})
    turn = Turn.model_validate(
        {"user": "Go on.", **messages[0], "more": messages[1:], "think_ms": 20, "transcription_delay_ms": 10}
    )
    return Scenario(turns=(turn,), when_over="repeat", pace=8), sounds


# --- interruptions ----------------------------------------------------------------------------------------------------


async def _interrupt_often(rig: Rig, figures: Figures, sounds: list[Samples], kind: Kind, times: int) -> None:
    await _rest(rig)
    moments = random.Random(f"when/{kind}")  # noqa: S311 - moments, no secrets
    total_s = sum(map(len, sounds)) / SERVICE_RATE
    wanted = len(figures.to_silence[kind]) + times
    for _ in range(3 * times):
        if len(figures.to_silence[kind]) >= wanted:
            break
        if kind == "voice" and figures.to_silence["voice"]:  # in a room that is quiet, or it could be a television
            await asyncio.sleep(RING_S)
        latest = {"mqtt": total_s - 0.15, "word": 0.8, "voice": 1.2}[kind]
        await _interrupt(rig, figures, sounds, kind, moments.uniform(0.0, latest))


async def _interrupt(rig: Rig, figures: Figures, sounds: list[Samples], kind: Kind, after_s: float) -> None:
    mark = rig.speaker.end
    turns = len(rig.events("event/turn"))
    await _begin(rig, kind, mark)
    session = rig.simulator.sessions[-1]
    created = len(session.sent("response.created"))
    await asyncio.sleep(after_s)
    decided = await _strike(rig, kind)
    await eventually(lambda: not rig.speaker.since(rig.speaker.end - 2 * GAP).any(), "silence")
    last = None if decided is None else _silence(rig, mark, decided)
    cut_off = partial(_cut_off, rig, turns)
    with suppress(AssertionError):
        await eventually(cut_off, "the turn", 2.0)
    if decided is None or last is None or not cut_off():  # a busy machine decides when the answer is over
        figures.too_late += 1
        await _rest(rig)
        return
    figures.to_silence[kind].append(1000 * (rig.speaker.when(last) - decided))
    if kind == "mqtt":
        await asyncio.sleep(0.15)  # so that a late sample would be there
        responses = session.sent("response.created")[created - 1 :]
        items = [
            event["item"]["id"]
            for event in session.sent("response.output_item.added")
            if event["response_id"] == responses[0]["response"]["id"]
        ]
        (told, *_) = cut_off()
        memory = {item.id: item.parts[0].milliseconds if item.parts else 0 for item in session.memory}
        _judge(figures, sounds, rig.speaker.since(mark), [memory.get(item) for item in items], told)
    else:
        await _rest(rig)


def _cut_off(rig: Rig, first: int) -> list[dict[str, Any]]:
    return [turn for turn in rig.events("event/turn")[first:] if turn["event_type"] == "interrupted"]


async def _begin(rig: Rig, kind: Kind, mark: int) -> None:
    """Let an answer begin."""

    def answers() -> bool:
        return bool(rig.speaker.since(mark).any())

    if kind == "voice":
        with rig.bed.start_playing(_spoken(SAID), MICROPHONE_RATE):
            await eventually(answers, "the answer")
        return
    # Where the service hears the person, the voice would be quicker than the word.
    await rig.command("ask", text="Go on.", listen_after=kind == "mqtt")
    await eventually(answers, "the answer")


async def _rest(rig: Rig) -> None:
    """End the conversation, if there is one, and wait until the last of it was heard."""
    await rig.command("end")
    await rig.until_state("idle")
    await eventually(lambda: not rig.speaker.since(rig.speaker.end - 4 * GAP).any(), "silence")


async def _strike(rig: Rig, kind: Kind) -> float | None:
    """Interrupt; return the moment from which silence is awaited; ``None`` if nobody took notice."""
    match kind:
        case "mqtt":
            return await rig.command("stop")
        case "word":
            wakes = len(rig.wakes())
            with rig.bed.start_playing(_spoken("alexa_1"), MICROPHONE_RATE):
                try:
                    await eventually(lambda: len(rig.wakes()) > wakes, "the word", NOTICE_S)
                except AssertionError:
                    return None
            told = rig.wakes()[wakes]["time"]
            decided = datetime.fromisoformat(told).timestamp()
            return decided - time.time() + time.monotonic()
        case "voice":
            session = rig.simulator.sessions[-1]
            before = len(session.sent("input_audio_buffer.speech_started"))
            with rig.bed.start_playing(_spoken("negative_1"), MICROPHONE_RATE):
                try:
                    await session.wait_for("input_audio_buffer.speech_started", before + 1, timeout_s=NOTICE_S)
                except TimeoutError:
                    return None
                await asyncio.sleep(0.5)  # it goes on, or it would be nothing
            starts = [f for f in session.server_frames if f.event["type"] == "input_audio_buffer.speech_started"]
            return starts[before].at


def _spoken(name: str) -> Samples:
    """Return a recording without the long silence before it."""
    return load(SOUNDS / f"{name}.wav")[_begins(name) :]


def _begins(name: str) -> int:
    return int(NOTES[name]["speech_start"]) - MICROPHONE_RATE // 5


def _silence(rig: Rig, mark: int, decided: float) -> int | None:
    """Return the last sample before the first silence behind ``decided``; ``None`` while there is none."""
    heard = rig.speaker.since(mark)
    sounding = np.flatnonzero(heard)
    holes = np.flatnonzero(np.diff(np.append(sounding, len(heard))) > GAP)
    for hole in holes:
        last = mark + int(sounding[hole])
        if rig.speaker.when(last) > decided:
            return last
    return None


def _judge(
    figures: Figures, sounds: list[Samples], heard: Samples, memory: list[int | None], told: dict[str, Any]
) -> None:
    """Compare what was played with what the service remembers."""
    figures.interruptions += 1
    sounding = np.flatnonzero(heard)
    first = int(sounding[0])
    holes = np.flatnonzero(np.diff(sounding) > 1)
    figures.gaps += sum(1 for hole in holes if sounding[hole + 1] - sounding[hole] > 24)
    played = len(sounding)
    everything = np.concatenate(sounds)
    exact = played - SERVICE_RATE * FADE_MS // 1000
    if exact > 0 and not np.array_equal(heard[first : first + exact], everything[:exact]):
        figures.gaps += 1
    heard_text, kept_text, at = "", "", 0
    for sound, (text, _), kept_ms in zip(sounds, MESSAGES, [*memory, *[None] * len(sounds)], strict=False):
        played_ms = min(max(0, played - at), len(sound)) * 1000 / SERVICE_RATE
        whole_ms = len(sound) * 1000 // SERVICE_RATE
        at += len(sound)
        if kept_ms == whole_ms:
            figures.kept_whole.append(whole_ms - played_ms)
        else:
            figures.truncation.append(abs((kept_ms or 0) - played_ms))
        # The last samples of a fade round to zero, and cannot be counted.
        heard_text += _words(text, (played_ms + ROUNDING_MS) / whole_ms)
        kept_text += _words(text, (kept_ms or 0) / whole_ms)
    believed = sum(kept or 0 for kept in memory)
    figures.leaked += max(0, played - (believed + WHOLE_MS) * SERVICE_RATE // 1000)
    figures.remembered += heard_text == kept_text
    figures.told += (told["assistant"]["text"] or "").replace("…", "").split() == heard_text.split()


def _words(text: str, share: float) -> str:
    """Return the words of which more than half was heard, if all letters last equally long."""
    heard, at = "", 0
    for word in text.split():
        end = at + len(word)
        if (at - bool(at) + end) / 2 > share * len(text):
            break
        heard += f"{word} "
        at = end + 1
    return heard


def _device(rig: Rig, times: int) -> list[float]:
    """Return what the device alone takes, in milliseconds."""
    mark = rig.speaker.end
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.device", str(times)],
        env=rig.bed.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    given = [float(line) for line in done.stdout.split()]
    heard = rig.speaker.since(mark) == device.LOUD
    starts = np.flatnonzero(heard & ~np.append(False, heard[:-1]))
    # A sound in two pieces is a dry device, not two sounds.
    first = [
        int(start) for start, gap in zip(starts, np.diff(starts, prepend=-SERVICE_RATE), strict=True) if gap > 4_800
    ]
    return sorted(1000 * (rig.speaker.when(mark + at) - when) for at, when in zip(first, given, strict=True))


# --- answers ----------------------------------------------------------------------------------------------------------


async def _converse(rig: Rig, figures: Figures, number: int) -> None:
    """Say wake word and question; take our share of the time to the first sound, and what was lost on the way."""
    said = np.concatenate([_spoken(SAID), noise(0.2, seed=number)])
    ear, mouth = rig.microphone.end, rig.speaker.end
    sessions = len(rig.simulator.sessions)
    with rig.bed.start_playing(said, MICROPHONE_RATE):
        try:
            session = await rig.simulator.session(sessions)
        except TimeoutError:
            figures.unheard += 1
            return
        await eventually(lambda: rig.speaker.since(mouth).any(), "the answer")
    await _rest(rig)
    there = rig.microphone.since(ear)
    began = int(np.flatnonzero(there)[0]) - int(np.flatnonzero(said)[0])
    speech_end = began + NOTES[SAID]["speech_end"] - _begins(SAID)
    if not np.array_equal(there[began:speech_end], said[: speech_end - began]):
        figures.broken_off += 1
        return
    spoken = rig.microphone.when(ear + speech_end)
    first_sound = rig.speaker.when(mouth + int(np.flatnonzero(rig.speaker.since(mouth))[0]))
    arrived, length, lost = _arrival(session, there, speech_end)
    sent = next(f.at for f in session.server_frames if f.event["type"] == "response.output_audio.delta")
    figures.own.append(1000 * (arrived - spoken + first_sound - sent))
    figures.lost += lost
    seen = Seen(spoken=spoken, length=length * 2 // 3, arrived=arrived, answered=sent, heard=first_sound)
    for stage, lasted in stages(passages(rig.notes, spoken - 5), seen).items():
        figures.stages.setdefault(stage, []).append(lasted)


def _arrival(session: Recording, there: Samples, speech_end: int) -> tuple[float, int, int]:
    """Return when the last sample of speech came to the service, how many that was, and how many came otherwise.

    Args:
        session: What the service received.
        there: What the microphone gave.
        speech_end: Where in it speech ends.

    """
    received = session.received_pcm
    beginning = resample(received[: SERVICE_RATE // 2], SERVICE_RATE, MICROPHONE_RATE)[400:-400]
    about = best_match(there, beginning)[1] - 400
    lost, length = len(received), 0
    for start in range(max(0, about - 3), about + 4):
        exact = resample(there[start:speech_end], MICROPHONE_RATE, SERVICE_RATE)
        wrong = int(np.count_nonzero(exact[:-400] != received[: len(exact) - 400]))  # the filter sees what follows
        if wrong < lost:
            lost, length = wrong, len(exact)
    counted = 0
    for frame in session.client_frames:
        event = json.loads(frame.text)
        if event["type"] == "input_audio_buffer.append":
            counted += len(base64.b64decode(event["audio"])) // 2
            if counted >= length:
                return frame.at, length, lost
    raise AssertionError("the speech never arrived")
