"""Classifiers of dense layers, quickly: the same scores as operator by operator, and as in one piece."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import onnxwriter as onnx
from voiced.edge.classifier import Classifier
from voiced.edge.dense import SHORTEST, Dense, Window, dense
from voiced.edge.features import EMBEDDING
from voiced.edge.models import find_models
from voiced.edge.onnxfile import read

DENSE_WORDS = ("hey_jarvis", "alexa", "hey_mycroft", "hey_rhasspy", "weather")


def network(
    window: int, outputs: list[int], seed: int, *, normal: bool = True, prefix: str = "", value: str = "x"
) -> tuple[list[bytes], dict[str, np.ndarray], str]:
    """Return nodes and constants of a network with random weights, and the name of its score."""
    random = np.random.default_rng(seed)
    nodes = [onnx.node("Flatten", [value], [f"{prefix}0"])]
    constants: dict[str, np.ndarray] = {}
    inputs = window * EMBEDDING
    for number, size in enumerate([*outputs, 1]):
        at, last = f"{prefix}{number}", size == 1
        constants[f"{at}w"] = random.normal(0, 1 / np.sqrt(inputs), (size, inputs)).astype(np.float32)
        constants |= {f"{at}{name}": random.normal(0, 1, size).astype(np.float32) for name in "bsu"}
        nodes.append(onnx.node("Gemm", [at, f"{at}w", f"{at}b"], [f"{at}y"], {"transB": 1}))
        if normal and not last:
            nodes.append(onnx.node("LayerNormalization", [f"{at}y", f"{at}s", f"{at}u"], [f"{at}n"], {"epsilon": 0.01}))
        found = f"{at}n" if normal and not last else f"{at}y"
        nodes.append(onnx.node("Sigmoid" if last else "Relu", [found], [f"{prefix}{number + 1}"]))
        inputs = size
    return nodes, constants, f"{prefix}{len(outputs) + 1}"


def written(path: Path, nodes: list[bytes], constants: dict[str, np.ndarray], output: str, window: int) -> Path:
    path.write_bytes(onnx.model(onnx.graph(nodes, (output, (1, 1)), {"x": (1, window, EMBEDDING)}, constants)))
    return path


def classifier(window: int, seed: int) -> Dense:
    """Return one that was never a file."""
    random = np.random.default_rng(seed)
    weights = random.normal(0, 1, (window * EMBEDDING, int(random.integers(1, 9)))).astype(np.float32)
    shipped = dense(read(find_models().word("alexa").path))
    assert shipped is not None
    layer = shipped.first
    return Dense(type(layer)(weights, np.zeros(weights.shape[1], np.float32)), ())


@pytest.mark.parametrize("name", DENSE_WORDS)
def test_the_shipped_words_score_as_operator_by_operator(name: str) -> None:
    graph = read(find_models().word(name).check())
    quick, plain = dense(graph), Classifier(graph)
    assert quick is not None
    window = graph.inputs[0][1][1]
    assert window is not None
    random = np.random.default_rng(7)
    scores = []
    for _ in range(300):
        embeddings = (random.uniform(5, 60) * random.normal(size=(1, window, EMBEDDING))).astype(np.float32)
        scores.append(float(plain(embeddings).reshape(-1)[0]))
        assert float(quick(embeddings)[0]) == pytest.approx(scores[-1], abs=1e-5)
    assert max(scores) > 0.01


@given(
    outputs=st.lists(st.integers(2, 12), max_size=3),
    window=st.integers(1, 20),
    seed=st.integers(0, 1000),
    normal=st.booleans(),
    limit=st.none() | st.floats(0.1, 0.9),
)
@settings(max_examples=40)
def test_any_dense_network_scores_as_operator_by_operator(
    tmp_path: Path, *, outputs: list[int], window: int, seed: int, normal: bool, limit: float | None
) -> None:
    nodes, constants, score = network(window, outputs, seed, normal=normal)
    if limit is not None:  # as hey_jarvis: another network has the last word
        second, more, other = network(window, outputs, seed + 1, normal=normal, prefix="t")
        constants |= more
        yes = onnx.graph(second, (other, (1, 1)))
        no = onnx.graph([onnx.node("Identity", [score], ["p"])], ("p", (1, 1)))
        nodes += [
            onnx.node("Constant", [], ["limit"], {"value": np.array(limit, np.float32)}),
            onnx.node("GreaterOrEqual", [score, "limit"], ["is"]),
            onnx.node("Cast", ["is"], ["condition"], {"to": 9}),
            onnx.node("If", ["condition"], ["y"], {"then_branch": yes, "else_branch": no}),
        ]
        score = "y"
    graph = read(written(tmp_path / "net.onnx", nodes, constants, score, window))
    quick, plain = dense(graph), Classifier(graph)
    assert quick is not None
    random = np.random.default_rng(seed)
    for _ in range(10):
        embeddings = random.normal(size=(1, window, EMBEDDING)).astype(np.float32)
        assert float(quick(embeddings)[0]) == pytest.approx(float(plain(embeddings).reshape(-1)[0]), abs=1e-5)


@given(
    window=st.integers(SHORTEST, 30),
    words=st.integers(1, 4),
    pieces=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=5),
)
@settings(max_examples=40)
def test_a_window_sums_up_what_stands_in_it(window: int, words: int, pieces: list[tuple[int, bool]]) -> None:
    """Whatever was wanted of it before, and also after it had to forget, or was made of another one."""
    plain = [classifier(window, seed) for seed in range(words)]
    sliding = Window(plain)
    random = np.random.default_rng(window)
    for count, wanted in pieces:
        sliding.reset()
        seen = np.zeros((window, EMBEDDING), np.float32)
        for _ in range(count):
            seen = np.concatenate((seen[1:], random.normal(size=(1, EMBEDDING)).astype(np.float32)))
            sliding(seen[-1], wanted=wanted)
        seen = np.concatenate((seen[1:], random.normal(size=(1, EMBEDDING)).astype(np.float32)))
        sums = sliding(seen[-1])
        for each, same, found in zip(plain, sliding.classifiers, sums, strict=True):
            assert np.allclose(found, seen.reshape(-1) @ each.first.weights, atol=1e-3)
            assert same(seen[None]) == pytest.approx(each(seen[None]), abs=1e-5)
        sliding = sliding.twin()


@pytest.mark.parametrize(
    "other", ["no Flatten", "another end", "another operator", "another input", "scaled", "no limit", "Greater"]
)
def test_what_is_no_dense_network_is_left_to_others(tmp_path: Path, other: str) -> None:
    nodes, constants, score = network(16, [4], 1)
    if other == "no Flatten":
        nodes[0] = onnx.node("Reshape", ["x", "shape"], ["0"])
        constants["shape"] = np.array([1, -1], np.int64)
    elif other == "another end":
        nodes[-1] = onnx.node("Tanh", ["1y"], [score])
    elif other == "another operator":
        nodes[3] = onnx.node("Tanh", ["0n"], ["1"])
    elif other == "another input":
        nodes[4] = onnx.node("Gemm", ["0n", "1w", "1b"], ["1y"], {"transB": 1})
    elif other == "scaled":
        nodes[4] = onnx.node("Gemm", ["1", "1w", "1b"], ["1y"], {"transB": 1, "alpha": 0.5})
    else:
        limit = onnx.node("Constant", [], ["limit"], {"value_float": 0.5})
        compare = onnx.node("Greater" if other == "Greater" else "GreaterOrEqual", [score, "limit"], ["is"])
        branch = onnx.graph([onnx.node("Identity", [score], ["p"])], ("p", (1, 1)))
        nodes += [limit, compare, onnx.node("Cast", ["is"], ["condition"], {"to": 9})]
        nodes.append(onnx.node("If", ["condition"], ["y"], {"then_branch": branch, "else_branch": branch}))
        score = "y"
    assert dense(read(written(tmp_path / "net.onnx", nodes, constants, score, 16))) is None
