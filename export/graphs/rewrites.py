"""Rewrites of ONNX graphs that change how fast they run, not what they compute."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without notes on where it was made: the exporter writes stack traces, with their paths."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def pool_after_convolution(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each average pooling before a 1x1 convolution that leaves fewer channels, done behind it instead.

    Both are linear, so they commute: conv(pool(x)) = pool(conv(x)), as long as the bias comes last. Inception's
    pooling then has a quarter to a tenth of the work. It becomes a depthwise convolution that adds the bias too, since
    onnxruntime has fast kernels for that in int8, and slow ones for average pooling.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = _readers(graph)
    rewritten: dict[str, list[onnx.NodeProto]] = {}  # by the name of the node they replace
    for pool in graph.node:
        if pool.op_type != "AveragePool" or [node.op_type for node in readers[pool.output[0]]] != ["Conv"]:
            continue
        [conv] = readers[pool.output[0]]
        shape = list(constants[conv.input[1]].dims)
        attributes = {a.name: helper.get_attribute_value(a) for a in pool.attribute}
        window = attributes.pop("kernel_shape")
        pads_count = not any(attributes.get("pads", ())) or attributes.pop("count_include_pad", 0)
        is_plain = not attributes.get("ceil_mode") and set(attributes.get("dilations", ())) <= {1}
        if (
            shape[2:] != [1, 1]
            or not shape[0] < shape[1]
            or not (pads_count and is_plain and _is_dense(conv))
        ):
            continue
        mean = np.full((shape[0], 1, *window), 1 / math.prod(window), np.float32)
        mean_name, mixed = f"{conv.input[1].removesuffix('.weight')}.mean", f"{conv.output[0]}_mixed"
        graph.initializer.append(numpy_helper.from_array(mean, mean_name))
        rewritten[pool.name] = [helper.make_node("Conv", [pool.input[0], conv.input[1]], [mixed], conv.name)]
        rewritten[conv.name] = [
            helper.make_node(
                "Conv",
                [mixed, mean_name, *conv.input[2:]],
                conv.output,
                pool.name,
                group=shape[0],
                kernel_shape=window,
                **{name: attributes[name] for name in ("pads", "strides") if name in attributes},
            )
        ]
    nodes = [new for node in graph.node for new in rewritten.get(node.name, [node])]
    del graph.node[:], graph.value_info[:]  # the shapes noted between the nodes hold no more
    graph.node.extend(nodes)
    return model


def _is_dense(conv: onnx.NodeProto) -> bool:
    """Whether a 1x1 convolution gives every place, and of every channel."""
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    return (
        set(attributes.get("strides", ())) <= {1}
        and not any(attributes.get("pads", ()))
        and attributes.get("group", 1) == 1
    )


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of nodes that are no layers of a network: they need more than 8 bits.

    Those are all sums but of two layers, all clippings but the ReLU6 behind one, and what puts anything but maps side
    by side: pixels are scaled by constants, lengths kept from nothing by a bound, and features of many kinds have no
    scale in common.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    layers: set[str] = set()  # what they give
    found = []
    for node in model.graph.node:
        inputs = {*node.input}
        if node.op_type in ("Conv", "Relu", "MaxPool", "AveragePool"):
            is_layer = True
        elif node.op_type == "Add":
            is_layer = constants.isdisjoint(inputs) and not layers.isdisjoint(inputs)
        elif node.op_type in ("Clip", "Concat"):
            is_layer = {node.input[0]} <= layers if node.op_type == "Clip" else inputs <= layers
        else:
            continue
        if is_layer:
            layers.update(node.output)
        else:
            found.append(node.name)
    return found


def join_in_one_scale(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each int8 concatenation with inputs rounded to its own scale at once, not first to one of their own.

    That saves rounding twice, and the concatenation is a copy.
    """
    graph = model.graph
    readers = _readers(graph)
    writer = {name: node for node in graph.node for name in node.output}
    for concat in graph.node:
        if concat.op_type != "Concat" or [n.op_type for n in readers[concat.output[0]]] != ["QuantizeLinear"]:
            continue
        [quantize] = readers[concat.output[0]]
        if any(
            writer.get(name) is None or writer[name].op_type != "DequantizeLinear" for name in concat.input
        ):
            continue
        for name in concat.input:
            back = writer[name]
            there = writer[back.input[0]]
            of_its_own = len(readers[name]) == len(readers[back.input[0]]) == 1
            if of_its_own and writer[there.input[0]].op_type in (
                "Conv",
                "Relu",
            ):  # they can round to any scale
                for node in (there, back):
                    node.input[1:] = quantize.input[1:]
    read = {name for node in graph.node for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]  # their own scales are not
    del graph.initializer[:]
    graph.initializer.extend(constants)
    return model


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Which nodes read each value."""
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers
