"""A trunk with weights from where they are: published, Keras, a file, a bundle made before, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.errors import ExportError
from export.trunk.keras import keras_trunk, weights_file
from export.trunk.names import INCEPTION
from export.trunk.networks import find_network
from export.trunk.of_bundle import trunk_of_bundle
from export.trunk.state import read_state
from export.trunk.trunk import Trunk
from itl_infer.bundle.manifest import MANIFEST


def open_trunk(
    name: str,
    weights: str,
    progress: Callable[[float, float], None] | None = None,
    *,
    side: int | None = None,
) -> Trunk:
    """The trunk `name`, in eval mode, for pictures of `side` pixels; None: as many as its own, or its bundle's.

    `weights`: "imagenet" (where the network is published), "keras" (InceptionV3's, fetched once), "none" (untrained),
    or the path of a .pth or .safetensors state dict, of a Keras .h5 file, or of a bundle's folder. `progress` is called
    with the bytes fetched and those there are. Raises ExportError or BundleError.
    """
    trunk = _open(name, weights, progress).at(side)
    trunk.network.eval()
    return trunk


def _open(name: str, weights: str, progress: Callable[[float, float], None] | None) -> Trunk:
    network = find_network(name)
    if weights == "none":
        return network.untrained()
    if weights == "imagenet":
        return network.published()
    if weights == "keras" or weights.endswith(".h5"):
        if name != INCEPTION:
            raise ExportError(
                f"--trunk-weights {weights}: Keras' weights are read for {INCEPTION} only, not {name}"
            )
        return keras_trunk(weights_file(weights, progress))
    path = Path(weights)
    if (path / MANIFEST).is_file():
        trunk = trunk_of_bundle(path)
        if trunk.name != name:
            raise ExportError(f"the trunk of {path} is not {name}: give --trunk {trunk.name}")
        return trunk
    return network.with_state(read_state(path), str(path), path.name)
