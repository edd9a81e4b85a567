"""A network's features, and beside them the maps of places that they are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.trunk.trunk import Trunk

Seen = tuple[Tensor, tuple[Tensor, ...]]


class WithMaps(nn.Module):
    """Float (N, 3, H, W) -> what a trunk sees: features (N, F) at large, and its maps (N, C, h, w), the finest first.

    At large: its own features, in the first `feature_dim` columns; the largest of each of these over the places that
    they are the mean of; and mean and largest of each channel of the other maps. A mean says what a picture is of, the
    largest what is somewhere in it.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.network, self._layers, self._pool = trunk.network, trunk.map_layers, trunk.pool_layer

    def forward(self, x: Tensor) -> Seen:
        maps: dict[str, Tensor] = {}
        pooled: list[Tensor] = []  # the map that the network's own features are the mean of
        # For this call only: the network is not ours alone, and keeps nothing of it.
        handles = [
            self.network.get_submodule(layer).register_forward_hook(
                lambda _layer, _inputs, output, layer=layer: maps.update({layer: output})  # type: ignore[misc]
            )
            for layer in self._layers
        ]
        if self._pool:
            pool = self.network.get_submodule(self._pool)
            handles.append(pool.register_forward_pre_hook(lambda _layer, inputs: pooled.append(inputs[0])))
        try:
            features = self.network(x)
        finally:
            for handle in handles:
                handle.remove()
        seen = tuple(maps[layer] for layer in self._layers)
        largest = [m.amax(dim=(2, 3)) for m in pooled]
        # The last map may be the one that the features are the mean of: what is said of that is not said again.
        others = [m for m in seen if all(m is not own for own in pooled)]
        of_maps = [of for m in others for of in (m.mean(dim=(2, 3)), m.amax(dim=(2, 3)))]
        return torch.cat([features, *largest, *of_maps], dim=1), seen


@torch.inference_mode()
def shapes_seen(trunk: Trunk) -> tuple[int, list[tuple[int, int, int]]]:
    """How many features there are at large, and the channels, height and width of each map, at the trunk's side."""
    network = WithMaps(trunk).eval()
    device = next(network.parameters()).device
    features, maps = network(torch.zeros(1, 3, trunk.side, trunk.side, device=device))
    return features.shape[1], [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]
