"""InceptionV3 as torchvision has it, with the weights that torchvision publishes or those of a state dict."""

from __future__ import annotations

from torch import nn

from export.errors import ExportError
from export.trunk.names import INCEPTION
from export.trunk.state import with_state
from export.trunk.torchvision_models import torchvision_models
from export.trunk.trunk import Trunk


def inception_v3() -> Trunk:
    """InceptionV3 without head, untrained.

    torchvision turns `transform_input` on by itself with pretrained weights, which would scale pixels a second
    time; it is off here for good. The weights Google trained, torchvision's and Keras' alike, expect [-1, 1].
    """
    model: nn.Module = torchvision_models().inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=False
    )
    model.fc = nn.Identity()
    model.dropout = nn.Identity()
    return Trunk(
        INCEPTION,
        model,
        feature_dim=2048,
        side=256,  # the original's; it was trained on 299
        min_side=75,  # below that it runs out of pixels
        resize="bilinear-antialias",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        map_layers=("Mixed_6e", "Mixed_7c"),
        pool_layer="avgpool",
    )


def inception_v3_with(state: object, where: str, source: str) -> Trunk:
    """InceptionV3 with a state dict: torchvision's full one, or what `save_trunk` wrote."""
    return with_state(inception_v3(), state, where, source, classifier="fc", ignored=("AuxLogits.",))


def published_inception_v3() -> Trunk:
    """InceptionV3 with torchvision's IMAGENET1K_V1, fetched once; its hash is part of the file's name and checked."""
    published = torchvision_models().Inception_V3_Weights.IMAGENET1K_V1
    try:
        state = published.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ExportError(
            f"{published.url} could not be fetched ({error}): run again, or fetch it elsewhere and give its path"
        ) from error
    return inception_v3_with(state, "torchvision's IMAGENET1K_V1", "torchvision IMAGENET1K_V1")
