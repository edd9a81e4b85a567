"""torchvision's auxiliary head on an inner layer of InceptionV3, which helps to train it and is left behind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.trunk.names import INCEPTION
from export.trunk.torchvision_models import torchvision_models
from export.trunk.trunk import Trunk

AUXILIARY_SIDE = 299
"""The head ends in a 5 x 5 convolution; with fewer pixels its map is smaller."""
AUXILIARY_WEIGHT = 0.3  # of its loss (Szegedy et al. 2014, arXiv:1409.4842)


class Auxiliary(nn.Module):
    """The head, called after the network: (n, outputs)."""

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.head = torchvision_models().inception.InceptionAux(768, outputs)
        self._seen: Tensor | None = None
        self._hook = network.get_submodule("Mixed_6e").register_forward_hook(self._look)

    def _look(self, layer: nn.Module, _inputs: object, output: Tensor) -> None:
        self._seen = output if layer.training else None

    def forward(self) -> Tensor:
        seen, self._seen = self._seen, None
        return self.head(seen)  # type: ignore[no-any-return]

    def leave(self) -> None:
        """Let go of the network."""
        self._hook.remove()


def auxiliary_of(trunk: Trunk, outputs: int, largest_side: int) -> Auxiliary | None:
    """The head where the network has the layer for it, and some pictures pixels enough."""
    has_layer = trunk.name == INCEPTION and not isinstance(trunk.network, torch.fx.GraphModule)
    return Auxiliary(trunk.network, outputs) if has_layer and largest_side >= AUXILIARY_SIDE else None
