"""Keras' InceptionV3 without its top, from a weights file or from Keras' storage, as torchvision's trunk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from export.errors import ExportError
from export.trunk.fetch import fetch
from export.trunk.hdf5 import Weights, read_weights
from export.trunk.inception import inception_v3
from export.trunk.torchvision_models import torchvision_models
from export.trunk.trunk import Trunk

OFFICIAL_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
    "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
OFFICIAL_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"


def weights_file(weights: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """The path `weights`, or for "keras" the file that Keras itself uses, with `progress(bytes, total)`.

    It is fetched once, into torch's folder for such files (see TORCH_HOME).
    """
    if weights != "keras":
        return Path(weights)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return fetch(OFFICIAL_URL, folder / OFFICIAL_URL.rpartition("/")[2], OFFICIAL_MD5, progress)


def keras_trunk(path: Path) -> Trunk:
    """InceptionV3 without its top, with the weights of a no-top file, pooling as TensorFlow does.

    The convolutions and batch norms, by the number in their names, are torchvision's in definition order.
    """
    weights = read_weights(path)
    convs, norms = _numbered(weights, "conv2d"), _numbered(weights, "batch_normalization")
    if foreign := [name for name in weights if name not in {*convs, *norms}]:
        raise ExportError(
            f"{path} has weights for {foreign[0]}, which InceptionV3 without its top does not have"
        )
    with torch.device("meta"):  # every tensor comes from the file: no memory and no time for others
        trunk = inception_v3()
    block = torchvision_models().inception.BasicConv2d
    blocks = {name: module for name, module in trunk.network.named_modules() if isinstance(module, block)}
    if not len(convs) == len(norms) == len(blocks):
        raise ExportError(
            f"{path} has {len(convs)} convolutions and {len(norms)} batch norms, "
            f"InceptionV3 has {len(blocks)} of each"
        )
    state: dict[str, torch.Tensor] = {}
    for name, conv, norm in zip(blocks, convs, norms, strict=True):
        state |= {f"{name}.{key}": tensor for key, tensor in _block_state(weights, conv, norm, path).items()}
    for key, tensor in trunk.network.state_dict().items():
        if state[key].shape != tensor.shape:
            raise ExportError(
                f"{path}: {key} would be {tuple(state[key].shape)}, expected {tuple(tensor.shape)}"
            )
    trunk.network.load_state_dict(state, assign=True)
    return replace(trunk, network=without_padding_in_means(trunk.network.eval()), source=path.name)


def _numbered(weights: dict[str, Weights], kind: str) -> list[str]:
    """The layers `kind`, `kind_1`, ... by number, which begins higher in a session's later models."""
    names = [name for name in weights if re.fullmatch(rf"{kind}(_\d+)?", name)]
    return sorted(names, key=lambda name: int(name.removeprefix(kind).lstrip("_") or 0))


def _block_state(
    all_weights: dict[str, Weights], conv: str, norm: str, path: Path
) -> dict[str, torch.Tensor]:
    conv_weights, norm_weights = all_weights[conv], all_weights[norm]
    if set(conv_weights) == {"0"} and set(norm_weights) == {"0", "1", "2"}:  # Keras 3's .weights.h5
        conv_weights = {"kernel": conv_weights["0"]}
        names = ("beta", "moving_mean", "moving_variance")
        norm_weights = dict(zip(names, (norm_weights[number] for number in "012"), strict=True))
    if set(conv_weights) != {"kernel"} or conv_weights["kernel"].ndim != 4:
        raise ExportError(
            f"{path}: layer {conv} has weights {sorted(conv_weights)}, expected one kernel of 4 axes"
        )
    if set(norm_weights) != {"beta", "moving_mean", "moving_variance"}:
        raise ExportError(
            f"{path}: layer {norm} has weights {sorted(norm_weights)}, "
            "expected beta, moving_mean, moving_variance"
        )
    kernel = conv_weights["kernel"].transpose(3, 2, 0, 1)  # HWIO -> OIHW
    arrays = {
        "conv.weight": np.ascontiguousarray(kernel),
        "bn.weight": np.ones_like(norm_weights["beta"]),  # no gamma
        "bn.bias": norm_weights["beta"],
        "bn.running_mean": norm_weights["moving_mean"],
        "bn.running_var": norm_weights["moving_variance"],
    }
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    return {**tensors, "bn.num_batches_tracked": torch.tensor(0)}  # of no use in inference


def without_padding_in_means(network: nn.Module) -> nn.Module:
    """The same network with border pixels averaged over what is there, as TensorFlow does.

    torchvision calls `avg_pool2d` inside its blocks, where no attribute reaches it, so the call is changed in
    a trace of the network; modules, parameters and their names stay what they are.
    """
    traced = torch.fx.symbolic_trace(network)
    for node in traced.graph.nodes:
        if node.target is F.avg_pool2d:
            node.kwargs = {**node.kwargs, "count_include_pad": False}
    traced.recompile()
    return traced
