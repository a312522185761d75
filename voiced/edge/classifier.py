"""Embeddings to a score: run a small ONNX classifier with numpy alone.

openWakeWord's classifiers, and those its training notebook makes, are a few dense layers. This runs their operators as
the ONNX specification (github.com/onnx/onnx/blob/main/docs/Operators.md, opsets 7 to 22) says; for others there is
onnxruntime.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from voiced.edge.onnxfile import Array, Graph, Node

Operator = Callable[..., Array]


class Classifier:
    """A small ONNX graph, ready to run. All its operators must be known: see :func:`missing_operators`."""

    def __init__(self, graph: Graph) -> None:
        self._input = graph.inputs[0][0] if graph.inputs else ""
        self._graph = _Plan(graph)

    def __call__(self, values: Array) -> Array:
        """Return the first output for the only input."""
        return self._graph.run({self._input: values})[0]


class _Plan:
    """A graph with its operators looked up and its constants laid out once."""

    def __init__(self, graph: Graph) -> None:
        self._constants = dict(graph.constants)
        self._outputs = graph.outputs
        self._steps: list[tuple[Operator | tuple[_Plan, _Plan], Node]] = []
        for node in graph.nodes:
            if node.op == "Constant":
                self._constants[node.outputs[0]] = _constant(node.attributes)
            elif node.op == "If":
                branches = (_Plan(node.attributes["then_branch"]), _Plan(node.attributes["else_branch"]))
                self._steps.append((branches, node))
            else:
                self._steps.append((_OPERATORS[node.op], node))

    def run(self, known: dict[str, Array]) -> list[Array]:
        values = {**known, **self._constants}
        for operator, node in self._steps:
            if isinstance(operator, tuple):
                branch = operator[0] if values[node.inputs[0]].any() else operator[1]
                values.update(zip(node.outputs, branch.run(values), strict=True))
            else:
                given = [values[name] for name in node.inputs if name]
                values[node.outputs[0]] = operator(node.attributes, *given)
        return [values[name] for name in self._outputs]


def missing_operators(graph: Graph) -> list[str]:
    """Return the operators of ``graph`` that :class:`Classifier` does not know."""
    return sorted(graph.operators - _OPERATORS.keys() - {"Constant", "If"})


def _gemm(attributes: Mapping[str, Any], a: Array, b: Array, c: Array | None = None) -> Array:
    a = a.T if attributes.get("transA") else a
    b = b.T if attributes.get("transB") else b
    product = a @ b
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    product = product if alpha == 1 else product * np.float32(alpha)
    if c is None:
        return np.asarray(product)
    return np.asarray(product + (c if beta == 1 else c * np.float32(beta)))


def _flatten(attributes: Mapping[str, Any], x: Array) -> Array:
    axis = attributes.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _reduce_mean(attributes: Mapping[str, Any], x: Array, axes: Array | None = None) -> Array:
    over = attributes.get("axes") if axes is None else tuple(int(axis) for axis in axes)
    return np.asarray(np.mean(x, axis=over, keepdims=bool(attributes.get("keepdims", 1))))


def _sigmoid(_: Mapping[str, Any], x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -80, 80))))


def _softmax(attributes: Mapping[str, Any], x: Array) -> Array:
    axis = attributes.get("axis", -1)
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _layer_normalization(attributes: Mapping[str, Any], x: Array, scale: Array, bias: Array | None = None) -> Array:
    axis = attributes.get("axis", -1)
    over = tuple(range(axis % x.ndim, x.ndim))
    centred = x - x.mean(axis=over, keepdims=True)
    variance = np.mean(centred**2, axis=over, keepdims=True)
    normal = centred / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5))) * scale
    return np.asarray(normal if bias is None else normal + bias)


def _reshape(_: Mapping[str, Any], x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[axis] if size == 0 else int(size) for axis, size in enumerate(shape)])


def _transpose(attributes: Mapping[str, Any], x: Array) -> Array:
    return x.transpose(attributes.get("perm"))


def _squeeze(attributes: Mapping[str, Any], x: Array, axes: Array | None = None) -> Array:
    over = attributes.get("axes") if axes is None else tuple(int(axis) for axis in axes)
    return np.squeeze(x, axis=over)


def _unsqueeze(attributes: Mapping[str, Any], x: Array, axes: Array | None = None) -> Array:
    over = attributes["axes"] if axes is None else tuple(int(axis) for axis in axes)
    return np.expand_dims(x, over)


def _cast(attributes: Mapping[str, Any], x: Array) -> Array:
    to_bool = 9
    return x.astype(np.bool_ if attributes["to"] == to_bool else np.float32)


def _constant(attributes: Mapping[str, Any]) -> Array:
    if "value" in attributes:
        return np.asarray(attributes["value"])
    if "value_int" in attributes or "value_ints" in attributes:
        return np.asarray(attributes.get("value_int", attributes.get("value_ints")), np.int64)
    return np.asarray(attributes.get("value_float", attributes.get("value_floats")), np.float32)


def _plain(function: Callable[..., Any]) -> Operator:
    """Make an operator of a function that needs no attributes."""
    return lambda _, *values: np.asarray(function(*values))


def _leaky(attributes: Mapping[str, Any], x: Array) -> Array:
    return np.where(x >= 0, x, x * np.float32(attributes.get("alpha", 0.01)))


_OPERATORS: dict[str, Operator] = {
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
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(np.subtract),
    "Tanh": _plain(np.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
