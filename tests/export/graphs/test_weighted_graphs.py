"""Both kinds of text branch, as they are exported, take weights: what torch makes of the weighted rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from export.branches.encoders import EMBED_DIM, TextEncoder
from export.branches.voting.encoders import CaptionBranch
from export.graphs.to_onnx import export_text_encoder
from export.graphs.weights import quantize_rows
from export.layers import l2_normalize
from itl_infer.encoder import TextEncoder as Runtime
from itl_infer.encoder import WeightedTextEncoder

IDS = np.array([[1, 2, 3], [4, 5, 0], [6, 1, 2], [7, 8, 9], [3, 0, 0]], np.int64)
WEIGHTS = np.array([[0.5, 1, 2], [1, 0.25, 1], [1, 1, 1], [0.1, 0.2, 0.3], [0.7, 1, 1]], np.float32)


def by_hand(encoder: TextEncoder | CaptionBranch) -> np.ndarray:
    with torch.inference_mode():
        rows = (encoder.stems(torch.from_numpy(IDS)) * torch.from_numpy(WEIGHTS)[:, :, None]).sum(dim=1)
        if isinstance(encoder, TextEncoder):
            return l2_normalize(encoder.branch(F.relu(rows + encoder.bias))).numpy()
        return l2_normalize(encoder.out(F.relu(encoder.widen(rows)))).numpy()


@pytest.mark.parametrize("kind", ["two_branch", "voting"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_weighted_rows(tmp_path: Path, kind: str, precision: str) -> None:
    torch.manual_seed(0)
    encoder = (TextEncoder(9) if kind == "two_branch" else CaptionBranch(9, 8, 16, 0.1)).eval()
    path = tmp_path / "text.onnx"
    export_text_encoder(encoder, IDS, path)
    if precision == "int8":
        quantize_rows(path)
    graph = path.read_bytes()
    weighted = WeightedTextEncoder(graph, str(path), embed_dim=EMBED_DIM)
    found = weighted.embed(IDS, WEIGHTS)
    assert (found * by_hand(encoder)).sum(axis=1).min() > (0.99999 if precision == "float32" else 0.99)
    plain = Runtime(graph, str(path), embed_dim=EMBED_DIM).embed(IDS)
    np.testing.assert_array_equal(weighted.embed(IDS, np.ones(IDS.shape, np.float32)), plain)
