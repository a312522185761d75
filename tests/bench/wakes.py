"""When the daemon wakes and when it does not: false accepts, people heard, the gate, starts in noise, its own voice.

One hour (``--quick``: three minutes) of speech without wake words that tempts them, against openWakeWord at 0.5; wake
words of real people, where the clips are there, and of espeak-ng; the trade between both as a plot; a grid
of speech and noise levels, gated and ungated; 1,000 starts in noise; narration that says the wake word, echoed into the
microphone of a virtual room and out of it again by the linear canceller, alone and with persons who say it over it. All
run as fast as the machine can.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import reference
from tests.bench import speech
from tests.make_sounds import FEMALE, MALE, RATE, RECEIVED, Speaker
from tests.recordings import CLIPS, frames, load, noise, steps
from tests.room import ACROSS_ROOM_DB, NEAR_SPEAKER_DB, Acoustics, Heard, Room
from voiced.core.chart import Line, chart
from voiced.core.ears import Ears
from voiced.core.echo.canceller import LinearCanceller
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, STEP, Frame, Samples
from voiced.core.reference import Reference, ReferenceModels
from voiced.core.resample import Resampler, resample
from voiced.core.tuning import PATIENCE, Scores, sweep, wakes
from voiced.core.wake import Wake, WakeRules, WordRule, usual_rule
from voiced.edge.models import find_models
from voiced.edge.vad import Vad
from voiced.edge.wakemodel import WakeModels

WORDS = ("hey_jarvis", "alexa", "hey_mycroft")
THEIRS = {word: WordRule(word, 0.5) for word in WORDS}
OURS = {word: usual_rule(word) for word in WORDS}
BLOCK = SERVICE_RATE * FRAME // MICROPHONE_RATE

ECHO_DELAYS_S = (0.06, 0.18, 0.45, 0.9)
ECHO_DB = -26.0
PERSONS_DB = (0.0, 6.0)
"""How much louder than the echo a person says the word."""
OTHERS = frozenset({"without_veto", "without_canceller", "without_both", "in_quiet"})
"""Ways to hear the daemon's own voice, and persons over it, beside its own."""
PERSON_LEAD_S, PERSON_TAIL_S = 12.0, 3.0
"""Of narration around a person's word: the canceller starts with it, knowing nothing."""
NARRATED_WORD = "hey_jarvis"
NARRATORS = (FEMALE, MALE, RECEIVED)
"""They say it so that it wakes."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure all; write the plots into the folder for temporary files."""
    return {
        "reference": "openwakeword.Model 0.5.1 (onnx) at 0.5 on the same sound",
        **_accepts(180.0 if quick else 3600.0, count=5 if quick else 60),
        **_gate_grid(quick=quick),
        **_starts(40 if quick else 1000),
        **_own_voice(120.0 if quick else 3600.0, persons=5 if quick else 100),
    }


# --- false accepts, and who is heard ----------------------------------------------------------------------------------


def _accepts(seconds: float, *, count: int) -> dict[str, Any]:
    engine = WakeModels(find_models(), WORDS)
    ours, theirs = _tempted(engine, seconds)
    synthetic = {word: [_column(engine, sound, word) for sound in speech.spoken(word, count)] for word in WORDS}
    real = {
        word: [_column(engine, np.concatenate((noise(2.6), load(path), noise(0.6))), word) for path in paths]
        for word in WORDS
        if (paths := [path for path in CLIPS if path.name.startswith(word)])
    }
    plots = {}
    for index, word in enumerate(WORDS):
        path = Path(tempfile.gettempdir()) / f"voiced-bench-wakes-{word}.svg"
        path.write_text(_plot(word, synthetic[word] + real.get(word, []), ours[:, index]))
        plots[word] = str(path)
    found: dict[str, Any] = {
        "adversarial_s": seconds,
        "false_accepts": {word: len(wakes(ours[:, index], OURS[word])) for index, word in enumerate(WORDS)},
        "false_accepts_openwakeword": {
            word: len(wakes(theirs[:, index], THEIRS[word])) for index, word in enumerate(WORDS)
        },
        "rules": {word: f"{rule.threshold:.2f}, {rule.patience} of {rule.steps}" for word, rule in OURS.items()},
        "plots": plots,
    }
    for name, scores in (("real", real), ("synthetic", synthetic)):
        found[f"{name}_tried"] = {word: len(traces) for word, traces in scores.items()}
        found[f"{name}_heard"] = {word: _heard(traces, OURS[word]) for word, traces in scores.items()}
        found[f"{name}_heard_openwakeword"] = {word: _heard(traces, THEIRS[word]) for word, traces in scores.items()}
    return found


def _tempted(engine: WakeModels, seconds: float) -> tuple[Scores, Scores]:
    """Return our scores and openWakeWord's for speech without wake words."""
    paths = [find_models().word(word).path for word in WORDS]
    ours, theirs = [], []
    engine.reset()
    for piece in speech.adversarial(seconds):
        sound = steps(piece)
        engine.reset()  # as openWakeWord's below: each piece begins anew
        ours.append(np.array(engine(sound))[25:])
        theirs.append(reference.scores(paths, sound)[25:])
    return np.concatenate(ours), np.concatenate(theirs)


def _column(engine: WakeModels, sound: Samples, word: str) -> Scores:
    engine.reset()
    return np.array(engine(steps(sound)))[25:, WORDS.index(word)]


def _heard(traces: Sequence[Scores], rule: WordRule) -> int:
    return sum(bool(wakes(scores, rule)) for scores in traces)


def _plot(word: str, positives: Sequence[Scores], negative: Scores) -> str:
    points = sweep(word, positives, [negative])
    (usual,) = sweep(
        word,
        positives,
        [negative],
        thresholds=[OURS[word].threshold],
        patience=[(OURS[word].patience, OURS[word].steps)],
    )
    (theirs,) = sweep(word, positives, [negative], thresholds=[0.5], patience=[(1, 1)])
    lines = []
    for patience, window in PATIENCE:
        some = [point for point in points if (point.rule.patience, point.rule.steps) == (patience, window)]
        marked = []
        if (patience, window) == (usual.rule.patience, usual.rule.steps):
            marked.append((usual.per_hour, 100 * usual.missed / usual.tried, f"default {usual.rule.threshold:.2f}"))
        if (patience, window) == (1, 1):
            marked.append((theirs.per_hour, 100 * theirs.missed / theirs.tried, "openWakeWord 0.5"))
        lines.append(
            Line(
                f"{patience} of {window}",
                [(point.per_hour, 100 * point.missed / point.tried) for point in some],
                marked,
            )
        )
    return chart(f"{word}: misses against false accepts", "false accepts per hour", "missed, percent", lines)


# --- the gate ---------------------------------------------------------------------------------------------------------


def _gate_grid(*, quick: bool) -> dict[str, Any]:
    """Compare detections with and without the gate, over levels of speech and noise."""
    tried = lost = ungated_heard = lost_below = 0
    models = WakeModels(find_models(), WORDS)
    recordings = [*_words(2 if quick else 20)]
    for speech_db in (-20,) if quick else (-20, -26, -32, -38, -44, -50, -56, -62):
        for noise_db in (-60, -40) if quick else (-70, -60, -50, -40):
            for number, recording in enumerate(recordings):
                sound = _mixed(recording, speech_db, noise_db, number)
                with_gate, without = (
                    bool(_hear(_ears(models, THEIRS.values(), gate=gate), sound)) for gate in (True, False)
                )
                tried += 1
                ungated_heard += without
                if without and not with_gate:
                    lost += speech_db - noise_db >= 6
                    lost_below += speech_db - noise_db < 6
    return {
        "grid_tried": tried,
        "grid_heard_ungated": ungated_heard,
        "grid_lost_to_the_gate_6db_and_more": lost,
        "grid_lost_to_the_gate_below_6db": lost_below,
    }


def _words(count: int) -> Iterator[Samples]:
    for path in CLIPS:
        if path.name.startswith(WORDS):
            yield load(path)
    for word in WORDS:
        for sound in speech.spoken(word, count, seed=3):
            yield sound[int(2.6 * RATE) :]


def _mixed(recording: Samples, speech_db: float, noise_db: float, seed: int) -> Samples:
    lead, tail = int(2.6 * RATE), RATE
    sound = speech.noise((lead + len(recording) + tail + 10) / RATE, noise_db, seed).astype(np.float32)
    sound[lead : lead + len(recording)] += speech.at_level(recording, speech_db)
    return speech.to_samples(sound)


def _ears(models: WakeModels, rules: Any, *, gate: bool = True, heard: Reference | None = None) -> Ears:
    models.reset()
    wake_rules = WakeRules(tuple(rules), cold_steps=models.cold_steps)
    return Ears(speech=Vad(), score=models, forget=models.reset, rules=wake_rules, gate=gate, reference=heard)


def _hear(ears: Ears, sound: Samples) -> list[Wake]:
    return [wake for frame in frames(sound) if (wake := ears.feed(frame)) is not None]


# --- starts -----------------------------------------------------------------------------------------------------------


def _starts(count: int) -> dict[str, Any]:
    """Start in noise so often, at four levels."""
    models = WakeModels(find_models(), WORDS)
    woken = 0
    for number in range(count):
        sound = speech.noise(2.6, (-90, -70, -50, -30)[number % 4], number)
        woken += bool(_hear(_ears(models, THEIRS.values(), gate=number % 8 < 4), sound))
    return {"starts": count, "starts_woken": woken}


# --- its own voice ----------------------------------------------------------------------------------------------------


def _own_voice(seconds: float, *, persons: int, others: frozenset[str] = OTHERS) -> dict[str, Any]:
    """Play narration with the wake word in it; then have persons say it as well, who are heard when nothing plays.

    ``others``: ways to hear both that are tried for comparison.
    """
    models = WakeModels(find_models(), [NARRATED_WORD])
    own = _OwnVoice(models, models.twin(), OURS[NARRATED_WORD], others)
    found: Counter[str] = Counter()
    pieces = max(1, round(seconds / 60))
    random, speaker = np.random.default_rng(2000), Speaker()
    voices = [said for _ in range(2 * persons) if own.hears_in_quiet(said := _said(speaker, random))][:persons]
    for number in range(pieces):
        narration, words = _narration(60.0, number)
        played = resample(narration, RATE, SERVICE_RATE)
        played = played[: len(played) // BLOCK * BLOCK]
        direct_db = (NEAR_SPEAKER_DB, ACROSS_ROOM_DB)[number // 4 % 2]
        acoustics = Acoustics(
            delay_s=ECHO_DELAYS_S[number % 4], direct_db=direct_db, seed=number, echo_db=ECHO_DB, noise_db=-60
        )
        heard = Room(acoustics).hear(played)
        found["narration_words"] += words
        own.count_self_wakes(found, heard, played)
        for said in voices[number::pieces]:
            at = int(
                random.integers(int((PERSON_LEAD_S + 1) * RATE), len(heard.sound) - int(PERSON_TAIL_S * RATE) - FRAME)
            )
            own.count_person(found, heard, played, said, at // FRAME * FRAME)
    return {"narration_s": 60 * pieces, "persons_tried": len(voices), **found}


class _OwnVoice:
    """Ears before which the speaker's own voice is taken out, or not."""

    def __init__(self, models: WakeModels, twin: WakeModels, rule: WordRule, others: frozenset[str]) -> None:
        self._models = models
        self._twin = twin
        self._rule = rule
        self._others = others

    def hears_in_quiet(self, said: NDArray[np.float32]) -> bool:
        """Whether the word is heard without any narration, wherever in a step it begins: some voices are not."""
        for shift in range(0, STEP, STEP // 4):
            sound = speech.noise(4.5, -60, shift).astype(np.float32)
            at = int(2.6 * RATE) + shift
            sound[at : at + len(said)] += said[: len(sound) - at]
            if not _hear(_ears(self._models, [self._rule]), speech.to_samples(sound)):
                return False
        return True

    def count_self_wakes(self, found: Counter[str], heard: Heard, played: Samples) -> None:
        """Count wakes in narration alone."""
        raw = list(frames(heard.sound))
        cleaned = self._cleaned(raw, played)
        woken, ears = self._listen(cleaned, played)
        found["self_wakes"] += len(woken)
        found["vetoed"] += ears.vetoed
        ways = {"without_veto": (cleaned, None), "without_canceller": (raw, played), "without_both": (raw, None)}
        for way, (sound, vetoes) in ways.items():
            if way in self._others:
                found[f"self_wakes_{way}"] += len(self._listen(sound, vetoes)[0])

    def count_person(
        self, found: Counter[str], heard: Heard, played: Samples, said: NDArray[np.float32], at: int
    ) -> None:
        """Count by whom a person is heard who says the word at microphone position ``at``."""
        first, last = at - int(PERSON_LEAD_S * RATE), at + int(PERSON_TAIL_S * RATE)
        begin, end = first // FRAME * FRAME, last // FRAME * FRAME
        there = played[begin // FRAME * BLOCK : end // FRAME * BLOCK]
        word_ends = at - begin + int(np.flatnonzero(np.abs(said) > 0.1 * np.max(np.abs(said)))[-1])
        for level in PERSONS_DB:
            person = np.zeros(end - begin, np.float32)
            person[at - begin : at - begin + len(said)] = said * np.float32(10 ** (level / 20))
            raw = list(frames(speech.to_samples(heard.sound[begin:end] + person)))
            cleaned = self._cleaned(raw, there)
            quiet = list(frames(speech.to_samples(heard.quiet[begin:end] + person)))
            ways = {"without_veto": (cleaned, None), "without_canceller": (raw, there), "in_quiet": (quiet, None)}
            others = {f"_{way}": ways[way] for way in ways if way in self._others}
            for way, (sound, vetoes) in {"": (cleaned, there), **others}.items():
                woken, _ = self._listen(sound, vetoes)
                found[f"persons_heard_at_{level:+.0f}_db{way}"] += any(
                    abs(wake.end - word_ends) < 0.8 * RATE for wake in woken
                )

    def _cleaned(self, raw: Sequence[Frame], played: Samples) -> list[Frame]:
        canceller = LinearCanceller()
        cleaned = []
        for number, frame in enumerate(raw):
            canceller.played(played[number * BLOCK : (number + 1) * BLOCK])
            cleaned.append(canceller.clean(frame))
        return cleaned

    def _listen(self, sound: Sequence[Frame], played: Samples | None) -> tuple[list[Wake], Ears]:
        """Return the wakes; ``played``: what vetoes them, if anything does."""
        heard = Reference(
            make=lambda: ReferenceModels(self._twin, self._twin.reset),
            resample=Resampler(SERVICE_RATE, MICROPHONE_RATE).feed,
            thresholds=[self._rule.threshold],
        )
        ears = _ears(self._models, [self._rule], heard=None if played is None else heard)
        woken = []
        for number, frame in enumerate(sound):
            if played is not None:
                heard.played(played[number * BLOCK : (number + 1) * BLOCK])
            wake = ears.feed(frame)
            woken += [wake] if wake else []
        return woken, ears


def _said(speaker: Speaker, random: np.random.Generator) -> NDArray[np.float32]:
    """Return the wake word by some voice, as loud as the echo."""
    said, _ = speaker.say(speech.WAKE_TEXTS[NARRATED_WORD], speech.any_voice(random))
    return speech.at_level(said, ECHO_DB)


def _narration(seconds: float, seed: int) -> tuple[Samples, int]:
    """Return sentences, every fourth beginning with the wake word, and how many do."""
    random = np.random.default_rng(1000 + seed)
    speaker = Speaker()
    voice = NARRATORS[seed % len(NARRATORS)]
    sound: NDArray[np.float32] = np.zeros(3 * RATE, np.float32)
    words = count = 0
    while len(sound) < seconds * RATE:
        count += 1
        text = speech.ordinary(random)
        if count % 4 == 0:
            text = f"{speech.WAKE_TEXTS[NARRATED_WORD]} {text}"
            words += 1
        sound = np.concatenate((sound, speaker.say(text, voice)[0], np.zeros(RATE // 4, np.float32)))
    return speech.to_samples(sound), words
