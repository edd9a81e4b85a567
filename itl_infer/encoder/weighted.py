"""A text graph with a second input: weights of the ids, by which the rows of the stems are multiplied before their sum.

The graph on the disk stays as it is, since its hash is in the fingerprint that indexes remember. It is edited in memory
as protobuf writes it (https://protobuf.dev/programming-guides/encoding/), which needs no package: what is looked at are
a few fields of onnx.proto3, and all else is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

WEIGHTS = "weights_of_ids"

_Piece: TypeAlias = "bytes | memoryview"

# Fields of onnx.proto3, by their numbers there.
_GRAPH = 7  # of ModelProto
_NODE, _INPUT = 1, 11  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE = 1, 2, 4  # of NodeProto
_BYTES = 2  # the wire type of texts and messages
# What may stand between the gathered rows and their sum, such as the scales of int8 rows.
_BY_ELEMENT = frozenset(("Cast", "DequantizeLinear", "Identity", "Mul"))


def with_weights(graph: bytes, ids: str) -> bytes:
    """The ONNX graph `graph` with an input `WEIGHTS`, float32 (N, T, 1), for the ids (N, T) of its input `ids`.

    A weight of 1 changes nothing. Raises ValueError where the graph is not one that gathers rows by the ids and sums
    them.
    """
    pieces: list[_Piece] = []
    found = False
    for number, whole, content in _fields(graph):
        if number == _GRAPH:
            found = True
            edited = _weighted(content, ids)
            pieces += [_head(_GRAPH, sum(map(len, edited))), *edited]
        else:
            pieces.append(whole)
    if not found:
        raise ValueError("no graph in it")
    return b"".join(pieces)  # once: a graph is some millions of bytes


@dataclass(frozen=True)
class _Node:
    op_type: str
    inputs: list[str]
    outputs: list[str]

    @classmethod
    def parse(cls, content: memoryview) -> _Node:
        fields: dict[int, list[str]] = {}
        for number, _, value in _fields(content):
            if number in (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE):
                fields.setdefault(number, []).append(bytes(value).decode())
        return cls(
            "".join(fields.get(_OP_TYPE, [])), fields.get(_NODE_INPUT, []), fields.get(_NODE_OUTPUT, [])
        )


def _weighted(graph: memoryview, ids: str) -> list[_Piece]:
    """The pieces of a GraphProto with the rows multiplied, and the input that says by what."""
    pieces: list[_Piece] = []
    rows: set[str] = set()  # the names of what is computed from the rows of the ids, before they are summed
    summed = False
    for number, whole, content in _fields(graph):
        node = _Node.parse(content) if number == _NODE else None
        if node is not None and not summed:
            if node.op_type == "ReduceSum" and node.inputs[0] in rows:
                summed = True
                weighted = f"{node.inputs[0]}.weighted"
                pieces += [_field(_NODE, _product(node.inputs[0], weighted)), _with_input(content, weighted)]
                continue
            if (node.op_type == "Gather" and node.inputs[1:] == [ids]) or (
                node.op_type in _BY_ELEMENT and rows.intersection(node.inputs)
            ):
                rows.update(node.outputs)
        pieces.append(whole)
    if not summed:
        raise ValueError(f"no sum over rows that are gathered by {ids}")
    return [*pieces, _field(_INPUT, _INPUT_OF_WEIGHTS)]


def _with_input(node: memoryview, name: str) -> bytes:
    """The field of a node whose first input has another name."""
    pieces: list[_Piece] = []
    is_first = True
    for number, whole, _ in _fields(node):
        pieces.append(_field(_NODE_INPUT, name.encode()) if is_first and number == _NODE_INPUT else whole)
        is_first = is_first and number != _NODE_INPUT
    return _field(_NODE, b"".join(pieces))


def _product(rows: str, product: str) -> bytes:
    """A NodeProto."""
    return b"".join(
        [
            _field(_NODE_INPUT, rows.encode()),
            _field(_NODE_INPUT, WEIGHTS.encode()),
            _field(_NODE_OUTPUT, product.encode()),
            _field(_OP_TYPE, b"Mul"),
        ]
    )


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a message: number, the whole field, and what it holds. ValueError where it is none."""
    message = memoryview(message)
    place = 0
    while place < len(message):
        start = place
        key, place = _varint(message, place)
        match key & 7:
            case 0:
                _, end = _varint(message, place)
            case 1:
                end = place + 8
            case 2:
                length, place = _varint(message, place)
                end = place + length
            case 5:
                end = place + 4
            case other:
                raise ValueError(f"not a message of protobuf: wire type {other}")
        if end > len(message):
            raise ValueError("not a message of protobuf: it ends too soon")
        yield key >> 3, message[start:end], message[place:end]
        place = end


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number, seven bits a byte, the lowest first; and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise ValueError("not a message of protobuf: a number without an end")


def _field(number: int, content: bytes) -> bytes:
    """A field that holds a text or a message."""
    return _head(number, len(content)) + content


def _head(number: int, length: int) -> bytes:
    """What stands before that."""
    return _as_varint(number << 3 | _BYTES) + _as_varint(length)


def _as_varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


# A ValueInfoProto: its name, and the type of a tensor (1) of floats (1) with a shape (2) of three dimensions (1), of
# which the first two may have any size, and the last one has the size (1) 1.
_INPUT_OF_WEIGHTS = _field(1, WEIGHTS.encode()) + _field(
    2, _field(1, b"\x08\x01" + _field(2, 2 * _field(1, b"") + _field(1, b"\x08\x01")))
)
