"""A network as a graph to look at many pictures with, kept nowhere.

onnxruntime takes a third of torch's time on a CPU for networks of depthwise convolutions.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from export.errors import ExportError
from export.graphs.to_onnx import fold_batch_norms, write_graph

_AGREE_WITHIN = 2e-3  # of the largest number: float32 sums in another order


def compared_session(module: nn.Module, side: int, name: str) -> onnxruntime.InferenceSession:
    """The graph of a module that takes `pixel_values`, uint8 (N, side, side, 3), and gives one output or several.

    It has been compared with torch, on patches of colour; ExportError where it gives something else. `name` is for
    that.
    """
    module = module.cpu().eval()
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
            raise ExportError(f"the graph of {name} sees something else than torch: not used")
    return session
