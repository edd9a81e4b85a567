"""Makes the image graph int8 (static QDQ), and measures what that costs."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from export.graphs.rewrites import float_nodes, join_in_one_scale
from export.graphs.weights import quantize_dense
from itl_infer.encoder import ImageEncoder

_BATCH = 16
_OP_TYPES = ["Conv", "MaxPool", "AveragePool", "Concat", "Relu", "Clip", "Add"]


@dataclass(frozen=True)
class Drift:
    """Cosine between the embeddings of two precisions, over pictures not used in calibration."""

    mean_cosine: float
    min_cosine: float
    pictures: int


class _Pixels(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, input_name: str, pixel_values: np.ndarray[Any, Any]) -> None:
        starts = range(0, len(pixel_values), _BATCH)
        self._batches: Iterator[dict[str, Any]] = iter(
            {input_name: np.array(pixel_values[start : start + _BATCH])} for start in starts
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Without what onnxruntime's quantiser warns of, on the root logger, too: that pre-processing is advised."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def quantize_image_encoder(float_graph: Path, int8_graph: Path, pixel_values: np.ndarray[Any, Any]) -> None:
    """Write the int8 form of a float graph, calibrated on `pixel_values`, uint8 (N, S, S, 3) of training pictures.

    Weights int8 per channel, activations uint8; dense layers have int8 weights alone. Pooling, sums and concatenation
    are quantised along with the convolutions, so that a picture stays in 8 bits from the first map to the last.
    """
    graph = onnx.load(str(float_graph))
    with _no_advice():
        quantize_static(
            graph,
            str(int8_graph),
            _Pixels(graph.graph.input[0].name, pixel_values),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OP_TYPES,
            nodes_to_exclude=float_nodes(graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},
        )
    onnx.save(join_in_one_scale(onnx.load(str(int8_graph))), str(int8_graph))
    quantize_dense(int8_graph)
    onnx.checker.check_model(str(int8_graph))


def int8_graph(
    float_graph: Path,
    int8_path: Path,
    calibration: np.ndarray[Any, Any],
    held_out: np.ndarray[Any, Any],
    *,
    before: Path | None = None,
) -> Drift:
    """Write the int8 form of a float graph; how far embeddings moved from those of `before`, or of the float graph.

    `calibration` and `held_out` are uint8 (N, S, S, 3), of training pictures and of others.
    """
    quantize_image_encoder(float_graph, int8_path, calibration)
    return drift_between(before or float_graph, int8_path, held_out)


def drift_between(before: Path, after: Path, pixel_values: np.ndarray[Any, Any]) -> Drift:
    """How far two image graphs are apart on uint8 (N, S, S, 3)."""
    return measure_drift(embed_with(before, pixel_values), embed_with(after, pixel_values))


def embed_with(graph: Path, pixel_values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(N, D) float32: what an image graph makes of uint8 (N, S, S, 3)."""
    (output,) = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"]).get_outputs()
    encoder = ImageEncoder(
        graph.read_bytes(), str(graph), side=pixel_values.shape[1], embed_dim=output.shape[1]
    )
    starts = range(0, len(pixel_values), _BATCH)
    return np.concatenate([encoder.embed(np.array(pixel_values[start : start + _BATCH])) for start in starts])


def measure_drift(exact: np.ndarray[Any, Any], quantized: np.ndarray[Any, Any]) -> Drift:
    """Cosine of unit rows (N, D) and (N, D), row by row."""
    cosines = (exact.astype(np.float64) * quantized).sum(axis=1)
    return Drift(float(cosines.mean()), float(cosines.min()), len(cosines))
