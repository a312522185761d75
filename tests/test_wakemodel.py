import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import onnxwriter as onnx
from tests import reference
from tests.recordings import CLIPS, ROOT, SOUNDS, load, noise, steps
from voiced import ports
from voiced.core.frames import STEP, Samples
from voiced.edge.classifier import Classifier, missing_operators
from voiced.edge.features import Embedding, Mel
from voiced.edge.models import EMBEDDING, MEL, Model, Models, find_models
from voiced.edge.onnxfile import read
from voiced.edge.wakemodel import WakeModels
from voiced.errors import ModelError

fits: type[ports.WakeScores] = WakeModels

WORDS = ("hey_jarvis", "alexa", "hey_mycroft", "hey_rhasspy", "weather", "timer")
RECORDINGS = [*sorted(SOUNDS.glob("*.wav")), *CLIPS]


@pytest.fixture(scope="module")
def installed() -> Models:
    return find_models()


@pytest.fixture(scope="module")
def engine(installed: Models) -> WakeModels:
    return WakeModels(installed, WORDS)


@pytest.fixture(scope="module")
def at_once(engine: WakeModels) -> np.ndarray:
    """Scores of one recording that was heard in one piece."""
    engine.reset()
    return np.array(engine(steps(load(SOUNDS / "hey_jarvis_2.wav"))))


def one_by_one(engine: WakeModels, sound: Samples) -> np.ndarray:
    return np.array([row for at in range(0, len(sound), STEP) for row in engine(sound[at : at + STEP])])


# --- equality with openWakeWord ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_scores_equal_openwakewords_at_every_step(engine: WakeModels, installed: Models, path: Path) -> None:
    sound = steps(np.concatenate((noise(3.6), load(path))))  # the longest memory, the timer's, takes 3.44 s to fill
    theirs = reference.scores([installed.word(name).path for name in WORDS], sound)
    engine.reset()
    at_once = np.array(engine(sound))
    engine.reset()
    in_real_time = one_by_one(engine, sound)
    cold = engine.cold_steps
    assert np.abs(in_real_time[cold:] - theirs[cold:]).max() < 1e-4
    assert np.abs(at_once - in_real_time).max() < 1e-5  # sums of other lengths round otherwise


def test_silence_scores_as_openwakeword_scores_it(engine: WakeModels, installed: Models) -> None:
    sound = np.zeros(60 * STEP, np.int16)
    theirs = reference.scores([installed.word(name).path for name in WORDS], sound)
    engine.reset()
    assert np.abs(np.array(engine(sound)) - theirs)[engine.cold_steps :].max() < 1e-4


@given(data=st.data())
@settings(max_examples=15)
def test_the_size_of_the_bites_does_not_matter(engine: WakeModels, at_once: np.ndarray, data: st.DataObject) -> None:
    sound = steps(load(SOUNDS / "hey_jarvis_2.wav"))
    engine.reset()
    rows: list[tuple[float, ...]] = []
    while len(rows) * STEP < len(sound):
        bite = data.draw(st.integers(1, 30)) * STEP
        rows += engine(sound[len(rows) * STEP :][:bite])
    assert np.abs(np.array(rows) - at_once).max() < 1e-5


# --- starting anew ----------------------------------------------------------------------------------------------------


def test_a_word_scores_nothing_until_real_sound_fills_its_memory(installed: Models) -> None:
    engine = WakeModels(installed, ["hey_jarvis", "weather"])
    assert engine.words == ("hey_jarvis", "weather")
    assert engine.cold_steps == 31
    rows = np.array(engine(noise(4, rms=1000)[: 40 * STEP]))
    assert not rows[:25, 0].any()
    assert rows[25:, 0].all()
    assert not rows[:31, 1].any()
    assert rows[31:, 1].all()
    assert WakeModels(installed, ["alexa"]).cold_steps == 25
    assert engine(np.empty(0, np.int16)) == []


def test_after_a_reset_nothing_is_left_of_the_sound_before(engine: WakeModels) -> None:
    sound = steps(load(SOUNDS / "alexa_1.wav"))
    engine.reset()
    first = engine(sound)
    engine(steps(noise(2, rms=5000)))
    engine.reset()
    assert engine(sound) == first


def test_mel_and_embedding_forget_too(installed: Models) -> None:
    mel, embedding = Mel(read(installed.feature(MEL).path)), Embedding(read(installed.feature(EMBEDDING).path))
    sound = noise(0.8, rms=3000).reshape(-1, STEP)
    first = [embedding(mel(step))[0].copy() for step in sound][-1]
    assert not np.array_equal(embedding(mel(sound[-1]))[0], first)
    mel.reset()
    embedding.reset()
    assert np.array_equal([embedding(mel(step))[0].copy() for step in sound][-1], first)


def test_the_26th_step_after_a_reset_is_as_if_there_had_been_none(engine: WakeModels) -> None:
    """The gate relies on it: 26 steps of pre-roll are enough."""
    sound = steps(np.concatenate((load(SOUNDS / "alexa_2.wav"), load(SOUNDS / "hey_jarvis_3.wav"))))
    engine.reset()
    whole = np.array(engine(sound))[:, :4]
    for end in range(50, len(whole), 7):
        engine.reset()
        assert np.abs(np.array(engine(sound[(end - 26) * STEP : end * STEP]))[-1, :4] - whole[end - 1]).max() < 1e-5


# --- models that are not as they should be ----------------------------------------------------------------------------


def dense(window: int, **changes: Any) -> bytes:
    """Return a one-layer classifier for ``window`` embeddings, as a file."""
    weights = np.random.default_rng(1).normal(0, 0.01, (1, window * 96)).astype(np.float32)
    nodes = [
        changes.get("first") or onnx.node("Flatten", ["x"], ["flat"]),
        onnx.node("Gemm", ["flat", "w", "b"], ["y"], {"transB": 1}),
        onnx.node(changes.get("last", "Sigmoid"), ["y"], ["score"]),
    ]
    bias = np.array([changes.get("bias", 0.0)], np.float32)
    shape = changes.get("shape", (1, window, 96))
    return onnx.model(onnx.graph(nodes, ("score", (1, 1)), {"x": shape}, {"w": weights, "b": bias}))


@pytest.fixture
def with_own(tmp_path: Path, installed: Models) -> Callable[[bytes], Models]:
    """Return a function that puts a file beside openWakeWord's as the model ``mine``."""

    def put(data: bytes) -> Models:
        path = tmp_path / "mine.onnx"
        path.write_bytes(data)
        return Models({**installed.words, "mine": Model("mine", path, "test", "unknown")}, installed.features, {})

    return put


def test_a_persons_own_model_of_any_length_works(with_own: Callable[[bytes], Models]) -> None:
    engine = WakeModels(with_own(dense(28)), ["mine"])
    assert engine.cold_steps == 37
    assert 0 < engine(noise(4, rms=500)[: 40 * STEP])[-1][0] < 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no graph"),
        (b"this is no model", "not a whole ONNX file"),
        (dense(16)[:-3000], "cut off"),
        (dense(16, shape=(1, 76, 32, 1)), "no wake-word classifier"),
        (dense(16, shape=(1, None, 96)), "no wake-word classifier"),
        (dense(16).replace(b"Gemm", b"Gumm"), "Gumm"),
        (dense(15, shape=(1, 16, 96)), "does not fit together"),
        (dense(16).replace(b"flat", b"flut", 1), "does not fit together"),
        (dense(16, first=onnx.node("ReduceMean", ["x"], ["flat"], {"axes": [2**40]})), "does not fit together"),
        (dense(16, last="Identity", bias=2.0), "gives 2.0, not a score"),
    ],
)
def test_a_broken_model_is_named(with_own: Callable[[bytes], Models], data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        WakeModels(with_own(data), ["mine"])
    assert "mine.onnx" in str(caught.value)


@given(at=st.integers(0, 300), value=st.integers(0, 255), cut=st.integers(0, 300))
@settings(max_examples=300)
def test_no_damage_does_worse_than_a_model_error(tmp_path: Path, at: int, value: int, cut: int) -> None:
    data = bytearray(
        onnx.model(onnx.graph([onnx.node("Relu", ["x"], ["y"])], ("y", (1, 2)), {"x": (1, 2)}, {"w": [0.5]}))
    )
    data[at % len(data)] = value
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data[: len(data) - cut % len(data)])
    with suppress(ModelError):
        read(path)


def test_feature_models_of_another_kind_are_refused(installed: Models) -> None:
    mel, embedding = (Model(name, installed.feature(name).path, "test", "") for name in (MEL, EMBEDDING))
    with pytest.raises(ModelError, match="melspectrogram"):
        WakeModels(Models(installed.words, {MEL: embedding, EMBEDDING: embedding}, {}), ["alexa"])
    with pytest.raises(ModelError, match="embedding"):
        WakeModels(Models(installed.words, {MEL: mel, EMBEDDING: mel}, {}), ["alexa"])


def test_a_missing_file_is_a_model_error(tmp_path: Path, installed: Models) -> None:
    gone = Model("gone", tmp_path / "gone.onnx", "test", "")
    with pytest.raises(ModelError, match=r"gone.onnx cannot be read"):
        WakeModels(Models({"gone": gone}, installed.features, {}), ["gone"])


# --- operators --------------------------------------------------------------------------------------------------------

W = np.random.default_rng(2).normal(size=(4, 6)).astype(np.float32)
V = np.random.default_rng(3).normal(size=6).astype(np.float32)
OPERATORS: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "Add": (["x", "v"], {}, {"v": V}),
    "Div": (["x", "v"], {}, {"v": V}),
    "Flatten": (["x"], {"axis": 2}, {}),
    "Gemm": (["row", "w", "c"], {"alpha": 0.5, "beta": 2.0, "transB": 1}, {"w": W, "c": V[:4]}),
    "Identity": (["x"], {}, {}),
    "LayerNormalization": (["x", "v", "u"], {"epsilon": 0.01}, {"v": V, "u": V}),
    "LeakyRelu": (["x"], {"alpha": 0.3}, {}),
    "MatMul": (["x", "m"], {}, {"m": W.T.copy()}),
    "Mul": (["x", "v"], {}, {"v": V}),
    "Pow": (["x", "p"], {}, {"p": np.array(2.0, np.float32)}),
    "ReduceMean": (["x"], {"axes": [-1], "keepdims": 0}, {}),
    "Relu": (["x"], {}, {}),
    "Reshape": (["x", "s"], {}, {"s": np.array([0, -1], np.int64)}),
    "Sigmoid": (["x"], {}, {}),
    "Softmax": (["x"], {"axis": 1}, {}),
    "Sqrt": (["positive"], {}, {}),
    "Squeeze": (["x", "a"], {}, {"a": np.array([0], np.int64)}),
    "Sub": (["x", "v"], {}, {"v": V}),
    "Tanh": (["x"], {}, {}),
    "Transpose": (["x"], {"perm": [0, 2, 1]}, {}),
    "Unsqueeze": (["x", "a"], {}, {"a": np.array([1], np.int64)}),
}


def both(data: bytes, path: Path, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what our interpreter and onnxruntime make of a model."""
    import onnxruntime  # noqa: PLC0415 - as an optional extra it is needed here only

    path.write_bytes(data)
    graph = read(path)
    assert missing_operators(graph) == []
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return Classifier(graph)(values), session.run(None, {"x": values})[0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("op", OPERATORS)
def test_operators_do_what_onnxruntime_does(tmp_path: Path, op: str, packed: bool) -> None:
    inputs, attributes, constants = OPERATORS[op]
    nodes = [
        onnx.node("Mul", ["x", "x"], ["positive"]),
        onnx.node("ReduceMean", ["x"], ["row"], {"axes": [1], "keepdims": 0}),
        onnx.node(op, inputs, ["y"], attributes),
    ]
    values = np.random.default_rng(4).normal(0, 3, (1, 3, 6)).astype(np.float32)
    ours, theirs = both(_shapeless(nodes, constants, packed=packed), tmp_path / "op.onnx", values)
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, atol=1e-5)


def _shapeless(nodes: list[bytes], constants: Mapping[str, Any], *, packed: bool) -> bytes:
    """Return a model whose output says nothing of its shape."""
    whole = onnx.graph(nodes, ("y", (1,)), {"x": (1, 3, 6)}, constants, packed=packed)
    shaped = onnx.field(12, onnx.value_info("y", (1,)))
    free = onnx.field(12, onnx.field(1, "y") + onnx.field(2, onnx.field(1, onnx.field(1, 1))))
    return onnx.model(whole.replace(shaped, free))


@pytest.mark.parametrize("wanted", ["normal", "centred", "variance"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_a_layer_normalization_may_be_spelt_out(tmp_path: Path, wanted: str, axis: int) -> None:
    """Openwakeword's models say it in nine operators; other nodes may use a value in between."""
    nodes = [
        onnx.node("Constant", [], ["two"], {"value": np.array(2.0, np.float32)}),
        onnx.node("ReduceMean", ["x"], ["mean"], {"axes": [axis]}),
        onnx.node("Sub", ["x", "mean"], ["centred"]),
        onnx.node("Pow", ["centred", "two"], ["square"]),
        onnx.node("ReduceMean", ["square"], ["variance"], {"axes": [axis]}),
        onnx.node("Constant", [], ["epsilon"], {"value": np.array(0.1, np.float32)}),
        onnx.node("Add", ["variance", "epsilon"], ["more"]),
        onnx.node("Sqrt", ["more"], ["deviation"]),
        onnx.node("Div", ["centred", "deviation"], ["plain"]),
        onnx.node("Mul", ["plain", "v"], ["scaled"]),
        onnx.node("Add", ["scaled", "v"], ["normal"]),
        onnx.node("Add", ["normal", wanted], ["y"]),
    ]
    values = np.random.default_rng(4).normal(0, 3, (1, 3, 6)).astype(np.float32)
    ours, theirs = both(_shapeless(nodes, {"v": V}, packed=False), tmp_path / "norm.onnx", values)
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("limit", [-1000.0, 1000.0])
@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual"])
def test_branches_see_the_values_around_them(tmp_path: Path, op: str, limit: float) -> None:
    yes = onnx.graph([onnx.node("Mul", ["x", "k"], ["a"])], ("a", (1,)), constants={"k": np.array([3.0], np.float32)})
    no = onnx.graph([onnx.node("Add", ["x", "mean"], ["b"])], ("b", (1,)))
    nodes = [
        onnx.node("ReduceMean", ["x"], ["mean"], {"keepdims": 0}),
        onnx.node("Constant", [], ["limit"], {"value": np.array(limit, np.float32)}),
        onnx.node(op, ["mean", "limit"], ["is"]),
        onnx.node("Cast", ["is"], ["condition"], {"to": 9}),
        onnx.node("If", ["condition"], ["y"], {"then_branch": yes, "else_branch": no}),
    ]
    values = np.random.default_rng(4).normal(0, 3, (1, 3, 6)).astype(np.float32)
    ours, theirs = both(_shapeless(nodes, {}, packed=False), tmp_path / "if.onnx", values)
    assert np.allclose(ours, theirs, atol=1e-5)


def test_constants_may_be_plain_numbers(tmp_path: Path) -> None:
    nodes = [
        onnx.node("Constant", [], ["half"], {"value_float": 0.5}),
        onnx.node("Constant", [], ["shape"], {"value_ints": [3, 6]}),
        onnx.node("Gemm", ["flat", "w"], ["y"], {"transB": 1}),
    ]
    nodes[2:2] = [onnx.node("Mul", ["x", "half"], ["z"]), onnx.node("Reshape", ["z", "shape"], ["flat"])]
    values = np.random.default_rng(4).normal(0, 3, (1, 3, 6)).astype(np.float32)
    ours, theirs = both(_shapeless(nodes, {"w": W}, packed=False), tmp_path / "constant.onnx", values)
    assert np.allclose(ours, theirs, atol=1e-5)


def erf_model() -> bytes:
    """Return a classifier with an operator that only onnxruntime has."""
    weights = np.random.default_rng(1).normal(0, 0.01, (1, 16 * 96)).astype(np.float32)
    nodes = [
        onnx.node("Flatten", ["x"], ["flat"]),
        onnx.node("Gemm", ["flat", "w"], ["y"], {"transB": 1}),
        onnx.node("Erf", ["y"], ["z"]),
        onnx.node("Sigmoid", ["z"], ["score"]),
    ]
    return onnx.model(onnx.graph(nodes, ("score", (1, 1)), {"x": (1, 16, 96)}, {"w": weights}))


def test_unusual_operators_go_through_onnxruntime(with_own: Callable[[bytes], Models]) -> None:
    engine = WakeModels(with_own(erf_model()), ["alexa", "mine"])
    rows = engine(steps(load(SOUNDS / "alexa_1.wav")))
    assert max(row[0] for row in rows) > 0.8
    assert 0 < rows[-1][1] < 1


def test_without_onnxruntime_the_message_names_model_operator_and_remedy(
    with_own: Callable[[bytes], Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # an import of it fails now
    with pytest.raises(ModelError, match=r"mine.*Erf.*pip install voiced\[onnx\]"):
        WakeModels(with_own(erf_model()), ["mine"])


def test_openwakewords_models_need_neither_onnxruntime_nor_openwakeword() -> None:
    program = (
        "import sys; from voiced.edge.models import find_models; from voiced.edge.wakemodel import WakeModels; "
        "WakeModels(find_models(), ['hey_jarvis', 'alexa', 'hey_mycroft']); "
        "print([name for name in ('onnxruntime', 'openwakeword', 'scipy', 'sklearn') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
