"""One person's voice alone: training as scikit-learn would, files, and whole ears."""

import json
import pickle
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.make_sounds import RATE, Speaker, Voice, room, write
from tests.recordings import frames
from voiced import cli, verifying
from voiced.config import Config, WakeConfig, WakeWordConfig
from voiced.core.ears import Ears
from voiced.core.frames import FRAME, STEP, Frame, Samples
from voiced.core.verifier import Floats, Verifier, train
from voiced.core.wake import WakeRules, WordRule
from voiced.edge import verifierfile
from voiced.edge.models import find_models
from voiced.edge.vad import Vad
from voiced.edge.wakemodel import WakeModels
from voiced.errors import ModelError, VoicedError
from voiced.house import make_ears
from voiced.verifying import verify

WORD = "hey_jarvis"
OWN = "en-us+m3"
OTHERS = ("en-us+f2", "en-us+Andy", "en-gb-scotland")
STRANGER = "en-us+f4"
"""Voices that the model hears; the verifier is not trained on the last."""

# --- training ---

SCIKIT = (
    *(0.23287, 0.23136, 0.2328, 0.23364, 0.23115, 0.23258, 0.23081, 0.2272, 0.2312),
    *(0.23059, 0.22766, 0.23262, 0.23038, 0.22745, 0.23225, 0.23022, 0.22724, 0.23203),
    *(0.23053, 0.22964, 0.23182, 0.23032, 0.23175, 0.2324, 0.2301, 0.23153),
)
"""What scikit-learn 1.9.1 says of :func:`examples`, trained as openwakeword 0.5.1 does it."""


def examples(own: int, others: int, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return made-up embeddings, always the same: an integer hash of the index; one's own differ in every third."""
    count = (own + others) * shape[0] * shape[1]
    values = np.arange(count, dtype=np.uint64) * np.uint64(2_654_435_761) % np.uint64(2001)
    made: Floats = (values.astype(np.float32) / np.float32(100)).reshape(own + others, *shape)
    made[:own, :, ::3] += 3
    return made[:own], made[own:]


def answers(verifier: Verifier, own: Floats, others: Floats) -> list[float]:
    return [verifier(each) for each in (*own, *others)]


def test_training_gives_what_scikit_learn_gave() -> None:
    own, others = examples(6, 20, (2, 8))
    assert answers(train(own, others), own, others) == pytest.approx(SCIKIT, abs=5e-4)  # it stops a little earlier


@pytest.mark.parametrize(("own", "others", "shape"), [(6, 30, (16, 96)), (40, 200, (16, 96)), (15, 50, (2, 8))])
def test_training_gives_what_scikit_learn_gives(own: int, others: int, shape: tuple[int, int]) -> None:
    why = "scikit-learn is not installed; its recorded answers are compared above"
    linear = pytest.importorskip("sklearn.linear_model", reason=why)
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason=why)
    ours, theirs = examples(own, others, shape)
    flat = np.concatenate((ours, theirs)).reshape(own + others, -1)
    scaler = preprocessing.StandardScaler().fit(flat)
    wanted = [1] * own + [0] * others
    model = linear.LogisticRegression(random_state=0, max_iter=2000, C=0.001).fit(scaler.transform(flat), wanted)
    expected = model.predict_proba(scaler.transform(flat))[:, -1]
    assert answers(train(ours, theirs), ours, theirs) == pytest.approx(expected, abs=1e-3)


@given(st.integers(1, 12), st.integers(1, 30), st.sampled_from([(1, 2), (2, 8), (16, 96)]))
def test_on_the_whole_as_many_are_taken_for_the_person_as_are(own: int, others: int, shape: tuple[int, int]) -> None:
    """The bias costs nothing, so in the solution the probabilities add up to the number of the person's examples."""
    ours, theirs = examples(own, others, shape)
    assert sum(answers(train(ours, theirs), ours, theirs)) == pytest.approx(own, abs=1e-3)


def test_a_number_that_never_changes_is_no_trouble() -> None:
    own, others = examples(6, 20, (2, 8))
    own[:, 0, 0] = others[:, 0, 0] = 7
    assert all(0 < each < 1 for each in answers(train(own, others), own, others))


def test_one_kind_alone_trains_nothing() -> None:
    own, others = examples(6, 20, (2, 8))
    with pytest.raises(ValueError, match="examples of both"):
        train(own, others[:0])


# --- files ---


def some(window: int = 16) -> Verifier:
    return Verifier(np.full((window, 96), 0.25), -1.5)


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    verifierfile.save(path := tmp_path / "v.npz", WORD, some(), 0.7)
    verifier, threshold = verifierfile.load(path, WORD)
    assert np.array_equal(verifier.weights, some().weights)
    assert (verifier.bias, threshold) == (-1.5, 0.7)


def npy(array: NDArray[Any]) -> bytes:
    np.save(file := BytesIO(), array)
    return file.getvalue()


class Trap:
    """Runs as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "kind", ["pickle", "array", "empty", "text", "cut", "missing", "weights", "infinite", "one", "packed"]
)
def test_a_file_of_another_kind_is_refused_and_never_run(kind: str, tmp_path: Path) -> None:
    path, sprung = tmp_path / "v.npz", tmp_path / "sprung"
    verifierfile.save(path, WORD, some(), 0.7)
    match kind:
        case "pickle":
            path.write_bytes(pickle.dumps(Trap(sprung)))
        case "array":
            trap = np.array([Trap(sprung)], dtype=object)
            np.savez(path, allow_pickle=True, word=trap, weights=trap, bias=trap, threshold=trap)
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("weights")
        case "cut":
            path.write_bytes(path.read_bytes()[:-200])
        case "missing":
            path.unlink()
        case "one":
            path.write_bytes(npy(np.zeros((16, 96))))
        case "packed":
            np.savez_compressed(path, word=np.array(WORD), weights=np.arange(1536.0).reshape(16, 96))
            whole = bytearray(path.read_bytes())
            whole[-900:-600] = bytes(300)
            path.write_bytes(whole)
        case "weights":
            verifierfile.save(path, WORD, Verifier(np.zeros(96), 0.0), 0.7)
        case _:
            verifierfile.save(path, WORD, Verifier(np.full((16, 96), np.nan), 0.0), 0.7)
    with pytest.raises(ModelError, match=r"verifier .*v\.npz (cannot be read|is none of|holds no usable)"):
        verifierfile.load(path, WORD)
    assert not sprung.exists()


def test_another_words_verifier_is_refused(tmp_path: Path) -> None:
    verifierfile.save(path := tmp_path / "v.npz", "alexa", some(), 0.7)
    with pytest.raises(ModelError, match='was trained for "alexa", not "hey_jarvis"'):
        verifierfile.load(path, WORD)
    with pytest.raises(ModelError, match="looks at 4 embeddings, not 16"):
        WakeModels(find_models(), [WORD], verifiers={WORD: (some(4), 0.5)})


def test_a_threshold_needs_a_verifier() -> None:
    with pytest.raises(ValueError, match="verifier_threshold: needs a verifier"):
        WakeWordConfig(model=WORD, verifier_threshold=0.5)


# --- with real voices ---


def said(text: str, voice: str, pace: int = 150, seed: int = 0) -> Samples:
    """Return somebody saying something in a quiet room."""
    speech, _ = Speaker().say(text, Voice(voice, pace, 50))
    sound = room(RATE + len(speech) + RATE // 2, seed)
    sound[RATE : RATE + len(speech)] += speech
    samples: Samples = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    return samples


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's three recordings, their other speech, and other people saying the word."""
    folder = tmp_path_factory.mktemp("voices")
    (folder / "positive" / WORD).mkdir(parents=True)
    (folder / "negative").mkdir()
    for number, pace in enumerate((145, 150, 160)):
        write(folder / "positive" / WORD / f"own_{number}.wav", said("hey jarvis", OWN, pace, number))
    write(folder / "negative" / "talk.wav", said("she forgot the car keys", OWN, seed=10))
    for number, voice in enumerate(OTHERS):
        write(folder / "negative" / f"other_{number}.wav", said("hey jarvis", voice, seed=11 + number))
    return folder


@pytest.fixture(scope="module")
def trained(recordings: Path) -> Iterator[Path]:
    report = verify(Config(), recordings)
    (one,) = report.words
    assert (one.word, one.path) == (WORD, recordings / f"{WORD}.npz")
    assert [len(one.own), one.lost, len(one.others)] == [3, 0, 3]
    yield one.path
    one.path.unlink()


def wakes(sound: Samples, verifier: Path | None = None) -> int:
    word = WakeWordConfig(model=WORD, threshold=0.5, verifier=str(verifier or ""))
    ears, _ = make_ears(Config(wake=WakeConfig(words=(word,))))
    before = np.resize(sound[: RATE // 2], 26 * STEP)
    return sum(ears.feed(frame) is not None for frame in frames(np.concatenate((before, sound))))


def test_the_person_wakes_it_and_others_do_not(trained: Path) -> None:
    own, *others = (said("hey jarvis", voice, 155, 77) for voice in (OWN, *OTHERS, STRANGER))
    assert [wakes(sound) for sound in (own, *others)] == [1, 1, 1, 1, 1]
    assert [wakes(sound, trained) for sound in (own, *others)] == [1, 0, 0, 0, 0]


def test_scores_are_the_same_where_the_voice_is_right_and_nothing_where_it_is_not(trained: Path) -> None:
    verifier, threshold = verifierfile.load(trained, WORD)
    plain = WakeModels(find_models(), [WORD])
    strict = WakeModels(find_models(), [WORD], verifiers={WORD: (verifier, threshold)})
    sound = np.concatenate((np.resize(room(RATE, 5).astype(np.int16), 26 * STEP), said("hey jarvis", STRANGER)))
    sound = sound[: len(sound) // STEP * STEP]
    rejected = 0
    for step in sound.reshape(-1, STEP):
        ((base,),), ((score,),) = plain(step), strict(step)
        asked = base >= 0.1 and verifier(strict.looked_at(0)) < threshold
        assert score == (0.0 if asked else base)
        rejected += asked
    assert rejected
    strict.reset()
    rules = WakeRules((WordRule(WORD, 0.5),))
    ears = Ears(speech=Vad(), score=strict, forget=strict.reset, rules=rules, gate=False)
    assert [wake for frame in frames(sound) if (wake := ears.feed(frame))] == []
    ears.feed(Frame(len(sound) + 10 * STEP, np.zeros(FRAME, np.int16)))  # what was said is over
    assert [(miss.word, miss.why) for miss in ears.near_misses()] == [(WORD, "voice")]
    assert strict.twin()(sound) == plain.twin()(sound)  # what the daemon says itself is told by any voice


def test_too_few_and_bad_recordings_are_told(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(VoicedError, match="put at least 3 WAV files of the person saying the wake word into"):
        verify(Config(), tmp_path)
    positive, negative = tmp_path / "positive", tmp_path / "negative"
    positive.mkdir()
    negative.symlink_to(recordings / "negative")
    for number in (0, 1):
        (positive / f"{number}.wav").symlink_to(recordings / "positive" / WORD / f"own_{number}.wav")
    (positive / "silent.wav").symlink_to(recordings / "negative" / "talk.wav")
    (positive / "broken.wav").write_text("no sound")
    report = verify(Config(), tmp_path)
    assert report.words == []
    assert "a verifier needs at least 3" in report.bad[WORD]
    assert "hey_jarvis is not heard in it" in report.bad[str(positive / "silent.wav")]
    assert "give a WAV file" in report.bad[str(positive / "broken.wav")]


def test_the_command_says_what_to_put_into_the_configuration(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["wake", "verify", str(recordings)]) == 0
    lines = capsys.readouterr().out.splitlines()
    config = tmp_path / "config.toml"
    config.write_text(f'[[wake.words]]\nmodel = "{WORD}"\n{lines[-1]}\n')
    assert cli.main(["wake", "verify", str(recordings), "-c", str(config), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["words"]
    assert (told["word"], told["own_lost"], len(told["others"])) == (WORD, 0, 3)
    assert cli.main(["wake", "verify", str(tmp_path)]) == 1


def test_of_long_recordings_some_is_taken_from_everywhere(tmp_path: Path) -> None:
    """An hour of television would be gigabytes of embeddings."""
    told = np.random.default_rng(1).normal(0, 300, 30 * RATE).astype(np.int16)
    write(tmp_path / "long.wav", told)
    models = WakeModels(find_models(), [WORD])
    other = verifying._other(models, tmp_path / "long.wav", 10, {}, lambda _: None)
    assert other is not None
    assert 8 <= len(other.steps) <= 11
    assert np.unique(other.steps[:, -1, 0]).size == len(other.steps)
