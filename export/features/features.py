"""What a trunk says of each picture of a data set, computed once and kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.data.cached import Progress, Rows, cached_rows
from export.data.pixels import pictures_key, pixels_from
from export.layers import ScalePixels
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset
from itl_infer.errors import ImageError

_LOGITS_AT_ONCE = 4096


def features_of(dataset: CaptionDataset, trunk: Trunk, cache: Path, progress: Progress) -> Rows:
    """float32 (N, feature_dim): what the trunk, in eval mode, makes of each readable picture at its side.

    Pictures are decoded while the trunk is at work on those before them, and their pixels are not kept; those that
    `pixels_of` kept are not decoded again.
    """
    rules, network = trunk.image_rules, trunk.network
    scale = ScalePixels(trunk.mean, trunk.std)

    def compute(start: int, failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        network.eval()
        device = next(network.parameters()).device
        scale.to(device)
        for pixels in pixels_from(dataset, rules, cache, start, failed):
            with torch.inference_mode():
                batch = scale(torch.from_numpy(pixels).to(device))
                yield network(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()

    key = pictures_key(dataset, rules, network_key(trunk))
    path = cache / f"features-{key}.npy"
    return cached_rows(path, (trunk.feature_dim,), np.float32, len(dataset), compute, progress)


def logits_of(features: np.ndarray[Any, Any], trunk: Trunk) -> np.ndarray[Any, Any]:
    """float32 (N, C): what the trunk's classifier makes of features that `features_of` kept of it.

    Raises ExportError for a trunk without classifier.
    """
    parts = []
    for start in range(0, max(1, len(features)), _LOGITS_AT_ONCE):
        batch = torch.from_numpy(np.array(features[start : start + _LOGITS_AT_ONCE]))
        with torch.inference_mode():
            parts.append(trunk.logits(batch).numpy())
    return np.concatenate(parts)


def network_key(trunk: Trunk) -> str:
    """Changes with what a trunk makes of pixels: scaling, weights, and what it does beside them."""
    network = trunk.network
    # How a traced network pools stands in its graph.
    layers = str(network.graph) if isinstance(network, torch.fx.GraphModule) else str(network)
    return " ".join([*map(str, (*trunk.mean, *trunk.std)), trunk.weights_sha256, layers])
