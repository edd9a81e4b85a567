"""Takes the networks of pictures out of a bundle, so that its maker's work can go on.

The graph's batch norms were folded into its convolutions. Each convolution gets one back, with the statistics of the
bundle's golden pictures, and scale and shift such that the trunk computes what the graph does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.errors import ExportError
from export.layers import ScalePixels
from export.trunk.inception import inception_trunk
from itl_infer.manifest import GOLDEN, IMAGE_GRAPH, read_manifest

_PREFIX = "trunk."


def trunk_of_bundle(folder: Path) -> nn.Module:
    """The trunk of the bundle `folder`, float32 or int8, ready to be trained: to (N, 2048) from pixels it has scaled.

    Raises BundleError for what is no bundle, ExportError if its graph is not of an InceptionV3 that was exported here.
    """
    rules = read_manifest(folder).image_rules
    path = folder / IMAGE_GRAPH
    stored = constants(onnx.load(str(path)).graph)
    trunk = inception_trunk()
    biases: dict[str, Tensor] = {}
    for name, module in trunk.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        keys = [f"{_PREFIX}{name}.{kind}" for kind in ("weight", "bias")]
        if missing := [key for key in keys if key not in stored]:
            raise ExportError(f"{path} has no {missing[0]}: it is not of an InceptionV3 exported here")
        weight, bias = (stored[key] for key in keys)
        if weight.shape != module.weight.shape:
            raise ExportError(
                f"{path}: {name} is {tuple(weight.shape)}, expected {tuple(module.weight.shape)}"
            )
        with torch.no_grad():
            module.weight.copy_(weight)
        biases[name.removesuffix(".conv")] = bias
    with np.load(folder / GOLDEN) as golden:
        images = ScalePixels(rules.pixel_scaling)(torch.from_numpy(golden["pixel_values"]))
    _insert_norms(trunk, biases, images)
    return trunk


def constants(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Every constant as float32, by the name it had before it was made int8 (per channel, along the first axis)."""
    stored = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            quantized, scale, zero = (stored[name] for name in node.input)
            along = (-1,) + (1,) * (quantized.ndim - 1)
            real = (quantized - zero.reshape(along)) * scale.reshape(along)
            stored[node.input[0].removesuffix("_quantized")] = real
    return {name: torch.from_numpy(values) for name, values in stored.items()}


@torch.no_grad()
def _insert_norms(trunk: nn.Module, biases: dict[str, Tensor], images: Tensor) -> None:
    """Set every batch norm so that, with the statistics of `images`, it does no more than add the bias folded away."""
    layers = {name: module for name, module in trunk.named_modules() if name in biases}

    def set_norm(name: str, output: Tensor) -> None:
        norm = layers[name].bn
        assert isinstance(norm, nn.BatchNorm2d)
        variance, mean = torch.var_mean(output, dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + biases[name])

    handles = [
        layer.conv.register_forward_hook(lambda _module, _inputs, output, name=name: set_norm(name, output))  # type: ignore[union-attr,misc]
        for name, layer in layers.items()
    ]
    trunk.eval()
    trunk(images)
    for handle in handles:
        handle.remove()
