"""Graphs compute what torch does, are what the design says, and stay close as int8."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.encoders import ImageEncoder, TextEncoder, image_branch
from export.errors import ExportError
from export.graphs.quantize import embed_with, measure_drift, quantize_image_encoder
from export.graphs.to_onnx import check_parity, export_image_encoder, export_text_encoder, fold_batch_norms
from export.trunk.sources import open_trunk
from itl_infer.captions import CaptionDataset
from itl_infer.image import load_pixels
from tests.export.helpers import FEATURE_DIM, RULES, SIDE


@pytest.fixture(scope="module")
def encoder(weights: Path) -> ImageEncoder:
    torch.manual_seed(1)
    return ImageEncoder(open_trunk("inception_v3", str(weights)), image_branch(FEATURE_DIM)).eval()


@pytest.fixture(scope="module")
def pixels(dataset: CaptionDataset) -> np.ndarray:
    return np.stack([load_pixels(path, RULES) for path in dataset.paths])


@pytest.fixture(scope="module")
def float_graph(encoder: ImageEncoder, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "image_encoder.onnx"
    parity = export_image_encoder(encoder, pixels[:8], path)
    assert parity.max_abs_diff <= 1e-4
    assert parity.rows >= 8
    return path


def test_folding_batch_norms_changes_nothing(encoder: ImageEncoder, pixels: np.ndarray) -> None:
    folded = fold_batch_norms(encoder, torch.from_numpy(pixels[:1]))
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    batch = torch.from_numpy(pixels[:2])
    with torch.inference_mode():
        assert torch.allclose(folded(batch), encoder(batch), atol=1e-5)


def test_image_graph_is_what_the_design_says(float_graph: Path) -> None:
    graph = onnx.load(float_graph).graph
    (given,), (result,) = graph.input, graph.output
    assert (given.name, given.type.tensor_type.elem_type) == ("pixel_values", onnx.TensorProto.UINT8)
    assert [d.dim_value for d in given.type.tensor_type.shape.dim][1:] == [SIDE, SIDE, 3]
    assert given.type.tensor_type.shape.dim[0].dim_param
    assert (result.name, result.type.tensor_type.shape.dim[1].dim_value) == ("embeddings", 128)
    assert not any("Aux" in tensor.name for tensor in graph.initializer)
    assert not any(tensor.external_data for tensor in graph.initializer)
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


def test_a_graph_that_differs_from_torch_is_refused(
    encoder: ImageEncoder, float_graph: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(float_graph)
    bias = next(t for t in model.graph.initializer if t.name.endswith("branch.4.bias"))
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 0.5
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, tmp_path / "bent.onnx")
    with pytest.raises(ExportError, match=r"bent\.onnx: the graph differs from torch by .*, more than 1e-04"):
        check_parity(encoder, torch.from_numpy(pixels[:5]), tmp_path / "bent.onnx")


def test_text_graph_gathers_and_sums_at_any_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(300)
    ids = np.random.default_rng(0).integers(0, 300, (9, 7))
    assert export_text_encoder(encoder, ids, tmp_path / "text.onnx").max_abs_diff <= 1e-4
    model = onnx.load(tmp_path / "text.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert "Gather" in kinds
    assert {"OneHot", "ScatterND", "ScatterElements"}.isdisjoint(kinds)
    for length in (1, 3, 40):
        check_parity(
            encoder,
            torch.from_numpy(np.random.default_rng(1).integers(0, 300, (6, length))),
            tmp_path / "text.onnx",
        )


def test_too_few_inputs_to_compare_with_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 inputs to compare with, expected 5 or more"):
        export_text_encoder(TextEncoder(9), np.ones((2, 3), np.int64), tmp_path / "t.onnx")


def test_int8_is_a_quarter_of_the_size_and_close(
    float_graph: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    level = logging.getLogger().level
    quantize_image_encoder(float_graph, tmp_path / "int8.onnx", pixels[:32])
    assert logging.getLogger().level == level
    assert (tmp_path / "int8.onnx").stat().st_size < 0.28 * float_graph.stat().st_size
    exact, rough = embed_with(float_graph, pixels[40:]), embed_with(tmp_path / "int8.onnx", pixels[40:])
    drift = measure_drift(exact, rough)
    assert 0.9 < drift.min_cosine <= drift.mean_cosine < 1
    graph = onnx.load(tmp_path / "int8.onnx").graph
    kinds = {node.op_type for node in graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert "AveragePool" not in kinds  # slow in int8
    writer = {name: node for node in graph.node for name in node.output}
    reader = {name: node for node in graph.node for name in node.input}
    for concat in (node for node in graph.node if node.op_type == "Concat"):
        scale = reader[concat.output[0]].input[1]
        assert scale in [writer[name].input[1] for name in concat.input]


def test_drift_by_hand() -> None:
    exact = np.array([[1, 0], [0, 1]], np.float32)
    rough = np.array([[0.6, 0.8], [0, 1]], np.float32)
    drift = measure_drift(exact, rough)
    assert drift.min_cosine == pytest.approx(0.6)
    assert drift.mean_cosine == pytest.approx(0.8)
