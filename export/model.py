"""The two-branch network: InceptionV3 and a branch for pictures, a bag of stems and a branch for captions.

Both end in unit vectors of one 128-d space. Pixel scaling is a layer here, and nowhere else.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.errors import ExportError
from export.torchvision_models import torchvision_models

FEATURE_DIM = 2048
EMBED_DIM = 128
HIDDEN = (512, 256)
MIN_SIDE = 75  # below that InceptionV3 runs out of pixels


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of (N, D) divided by their length, as Keras does it: x * rsqrt(max(sum(x^2), 1e-12))."""
    return x * x.square().sum(dim=-1, keepdim=True).clamp(min=1e-12).rsqrt()


class ScalePixels(nn.Module):
    """uint8 (N, H, W, 3) -> float (N, 3, H, W), in [-1, 1] ("inception") or [0, 1] ("unit")."""

    def __init__(self, pixel_scaling: str) -> None:
        super().__init__()
        self.scale, self.offset = {"inception": (1 / 127.5, -1.0), "unit": (1 / 255, 0.0)}[pixel_scaling]

    def forward(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.permute(0, 3, 1, 2).float() * self.scale + self.offset


def inception_trunk() -> nn.Module:
    """InceptionV3 without head: float (N, 3, H, W) -> features (N, 2048), untrained.

    torchvision turns `transform_input` on by itself with pretrained weights, which would scale pixels a second
    time; it is off here for good. The weights Google trained, torchvision's and Keras' alike, expect [-1, 1].
    """
    model: nn.Module = torchvision_models().inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=False
    )
    model.fc = nn.Identity()
    model.dropout = nn.Identity()
    return model


def load_trunk(weights: str) -> nn.Module:
    """The trunk with `weights`: "none", "imagenet" (torchvision's IMAGENET1K_V1) or the path of a .pth file.

    A file may hold torchvision's full InceptionV3 or what `save_trunk` wrote; every tensor of the trunk must be in it.
    """
    trunk = inception_trunk()
    if weights == "none":
        return trunk
    if weights == "imagenet":
        # torchvision checks the hash that is part of the file's name.
        published = torchvision_models().Inception_V3_Weights.IMAGENET1K_V1
        try:
            state = published.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            raise ExportError(
                f"{published.url} could not be fetched ({error}): run again, or fetch it elsewhere and give its path"
            ) from error
        return _load_state(trunk, state, "torchvision's IMAGENET1K_V1")
    path = Path(weights)
    if not path.is_file():
        raise ExportError(f"no trunk weights at {path}: give imagenet, none or the path of a .pth file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a file it cannot read
        raise ExportError(
            f"{path} is not a file of plain tensors ({type(error).__name__}): save a state_dict with torch.save"
        ) from error
    return _load_state(trunk, state, str(path))


def _load_state(trunk: nn.Module, state: object, source: str) -> nn.Module:
    expected = trunk.state_dict()
    if not isinstance(state, dict):
        raise ExportError(f"{source} holds a {type(state).__name__}, expected a state_dict of InceptionV3")
    missing = [key for key in expected if key not in state]
    if missing:
        raise ExportError(
            f"{source} lacks {len(missing)} of {len(expected)} tensors of InceptionV3, the first is {missing[0]}"
        )
    foreign = [key for key in state if key not in expected and not key.startswith(("AuxLogits.", "fc."))]
    if foreign:
        raise ExportError(f"{source} has tensors that are not InceptionV3's, the first is {foreign[0]}")
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            raise ExportError(f"{source}: {key} is {tuple(state[key].shape)}, expected {tuple(tensor.shape)}")
    trunk.load_state_dict({key: state[key] for key in expected})
    return trunk


def save_trunk(trunk: nn.Module, path: Path) -> None:
    unfinished = path.with_suffix(".part")
    torch.save(trunk.state_dict(), unfinished)
    unfinished.replace(path)


def weights_sha256(module: nn.Module) -> str:
    """A hash of every parameter and buffer, to key what was computed with them."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Branch(nn.Sequential):
    """Dense layers with ReLU between: `sizes[0]` -> ... -> `sizes[-1]`, the last one linear."""

    def __init__(self, *sizes: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        super().__init__(*layers[:-1])


class ImageEncoder(nn.Module):
    """uint8 pixel_values (N, H, W, 3) -> unit embeddings (N, 128)."""

    def __init__(self, trunk: nn.Module, branch: nn.Module, pixel_scaling: str) -> None:
        super().__init__()
        self.scale_pixels, self.trunk, self.branch = ScalePixels(pixel_scaling), trunk, branch

    def features(self, pixel_values: Tensor) -> Tensor:  # (N, 2048)
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


def image_branch() -> Branch:
    return Branch(FEATURE_DIM, *HIDDEN, EMBED_DIM)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
