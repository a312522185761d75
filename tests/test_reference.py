"""The daemon does not wake at its own voice."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import SOUNDS, frames, load, noise
from voiced.core.ears import Ears
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, STEP, Frame, Samples
from voiced.core.reference import Reference, ReferenceModels
from voiced.core.resample import Resampler, resample
from voiced.core.wake import Wake, WakeRules, WordRule
from voiced.edge.models import find_models
from voiced.edge.vad import Vad
from voiced.edge.wakemodel import WakeModels

BLOCK = SERVICE_RATE // 50


class Loudest:
    """A model whose score is the loudest sample of the step, in thousandths."""

    def __init__(self) -> None:
        self.heard: list[Samples] = []
        self.forgot = 0
        self.made = 0

    def make(self) -> ReferenceModels:
        self.made += 1
        return ReferenceModels(self.score, self.forget)

    def score(self, samples: Samples) -> list[tuple[float, ...]]:
        self.heard.append(samples)
        return [(float(samples.max()) / 1000,)]

    def forget(self) -> None:
        self.forgot += 1


def reference(model: Loudest) -> Reference:
    return Reference(make=model.make, resample=lambda block: block[: len(block) * 2 // 3], thresholds=[0.9])


def play(ear: Reference, loudness: int, blocks: int = 1) -> None:
    for _ in range(blocks):
        ear.played(np.full(BLOCK, loudness, np.int16))


def test_silence_needs_no_models() -> None:
    model = Loudest()
    ear = reference(model)
    play(ear, 0, 100)
    ear.listen(0, 100)
    assert model.made == 0
    assert not ear.active
    assert ear.barred(0) == (False,)


def test_what_is_played_bars_the_word_for_a_while() -> None:
    ear = reference(Loudest())
    play(ear, 900, 4)
    ear.listen(1000, 100)
    assert ear.scores == (0.9,)
    hold = round(1.5 * MICROPHONE_RATE)
    assert ear.barred(1000 + hold) == (True,)
    assert ear.barred(1000 + hold + 1) == (False,)


@pytest.mark.parametrize(
    ("own", "loudness", "barred"),
    [(1.0, 2000, True), (0.01, 2000, False), (0.2, 2000, True), (0.05, 2000, False)],
)
def test_somebody_else_may_say_the_word_at_that_time(own: float, loudness: int, barred: bool) -> None:
    """The canceller tells how much of what is heard may be the speaker's; a moment of it is not enough."""
    ear = reference(Loudest())
    play(ear, 900, 40)
    ear.listen(0, 100)
    for number in range(30):
        ear.notice([Frame(number * FRAME, np.full(FRAME, 20, np.int16))])
    assert ear.barred(30 * FRAME) == (True,)
    for number in range(30, 60):
        ear.notice([Frame(number * FRAME, np.full(FRAME, loudness, np.int16), own)])
    assert ear.barred(60 * FRAME) == (barred,)


def test_what_does_not_sound_like_the_word_bars_nothing() -> None:
    ear = reference(Loudest())
    play(ear, 200, 40)
    ear.listen(0, 100)
    assert ear.scores == (0.2,)
    assert ear.barred(0) == (False,)


def test_the_models_hear_silence_before_the_first_sound_and_a_tail_after_the_last() -> None:
    model = Loudest()
    ear = reference(model)
    play(ear, 500, 40)
    play(ear, 0, 400)
    ear.listen(0, 10_000)
    heard = np.concatenate(model.heard)
    assert np.abs(heard[: 26 * STEP]).max() <= 2
    assert heard[26 * STEP] == 500
    assert len(heard) // STEP == pytest.approx(26 + 10 + 6, abs=1)
    assert (ear.active, ear.scores) == (False, (0.0,))
    play(ear, 500)
    ear.listen(0, 1)
    assert (model.made, model.forgot) == (1, 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(1, 4)), max_size=10))
def test_no_call_scores_more_than_it_may_and_the_order_holds(spans: Iterable[tuple[int, int, int]]) -> None:
    model = Loudest()
    ear = reference(model)
    for loudness, blocks, steps in spans:
        play(ear, loudness * 300, blocks)
        before = len(model.heard)
        ear.listen(0, steps)
        assert len(model.heard) - before <= steps
    ear.reset()
    assert not ear.active


def test_nobody_listening_costs_a_bounded_memory() -> None:
    model = Loudest()
    ear = reference(model)
    play(ear, 500, 10_000)
    ear.listen(0, 100_000)
    assert len(model.heard) <= 26 + 1_000 // 4


# --- with the real models ---------------------------------------------------------------------------------------------


def real() -> tuple[Ears, Reference]:
    models = WakeModels(find_models(), ["hey_jarvis", "alexa"])
    rules = WakeRules((WordRule("hey_jarvis", 0.5), WordRule("alexa", 0.5)))

    def make() -> ReferenceModels:
        twin = models.twin()
        return ReferenceModels(twin, twin.reset)

    reference = Reference(make=make, resample=Resampler(SERVICE_RATE, MICROPHONE_RATE).feed, thresholds=[0.5, 0.5])
    return Ears(speech=Vad(), score=models, forget=models.reset, rules=rules, reference=reference), reference


def hear(microphone: Samples, played: Samples) -> tuple[list[Wake], Ears]:
    """Let the ears hear one and the speaker play the other (16 kHz too), at the same time."""
    ears, reference = real()
    blocks = resample(played, MICROPHONE_RATE, SERVICE_RATE)
    wakes = []
    for number, frame in enumerate(frames(microphone)):
        block = blocks[number * BLOCK : (number + 1) * BLOCK]
        if block.any():
            reference.played(block)
        wake = ears.feed(frame)
        wakes += [wake] if wake else []
    return wakes, ears


def echo(played: Samples, delay_s: float, loudness: float) -> Samples:
    """Return what comes back at the microphone: later, softer, dull, in a room."""
    late = np.concatenate((np.zeros(int(delay_s * MICROPHONE_RATE)), played.astype(np.float64)))
    tail = np.exp(-np.arange(2000) / 600.0) * np.random.default_rng(3).normal(0, 0.1, 2000)
    tail[0] = 1.0
    heard = loudness * np.convolve(late, tail)[: len(late)]
    heard += noise(len(late) / MICROPHONE_RATE + 1, 10)[: len(late)]
    samples: Samples = np.clip(heard, -32768, 32767).astype(np.int16)
    return samples


@pytest.mark.parametrize("delay_s", [0.04, 0.2, 0.6])
@pytest.mark.parametrize("name", ["hey_jarvis_1", "alexa_1"])
def test_a_wake_word_in_an_answer_wakes_nobody(name: str, delay_s: float) -> None:
    played = load(SOUNDS / f"{name}.wav").copy()
    played[:30_000] = 0
    microphone = np.concatenate((echo(played, delay_s, 0.5), noise(1, 10)))
    without, _ = hear(microphone, np.zeros(0, np.int16))
    assert len(without) == 1  # else there were nothing to veto
    wakes, ears = hear(microphone, played)
    assert wakes == []
    assert ears.vetoed == 1
    assert [(miss.word, miss.why) for miss in ears.near_misses()] == [(name[:-2], "speaker")]


def test_a_person_is_heard_over_an_answer() -> None:
    answer = load(SOUNDS / "negative_1.wav")
    person = load(SOUNDS / "hey_jarvis_1.wav")
    length = min(len(answer), len(person))
    microphone = echo(answer[:length], 0.1, 0.05)[:length]
    microphone = np.clip(microphone.astype(np.int32) + person[:length], -32768, 32767).astype(np.int16)
    wakes, ears = hear(microphone, answer)
    assert [wake.word for wake in wakes] == ["hey_jarvis"]
    assert ears.vetoed == 0


def test_the_twin_scores_the_same_and_remembers_for_itself() -> None:
    models = WakeModels(find_models(), ["hey_jarvis"])
    twin = models.twin()
    sound = load(SOUNDS / "hey_jarvis_1.wav")[: 60 * STEP]
    first = models(sound)
    assert twin(sound) == first
    models(sound[: 7 * STEP])
    twin.reset()
    assert twin(sound) == first


def test_frames_and_blocks_last_the_same() -> None:
    assert FRAME * SERVICE_RATE == BLOCK * MICROPHONE_RATE
