"""Read ONNX model files: a small protocol buffers reader, so that idle memory holds no onnxruntime.

Field numbers are those of ``onnx.proto3`` (github.com/onnx/onnx). Only what wake models use is read.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voiced.errors import ModelError

Array: TypeAlias = NDArray[Any]

_TENSOR_TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
"""``TensorProto.DataType``: FLOAT, INT32, INT64, BOOL, FLOAT16, DOUBLE."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. An attribute is an int, float, bytes, tuple of ints or floats, array or :class:`Graph`."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """Operations in order, and the named constants they use."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    """Name and shape of what goes in; ``None`` for a free dimension. Constants are left out."""
    outputs: tuple[str, ...]

    @property
    def operators(self) -> set[str]:
        """Return the names of all operations, also of those inside branches."""
        found = {node.op for node in self.nodes}
        for node in self.nodes:
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    found |= value.operators
        return found


class _BrokenError(Exception):
    """The bytes are not what protocol buffers or ONNX say."""


def read(path: Path) -> Graph:
    """Read the graph of a model file.

    Raises:
        ModelError: If it cannot be read, or is not ONNX.

    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"wake model {path} cannot be read: {exc.strerror}") from exc
    try:
        return _graph(_message(_message(memoryview(data))[7][-1]))
    except KeyError as exc:
        raise ModelError(f"wake model {path} is not an ONNX file: it holds no graph") from exc
    except (_BrokenError, ValueError, TypeError, struct.error) as exc:
        raise ModelError(f"wake model {path} is not a whole ONNX file ({exc}); fetch or copy it again") from exc


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _BrokenError("it ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field: an unsigned int, or bytes as a view."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in {_FIXED32, _FIXED64}:
            size = 4 if wire == _FIXED32 else 8
        else:
            raise _BrokenError(f"unknown wire type {wire}")
        if at + size > len(data):
            raise _BrokenError("it is cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _message(value: Any) -> dict[int, list[Any]]:
    """Return a message's values by field number."""
    if not isinstance(value, memoryview):
        raise _BrokenError("a number stands where a message belongs")
    fields: dict[int, list[Any]] = {}
    for number, field in _fields(value):
        fields.setdefault(number, []).append(field)
    return fields


def _bytes(value: Any) -> bytes:
    if not isinstance(value, memoryview):
        raise _BrokenError("a number stands where text belongs")
    return bytes(value)


def _text(values: list[Any] | None) -> str:
    return _bytes(values[-1]).decode() if values else ""


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _integers(values: list[Any]) -> list[int]:
    """Return repeated integers, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_signed(number))
    return found


def _graph(fields: dict[int, list[Any]]) -> Graph:
    constants = dict(_tensor(_message(value)) for value in fields.get(5, ()))
    inputs = (_value_info(_message(value)) for value in fields.get(11, ()))
    return Graph(
        nodes=tuple(_node(_message(value)) for value in fields.get(1, ())),
        constants=constants,
        inputs=tuple(each for each in inputs if each[0] not in constants),
        outputs=tuple(_value_info(_message(value))[0] for value in fields.get(12, ())),
    )


def _node(fields: dict[int, list[Any]]) -> Node:
    domain = _text(fields.get(7))
    op = _text(fields.get(4))
    return Node(
        op=op if domain in {"", "ai.onnx"} else f"{domain}.{op}",
        inputs=tuple(_bytes(value).decode() for value in fields.get(1, ())),
        outputs=tuple(_bytes(value).decode() for value in fields.get(2, ())),
        attributes=dict(_attribute(_message(value)) for value in fields.get(5, ())),
    )


def _attribute(fields: dict[int, list[Any]]) -> tuple[str, Any]:
    name = _text(fields.get(1))
    if 2 in fields:
        return name, struct.unpack("<f", fields[2][-1])[0]
    if 3 in fields:
        return name, _signed(fields[3][-1])
    if 4 in fields:
        return name, _bytes(fields[4][-1])
    if 5 in fields:
        return name, _tensor(_message(fields[5][-1]))[1]
    if 6 in fields:
        return name, _graph(_message(fields[6][-1]))
    if 7 in fields:
        return name, tuple(np.frombuffer(b"".join(fields[7]), "<f4").tolist())
    return name, tuple(_integers(fields.get(8, [])))


def _tensor(fields: dict[int, list[Any]]) -> tuple[str, Array]:
    name, shape = _text(fields.get(8)), _integers(fields.get(1, []))
    kind = fields.get(2, [0])[-1]
    if kind not in _TENSOR_TYPES:
        raise _BrokenError(f"constant {name!r} is of type {kind}")
    if fields.get(14, [0])[-1]:
        raise _BrokenError(f"constant {name!r} lies in another file")
    dtype = np.dtype(_TENSOR_TYPES[kind])
    if 9 in fields:
        values = np.frombuffer(fields[9][-1], dtype)
    elif 4 in fields or 10 in fields:  # float_data, double_data
        values = np.frombuffer(b"".join(fields.get(4) or fields[10]), dtype)
    else:  # int32_data, int64_data
        values = np.array(_integers(fields.get(5) or fields.get(7) or []), dtype)
    # A copy, because values may lie at odd addresses in the file, and numpy multiplies those twenty times slower.
    return name, values.reshape(shape).copy()


def _value_info(fields: dict[int, list[Any]]) -> tuple[str, tuple[int | None, ...]]:
    """Return name and shape of a tensor (ValueInfoProto, TypeProto, TensorShapeProto)."""
    kind = _message(fields[2][-1]) if 2 in fields else {}
    tensor = _message(kind[1][-1]) if 1 in kind else {}
    shape = _message(tensor[2][-1]) if 2 in tensor else {}
    dimensions = (_message(value).get(1) for value in shape.get(1, ()))
    return _text(fields.get(1)), tuple(_signed(size[-1]) if size else None for size in dimensions)
