"""Makes the rows of a text graph int8: most of a bag of stems is the table that its rows are gathered from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError


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
    table = numpy_helper.to_array(tables[gather.input[0]])  # (V + 1, D)
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    rows = np.rint(table / scales).astype(np.int8)
    name, ids, output = gather.input[0], gather.input[1], gather.output[0]
    widened = [
        helper.make_node("Gather", [f"{name}.int8", ids], [f"{output}.int8"]),
        helper.make_node("Cast", [f"{output}.int8"], [f"{output}.rows"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}.scales", ids], [f"{output}.scales"]),
        helper.make_node("Mul", [f"{output}.rows", f"{output}.scales"], [output]),
    ]
    nodes = [new for node in graph.node for new in (widened if node is gather else [node])]
    kept = [tensor for tensor in graph.initializer if tensor.name != name]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        [
            *kept,
            numpy_helper.from_array(rows, f"{name}.int8"),
            numpy_helper.from_array(scales, f"{name}.scales"),
        ]
    )
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path), full_check=True)
