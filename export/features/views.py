"""What a trunk sees in each picture, and in its mirror image: features and maps, computed once and kept.

Through onnxruntime, which takes a third of torch's time on a CPU for networks of depthwise convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from export.data.cached import Progress, Rows, cached_rows
from export.data.pixels import pictures_key, pixels_from
from export.features.features import network_key
from export.graphs.looking import Looking, compared_session
from export.layers import ScalePixels
from export.trunk.maps import WithMaps, shapes_seen
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset
from itl_infer.errors import ImageError


class _View(nn.Module):
    """uint8 (N, S, S, 3) -> features at large (N, F), and each map (N, C, h, w)."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.scale, self.network = ScalePixels(trunk.mean, trunk.std), WithMaps(trunk)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        features, maps = self.network(self.scale(pixel_values))
        return features, *maps


def views_of(
    dataset: CaptionDataset, trunk: Trunk, cache: Path, progress: Progress, *, mirrored: bool = False
) -> Rows:
    """A record of each readable picture: float32 `features` at large (F,), float16 maps (C, h, w): see `maps_in`."""
    key = network_key(trunk)
    width, maps = shapes_seen(trunk)
    record = np.dtype(
        [
            ("features", np.float32, (width,)),
            *((f"map{i}", np.float16, shape) for i, shape in enumerate(maps)),
        ]
    )

    seen = [*trunk.map_layers, trunk.pool_layer, str(record)]

    def compute(start: int, failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        seen_too = " ".join([key, *seen])
        session = compared_session(Looking(seen_too, _View(trunk), trunk.side, trunk.name))
        for pixels in pixels_from(dataset, trunk.image_rules, cache, start, failed):
            turned = np.ascontiguousarray(pixels[:, :, ::-1]) if mirrored else pixels
            rows = np.empty(len(pixels), record)
            for name, found in zip(
                record.names or (), session.run(None, {"pixel_values": turned}), strict=True
            ):
                rows[name] = found
            yield rows

    pictures = pictures_key(dataset, trunk.image_rules, key, *seen)
    path = cache / f"views-{pictures}{'-mirrored' if mirrored else ''}.npy"
    return cached_rows(path, (), record, len(dataset), compute, progress)


def maps_in(views: np.ndarray[Any, Any]) -> list[str]:
    """The names of the maps in records, the finest first."""
    return [name for name in views.dtype.names or () if name.startswith("map")]
