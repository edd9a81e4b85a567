"""Rewrites of graphs: what they compute stays, and what does not fit is left alone."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the training side needs the extra: pip install -e .[export]")

import onnxruntime
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.graphs.rewrites import pool_after_convolution


def pool_and_convolution(
    channels: int,
    filters: int,
    *,
    kernel: int = 1,
    window: int = 3,
    stride: int = 1,
    pad: int = 1,
    pads_count: int = 1,
    bias: bool = True,
    read_twice: bool = False,
    ceil: int = 0,
    conv_stride: int = 1,
) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((filters, channels, kernel, kernel)).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "a.weight")]
    if bias:
        constants.append(numpy_helper.from_array(rng.standard_normal(filters).astype(np.float32), "a.bias"))
    nodes = [
        helper.make_node(
            "AveragePool",
            ["x"],
            ["pooled"],
            "pool",
            kernel_shape=[window, window],
            pads=[pad] * 4,
            strides=[stride, stride],
            count_include_pad=pads_count,
            ceil_mode=ceil,
        ),
        helper.make_node(
            "Conv",
            ["pooled", *(tensor.name for tensor in constants)],
            ["y"],
            "conv",
            strides=[conv_stride, conv_stride],
        ),
    ]
    outputs = ["y"]
    if read_twice:
        nodes.append(helper.make_node("Relu", ["pooled"], ["z"], "relu"))
        outputs.append("z")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, 9, 7])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c", "h", "w"]) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[0].shape[1]
    x = np.random.default_rng(1).standard_normal((2, channels, 9, 7)).astype(np.float32)
    return session.run(None, {"x": x})


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@given(
    channels=st.integers(2, 9),
    filters=st.integers(1, 8),
    window=st.integers(1, 4),
    stride=st.integers(1, 2),
    pad=st.integers(0, 2),
    pads_count=st.integers(0, 1),
    bias=st.booleans(),
    ceil=st.integers(0, 1),
)
def test_pooling_moves_behind_a_convolution_to_fewer_channels(
    channels: int, filters: int, window: int, stride: int, pad: int, pads_count: int, bias: bool, ceil: int
) -> None:
    pad = min(pad, window - 1)
    model = pool_and_convolution(
        channels, filters, window=window, stride=stride, pad=pad, pads_count=pads_count, bias=bias, ceil=ceil
    )
    before = run(model)
    rewritten = pool_after_convolution(model)
    moves = filters < channels and (pads_count or not pad) and not ceil
    assert kinds(rewritten) == (["Conv", "Conv"] if moves else ["AveragePool", "Conv"])
    for expected, found in zip(before, run(rewritten), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("what", [{"kernel": 3}, {"read_twice": True}, {"conv_stride": 2}])
def test_what_does_not_commute_is_left_alone(what: dict[str, int]) -> None:
    model = pool_and_convolution(6, 2, **what)
    before = model.SerializeToString()
    assert kinds(pool_after_convolution(model))[:2] == ["AveragePool", "Conv"]
    for expected, found in zip(run(onnx.load_from_string(before)), run(model), strict=True):
        np.testing.assert_array_equal(found, expected)
