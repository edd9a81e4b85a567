"""A text graph with a second input: weights of the ids, by which the rows of the stems are multiplied before their sum.

The graph on the disk stays as it is, since its hash is in the fingerprint that indexes remember. It is edited in
memory, field by field: what is looked at are a few fields of onnx.proto3, and all else is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from itl_infer.encoder.protobuf import Piece, as_field, fields, head_of_field

WEIGHTS = "weights_of_ids"

# Fields of onnx.proto3, by their numbers there.
_GRAPH = 7  # of ModelProto
_NODE, _INPUT = 1, 11  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE = 1, 2, 4  # of NodeProto
# What may stand between the gathered rows and their sum, such as the scales of int8 rows.
_BY_ELEMENT = frozenset(("Cast", "DequantizeLinear", "Identity", "Mul"))


def with_weights(graph: bytes, ids: str) -> bytes:
    """The ONNX graph `graph` with an input `WEIGHTS`, float32 (N, T, 1), for the ids (N, T) of its input `ids`.

    A weight of 1 changes nothing. Raises ValueError where the graph is not one that gathers rows by the ids and sums
    them.
    """
    pieces: list[Piece] = []
    found = False
    for number, _, whole, content in fields(graph):
        if number == _GRAPH:
            found = True
            edited = _weighted(content, ids)
            pieces += [head_of_field(_GRAPH, sum(map(len, edited))), *edited]
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
        found: dict[int, list[str]] = {}
        for number, _, _, value in fields(content):
            if number in (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE):
                found.setdefault(number, []).append(bytes(value).decode())
        return cls("".join(found.get(_OP_TYPE, [])), found.get(_NODE_INPUT, []), found.get(_NODE_OUTPUT, []))


def _weighted(graph: memoryview, ids: str) -> list[Piece]:
    """The pieces of a GraphProto with the rows multiplied, and the input that says by what."""
    pieces: list[Piece] = []
    rows: set[str] = set()  # the names of what is computed from the rows of the ids, before they are summed
    summed = False
    for number, _, whole, content in fields(graph):
        node = _Node.parse(content) if number == _NODE else None
        if node is not None and not summed:
            if node.op_type == "ReduceSum" and rows.issuperset(node.inputs[:1] or [""]):
                summed = True
                weighted = f"{node.inputs[0]}.weighted"
                pieces += [
                    as_field(_NODE, _product(node.inputs[0], weighted)),
                    _with_input(content, weighted),
                ]
                continue
            if (node.op_type == "Gather" and node.inputs[1:] == [ids]) or (
                node.op_type in _BY_ELEMENT and rows.intersection(node.inputs)
            ):
                rows.update(node.outputs)
        pieces.append(whole)
    if not summed:
        raise ValueError(f"no sum over rows that are gathered by {ids}")
    return [*pieces, as_field(_INPUT, _INPUT_OF_WEIGHTS)]


def _with_input(node: memoryview, name: str) -> bytes:
    """The field of a node whose first input has another name."""
    pieces: list[Piece] = []
    is_first = True
    for number, _, whole, _ in fields(node):
        pieces.append(as_field(_NODE_INPUT, name.encode()) if is_first and number == _NODE_INPUT else whole)
        is_first = is_first and number != _NODE_INPUT
    return as_field(_NODE, b"".join(pieces))


def _product(rows: str, product: str) -> bytes:
    """A NodeProto."""
    return b"".join(
        [
            as_field(_NODE_INPUT, rows.encode()),
            as_field(_NODE_INPUT, WEIGHTS.encode()),
            as_field(_NODE_OUTPUT, product.encode()),
            as_field(_OP_TYPE, b"Mul"),
        ]
    )


# A ValueInfoProto: its name, and the type of a tensor (1) of floats (1) with a shape (2) of three dimensions (1), of
# which the first two may have any size, and the last one has the size (1) 1.
_INPUT_OF_WEIGHTS = as_field(1, WEIGHTS.encode()) + as_field(
    2, as_field(1, b"\x08\x01" + as_field(2, 2 * as_field(1, b"") + as_field(1, b"\x08\x01")))
)
