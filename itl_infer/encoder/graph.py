"""Whether an ONNX graph may be opened: read field by field, before onnxruntime makes anything of it.

A graph comes with a bundle, from anywhere. Any operator of the default domain may be in it; what may not are those
that run others without an end that could be foreseen, functions of its own, weights in other files, and sizes beyond
what a run may take. The numbers are those of onnx.proto3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from itl_infer.encoder.protobuf import BYTES, Field, Piece, fields

LONGEST_GRAPH = 2**29  # bytes: a session takes about twice that
_MOST_BYTES = 2**29  # of all tensors, as they are declared
_MOST_FIELDS = 2**20  # some ten seconds
_MOST_DIMENSIONS = 64
_LARGEST_SIZE = 2**31 - 1  # of a dimension
_DEFAULT_DOMAINS = ("", "ai.onnx")
_WIDEST = 16  # bytes of an element: complex128
_WIDTHS = {  # bytes of an element, by TensorProto.DataType
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26), 1),
    **dict.fromkeys((4, 5, 10, 16), 2),
    **dict.fromkeys((1, 6, 12), 4),
    **dict.fromkeys((7, 11, 13, 14), 8),
}
# What makes no more of constants than they were: onnxruntime computes it while it opens a graph.
_NEVER_LARGER = frozenset(
    (
        *(
            "Cast",
            "Constant",
            "DequantizeLinear",
            "Flatten",
            "Identity",
            "Neg",
            "QuantizeLinear",
            "Reciprocal",
        ),
        *("Reshape", "Shape", "Size", "Slice", "Sqrt", "Squeeze", "Transpose", "Unsqueeze"),
    )
)


@dataclass
class GraphContent:
    """What was found in a graph."""

    operators: set[str] = field(default_factory=set)
    computed_early: int = 0  # nodes of constants alone, which may make more of them
    bytes: int = 0  # of its tensors
    _constants: set[str] = field(default_factory=set)
    _fields: int = 0

    def fields(self, message: Piece) -> Iterator[Field]:
        """Those of a message that is in the graph. ValueError where there are too many of them in all."""
        for part in fields(message):
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise ValueError(f"it has more than {_MOST_FIELDS} fields")
            yield part


def check_graph(model: bytes) -> GraphContent:
    """Read a ModelProto. Raises ValueError, which says what is in it that may not be."""
    found = GraphContent()
    graphs: list[Piece] = []
    for part in found.fields(model):
        match part.number:
            case 7:
                graphs.append(part.message())
            case 8:
                _require_default_domain(part.message(), found)
            case 20 | 25:
                raise ValueError("it has functions of its own, or instructions for a training")
    if not graphs:
        raise ValueError("no graph in it")
    for graph in graphs:  # readers merge several into one
        _check_tensors(graph, found)
    for graph in graphs:
        for part in found.fields(graph):
            if part.number == 1:
                _check_node(part.message(), found)
    return found


def _check_tensors(graph: Piece, found: GraphContent) -> None:
    for part in found.fields(graph):
        match part.number:
            case 5:
                found._constants.add(_check_tensor(part.message(), found))
            case 11 | 12 | 13:
                _check_value(part.message(), found)
            case 15:
                _check_sparse(part.message(), found)


def _check_node(node: Piece, found: GraphContent) -> None:
    inputs: list[str] = []
    outputs: list[str] = []
    operator = ""
    for part in found.fields(node):
        match part.number:
            case 1:
                inputs.append(part.text())
            case 2:
                outputs.append(part.text())
            case 4:
                operator = part.text()
            case 5:
                _check_attribute(part.message(), found)
            case 7 if (domain := part.text()) not in _DEFAULT_DOMAINS:
                raise ValueError(f"an operator of the domain {domain[:40]!r} is in it")
    found.operators.add(operator)
    if found._constants.issuperset(name for name in inputs if name):
        found._constants.update(outputs)
        found.computed_early += operator not in _NEVER_LARGER


def _check_attribute(attribute: Piece, found: GraphContent) -> None:
    for part in found.fields(attribute):
        match part.number:
            case 5 | 10:
                _check_tensor(part.message(), found)
            case 6 | 11:
                raise ValueError("control flow is in it (such as Loop, Scan or If)")
            case 22 | 23:
                _check_sparse(part.message(), found)


def _check_tensor(tensor: Piece, found: GraphContent) -> str:
    """Its name."""
    name, kind = "", 0
    sizes: list[int] = []
    for part in found.fields(tensor):
        match part.number:
            case 1:
                _add_sizes(sizes, part)
            case 2:
                kind = (part.numbers() or [0])[-1]
            case 8:
                name = part.text()
            case 13 | 14 if part.kind == BYTES or any(part.numbers()):
                raise ValueError("it keeps weights in another file (external data), which no hash covers")
    _count(sizes, kind, found)
    return name


def _check_sparse(tensor: Piece, found: GraphContent) -> None:
    """One that is made whole when it is used."""
    sizes: list[int] = []
    for part in found.fields(tensor):
        match part.number:
            case 1:
                found._constants.add(_check_tensor(part.message(), found))
            case 2:
                _check_tensor(part.message(), found)
            case 3:
                _add_sizes(sizes, part)
    _count(sizes, 0, found)


def _check_value(value: Piece, found: GraphContent) -> None:
    """What an input, an output or a value between them is declared to be."""

    def within(message: Piece, number: int) -> Iterator[Piece]:
        return (part.message() for part in found.fields(message) if part.number == number)

    for type_ in within(value, 2):
        for tensor in within(type_, 1):
            for shape in within(tensor, 2):
                sizes: list[int] = []
                for dimension in within(shape, 1):
                    for part in found.fields(dimension):
                        if part.number == 1:
                            _add_sizes(sizes, part)
                if math.prod(sizes) > _MOST_BYTES:
                    raise ValueError(f"a value of {sizes[:8]} numbers is declared in it: too large")


def _add_sizes(sizes: list[int], part: Field) -> None:
    """Those of dimensions, one or several that are packed."""
    if len(part.content) > 10 * _MOST_DIMENSIONS or len(sizes) >= _MOST_DIMENSIONS:
        raise ValueError(f"something of more than {_MOST_DIMENSIONS} dimensions is in it")
    for size in part.numbers():
        if not 0 <= size <= _LARGEST_SIZE:
            raise ValueError(f"something of the size {size} is declared in it")
        sizes.append(size)


def _count(sizes: list[int], kind: int, found: GraphContent) -> None:
    found.bytes += math.prod(sizes) * _WIDTHS.get(kind, _WIDEST)
    if found.bytes > _MOST_BYTES:
        raise ValueError(
            f"its tensors are declared to take more than {_MOST_BYTES // 2**20} MB, such as one of {sizes[:8]}"
        )


def _require_default_domain(opset: Piece, found: GraphContent) -> None:
    for part in found.fields(opset):
        if part.number == 1 and part.text() not in _DEFAULT_DOMAINS:
            raise ValueError(
                f"its operators are of the domain {part.text()[:40]!r}, only those of ONNX itself are run"
            )
