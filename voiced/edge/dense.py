"""Embeddings to scores for classifiers that are dense layers and nothing else, as openWakeWord trains them.

Nine tenths of such a classifier is its first layer, which looks at 16 embeddings of which 15 are those of the step
before: its 800 kB of weights have to come from memory at each step, for each word. :class:`Window` adds up what an
embedding means for the steps to come four embeddings at a time, and for all words at once, so that less than half of
that has to come. The sums are the same in another order.
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from voiced.edge.classifier import fused
from voiced.edge.features import EMBEDDING, Floats
from voiced.edge.onnxfile import Array, Graph, Node

_BLOCK = 4
"""Embeddings whose meaning for later steps is added up at a time; with more at a time nothing is gained (measured)."""

SHORTEST = 2 * _BLOCK
"""The shortest window for which that is done."""


@dataclass(frozen=True, slots=True)
class _Norm:
    """Layer normalization of sums whose mean is 0 already: see :func:`_centred`."""

    scale: Floats
    shift: Floats
    epsilon: float


@dataclass(frozen=True, slots=True)
class _Layer:
    weights: Floats
    """Shape (inputs, outputs)."""
    bias: Floats
    norm: _Norm | None = None
    active: bool = False

    def finish(self, sums: Floats) -> Floats:
        """Return the outputs, given the inputs times the weights."""
        values = sums + self.bias
        if self.norm is not None:
            power = float(values.dot(values)) / len(values)
            values *= self.norm.scale * np.float32(1 / math.sqrt(power + self.norm.epsilon))
            values += self.norm.shift
        if self.active:
            np.maximum(values, 0, out=values)
        return values


@dataclass(frozen=True, slots=True)
class Dense:
    """A classifier of dense layers with one score; fits ``Classify`` of :mod:`voiced.edge.wakemodel`."""

    first: _Layer
    rest: tuple[_Layer, ...]
    doubt: tuple[float, "Dense"] | None = None
    """From which score on another classifier has the last word, and which."""

    def __call__(self, embeddings: Array) -> Array:
        """Take embeddings, shape (1, window, 96); return the score, shape (1,)."""
        flat = embeddings.reshape(-1)
        return np.array([self.finish(flat.dot(self.first.weights), flat)])

    def finish(self, sums: Floats, embeddings: Floats) -> float:
        """Return the score, given what the first layer's weights make of the embeddings, all of them in a row."""
        values = self.first.finish(sums)
        for layer in self.rest:
            values = layer.finish(values.dot(layer.weights))
        score = _sigmoid(float(values[0]))
        if self.doubt is not None and score >= self.doubt[0]:
            other = self.doubt[1]
            return other.finish(embeddings.reshape(-1).dot(other.first.weights), embeddings)
        return score


class Window:
    """The first layers of any number of words that look at equally many embeddings.

    Args:
        classifiers: Of those words, looking at :data:`SHORTEST` embeddings or more; :attr:`classifiers` are the same,
            with the weights where they lie here.

    """

    def __init__(self, classifiers: Sequence[Dense]) -> None:
        parts = [each.first.weights for each in classifiers]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        ends = np.cumsum([part.shape[1] for part in parts])
        self._places = [slice(end - part.shape[1], end) for part, end in zip(parts, ends, strict=True)]
        self.classifiers = tuple(
            replace(each, first=replace(each.first, weights=whole[:, place]))
            for each, place in zip(classifiers, self._places, strict=True)
        )
        self._flat = whole
        self._weights = whole.reshape(-1, EMBEDDING, whole.shape[1])
        self._lay_out()

    def twin(self) -> Self:
        """Return another with the same weights and a memory of its own."""
        twin = copy(self)
        twin._lay_out()  # noqa: SLF001 - of its own kind
        return twin

    def _lay_out(self) -> None:
        window, _, outputs = self._weights.shape
        self._later = np.zeros((window, outputs), np.float32)
        """What the embeddings of whole blocks add to the next steps, the next one first."""
        self._newest = np.zeros((_BLOCK, EMBEDDING), np.float32)
        self._count = 0
        self._products = np.empty((window - 1, _BLOCK, outputs), np.float32)

    def reset(self) -> None:
        """Forget the embeddings so far."""
        self._later[:] = 0
        self._count = 0

    def __call__(self, embedding: Floats, *, wanted: bool = True) -> list[Floats]:
        """Take the next embedding; return for each word its first layer's sums, if they are ``wanted``."""
        at = self._count
        self._newest[at] = embedding
        self._count += 1
        sums: list[Floats] = []
        if wanted:
            newest = self._count * EMBEDDING
            whole = self._newest.reshape(-1)[:newest].dot(self._flat[-newest:])
            whole += self._later[at]
            sums = [whole[place] for place in self._places]
        if self._count == _BLOCK:
            self._look_ahead()
        return sums

    def _look_ahead(self) -> None:
        """Add to the steps to come what a whole block means for them."""
        self._count = 0
        later = self._later
        later[:-_BLOCK] = later[_BLOCK:]
        later[-_BLOCK:] = 0
        np.matmul(self._newest, self._weights[:-1], out=self._products)
        for number in range(_BLOCK):
            # An embedding stands last in the window of its own step, and one place before that at each step after it.
            places = len(later) - (_BLOCK - number)
            later[:places] += self._products[:places, number][::-1]


def dense(graph: Graph) -> Dense | None:
    """Return the classifier that ``graph`` is, if it is one of dense layers and a sigmoid.

    In place of the score it may let another such network on the same embeddings answer where the score is high
    (openWakeWord's hey_jarvis).
    """
    nodes = [node for node in fused(graph.nodes, graph.constants) if node.op != "Constant"]
    constants = _constants(graph, {})
    end = next((at for at, node in enumerate(nodes, 1) if node.op == "Sigmoid"), 0)
    found = _chain(nodes[:end], constants, graph.inputs[0][0])
    if found is None or nodes[end - 1].outputs[0] == graph.outputs[0]:
        return found if end == len(nodes) else None
    doubt = _doubt(nodes[end - 1 :], constants, graph)
    return None if doubt is None else replace(found, doubt=doubt)


def _constants(graph: Graph, known: Mapping[str, Array]) -> dict[str, Array]:
    inside = {
        node.outputs[0]: np.asarray(node.attributes["value"]) for node in graph.nodes if "value" in node.attributes
    }
    return {**known, **graph.constants, **inside}


def _chain(nodes: Sequence[Node], constants: Mapping[str, Array], value: str) -> Dense | None:
    """Return the layers that ``nodes`` are, from ``Flatten`` to ``Sigmoid``."""
    layers: list[_Layer] = []
    for node in nodes:
        if node.inputs[0] != value:
            return None
        value = node.outputs[0]
        last = layers[-1] if layers else None
        match node.op:
            case "Flatten" if node is nodes[0] and node.attributes.get("axis", 1) == 1:
                continue
            case "Gemm" if (layer := _layer(node, constants)) is not None:
                layers.append(layer)
            case "LayerNormalization" if last and not last.active and last.norm is None:
                if (layer := _centred(last, node, constants)) is None:
                    return None
                layers[-1] = layer
            case "Relu" if last:
                layers[-1] = replace(last, active=True)
            case "Sigmoid" if node is nodes[-1] and last and last.weights.shape[1] == 1:
                return Dense(layers[0], tuple(layers[1:]))
            case _:
                return None
    return None


def _layer(node: Node, constants: Mapping[str, Array]) -> _Layer | None:
    weights, bias = (constants.get(name) for name in (*node.inputs[1:], "", "")[:2])
    plain = all(node.attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta")) and not node.attributes.get(
        "transA"
    )
    if weights is None or bias is None or not plain or weights.ndim != 2:
        return None
    turned = weights.T if node.attributes.get("transB") else weights
    if bias.shape != turned.shape[1:] or turned.dtype != np.float32:
        return None
    return _Layer(np.ascontiguousarray(turned), bias.astype(np.float32))


def _centred(layer: _Layer, node: Node, constants: Mapping[str, Array]) -> _Layer | None:
    """Return a layer with its normalization; the mean of its sums is taken out of the weights once and for all."""
    scale, shift = (constants.get(name) for name in (*node.inputs[1:], "", "")[:2])
    if scale is None or shift is None or scale.shape != layer.bias.shape or shift.shape != layer.bias.shape:
        return None
    if node.attributes.get("axis", -1) not in {-1, 1}:
        return None
    norm = _Norm(scale.astype(np.float32), shift.astype(np.float32), float(node.attributes.get("epsilon", 1e-5)))
    weights = layer.weights - layer.weights.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    return replace(layer, weights=weights, bias=layer.bias - layer.bias.mean(), norm=norm)


def _doubt(nodes: Sequence[Node], constants: Mapping[str, Array], graph: Graph) -> tuple[float, Dense] | None:
    """Return the limit and the other classifier of "if the score reaches the limit, the other one, else the score"."""
    if [node.op for node in nodes] != ["Sigmoid", "GreaterOrEqual", "Cast", "If"]:
        return None
    sigmoid, compare, cast, choice = nodes
    limit = constants.get(compare.inputs[1])
    yes, no = choice.attributes["then_branch"], choice.attributes["else_branch"]
    fits = (
        compare.inputs[0] == sigmoid.outputs[0],
        list(cast.inputs) == list(compare.outputs),
        list(choice.inputs) == list(cast.outputs),
        list(choice.outputs) == list(graph.outputs),
        [(node.op, list(node.inputs), list(node.outputs)) for node in no.nodes]
        == [("Identity", list(sigmoid.outputs), list(no.outputs))],
    )
    if not all(fits) or limit is None or limit.size != 1:
        return None
    known = _constants(yes, constants)
    branch = [node for node in fused(yes.nodes, known) if node.op != "Constant"]
    other = _chain(branch, known, graph.inputs[0][0])
    if other is None or list(branch[-1].outputs) != list(yes.outputs):
        return None
    return float(limit.reshape(-1)[0]), other


def _sigmoid(value: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * value)  # never overflows
