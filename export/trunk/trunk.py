"""Any pretrained network as one thing: what it takes, what it gives, and where its weights came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from export.errors import ExportError
from export.layers import Channels, weights_sha256
from itl_infer.image import ImageRules


@dataclass(frozen=True, eq=False)
class Trunk:
    """A network that makes features, float (N, feature_dim), of scaled pictures, float (N, 3, H, W).

    Pixels, 0 to 255, are scaled to (pixel - mean) / std. `classifier` makes logits (N, C) of features, and
    `class_names[i]` are the synonyms for its i-th class; a trunk may have neither, or a classifier without names.
    """

    name: str  # as `--trunk` takes it
    network: nn.Module
    feature_dim: int
    side: int  # pixels
    min_side: int  # fewer than these it cannot take
    resize: str  # as `ImageRules` has it
    mean: Channels  # of red, green and blue
    std: Channels
    source: str = "none"  # where the weights came from; no path of the machine
    classifier: nn.Linear | None = None
    class_names: tuple[tuple[str, ...], ...] = ()
    fixed_side: bool = False  # it takes `side` and no other
    # Modules whose outputs are maps of places, the finest first, and the one that takes the mean over places; where
    # they are not known, there are no maps to see small things on.
    map_layers: tuple[str, ...] = ()
    pool_layer: str = ""

    @property
    def image_rules(self) -> ImageRules:
        """How a picture becomes what the network takes, but for the scaling."""
        return ImageRules(self.side, self.resize, self.mean, self.std)

    @property
    def weights_sha256(self) -> str:
        """A hash of the network's parameters and buffers as they are now."""
        return weights_sha256(self.network)

    def at(self, side: int | None) -> Trunk:
        """The same trunk for pictures of `side` pixels; None: as it is. ExportError for a side it cannot take."""
        if side is None:
            return self
        if side < self.min_side:
            raise ExportError(f"side {side} is too small for {self.name}: {self.min_side} pixels at least")
        if self.fixed_side and side != self.side:
            raise ExportError(
                f"side {side} is not for {self.name}, which takes {self.side} pixels and no other"
            )
        return replace(self, side=side)

    def retrained(self) -> Trunk:
        """The same network once its weights are others: the classifier is not for them."""
        return replace(self, classifier=None, class_names=(), source="trained here")

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) of features (N, feature_dim). Raises ExportError where there is no classifier."""
        if self.classifier is None:
            raise ExportError(
                f"the trunk {self.name} (weights: {self.source}) has no classifier, and so no votes:"
                " take weights that have one, as --trunk-weights imagenet"
            )
        return self.classifier(features)  # type: ignore[no-any-return]

    def describe(self) -> dict[str, Any]:
        """What the manifest of a bundle says of it."""
        return {
            "network": self.name,
            "side": self.side,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": self.resize,
            "feature_dim": self.feature_dim,
            "weights": self.source,
            "sha256": self.weights_sha256,
        }
