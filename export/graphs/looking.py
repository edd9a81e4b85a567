"""A network as a graph to look at many pictures with, kept nowhere.

onnxruntime takes a third of torch's time on a CPU for networks of depthwise convolutions.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from export.errors import ExportError
from export.graphs.to_onnx import fold_batch_norms, write_graph

_AGREE_WITHIN = 2e-3  # of the largest number: float32 sums in another order


@dataclass(frozen=True)
class Looking:
    """A module that takes `pixel_values`, uint8 (N, side, side, 3), and gives one output or several."""

    key: str  # changes with what it gives
    module: nn.Module = field(compare=False)
    side: int
    name: str  # for errors


@lru_cache(maxsize=2)  # a teacher and a student take turns
def compared_session(looking: Looking) -> onnxruntime.InferenceSession:
    """The graph of a module, compared with torch on patches of colour; ExportError where it gives something else."""
    module, side = looking.module.cpu().eval(), looking.side
    patches = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    places = np.arange(side) * 16 // side
    inputs = torch.from_numpy(patches[:, places][:, :, places])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "looking.onnx"
        write_graph(
            fold_batch_norms(module, inputs[:1]),
            inputs,
            "pixel_values",
            {0: torch.export.Dim("images")},
            path,
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        outputs = module(inputs)
    expected = outputs if isinstance(outputs, tuple) else (outputs,)
    for found, wanted in zip(session.run(None, {"pixel_values": inputs.numpy()}), expected, strict=True):
        if not np.abs(found - wanted.numpy()).max() <= _AGREE_WITHIN * np.abs(found).max():
            raise ExportError(f"the graph of {looking.name} sees something else than torch: not used")
    return session
