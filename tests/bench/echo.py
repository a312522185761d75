"""Echo control in the virtual room: what is left of the speaker, of people who speak over it, and what it costs.

The assistant narrates (espeak-ng) through a driven loudspeaker into a room; the linear canceller is compared with
Speex's on the same sound, which is given the true delay. People are the recordings of wake words (real ones where
somebody put them, see ``tests/recordings.py``) and sentences. How often the daemon interrupts itself, and how often it
is interrupted, is counted with the whole ladder of echo control and the judgement of who is near. All runs as fast as
the machine can; with ``--quick`` the hours are minutes.
"""

import ctypes
import ctypes.util
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from tests.bench import speech
from tests.make_sounds import RATE, Speaker
from tests.recordings import CLIPS, NOTES, SOUNDS, load, steps
from tests.room import BLOCK, Acoustics, Heard, Room, across, cut
from tests.stoi import stoi
from voiced.core.echo.canceller import LinearCanceller
from voiced.core.echo.control import EchoControl
from voiced.core.frames import FRAME, SERVICE_RATE, Frame, Samples
from voiced.core.nearness import Nearness
from voiced.core.tuning import wakes
from voiced.core.wake import WordRule, usual_rule
from voiced.edge.aec3 import Aec3
from voiced.edge.models import find_models
from voiced.edge.vad import Vad
from voiced.edge.wakemodel import WakeModels

ECHO_DB = -26.0
ROOMS = {"near": Acoustics(echo_db=ECHO_DB), "room": across(Acoustics(echo_db=ECHO_DB))}
"""The microphone beside the speaker, and across the room."""
WORDS = ("hey_jarvis", "alexa", "hey_mycroft")
DELAYS_S = (0.02, 0.05, 0.09, 0.13, 0.2, 0.28, 0.34, 0.4)
DRIFT_PPM = 100.0
ANSWER_S, PAUSE_S = 12.0, 3.0


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure all."""
    narration = _narration(30.0 if quick else 60.0, 0)
    return {
        "reference": f"Speex, {SPEEX_TAIL_S:g} s" if ctypes.util.find_library("speexdsp") else "no libspeexdsp here",
        **_alone(narration),
        **_with_people(narration),
        **_wake_words(narration, quick=quick),
        **_delays(narration),
        **_drift(60.0 if quick else 3600.0),
        **_costs(narration, rounds=2 if quick else 5),
        **_interruptions(30.0 if quick else 3600.0, persons=5 if quick else 100),
    }


# --- the parties ------------------------------------------------------------------------------------------------------


class Canceller(Protocol):
    """Told what is played, given frames."""

    def played(self, block: Samples) -> None: ...

    def clean(self, frame: Frame) -> Frame: ...


SPEEX_TAIL_S = 0.2


class Speex:
    """Speex's linear canceller, 200 ms, told the true delay and fed with whole samples."""

    def __init__(self, delay_s: float) -> None:
        self._library = ctypes.CDLL(ctypes.util.find_library("speexdsp") or "libspeexdsp.so.1")
        self._library.speex_echo_state_init.restype = ctypes.c_void_p
        self._library.speex_echo_state_destroy.argtypes = [ctypes.c_void_p]
        tail = int(SPEEX_TAIL_S * RATE)
        self._state = ctypes.c_void_p(self._library.speex_echo_state_init(FRAME, tail))
        set_rate = 24
        self._library.speex_echo_ctl(self._state, set_rate, ctypes.byref(ctypes.c_int(RATE)))
        self._resampler = soxr.ResampleStream(SERVICE_RATE, RATE, 1, dtype="int16")
        self._waiting = np.zeros(int((delay_s - 0.005) * RATE), np.int16)

    def played(self, block: Samples) -> None:
        self._waiting = np.concatenate((self._waiting, self._resampler.resample_chunk(block)))

    def clean(self, frame: Frame) -> Frame:
        lacking = max(0, FRAME - len(self._waiting))  # the resampler's own delay
        played = np.concatenate((np.zeros(lacking, np.int16), self._waiting[: FRAME - lacking]))
        self._waiting = self._waiting[FRAME - lacking :]
        heard, cleaned = np.ascontiguousarray(frame.samples), np.zeros(FRAME, np.int16)
        pointers = (each.ctypes.data_as(ctypes.c_void_p) for each in (heard, played, cleaned))
        self._library.speex_echo_cancellation(self._state, *pointers)
        return Frame(frame.start, cleaned)

    def __del__(self) -> None:
        self._library.speex_echo_state_destroy(self._state)


@dataclass(frozen=True)
class Run:
    """What came of a canceller in a room; all of one length."""

    heard: Heard
    cleaned: NDArray[np.float64]
    cpu_s: float

    def attenuation_db(self, begin_s: float, end_s: float | None = None) -> float:
        """Return by how much the echo was softened; neither people nor the room's noise count as echo."""
        part = slice(round(begin_s * RATE), None if end_s is None else round(end_s * RATE))
        left = self.cleaned[part] - self.heard.quiet[part]
        return _power_db(self.heard.echo[part]) - _power_db(left)


def _run(room: Room, played: Iterable[Samples], canceller: Canceller) -> Run:
    """Play into the room; every 20 ms the canceller is told the block and given the frame."""
    pieces: list[Heard] = []
    cleaned: list[Samples] = []
    waiting = np.zeros(0, np.int16)
    cpu = 0.0
    for block in played:
        heard = room.hear(block)
        pieces.append(heard)
        waiting = np.concatenate((waiting, heard.sound))
        began = time.process_time()
        canceller.played(block)
        while len(waiting) >= FRAME:
            cleaned.append(canceller.clean(Frame(len(cleaned) * FRAME, waiting[:FRAME])).samples)
            waiting = waiting[FRAME:]
        cpu += time.process_time() - began
    out = np.concatenate(cleaned).astype(np.float64)
    whole = (
        np.concatenate([getattr(piece, part) for piece in pieces])[: len(out)] for part in ("sound", "echo", "near")
    )
    return Run(Heard(*whole), out, cpu)


def _ours_and_theirs() -> dict[str, Callable[[float], Canceller]]:
    parties: dict[str, Callable[[float], Canceller]] = {"": lambda _delay_s: LinearCanceller()}
    if ctypes.util.find_library("speexdsp"):
        parties["_speex"] = Speex
    return parties


# --- the linear path --------------------------------------------------------------------------------------------------


def _alone(narration: Samples) -> dict[str, Any]:
    """Measure the attenuation after 3 s where only the speaker sounds: the worse of both rooms, and each."""
    found: dict[str, Any] = {}
    for suffix, make in _ours_and_theirs().items():
        each = {}
        for name, acoustics in ROOMS.items():
            run = _run(Room(acoustics), cut(narration), make(acoustics.delay_s))
            each[name] = round(run.attenuation_db(3.0), 1)
            found[f"attenuation_first_3_s_{name}_db{suffix}"] = round(run.attenuation_db(0.5, 3.0), 1)
        found[f"attenuation_db{suffix}"] = min(each.values())
        found[f"attenuation_by_room_db{suffix}"] = each
    moved = Room(ROOMS["near"])
    canceller = LinearCanceller()
    half = len(narration) // 2 // BLOCK * BLOCK
    first = _run(moved, cut(narration[:half]), canceller)
    moved.change(replace(ROOMS["near"], seed=5))
    del first
    second = _run(moved, cut(narration[half:]), _Shifted(canceller, half * RATE // SERVICE_RATE))
    found["attenuation_2_to_4_s_after_a_move_db"] = round(second.attenuation_db(2.0, 4.0), 1)
    return found


class _Shifted:
    """A canceller that goes on in another run."""

    def __init__(self, canceller: Canceller, position: int) -> None:
        self._canceller = canceller
        self._position = position

    def played(self, block: Samples) -> None:
        self._canceller.played(block)

    def clean(self, frame: Frame) -> Frame:
        return self._canceller.clean(Frame(frame.start + self._position, frame.samples))


def _with_people(narration: Samples) -> dict[str, Any]:
    """Measure how well sentences are understood that are spoken over it at equal loudness, from 5 s on."""
    found: dict[str, Any] = {}
    sentences = soxr.resample(_narration(len(narration) / SERVICE_RATE, 7).astype(np.float64), SERVICE_RATE, RATE)
    for suffix, make in _ours_and_theirs().items():
        worst = 1.0
        for acoustics in ROOMS.values():
            room = Room(acoustics)
            room.say(sentences, 5 * RATE, ECHO_DB)
            run = _run(room, cut(narration), make(acoustics.delay_s))
            part = slice(6 * RATE, len(run.cleaned) - RATE)
            worst = min(worst, stoi(run.heard.near[part], run.cleaned[part], RATE))
            if not suffix:
                found["near_end_stoi_uncancelled"] = round(
                    stoi(run.heard.near[part], run.heard.sound[part].astype(np.float64), RATE), 3
                )
        found[f"near_end_stoi{suffix}"] = round(worst, 3)
    return found


def _wake_words(narration: Samples, *, quick: bool) -> dict[str, Any]:
    """Count the recordings of wake words that are heard, spoken over it at equal loudness, by openWakeWord's 0.5."""
    models = WakeModels(find_models(), WORDS)
    recordings = list(_recordings())[: 6 if quick else None]
    levels = (0.0,) if quick else (6.0, 0.0, -6.0)
    found: dict[str, Any] = {"wake_words_tried": len(recordings)}
    acoustics = ROOMS["near"]
    played = np.resize(narration, int((8 + 4 * len(recordings)) * SERVICE_RATE))
    for level in levels:
        for suffix, make in _ours_and_theirs().items():
            room = Room(acoustics)
            places = []
            for number, (word, sound) in enumerate(recordings):
                places.append((word, (6 + 4 * number) * RATE, len(sound)))
                room.say(sound, places[-1][1], ECHO_DB + level)
            run = _run(room, cut(played), make(acoustics.delay_s))
            key = f"wake_words_heard{suffix}" if level == 0 else f"wake_words_heard_at_{level:+.0f}_db{suffix}"
            found[key] = _heard(models, run.cleaned, places, WordRule)
            if level == 0 and not suffix:
                found["wake_words_heard_by_our_rules"] = _heard(models, run.cleaned, places, usual_rule)
                found["wake_words_heard_uncancelled"] = _heard(models, run.heard.sound, places, WordRule)
                found["wake_words_heard_in_quiet"] = _heard(models, run.heard.quiet, places, WordRule)
    return found


def _heard(
    models: WakeModels, sound: NDArray[Any], places: list[tuple[str, int, int]], rule: Callable[..., WordRule]
) -> int:
    count = 0
    for word, at, length in places:
        part = speech.to_samples(sound[at - int(2.9 * RATE) : at + length + RATE // 2].astype(np.float32))
        models.reset()
        scores = np.array(models(steps(part)))[25:, WORDS.index(word)]
        count += bool(wakes(scores, rule(word) if rule is usual_rule else WordRule(word, 0.5)))
    return count


def _recordings() -> Iterator[tuple[str, Samples]]:
    for path in (*CLIPS, *sorted(SOUNDS.glob("*.wav"))):
        if path.name.startswith(WORDS):
            sound = load(path)
            if path.parent == SOUNDS:
                note = NOTES[path.stem]
                sound = sound[note["speech_start"] - RATE // 10 : note["wake_end"] + RATE // 10]
            yield path.stem.rsplit("_", 1)[0], sound


def _delays(narration: Samples) -> dict[str, Any]:
    """Look for delays in both kinds of room, a new one each time; 3 s for each."""
    errors, after = [], []
    for number, delay_s in enumerate(DELAYS_S):
        for acoustics in ROOMS.values():
            canceller = LinearCanceller()
            room = Room(replace(acoustics, delay_s=delay_s, seed=20 + number))
            found_at = 3.0
            for count, block in enumerate(cut(narration[: 3 * SERVICE_RATE])):
                canceller.played(block)
                canceller.clean(Frame(count * FRAME, room.feed(block)))
                if canceller.delay_s is not None:
                    found_at = min(found_at, count * FRAME / RATE)
            after.append(found_at)
            errors.append(abs((canceller.delay_s or 0.0) - delay_s) * 1000)
    return {
        "delays_tried": len(errors),
        "delay_error_max_ms": round(max(errors), 2),
        "delay_found_after_s": {"median": round(float(np.median(after)), 2), "max": round(max(after), 2)},
    }


def _drift(seconds: float) -> dict[str, Any]:
    """Measure what is lost where the clocks differ: the last fifth of the time against clocks that agree."""
    narration = _narration(60.0, 3)
    last = {}
    for ppm in (0.0, DRIFT_PPM):
        room, canceller = Room(replace(ROOMS["near"], drift_ppm=ppm)), LinearCanceller()
        position = 0
        waiting = np.zeros((3, 0))
        before = after = 0.0
        blocks = round((seconds if ppm else min(seconds, 120.0)) * SERVICE_RATE / BLOCK)
        piece = list(cut(narration))
        for number in range(blocks):
            block = piece[number % len(piece)]
            heard = room.hear(block)
            canceller.played(block)
            waiting = np.concatenate((waiting, np.array([heard.sound, heard.echo, heard.quiet])), axis=1)
            while waiting.shape[1] >= FRAME:
                sound, echo, quiet = waiting[:, :FRAME]
                cleaned = canceller.clean(Frame(position, sound.astype(np.int16))).samples
                position += FRAME
                waiting = waiting[:, FRAME:]
                if number > 0.8 * blocks:
                    before += float(echo @ echo)
                    after += float(np.sum(np.square(cleaned - quiet)))
        last[ppm] = 10 * np.log10(before / after)
    return {
        "drift_s": seconds,
        "drift_ppm": DRIFT_PPM,
        "drift_found_ppm": round(canceller.drift_ppm, 2),
        "drift_lost_db": round(float(last[0.0] - last[DRIFT_PPM]), 1),
    }


def costs(*, quick: bool) -> dict[str, Any]:
    """Measure the costs alone, for who asks what listening costs in all."""
    return {f"echo_{key}": value for key, value in _costs(_narration(15.0, 0), rounds=2 if quick else 5).items()}


def _costs(narration: Samples, *, rounds: int) -> dict[str, Any]:
    """Measure CPU seconds per second of sound, in turns: while something plays, and while nothing does.

    Of the canceller, and of the whole ladder: canceller, suppressor and voice detector, and what they are judged by.
    """
    some = narration[: 15 * SERVICE_RATE]
    parties = _ours_and_theirs() | {"_ladder": lambda _delay_s: EchoControl("auto", Aec3, Vad())}
    spent: dict[str, list[float]] = {suffix: [] for suffix in parties}
    idle: dict[str, list[float]] = {"": [], "_ladder": []}
    acoustics = ROOMS["near"]
    for _ in range(rounds):
        for suffix, make in parties.items():
            run = _run(Room(acoustics), cut(some), make(acoustics.delay_s))
            spent[suffix].append(run.cpu_s / (len(run.cleaned) / RATE))
        for suffix, lasted in idle.items():
            resting = parties[suffix](acoustics.delay_s)
            frames = [Frame(number * FRAME, np.zeros(FRAME, np.int16)) for number in range(5000)]
            began = time.process_time()
            for frame in frames:
                resting.clean(frame)
            lasted.append((time.process_time() - began) / (len(frames) * FRAME / RATE))
    found: dict[str, Any] = {
        f"cpu_percent{suffix}": round(100 * float(np.median(spent[suffix])), 2) for suffix in ("", "_ladder")
    }
    found |= {f"cpu_percent_idle{suffix}": round(100 * float(np.median(lasted)), 4) for suffix, lasted in idle.items()}
    if "_speex" in spent:
        found["cpu_percent_speex"] = round(100 * float(np.median(spent["_speex"])), 2)
        found["cpu_ratio_speex"] = round(
            float(np.median([ours / theirs for ours, theirs in zip(spent[""], spent["_speex"], strict=True)])), 2
        )
    return found


# --- the whole ladder -------------------------------------------------------------------------------------------------


def _interruptions(seconds: float, *, persons: int) -> dict[str, Any]:
    """Let it narrate with nobody there, then with somebody who speaks over each answer at equal loudness."""
    alone = _Answers(ROOMS["near"])
    for number in range(max(2, round(seconds / ANSWER_S))):
        alone.narrate(number)
    evidence_db = alone.control.health.evidence_db
    over = _Answers(ROOMS["near"])
    random = np.random.default_rng(11)
    over.narrate(0)
    told = len(over.told)
    heard = 0
    for number in range(persons):
        said, _ = _speaker().say(speech.ordinary(random), speech.any_voice(random))
        begin = over.position + round((PAUSE_S + float(random.uniform(2.0, 7.0))) * RATE)
        over.narrate(number + 1, speech.to_samples(said), begin)
        news = over.told[told:]
        told = len(over.told)
        heard += any(begin <= at <= begin + len(said) + RATE // 2 for at in news)
    return {
        "evidence_attenuation_db": evidence_db,
        "alone_s": round(alone.position / RATE),
        "self_interruptions": len(alone.told),
        "self_pauses": len(alone.suspected),
        "full_duplex": alone.control.full_duplex,
        "interruptions_heard": heard,
        "interruptions_tried": persons,
    }


class _Answers:
    """An assistant that answers and answers, with echo control and the judgement of who is near."""

    def __init__(self, acoustics: Acoustics) -> None:
        self.room = Room(acoustics)
        self.control = EchoControl("auto", Aec3, Vad())
        self.position = 0
        self.told: list[int] = []
        """Positions at which somebody was taken to speak over an answer."""
        self.suspected: list[int] = []
        """The same, where that was only suspected: the answer pauses."""
        self._nearness = Nearness(Vad())

    def narrate(self, seed: int, said: Samples | None = None, at: int = 0) -> None:
        """Narrate, with a pause before; somebody may speak over it from ``at`` on."""
        narration = _narration(ANSWER_S, 100 + seed)
        if said is not None:
            self.room.say(said, at, ECHO_DB)
        silence = np.zeros(round(PAUSE_S * SERVICE_RATE), np.int16)
        self._nearness.begin((), None)
        for number, block in enumerate(cut(np.concatenate((silence, narration)))):
            self.control.played(block)
            frame = Frame(self.position, self.room.feed(block))
            self.position = frame.end
            cleaned = self.control.clean(frame)
            answers = number * BLOCK >= len(silence)
            whose = ("answer" if self.control.full_duplex else "echo") if answers else "room"
            near = self._nearness.hear(cleaned, whose, self.control.near_speech_s)  # type: ignore[arg-type]
            if answers and near is not None and near.speech != "none":
                (self.told if near.speech == "enough" else self.suspected).append(self.position)


# --- sound ------------------------------------------------------------------------------------------------------------


def _narration(seconds: float, seed: int) -> Samples:
    """Return sentences of one voice or another, at 24 kHz."""
    random = np.random.default_rng(3000 + seed)
    voice = speech.any_voice(random)
    pieces: list[NDArray[np.float32]] = []
    length = 0
    while length < seconds * RATE:
        said, _ = _speaker().say(speech.ordinary(random), voice)
        pieces += [said, np.zeros(int(random.uniform(0.05, 0.4) * RATE), np.float32)]
        length += len(said) + len(pieces[-1])
    whole = np.concatenate(pieces)[: int(seconds * RATE)]
    return speech.to_samples(soxr.resample(whole, RATE, SERVICE_RATE))


@cache
def _speaker() -> Speaker:
    """Return the one there may be: a second one would take the first one's sound."""
    return Speaker()


def _power_db(sound: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(np.square(sound)) + 1e-9))
