"""Any of timm's classification networks as a trunk, `timm:NAME`, with the weights of its hub or of a state dict."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.errors import ExportError
from export.layers import Channels
from export.trunk.state import with_state
from export.trunk.timm_library import timm_library
from export.trunk.trunk import Trunk

PREFIX = "timm:"

_RESIZES = {"bilinear": "bilinear-antialias", "bicubic": "bicubic-antialias"}
_MIN_SIDE = 32  # pixels: most networks halve a picture five times
# Where timm's networks have their maps, by a module that tells them: ResNets, and what is made like EfficientNets.
_MAPS = {"layer4": ("layer3", "layer4"), "conv_head": ("blocks.4", "blocks.6")}
_AGREE_WITHIN = 1e-4  # of the largest logit


def timm_trunk(
    architecture: str,
    *,
    name: str | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
) -> Trunk:
    """timm's `architecture` without its classifier, untrained; what is not given is what timm says of it.

    Raises ExportError for a name that timm does not know, and for a network whose classes are not a linear layer's of
    its features: no votes could be had of features alone.
    """
    name = name or PREFIX + architecture
    model = _create(architecture)
    config = timm_library().data.resolve_data_config({}, model=model)
    side = int(config["input_size"][1])
    width = _take_classifier_off(model, side, name)
    if config["interpolation"] not in _RESIZES:
        raise ExportError(
            f"{name} was trained on pictures resized by {config['interpolation']}: not to be had here"
        )
    fixed = bool(model.pretrained_cfg.get("fixed_input_size"))
    smallest = model.pretrained_cfg.get("min_input_size") or (3, _MIN_SIDE, _MIN_SIDE)
    return Trunk(
        name,
        model,
        feature_dim=width,
        side=side,
        min_side=side if fixed else int(smallest[1]),
        resize=_RESIZES[config["interpolation"]],
        mean=mean or _of_255(config["mean"]),
        std=std or _of_255(config["std"]),
        fixed_side=fixed,
        map_layers=_maps(model),
        pool_layer="global_pool" if _maps(model) else "",
    )


def timm_trunk_with(trunk: Trunk, architecture: str, state: object, where: str, source: str) -> Trunk:
    """`trunk`, of timm's `architecture`, with a state dict in timm's names."""
    classifier = timm_library().get_pretrained_cfg(architecture).classifier
    return with_state(trunk, state, where, source, classifier=classifier)


def published_timm_trunk(architecture: str) -> Trunk:
    """timm's `architecture` with the weights of timm's hub, fetched once. Raises ExportError."""
    trunk = timm_trunk(architecture)
    config = trunk.network.pretrained_cfg
    place = config.get("hf_hub_id") or config.get("url")
    if not place:
        raise ExportError(f"timm publishes no weights of {architecture}: give --trunk-weights none or a file")
    try:
        model = timm_library().create_model(architecture, pretrained=True)
    except Exception as error:  # of the hub's client, of HTTP, of the file: they have no common base
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"the weights of {trunk.name} could not be fetched from timm's hub, {place} ({type(error).__name__}:"
            f" {reason}): pip install huggingface_hub where it is missing, run again, or give the path of a file"
        ) from error
    return timm_trunk_with(trunk, architecture, model.state_dict(), place, f"{place} of timm's hub")


def _create(architecture: str) -> Any:
    try:
        return timm_library().create_model(architecture).eval()
    except RuntimeError as error:
        raise ExportError(
            f"timm has no network {architecture!r} ({error}): see timm.list_models()"
        ) from error


def _take_classifier_off(model: Any, side: int, name: str) -> int:
    """Leave features as the result of `model`, those that its linear classifier is given; returns how many they are."""
    pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = model(pictures)
        if model.num_classes == 0 and logits.ndim == 2:  # published without a classifier
            return int(logits.shape[1])
        classifier = model.get_classifier()
        if isinstance(classifier, nn.Linear):
            model.reset_classifier(0)
            features = model(pictures)
            if features.ndim == 2 and features.shape[1] == classifier.in_features:
                difference = (classifier(features) - logits).abs().max()
                if difference <= _AGREE_WITHIN * logits.abs().max():
                    return int(features.shape[1])
    raise ExportError(
        f"{name} does not name its classes by one linear layer on its features: take another network"
    )


def _maps(model: Any) -> tuple[str, ...]:
    modules = {name for name, _ in model.named_modules()}
    return next((maps for part, maps in _MAPS.items() if part in modules and {*maps} <= modules), ())


def _of_255(values: tuple[float, ...]) -> Channels:
    """timm counts from 0 to 1."""
    red, green, blue = (255 * float(value) for value in values)
    return red, green, blue
