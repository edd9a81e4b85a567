"""A network's features, and beside them the maps of places that they are made of."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from export.trunk.trunk import Trunk

_POOLED = -1  # the place of the map that the network's own features are the mean of

Seen = tuple[Tensor, tuple[Tensor, ...]]


class WithMaps(nn.Module):
    """Float (N, 3, H, W) -> what a trunk sees: features (N, F) at large, and its maps (N, C, h, w), the finest first.

    At large: its own features, in the first `feature_dim` columns; the largest of each of these over the places that
    they are the mean of; and mean and largest of each channel of the maps. A mean says what a picture is of, the
    largest what is somewhere in it.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.network = trunk.network
        self._maps: dict[int, Tensor] = {}
        self._layers = len(trunk.map_layers)
        # Methods, not closures: a copy of this module must look at the copy's own layers.
        for place, layer in enumerate(trunk.map_layers):
            self.network.get_submodule(layer).register_forward_hook(partial(self._keep_output, place))
        if trunk.pool_layer:
            self.network.get_submodule(trunk.pool_layer).register_forward_pre_hook(self._keep_input)

    def _keep_output(self, place: int, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        self._maps[place] = output

    def _keep_input(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._maps[_POOLED] = inputs[0]

    def forward(self, x: Tensor) -> Seen:
        features = self.network(x)
        seen, self._maps = self._maps, {}
        maps = tuple(seen[place] for place in range(self._layers))
        largest = [seen[_POOLED].amax(dim=(2, 3))] if _POOLED in seen else []
        of_maps = [pooled for m in maps for pooled in (m.mean(dim=(2, 3)), m.amax(dim=(2, 3)))]
        return torch.cat([features, *largest, *of_maps], dim=1), maps


@torch.inference_mode()
def shapes_seen(trunk: Trunk) -> tuple[int, list[tuple[int, int, int]]]:
    """How many features there are at large, and the channels, height and width of each map, at the trunk's side."""
    network = WithMaps(trunk).eval()
    device = next(network.parameters()).device
    features, maps = network(torch.zeros(1, 3, trunk.side, trunk.side, device=device))
    return features.shape[1], [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]
