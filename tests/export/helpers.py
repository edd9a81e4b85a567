"""Settings of a small build, and a network that is as fast as can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from export.branches.recipe import Recipe
from export.bundle.gallery import Gallery
from export.features.features import features_of
from export.runs.prepare import BuildSettings
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.image import ImageRules

SIDE, FEATURE_DIM = 80, 2048
RULES = ImageRules(side=SIDE)
SMALL_TRUNK = "timm:test_resnet"  # timm's own for tests: exported and quantised in seconds
SETTINGS = BuildSettings(
    name="small",
    domain="a test",
    trunk=SMALL_TRUNK,
    side=SIDE,
    recipe=Recipe(batch_size=16, epochs=2),
    gallery=Gallery(pictures=5, featuring=("two",)),
)


class Toy(torch.nn.Module):
    """As fast as can be: a feature is a pixel's value."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :FEATURE_DIM] * self.weight


def noise_pictures(folder: Path) -> CaptionDataset:
    return CaptionDataset(
        "many", folder, tuple(CaptionedImage(f"{i:03}.bmp", ("noise",), "train") for i in range(300))
    )


def toy_features(
    dataset: CaptionDataset,
    cache: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    network: torch.nn.Module | None = None,
) -> np.ndarray:
    return features_of(dataset, toy_trunk(network), cache, progress).array


def toy_trunk(network: torch.nn.Module | None = None) -> Trunk:
    grey = (127.5, 127.5, 127.5)
    return Trunk("toy", network or Toy(), FEATURE_DIM, 30, 1, "bilinear-antialias", mean=grey, std=grey)
