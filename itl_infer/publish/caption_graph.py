"""The caption branch of a text graph as arrays: rows of stems that are summed, dense layers, and a unit vector.

Read from the ONNX file as protobuf writes it, which needs no package. A graph of another kind is a ValueError that says
what is in it that a page cannot compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.encoder.protobuf import fields, varint

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

# Fields of onnx.proto3, by their numbers there.
_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE = 1, 2, 4, 5  # of NodeProto
_ATTRIBUTE_NAME, _FLOAT, _INT, _TENSOR = 1, 2, 3, 5  # of AttributeProto
_DIMS, _DATA_TYPE, _FLOAT_DATA, _INT32_DATA, _INT64_DATA, _TENSOR_NAME, _RAW_DATA = (
    1,
    2,
    4,
    5,
    7,
    8,
    9,
)  # TensorProto
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}  # by its data types

# What makes a vector one of unit length, whichever way a graph writes it.
_NORMALISING = """
    Abs Add Cast Clip Constant Div Expand Identity LpNormalization Max Mul Pow Reciprocal ReduceL2 ReduceSum
    ReduceSumSquare Shape Sqrt
"""


@dataclass(frozen=True)
class Dense:
    """One layer: relu(weights @ x + biases), or without the relu."""

    weights: Floats  # (outputs, inputs)
    biases: Floats  # (outputs,)
    relu: bool = False


@dataclass(frozen=True)
class CaptionBranch:
    """unit(layers(sum of rows)); the row of id i is codes[i] * scales[i]."""

    codes: npt.NDArray[np.int8]  # (1 + stems, width)
    scales: Floats  # (1 + stems,)
    layers: tuple[Dense, ...]

    def embed(self, ids: Sequence[int]) -> Floats:
        """The unit embedding (D,) of a text with these ids."""
        vector = (self.codes[ids] * self.scales[ids, None]).sum(axis=0)
        for layer in self.layers:
            vector = layer.weights @ vector + layer.biases
            vector = np.maximum(vector, 0) if layer.relu else vector
        unit: Floats = vector / np.linalg.norm(vector)
        return unit


def read_caption_branch(graph: bytes) -> CaptionBranch:
    """The caption branch of an ONNX graph, its rows as int8. Raises ValueError, which says why not."""
    nodes, constants = _parse(graph)
    rows, summed, rest = _read_rows(nodes, constants)
    layers, rest = _read_layers(summed, rest, constants)
    if unknown := [node.op_type for node in rest if node.op_type not in _NORMALISING.split()]:
        raise ValueError(f"{unknown[0]} behind its layers")
    if not layers:
        layers = [Dense(np.eye(rows.shape[1], dtype=np.float32), np.zeros(rows.shape[1], np.float32))]
    codes, scales = quantize(rows)
    return CaptionBranch(codes, scales, tuple(layers))


def quantize(rows: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """(N, D) rows as int8, and the scale of each, (N,): 127 stands for the number that is farthest from 0."""
    scales = np.maximum(np.abs(rows).max(axis=1, initial=0), 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


@dataclass(frozen=True)
class _Node:
    op_type: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)


def _read_rows(nodes: list[_Node], constants: dict[str, Array]) -> tuple[Floats, str, list[_Node]]:
    """The row of each id, the name of their sum, and the nodes behind it. Constants are computed on the way."""
    rows: dict[str, Array] = {}  # by the name of what is computed from gathered rows: the same of all rows
    for place, node in enumerate(nodes):
        if node.op_type == "Gather" and node.inputs[0] in constants and node.inputs[1] == "input_ids":
            rows[node.output] = constants[node.inputs[0]]
        elif node.op_type == "ReduceSum" and node.inputs[0] in rows:
            if node.attributes.get("keepdims", 1) or _axes_of(node, constants) != [1]:
                raise ValueError("a sum that is not one over the stems of a text")
            return rows[node.inputs[0]].astype(np.float32), node.output, nodes[place + 1 :]
        elif (compute := _BY_ELEMENT.get(node.op_type)) is not None:
            known = {**constants, **rows}
            if not all(name in known for name in node.inputs):
                break
            target = rows if any(name in rows for name in node.inputs) else constants
            target[node.output] = compute(node, [known[name] for name in node.inputs])
        else:
            break
    raise ValueError("no sum over rows that are gathered by input_ids")


def _read_layers(
    name: str, nodes: list[_Node], constants: dict[str, Array]
) -> tuple[list[Dense], list[_Node]]:
    """The dense layers behind the value `name`, and the nodes behind them."""
    layers: list[Dense] = []
    for place, node in enumerate(nodes):
        compute = _BY_ELEMENT.get(node.op_type)
        if compute is not None and all(one in constants for one in node.inputs):
            constants[node.output] = compute(node, [constants[one] for one in node.inputs])
            continue
        others = [constants[one] for one in node.inputs if one in constants]
        if name not in node.inputs or len(others) != len(node.inputs) - 1:
            return layers, nodes[place:]
        if node.op_type == "Gemm" and node.inputs[0] == name:
            layers.append(_gemm(node, others))
        elif node.op_type == "MatMul" and node.inputs[0] == name:
            layers.append(Dense(np.ascontiguousarray(others[0].T), np.zeros(others[0].shape[1], np.float32)))
        elif node.op_type == "Add" and layers and not layers[-1].relu and others[0].ndim <= 1:
            last = layers[-1]
            layers[-1] = Dense(last.weights, (last.biases + others[0]).astype(np.float32))
        elif node.op_type == "Relu" and layers:
            layers[-1] = Dense(layers[-1].weights, layers[-1].biases, relu=True)
        elif node.op_type != "Identity":
            return layers, nodes[place:]
        name = node.output
    return layers, []


def _gemm(node: _Node, others: list[Array]) -> Dense:
    given = node.attributes
    if given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1 or given.get("transA", 0):
        raise ValueError("a Gemm with factors")
    weights = others[0] if given.get("transB", 0) else others[0].T
    biases = others[1] if len(others) > 1 else np.zeros(len(weights))
    return Dense(
        np.ascontiguousarray(weights, np.float32),
        np.broadcast_to(biases, len(weights)).astype(np.float32),
    )


def _dequantize(node: _Node, given: list[Array]) -> Array:
    values, scales, *zero = given
    if scales.ndim == 1 and len(scales) > 1 and node.attributes.get("axis", 1) in (0, -2):
        scales, zero = scales[:, None], [one[:, None] for one in zero]
    return (values.astype(np.float32) - (zero[0].astype(np.float32) if zero else 0)) * scales


_BY_ELEMENT: dict[str, Callable[[_Node, list[Array]], Array]] = {
    "Cast": lambda node, given: given[0].astype(_DTYPES[node.attributes["to"]]),
    "Constant": lambda node, _: node.attributes["value"],
    "DequantizeLinear": _dequantize,
    "Identity": lambda _, given: given[0],
    "Mul": lambda _, given: given[0] * given[1],
}
"""What is computed number by number, and so may be computed of all rows at once."""


def _axes_of(node: _Node, constants: dict[str, Array]) -> list[int]:
    axes = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    return [] if axes is None else [int(axis) for axis in axes.ravel()]


def _parse(model: bytes) -> tuple[list[_Node], dict[str, Array]]:
    """The nodes of a graph, in order, and its constants by name."""
    graphs = [content for number, _, _, content in fields(model) if number == _GRAPH]
    if len(graphs) != 1:
        raise ValueError("no graph in it")
    nodes, constants = [], {}
    for number, _, _, content in fields(graphs[0]):
        if number == _NODE:
            nodes.append(_parse_node(content))
        elif number == _INITIALIZER:
            name, value = _parse_tensor(content)
            constants[name] = value
    return nodes, constants


def _parse_node(content: memoryview) -> _Node:
    inputs, output, op_type, attributes = [], "", "", {}
    for number, _, _, value in fields(content):
        if number == _NODE_INPUT:
            inputs.append(bytes(value).decode())
        elif number == _NODE_OUTPUT:
            output = output or bytes(value).decode()
        elif number == _OP_TYPE:
            op_type = bytes(value).decode()
        elif number == _ATTRIBUTE:
            name, given = _parse_attribute(value)
            attributes[name] = given
    return _Node(op_type, inputs, output, attributes)


def _parse_attribute(content: memoryview) -> tuple[str, Any]:
    name = ""
    given: Any = None
    for number, _, _, value in fields(content):
        if number == _ATTRIBUTE_NAME:
            name = bytes(value).decode()
        elif number == _FLOAT:
            given = float(np.frombuffer(value, "<f4")[0])
        elif number == _INT:
            given = varint(value, 0)[0]
        elif number == _TENSOR:
            _, given = _parse_tensor(value)
    return name, given


def _parse_tensor(content: memoryview) -> tuple[str, Array]:
    name, dtype = "", 0
    values: Array | None = None
    dims: list[int] = []
    numbers: list[int] = []
    for number, _, whole, value in fields(content):
        if number == _TENSOR_NAME:
            name = bytes(value).decode()
        elif number == _DATA_TYPE:
            dtype = varint(value, 0)[0]
        elif number in (_DIMS, _INT32_DATA, _INT64_DATA):
            (dims if number == _DIMS else numbers).extend(_varints(whole, value))
        elif number in (_RAW_DATA, _FLOAT_DATA):
            values = np.frombuffer(value, np.uint8)
    if dtype not in _DTYPES:
        raise ValueError(f"numbers of type {dtype}")
    if values is None:
        return name, np.array(numbers, np.uint64).astype(np.int64).astype(_DTYPES[dtype]).reshape(dims)
    return name, values.view(_DTYPES[dtype]).reshape(dims)


def _varints(whole: memoryview, value: memoryview) -> list[int]:
    """One number, or many behind each other."""
    found, place = [], 0
    is_packed = whole[0] & 7 == 2
    while place < len(value):
        number, place = varint(value, place)
        found.append(number)
        if not is_packed:
            break
    return found
