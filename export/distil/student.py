"""A trunk that learns from another: with what it is asked, and in two halves where its first layers are left alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.distil.crops import Crops
from export.errors import ExportError
from export.layers import ScalePixels
from export.trunk.trunk import Trunk

_SETTLED_ON = 512  # pictures


class Student(nn.Module):
    """Scaled pictures (N, 3, H, W) -> logits (N, C) of the teacher's classes, and the teacher's features (N, F)."""

    def __init__(self, network: nn.Module, feature_dim: int, teacher: Trunk) -> None:
        super().__init__()
        classifier = teacher.classifier
        assert classifier is not None
        self.network = network
        self.classes = nn.Linear(feature_dim, classifier.out_features)
        self.features = nn.Linear(feature_dim, teacher.feature_dim)

    def forward(self, x: Tensor, layers: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """With `layers`, the last ones of the network, x is what the others give."""
        own = (layers or self.network)(x)
        return self.classes(own), self.features(own)


def halves(trunk: Trunk, layer: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The network up to `layer`, and what comes behind it; ExportError where it is no such row of layers."""
    children = dict(trunk.network.named_children())
    names = list(children)
    if layer not in names:
        raise ExportError(f"{trunk.name} has no layer {layer!r}: choose one of {', '.join(names)}")
    at = names.index(layer) + 1
    first, last = (nn.Sequential(*map(children.get, part)) for part in (names[:at], names[at:]))
    last.append(nn.Flatten(1))
    x = torch.rand(1, 3, trunk.side, trunk.side) * 2 - 1
    training = trunk.network.training
    trunk.network.eval()
    try:
        with torch.inference_mode():
            same = torch.equal(last(first(x)), trunk.network(x))
    except (NotImplementedError, RuntimeError):  # layers that are called in another order, or by others
        same = False
    trunk.network.train(training)
    if not same:
        raise ExportError(f"{trunk.name} is no row of layers that could stay as they are up to {layer}")
    return first, last


@torch.no_grad()
def settle(trunk: Trunk, layers: nn.Module, crops: Crops) -> None:
    """Give the batch norms of `layers` the statistics of these pictures: those of others, or other sides, are off."""
    norms = [m for m in layers.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    scale, seen = ScalePixels(trunk.mean, trunk.std), 0
    for pixels in crops.batches(0, trunk.side):
        layers(scale(torch.from_numpy(pixels)))
        seen += len(pixels)
        if seen >= _SETTLED_ON:
            break
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    layers.eval()
