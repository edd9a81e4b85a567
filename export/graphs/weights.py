"""Weights as int8 where the arithmetic stays float32: they are widened as they are used, and a quarter as large.

For the rows of a text graph, of which few are gathered at a time, and for dense layers, whose inputs are of many kinds
and have no scale in common; next to a trunk's convolutions they cost no time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError

_LARGE = 4096  # numbers; smaller weights are left as they are


def quantize_rows(path: Path) -> None:
    """Write the text graph at `path` anew, its table of stems as int8 with a float32 scale for each row.

    A row is gathered first and widened then, so that the table itself is never float32. Raises ExportError for a graph
    without such a table.
    """
    model = onnx.load(str(path))
    graph = model.graph
    tables = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    gathers = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in tables]
    if len(gathers) != 1:
        raise ExportError(f"{path}: {len(gathers)} tables of rows in the graph, expected 1")
    [gather] = gathers
    name, ids, output = gather.input[0], gather.input[1], gather.output[0]
    widened = [
        helper.make_node("Gather", [f"{name}.int8", ids], [f"{output}.int8"]),
        helper.make_node("Cast", [f"{output}.int8"], [f"{output}.rows"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}.scales", ids], [f"{output}.scales"]),
        helper.make_node("Mul", [f"{output}.rows", f"{output}.scales"], [output]),
    ]
    nodes = [new for node in graph.node for new in (widened if node is gather else [node])]
    _replace(graph, nodes, {name: _as_int8(tables[name], axis=1)})
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path), full_check=True)


def quantize_dense(path: Path) -> None:
    """Write a graph anew, the weights of its dense layers as int8 with a float32 scale for each output."""
    model = onnx.load(str(path))
    graph = model.graph
    large = {tensor.name: tensor for tensor in graph.initializer if np.prod(tensor.dims) >= _LARGE}
    replaced: dict[str, list[onnx.TensorProto]] = {}
    nodes = []
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[1] in large:
            name = node.input[1]
            by_row = any(a.name == "transB" and a.i for a in node.attribute)
            replaced[name] = _as_int8(large[name], axis=1 if by_row else 0)
            nodes += [
                helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}.whole", f"{name}.scales"], [f"{name}.widened"]),
            ]
            node.input[1] = f"{name}.widened"
        nodes.append(node)
    _replace(graph, nodes, replaced)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))


def _as_int8(tensor: onnx.TensorProto, axis: int) -> list[onnx.TensorProto]:
    """A matrix as int8, and the scales by which it is multiplied, one for each line along `axis`."""
    values = numpy_helper.to_array(tensor)
    scales = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-12).astype(np.float32) / 127
    whole = np.rint(values / scales).astype(np.int8)
    return [
        numpy_helper.from_array(whole, f"{tensor.name}.int8"),
        numpy_helper.from_array(scales, f"{tensor.name}.scales"),
    ]


def _replace(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], replaced: dict[str, list[onnx.TensorProto]]
) -> None:
    """Give a graph other nodes, and other constants in place of some."""
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    nodes = [
        onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes
    ]  # they outlive the graph's own
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *(tensor for tensors in replaced.values() for tensor in tensors)])
