"""Write small ONNX files, so that tests can make models of their own: the fields of ``onnx.proto3`` that are needed."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_TYPES = {"float32": 1, "int64": 7, "float64": 11}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: float | str | bytes) -> bytes:
    """Return one field: a varint, a float, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values: Any, *, packed: bool = False) -> bytes:
    """Return a TensorProto; ``packed`` writes the typed fields and not raw bytes."""
    array = np.asarray(values)
    kind = _TYPES[array.dtype.name]
    out = b"".join(field(1, int(size)) for size in array.shape) + field(2, kind) + field(8, name)
    if not packed:
        return out + field(9, array.tobytes())
    if kind == 7:
        return out + field(7, b"".join(varint(int(value)) for value in array.reshape(-1)))
    return out + field(4 if kind == 1 else 10, array.tobytes())


def attribute(name: str, value: Any) -> bytes:
    """Return an AttributeProto: int, float, list of ints, array, or a graph as bytes."""
    out = field(1, name)
    if isinstance(value, bytes):
        return out + field(6, value) + field(20, 5)
    if isinstance(value, int):
        return out + field(3, value) + field(20, 2)
    if isinstance(value, float):
        return out + field(2, value) + field(20, 1)
    if isinstance(value, list):
        return out + b"".join(field(8, number) for number in value) + field(20, 7)
    return out + field(5, tensor("", value)) + field(20, 4)


def node(
    op: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Mapping[str, Any] | None = None,
    domain: str = "",
) -> bytes:
    """Return a NodeProto."""
    out = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs) + field(4, op)
    out += b"".join(field(5, attribute(name, value)) for name, value in (attributes or {}).items())
    return out + (field(7, domain) if domain else b"")


def value_info(name: str, shape: Sequence[int | None]) -> bytes:
    """Return a ValueInfoProto of floats; ``None`` is a free dimension."""
    sizes = b"".join(field(1, field(2, "n") if size is None else field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sizes)))


def graph(
    nodes: Sequence[bytes],
    output: tuple[str, Sequence[int]],
    inputs: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    *,
    packed: bool = False,
) -> bytes:
    """Return a GraphProto."""
    out = b"".join(field(1, each) for each in nodes) + field(2, "test")
    out += b"".join(field(5, tensor(name, value, packed=packed)) for name, value in (constants or {}).items())
    out += b"".join(field(11, value_info(name, shape)) for name, shape in (inputs or {}).items())
    return out + field(12, value_info(*output))


def model(the_graph: bytes, opset: int = 17) -> bytes:
    """Return a ModelProto: the contents of a file."""
    return field(1, 8) + field(7, the_graph) + field(8, field(2, opset))
