"""What networks that stay as they are make of parts of pictures, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.data.cached import Progress, cached_rows
from export.distil.crops import Crops
from export.features.features import network_key
from export.graphs.looking import Looking, compared_session
from export.layers import ScalePixels, autocast, default_device
from export.trunk.trunk import Trunk
from itl_infer.errors import ImageError

Array = np.ndarray[Any, Any]
Look = Callable[[Array], Array]


def seen_by(
    trunk: Trunk, crops: Crops, cache: Path, progress: Progress, *, layers: nn.Module | None = None
) -> Array:
    """float16 (n, ...), memory-mapped: what the trunk, or its first `layers` alone, makes of each part at its side.

    Interrupted, the same call goes on behind the rows that are kept.
    """
    module = nn.Sequential(ScalePixels(trunk.mean, trunk.std), layers or trunk.network).eval()
    key_of_network = f"{trunk.side} {network_key(trunk)} {'' if layers is None else layers}"
    key = hashlib.sha256(json.dumps([key_of_network, crops.identity]).encode()).hexdigest()[:16]
    with torch.inference_mode():
        device = next(module.parameters()).device
        row = module(torch.zeros((1, trunk.side, trunk.side, 3), dtype=torch.uint8, device=device)).shape[1:]

    def compute(start: int, _failed: list[ImageError]) -> Iterator[Array]:
        look = _looker(Looking(key_of_network, module, trunk.side, trunk.name))
        for pixels in crops.batches(start, trunk.side):
            yield look(pixels)

    return cached_rows(cache / f"seen-{key}.npy", tuple(row), np.float16, len(crops), compute, progress).array


def _looker(looking: Looking) -> Look:
    device = default_device()
    if device.type == "cpu":
        session = compared_session(looking)
        return lambda pixels: session.run(None, {"pixel_values": pixels})[0]  # type: ignore[no-any-return]
    module = looking.module.to(device)

    @torch.inference_mode()
    def look(pixels: Array) -> Array:
        with autocast(device):
            found: Tensor = module(torch.from_numpy(pixels).to(device))
        return found.float().cpu().numpy()

    return look
