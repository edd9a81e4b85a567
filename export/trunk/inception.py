"""InceptionV3 without its head, as torchvision has it, and its weights: torchvision's or a file's."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from export.errors import ExportError
from export.trunk.torchvision_models import torchvision_models

FEATURE_DIM = 2048
MIN_SIDE = 75  # below that InceptionV3 runs out of pixels


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
