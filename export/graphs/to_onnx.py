"""Turns the two encoders into ONNX graphs, and proves that they compute what torch computes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.errors import ExportError
from export.graphs.rewrites import pool_after_convolution, without_traces
from export.layers import norms_of_convolutions

OPSET = 18
MAX_ABS_DIFF = 1e-4  # on unit vectors

_TRACED_AT = 2  # rows; a size that got baked in shows at the two others
_COMPARED_AT = (1, 5)


@dataclass(frozen=True)
class Parity:
    """How far a graph is from torch, over all rows compared."""

    max_abs_diff: float
    min_cosine: float
    rows: int


def export_image_encoder(encoder: nn.Module, pixel_values: np.ndarray[Any, Any], path: Path) -> Parity:
    """Write the graph of an `ImageEncoder`; `pixel_values` are uint8 (N, S, S, 3) of real pictures, N >= 5."""
    dynamic = {0: torch.export.Dim("images")}
    pixels = torch.from_numpy(pixel_values)
    folded = fold_batch_norms(encoder, pixels[:1])
    return _export(encoder, folded, "pixel_values", pixels, dynamic, path, pool_after_convolution)


def export_text_encoder(encoder: nn.Module, input_ids: np.ndarray[Any, Any], path: Path) -> Parity:
    """Write the graph of a `TextEncoder`; `input_ids` are int64 (N, T) of real captions, N >= 5."""
    dynamic = {0: torch.export.Dim("texts"), 1: torch.export.Dim("stems")}
    return _export(encoder, encoder, "input_ids", torch.from_numpy(input_ids), dynamic, path)


def fold_batch_norms(encoder: nn.Module, inputs: Tensor) -> nn.Module:
    """A copy for inference, with each batch norm folded into the convolution that, for `inputs`, comes before it."""
    folded = copy.deepcopy(encoder).cpu().eval()
    for conv_name, norm_name in norms_of_convolutions(folded, inputs).items():
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's norms have the activation in them.
        folded.set_submodule(norm_name, getattr(norm, "act", None) or nn.Identity())
    return folded


def _export(
    encoder: nn.Module,
    traced: nn.Module,
    input_name: str,
    inputs: Tensor,
    dynamic: dict[int, Any],
    path: Path,
    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda graph: graph,
) -> Parity:
    """Write the graph of `traced`, which is to compute what `encoder` does, rewritten for speed."""
    if len(inputs) < max(_COMPARED_AT):
        raise ExportError(
            f"{path}: {len(inputs)} inputs to compare with, expected {max(_COMPARED_AT)} or more"
        )
    encoder = encoder.cpu().eval()
    write_graph(traced.cpu().eval(), inputs[:_TRACED_AT], input_name, dynamic, path, ["embeddings"])
    onnx.save(rewrite(without_traces(onnx.load(str(path)))), str(path))
    onnx.checker.check_model(str(path), full_check=True)
    return check_parity(encoder, inputs, path)


def write_graph(
    network: nn.Module,
    inputs: Tensor,
    input_name: str,
    dynamic: dict[int, Any],
    path: Path,
    output_names: list[str] | None = None,
) -> None:
    """Write the graph of `network`, traced on `inputs`, with the sizes that `dynamic` names left open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of torch's own code
        program = torch.onnx.export(
            network,
            (inputs,),
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=(dynamic,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path), external_data=False)


@torch.inference_mode()
def check_parity(encoder: nn.Module, inputs: Tensor, path: Path) -> Parity:
    """Compare the graph with torch at batch sizes other than the traced one; ExportError beyond MAX_ABS_DIFF."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (graph_input,) = session.get_inputs()
    worst_diff, worst_cosine, rows = 0.0, 1.0, 0
    for size in _COMPARED_AT:
        for start in range(0, len(inputs) - size + 1, size):
            batch = inputs[start : start + size]
            expected = encoder(batch).double().numpy()
            (found,) = session.run(None, {graph_input.name: batch.numpy()})
            if found.shape != expected.shape:
                raise ExportError(f"{path}: the graph gives {found.shape} where torch gives {expected.shape}")
            worst_diff = max(worst_diff, float(np.abs(found - expected).max()))
            worst_cosine = min(worst_cosine, float((found * expected).sum(axis=1).min()))
            rows += size
    if not worst_diff <= MAX_ABS_DIFF:
        raise ExportError(
            f"{path}: the graph differs from torch by {worst_diff:.2e}, more than {MAX_ABS_DIFF:.0e}: not exported"
        )
    return Parity(worst_diff, worst_cosine, rows)
