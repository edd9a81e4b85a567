"""A text graph with weights: the same where all are 1, and the sum of weighted rows else."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer.encoder import TextEncoder, WeightedTextEncoder
from itl_infer.encoder.weighted import with_weights
from itl_infer.errors import BundleError
from tests.tiny_bundle import COLOURS, EMBED_DIM, unit_rows, word_table

IDS = st.lists(st.integers(0, len(COLOURS)), min_size=3, max_size=3)


@pytest.fixture(scope="module")
def graph(tiny_bundle: Path) -> bytes:
    return (tiny_bundle / "text_encoder.onnx").read_bytes()


@pytest.fixture(scope="module")
def encoders(graph: bytes) -> tuple[TextEncoder, WeightedTextEncoder]:
    return (
        TextEncoder(graph, "text", embed_dim=EMBED_DIM),
        WeightedTextEncoder(graph, "text", embed_dim=EMBED_DIM),
    )


def test_the_edited_graph_is_a_graph(graph: bytes) -> None:
    edited = onnx.load_from_string(with_weights(graph, "input_ids"))
    onnx.checker.check_model(edited, full_check=True)
    assert [node.op_type for node in edited.graph.node][:3] == ["Gather", "Mul", "ReduceSum"]


@settings(deadline=None)
@given(st.lists(IDS, min_size=1, max_size=5))
def test_weights_of_one_change_nothing(
    encoders: tuple[TextEncoder, WeightedTextEncoder], rows: list[list[int]]
) -> None:
    plain, weighted = encoders
    ids = np.array(rows, np.int64)
    np.testing.assert_array_equal(weighted.embed(ids, np.ones(ids.shape, np.float32)), plain.embed(ids))


@settings(deadline=None)
@given(IDS, st.lists(st.floats(0.0625, 3, width=32), min_size=3, max_size=3))
def test_rows_are_multiplied_before_their_sum(
    encoders: tuple[TextEncoder, WeightedTextEncoder], ids: list[int], weights: list[float]
) -> None:
    found = encoders[1].embed(np.array([ids], np.int64), np.array([weights], np.float32))
    rows = (word_table()[ids] * np.array(weights)[:, None]).sum(axis=0, keepdims=True)
    np.testing.assert_allclose(found, unit_rows(rows), atol=1e-5)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (b"", "no graph in it"),
        (b"\x0b", "not a message of protobuf: wire type 3"),
        (b"\x3a\x7f", "not a message of protobuf: it ends too soon"),
        (b"\xff" * 12, "not a message of protobuf: a number without an end"),
        (b"\x3a\x00", "no sum over rows that are gathered by input_ids"),
    ],
)
def test_what_is_no_such_graph_is_refused(damaged: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        with_weights(damaged, "input_ids")
    with pytest.raises(
        BundleError, match=r"^text: words cannot be carried in this graph .*: export the bundle again$"
    ):
        WeightedTextEncoder(damaged, "text", embed_dim=EMBED_DIM)


@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_whatever_the_bytes_it_is_a_value_error(graph: bytes, noise: bytes, place: int) -> None:
    place %= len(graph)
    with contextlib.suppress(ValueError):
        with_weights(graph[:place] + noise + graph[place + len(noise) :], "input_ids")
