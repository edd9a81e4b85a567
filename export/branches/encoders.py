"""The two-branch network: a trunk and a branch for pictures, a bag of stems and a branch for captions.

Both end in unit vectors of one 128-d space.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.layers import ScalePixels, l2_normalize
from export.trunk.trunk import Trunk

EMBED_DIM = 128
HIDDEN = (512, 256)


class Branch(nn.Sequential):
    """Dense layers with ReLU between: `sizes[0]` -> ... -> `sizes[-1]`, the last one linear."""

    def __init__(self, *sizes: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        super().__init__(*layers[:-1])


class ImageEncoder(nn.Module):
    """uint8 pixel_values (N, H, W, 3) -> unit embeddings (N, 128)."""

    def __init__(self, trunk: Trunk, branch: nn.Module) -> None:
        super().__init__()
        self.scale_pixels, self.trunk, self.branch = ScalePixels(trunk.mean, trunk.std), trunk.network, branch

    def features(self, pixel_values: Tensor) -> Tensor:  # (N, feature_dim)
        return self.trunk(self.scale_pixels(pixel_values))  # type: ignore[no-any-return]

    def forward(self, pixel_values: Tensor) -> Tensor:
        return l2_normalize(self.branch(self.features(pixel_values)))


class TextEncoder(nn.Module):
    """int64 input_ids (N, T), 0 is padding -> unit embeddings (N, 128).

    A dense layer over the binary bag of stems is the sum of the rows of its kernel that belong to the stems
    present: a gather and a sum. Ids must not repeat within a row (`TextProcessor` removes repeats).
    """

    def __init__(self, vocabulary_size: int, *sizes: int) -> None:
        super().__init__()
        hidden, *rest = sizes or (*HIDDEN, EMBED_DIM)
        self.stems = nn.Embedding(vocabulary_size + 1, hidden, padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.branch = Branch(hidden, *rest)
        # What a Dense layer over the whole bag would start with (Glorot), rather than Embedding's unit normal.
        limit = (6 / (vocabulary_size + 1 + hidden)) ** 0.5
        with torch.no_grad():
            self.stems.weight.uniform_(-limit, limit)[0] = 0

    def forward(self, input_ids: Tensor) -> Tensor:
        return l2_normalize(self.branch(F.relu(self.stems(input_ids).sum(dim=1) + self.bias)))


def image_branch(feature_dim: int) -> Branch:
    return Branch(feature_dim, *HIDDEN, EMBED_DIM)


class TwoBranch(nn.Module):
    """Both branches, and the trunk where it is trained too; what a checkpoint holds."""

    def __init__(self, vocabulary_size: int, feature_dim: int, trunk: Trunk | None = None) -> None:
        super().__init__()
        self.trunk = None if trunk is None else copy.deepcopy(trunk.network)
        self.scale_pixels = None if trunk is None else ScalePixels(trunk.mean, trunk.std)
        self.image_branch = image_branch(feature_dim)
        self.text_encoder = TextEncoder(vocabulary_size)

    def embed_images(self, images: Tensor, prepare: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """Features (N, feature_dim), or pixels uint8 (N, S, S, 3) where there is a trunk -> (N, 128).

        `prepare` changes scaled pixels before the trunk sees them.
        """
        if self.trunk is not None and self.scale_pixels is not None:
            images = self.trunk(prepare(self.scale_pixels(images)))
        return l2_normalize(self.image_branch(images))
