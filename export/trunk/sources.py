"""Where the weights of a trunk come from: nowhere, torchvision, Keras, a file, or a bundle made before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from export.trunk.inception import load_trunk
from export.trunk.keras import keras_trunk, weights_file
from export.trunk.of_bundle import trunk_of_bundle
from itl_infer.manifest import MANIFEST


def trunk_with(weights: str, progress: Callable[[float, float], None]) -> nn.Module:
    """The trunk with `weights`: what `load_trunk` takes, "keras", a Keras .h5 file or the folder of a bundle.

    Raises ExportError or BundleError.
    """
    if weights == "keras" or weights.endswith(".h5"):
        return keras_trunk(weights_file(weights, progress))
    if (Path(weights) / MANIFEST).is_file():
        return trunk_of_bundle(Path(weights))
    return load_trunk(weights)
