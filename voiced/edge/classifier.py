"""Embeddings to a score: run a small ONNX classifier with numpy alone.

openWakeWord's classifiers, and those its training notebook makes, are a few dense layers. This runs their operators as
the ONNX specification (github.com/onnx/onnx/blob/main/docs/Operators.md, opsets 7 to 22) says; for others there is
onnxruntime.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from voiced.edge.onnxfile import Array, Graph, Node

Attributes: TypeAlias = Mapping[str, Any]
Function: TypeAlias = Callable[..., Any]
Step: TypeAlias = Callable[[list[Any]], None]


def missing_operators(graph: Graph) -> list[str]:
    """Return the operators of ``graph`` that :class:`Classifier` does not know."""
    return sorted(graph.operators - _OPERATORS.keys() - {"Constant", "If"})


class Classifier:
    """A small ONNX graph, laid out to run often: names have become places in a list, operators functions.

    Raises:
        KeyError: If a node uses a value that nothing makes, or an operator that is missing.

    """

    def __init__(self, graph: Graph) -> None:
        self._values: list[Any] = [None]
        """Constants at their places. The input has the first; what is computed has places that are still empty."""
        self._steps, outputs = self._lay_out(graph, {graph.inputs[0][0]: 0})
        self._output = outputs[0]

    def __call__(self, values: Array) -> Array:
        """Return the first output for the only input."""
        places = self._values.copy()
        places[0] = values
        for step in self._steps:
            step(places)
        return np.asarray(places[self._output])

    def _lay_out(self, graph: Graph, known: Mapping[str, int]) -> tuple[list[Step], list[int]]:
        """Return the steps of ``graph``, and the places of its outputs. ``known``: the values it can see."""
        places = dict(known)
        for name, constant in graph.constants.items():
            places[name] = self._place(constant)
        steps: list[Step] = []
        for node in fused(graph.nodes, graph.constants):
            inputs = [places[name] for name in node.inputs if name]
            if node.op == "Constant":
                places[node.outputs[0]] = self._place(_constant(node.attributes))
                continue
            outputs = [self._place(None) for _ in node.outputs]
            if node.op == "If":
                steps.append(self._choice(node, inputs[0], outputs, places))
            else:
                steps.append(_call(_OPERATORS[node.op](node.attributes), inputs, outputs[0]))
            places.update(zip(node.outputs, outputs, strict=True))
        return steps, [places[name] for name in graph.outputs]

    def _choice(self, node: Node, condition: int, outputs: Sequence[int], known: Mapping[str, int]) -> Step:
        """Return what an ``If`` does: its branches see all values so far."""
        yes = self._lay_out(node.attributes["then_branch"], known)
        no = self._lay_out(node.attributes["else_branch"], known)

        def choose(places: list[Any]) -> None:
            steps, results = yes if places[condition].any() else no
            for step in steps:
                step(places)
            for output, result in zip(outputs, results, strict=True):
                places[output] = places[result]

        return choose

    def _place(self, value: Any) -> int:
        self._values.append(value)
        return len(self._values) - 1


_NORMALIZATION = ("ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add")


def fused(nodes: Sequence[Node], constants: Mapping[str, Array]) -> Iterator[Node]:
    """Yield the nodes with each layer normalization, which older exports spell out in nine, as one."""
    known = dict(constants)
    uses = Counter(_uses(nodes))
    for node in nodes:
        if node.op == "Constant":
            known[node.outputs[0]] = _constant(node.attributes)
    plain = [node for node in nodes if node.op != "Constant"]
    yield from (node for node in nodes if node.op == "Constant")
    at = 0
    while at < len(plain):
        spelt = plain[at : at + len(_NORMALIZATION)]
        normal = _normalization(spelt, known)
        inside = Counter(_uses(spelt))
        if any(uses[name] != inside[name] for node in spelt[:-1] for name in node.outputs):
            normal = None  # somebody else wants a value in between
        yield normal or plain[at]
        at += len(_NORMALIZATION) if normal else 1


def _uses(nodes: Iterable[Node]) -> Iterator[str]:
    """Yield the values that nodes take, those that only their branches take as well."""
    for node in nodes:
        yield from node.inputs
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from _uses(value.nodes)
                yield from value.outputs


def _normalization(nodes: Sequence[Node], known: Mapping[str, Array]) -> Node | None:
    """Return the layer normalization over the last axis that ``nodes`` spell out, if they do."""
    if tuple(node.op for node in nodes) != _NORMALIZATION:
        return None
    mean, centre, square, power, add, root, divide, scale, shift = nodes
    x, centred = mean.inputs[0], centre.outputs[0]
    chain = (
        list(centre.inputs) == [x, mean.outputs[0]],
        square.inputs[0] == centred,
        power.inputs[0] == square.outputs[0],
        add.inputs[0] == power.outputs[0],
        root.inputs[0] == add.outputs[0],
        list(divide.inputs) == [centred, root.outputs[0]],
        scale.inputs[0] == divide.outputs[0],
        shift.inputs[0] == scale.outputs[0],
    )
    last = all(each.attributes.get("axes") == (-1,) and each.attributes.get("keepdims", 1) for each in (mean, power))
    two, epsilon = known.get(square.inputs[1]), known.get(add.inputs[1])
    if not (all(chain) and last and two is not None and np.all(two == 2) and epsilon is not None and epsilon.size == 1):
        return None
    attributes = {"axis": -1, "epsilon": float(epsilon.reshape(-1)[0])}
    return Node("LayerNormalization", (x, scale.inputs[1], shift.inputs[1]), shift.outputs, attributes)


def _call(function: Function, inputs: Sequence[int], output: int) -> Step:
    def call(places: list[Any]) -> None:
        places[output] = function(*[places[place] for place in inputs])

    return call


def _constant(attributes: Attributes) -> Array:
    if "value" in attributes:
        return np.asarray(attributes["value"])
    if "value_int" in attributes or "value_ints" in attributes:
        return np.asarray(attributes.get("value_int", attributes.get("value_ints")), np.int64)
    return np.asarray(attributes.get("value_float", attributes.get("value_floats")), np.float32)


def _gemm(attributes: Attributes) -> Function:
    alpha, beta = (np.float32(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    turn_a, turn_b = attributes.get("transA"), attributes.get("transB")

    def gemm(a: Array, b: Array, c: Array | None = None) -> Array:
        product: Array = (a.T if turn_a else a) @ (b.T if turn_b else b)
        if alpha != 1:
            product = product * alpha
        if c is not None:
            product = product + (c if beta == 1 else c * beta)
        return product

    return gemm


def _flatten(attributes: Attributes) -> Function:
    axis = attributes.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)


def _axes(attributes: Attributes, axes: Array | None) -> tuple[int, ...] | None:
    """Return the axes of an operator: an attribute in older opsets, an input in newer ones."""
    found: tuple[int, ...] | None = attributes.get("axes") if axes is None else tuple(int(axis) for axis in axes)
    return found


def _reduce_mean(attributes: Attributes) -> Function:
    keep = bool(attributes.get("keepdims", 1))

    def reduce_mean(x: Array, axes: Array | None = None) -> Array:
        # np.mean says the same five times slower; numpy's types do not know a variable keepdims.
        total: Array = np.add.reduce(x, axis=_axes(attributes, axes), keepdims=keep)  # type: ignore[call-overload]
        return total * np.float32(total.size / x.size)

    return reduce_mean


def _softmax(attributes: Attributes) -> Function:
    axis = attributes.get("axis", -1)

    def softmax(x: Array) -> Array:
        powers: Array = np.exp(x - x.max(axis=axis, keepdims=True))
        powers /= powers.sum(axis=axis, keepdims=True)
        return powers

    return softmax


def _layer_normalization(attributes: Attributes) -> Function:
    axis, epsilon = attributes.get("axis", -1), np.float32(attributes.get("epsilon", 1e-5))

    def layer_normalization(x: Array, scale: Array, bias: Array | None = None) -> Array:
        over = tuple(range(axis % x.ndim, x.ndim))
        share = np.float32(1 / math.prod(x.shape[axis % x.ndim :]))
        # np.mean says the same five times slower
        centred: Array = x - np.add.reduce(x, axis=over, keepdims=True) * share
        power = np.add.reduce(centred * centred, axis=over, keepdims=True)
        centred *= scale / np.sqrt(power * share + epsilon)
        if bias is not None:
            centred += bias
        return centred

    return layer_normalization


def _reshape(_: Attributes) -> Function:
    return lambda x, shape: x.reshape([x.shape[axis] if size == 0 else int(size) for axis, size in enumerate(shape)])


def _cast(attributes: Attributes) -> Function:
    kind = np.bool_ if attributes["to"] == 9 else np.float32
    return lambda x: x.astype(kind)


def _leaky(attributes: Attributes) -> Function:
    alpha = np.float32(attributes.get("alpha", 0.01))
    return lambda x: np.where(x >= 0, x, x * alpha)


def _plain(function: Function) -> Callable[[Attributes], Function]:
    """Make an operator of a function that needs no attributes."""
    return lambda _: function


_HALF = np.float32(0.5)

_OPERATORS: dict[str, Callable[[Attributes], Function]] = {
    "Add": _plain(np.add),
    "Cast": _cast,
    "Div": _plain(np.divide),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": _plain(lambda x: x),
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky,
    "MatMul": _plain(np.matmul),
    "Mul": _plain(np.multiply),
    "Pow": _plain(np.power),
    "ReduceMean": _reduce_mean,
    "Relu": _plain(lambda x: np.maximum(x, 0)),
    "Reshape": _reshape,
    "Sigmoid": _plain(lambda x: np.tanh(x * _HALF) * _HALF + _HALF),  # never overflows
    "Softmax": _softmax,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": lambda attributes: lambda x, axes=None: np.squeeze(x, _axes(attributes, axes)),
    "Sub": _plain(np.subtract),
    "Tanh": _plain(np.tanh),
    "Transpose": lambda attributes: lambda x: x.transpose(attributes.get("perm")),
    "Unsqueeze": lambda attributes: lambda x, axes=None: np.expand_dims(x, _axes(attributes, axes) or ()),
}
"""From an operator's name to what makes its function from a node's attributes."""
