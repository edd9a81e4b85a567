"""Graphs that mean harm are refused before onnxruntime makes anything of them, or end within limits."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from itl_infer.encoder import TextEncoder, runtime
from itl_infer.encoder.graph import check_graph
from itl_infer.encoder.protobuf import as_field, fields
from itl_infer.errors import BundleError
from tests.tiny_bundle import COLOURS, EMBED_DIM, image_graph, text_graph, word_table


def text_model() -> onnx.ModelProto:
    return text_graph(EMBED_DIM, word_table(COLOURS))


def refused(model: onnx.ModelProto | bytes) -> str:
    graph = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(BundleError) as caught:
        TextEncoder(graph, "text.onnx", embed_dim=EMBED_DIM)
    assert str(caught.value).startswith("text.onnx: not a graph")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of_nodes(nodes: Sequence[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    """A text graph that adds 0 times what `nodes` make, "extra", a number, to what it would give."""
    model = text_model()
    last = model.graph.node[-1]
    last.output[0] = "before"
    zero = {"zero": np.zeros(1, np.float32), **constants}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in zero.items())
    model.graph.node.extend(
        [
            *nodes,
            helper.make_node("Mul", ["extra", "zero"], ["nothing"]),
            helper.make_node("Add", ["before", "nothing"], ["embeddings"]),
        ]
    )
    return model


def test_graphs_as_they_should_be_are_taken() -> None:
    for model in (text_model(), image_graph()):
        content = check_graph(model.SerializeToString())
        assert {node.op_type for node in model.graph.node} == content.operators
        assert content.computed_early == 0


@pytest.mark.parametrize("operator", ["Loop", "Scan", "If", "SequenceMap"])
def test_control_flow_is_refused(operator: str) -> None:
    body = helper.make_graph([], "body", [], [])
    assert "control flow" in refused(of_nodes([helper.make_node(operator, [], ["extra"], body=body)]))


def add_function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [], [helper.make_opsetid("", 17)]))


def use_other_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def import_other_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def declare_large(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[2**20, 2**20]))


def declare_many(model: onnx.ModelProto) -> None:
    for number in range(9):
        model.graph.initializer.append(TensorProto(name=f"w{number}", data_type=1, dims=[2**24]))


def declare_negative(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[-(2**40), -1]))


def declare_sparse(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[2**31 - 1])
    sparse.values.CopyFrom(TensorProto(name="w", data_type=1, dims=[1], float_data=[1.0]))
    sparse.indices.CopyFrom(TensorProto(name="i", data_type=7, dims=[1], int64_data=[0]))


def declare_large_value(model: onnx.ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("words", 1, [2**31 - 1, 2**31 - 1]))


def train(model: onnx.ModelProto) -> None:
    model.training_info.add()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (add_function, "functions"),
        (train, "training"),
        (use_other_domain, "domain 'com.microsoft'"),
        (import_other_domain, "domain 'com.microsoft'"),
        (declare_large, "declared to take more than"),
        (declare_many, "declared to take more than"),
        (declare_negative, "the size -1099511627776"),
        (declare_sparse, "declared to take more than"),
        (declare_large_value, "too large"),
    ],
)
def test_what_may_not_be_in_a_graph(change: Callable[[onnx.ModelProto], None], says: str) -> None:
    model = text_model()
    change(model)
    assert says in refused(model)


def longer(number: int, by: int) -> bytes:
    """A varint in more bytes than it needs, as protobuf takes it too."""
    encoded = bytearray()
    for _ in range(by):
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


@pytest.mark.parametrize("key", [as_field(13, b"")[:1], longer(13 << 3 | 2, 2), longer(13 << 3 | 2, 4)])
@pytest.mark.parametrize("place", ["initializer", "constant", "sparse"])
def test_external_data_in_any_encoding_is_refused(key: bytes, place: str) -> None:
    entry = as_field(1, b"location") + as_field(2, b"secret")
    tensor = as_field(8, b"w") + b"\x08\x04\x10\x02" + key + longer(len(entry), 3) + entry
    if place == "initializer":
        part = as_field(5, tensor)
    elif place == "sparse":
        part = as_field(15, as_field(1, tensor))
    else:
        part = as_field(1, as_field(2, b"c") + as_field(4, b"Constant") + as_field(5, as_field(5, tensor)))
    assert "external data" in refused(text_model().SerializeToString() + as_field(7, part))


@pytest.mark.parametrize(
    "tail",
    [
        b"\x3b\x3c",  # a group, as protobuf had them once
        b"\xba\x80\x80\x80\x10\x00",  # field 7, for who drops what is above 32 bits
        b"\x02\x00",  # field 0
        b"\x3a\xff\xff\xff\xff\x07",  # a length beyond the end
        b"\x08",
    ],
)
def test_what_readers_of_protobuf_may_see_otherwise_is_refused(tail: bytes) -> None:
    assert "not a message of protobuf" in refused(text_model().SerializeToString() + tail)


@settings(max_examples=40)
@given(st.data())
def test_damaged_graphs_are_refused_or_read_as_protobuf_reads_them(data: st.DataObject) -> None:
    content = bytearray(text_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = check_graph(bytes(content))
    except ValueError:
        return
    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(content))
    except Exception:  # refused by whoever would run it
        return
    assert not model.functions
    assert {node.op_type for node in model.graph.node} == found.operators
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_too_many_fields_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itl_infer.encoder.graph._MOST_FIELDS", 20)
    assert "more than 20 fields" in refused(text_model())
    assert len(list(fields(text_model().SerializeToString()))) < 20


def test_memory_that_is_taken_while_it_runs_is_bounded() -> None:
    model = of_nodes(
        [
            helper.make_node("Size", ["input_ids"], ["n"]),
            helper.make_node("Mul", ["n", "many"], ["size"]),
            helper.make_node("Reshape", ["size", "row"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["large"]),
            helper.make_node("ReduceSum", ["large"], ["extra"], keepdims=0),
        ],
        many=np.int64(2**40),
        row=np.array([1]),
    )
    encoder = TextEncoder(model.SerializeToString(), "text.onnx", embed_dim=EMBED_DIM)
    with pytest.raises(BundleError, match=r"text.onnx: the graph failed: .*ConstantOfShape"):
        encoder.embed(np.ones((2, 1), np.int64))


def slow_graph() -> bytes:
    """Products of large matrices, one after another: some minutes."""
    names = ["m0", *(f"m{number}" for number in range(1, 400)), "extra_matrix"]
    products = [helper.make_node("MatMul", [old, "m0"], [new]) for old, new in itertools.pairwise(names)]
    model = of_nodes(
        [
            helper.make_node("Size", ["input_ids"], ["n"]),
            helper.make_node("Cast", ["n"], ["some"], to=TensorProto.FLOAT),
            helper.make_node("Expand", ["some", "side"], ["m0"]),
            *products,
            helper.make_node("ReduceMin", ["extra_matrix"], ["extra"], keepdims=0),
        ],
        side=np.array([1500, 1500]),
    )
    return model.SerializeToString()


def test_a_run_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itl_infer.encoder.encoders._SECONDS_OF_TEXTS", 0.4)
    encoder = TextEncoder(slow_graph(), "text.onnx", embed_dim=EMBED_DIM, threads=1)
    started = time.monotonic()
    with pytest.raises(BundleError, match=r"text.onnx: the graph did not end within 0 s"):
        encoder.embed(np.ones((2, 1), np.int64))
    assert time.monotonic() - started < 5
    left = [thread for thread in threading.enumerate() if thread.name == "itl-graph"]
    for thread in left:  # it hears between two products that it should stop
        thread.join(20)
        assert not thread.is_alive()


def test_an_interrupt_comes_through_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    class Interrupted(threading.Event):
        wait = interrupted  # type: ignore[assignment]

    monkeypatch.setattr(runtime.threading, "Event", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        runtime.within(60, lambda: stopped.wait(0), stopped.set)
    monkeypatch.undo()
    assert stopped.is_set()


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0, 0.0])
def test_what_a_graph_gives_is_checked(value: float) -> None:
    model = text_model()
    model.graph.node[-1].output[0] = "before"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([value]), "value"))
    model.graph.node.append(helper.make_node("Mul", ["before", "value"], ["embeddings"]))
    encoder = TextEncoder(model.SerializeToString(), "text.onnx", embed_dim=EMBED_DIM)
    with pytest.raises(BundleError, match=r"text.onnx: the graph gave what is no unit vector"):
        encoder.embed(np.ones((2, 1), np.int64))
