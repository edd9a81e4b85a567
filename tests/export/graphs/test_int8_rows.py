"""Rows of a table as int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.voting.encoders import CaptionBranch
from export.errors import ExportError
from export.graphs.to_onnx import export_text_encoder
from export.graphs.weights import quantize_rows


def test_int8_rows_are_a_quarter_and_close(tmp_path: Path) -> None:
    torch.manual_seed(0)
    branch = CaptionBranch(3000, 64, 32, 0.0).eval()
    ids = np.random.default_rng(0).integers(1, 3001, (40, 5))
    ids[:, 3:] *= np.random.default_rng(1).integers(0, 2, (40, 2))
    path = tmp_path / "text.onnx"
    export_text_encoder(branch, ids, path)
    exact, size = (
        onnxruntime.InferenceSession(str(path)).run(None, {"input_ids": ids})[0],
        path.stat().st_size,
    )
    quantize_rows(path)
    found = onnxruntime.InferenceSession(str(path)).run(None, {"input_ids": ids})[0]
    assert (exact * found).sum(axis=1).min() > 0.999
    assert path.stat().st_size < 0.35 * size
    with pytest.raises(ExportError, match="2 tables of rows in the graph, expected 1"):
        quantize_rows(path)
