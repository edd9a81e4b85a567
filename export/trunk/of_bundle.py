"""Takes the trunk out of a bundle, so that its maker's work can go on.

The graph's batch norms were folded into its convolutions. Each convolution gets one back, with the statistics of the
bundle's golden pictures, and scale and shift such that the trunk computes what the graph does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from export.errors import ExportError
from export.layers import ScalePixels, norms_of_convolutions
from export.trunk.keras import without_padding_in_means
from export.trunk.names import INCEPTION
from export.trunk.networks import find_network
from export.trunk.trunk import Trunk
from itl_infer.bundle.manifest import GOLDEN, IMAGE_GRAPH, read_manifest

_PREFIXES = ("trunk.", "looks.network.")  # of its weights in the graph; the second in bundles with votes


def trunk_of_bundle(folder: Path) -> Trunk:
    """The trunk of the bundle `folder`, float32 or int8, ready to be trained, for pictures as the bundle has them.

    Raises BundleError for what is no bundle, ExportError where its network cannot be rebuilt from its graph.
    """
    manifest = read_manifest(folder)
    rules = manifest.image_rules
    # Bundles from before manifests named the network are all of InceptionV3.
    name = str(manifest.content.get("trunk", {}).get("network", INCEPTION))
    try:
        trunk = find_network(name).untrained()
    except ExportError as error:
        raise ExportError(f"the trunk of {folder} cannot be rebuilt: {error}") from error
    path = folder / IMAGE_GRAPH
    graph = onnx.load(str(path)).graph
    network = trunk.network
    if name == INCEPTION and _leaves_padding_out(graph):
        network = without_padding_in_means(network)
    with np.load(folder / GOLDEN) as golden:
        images = ScalePixels(rules.mean, rules.std)(torch.from_numpy(golden["pixel_values"]))
    norms = norms_of_convolutions(network, images[:1])
    parameters = dict(network.named_parameters())
    own = [key for key in parameters if key.rpartition(".")[0] not in norms.values()]
    biases = {conv: f"{conv}.bias" for conv in norms if f"{conv}.bias" not in parameters}
    stored = constants(graph)
    prefix = next((p for p in _PREFIXES if any(n.startswith(p) for n in stored)), _PREFIXES[0])
    for key in [*own, *biases.values()]:
        if (found := stored.get(prefix + key)) is None:
            raise ExportError(
                f"{path} has no {prefix}{key}: its {name} was not exported here, or cannot be rebuilt"
            )
        if key in parameters and found.shape != parameters[key].shape:
            raise ExportError(
                f"{path}: {key} is {tuple(found.shape)}, expected {tuple(parameters[key].shape)}"
            )
    with torch.no_grad():
        for key in own:
            parameters[key].copy_(stored[prefix + key])
    shifts = {norm: stored[prefix + biases[conv]] if conv in biases else None for conv, norm in norms.items()}
    _set_norms(network, norms, shifts, images)
    return replace(
        trunk,
        network=network.eval(),
        resize=rules.resize,
        mean=rules.mean,
        std=rules.std,
        source=f"the trunk of the bundle {manifest.name}",
    ).at(rules.side)


def constants(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Every constant as float32, by the name it had before it was made int8."""
    stored = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            quantized, scale, zero = (stored[name] for name in node.input)
            along = (-1,) + (1,) * (quantized.ndim - 1)  # per channel, along the first axis
            real = (quantized - zero.reshape(along)) * scale.reshape(along)
            stored[node.input[0].removesuffix("_quantized")] = real
    for name in [name for name in stored if name.endswith(".int8")]:  # see `graphs.weights`
        whole = name.removesuffix(".int8")
        stored[whole] = stored[name] * stored[f"{whole}.scales"]
    return {name: torch.from_numpy(values) for name, values in stored.items()}


def _leaves_padding_out(graph: onnx.GraphProto) -> bool:
    """Whether means at the border are of what is there alone: the weights are Keras'."""
    pools = [
        {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        for node in graph.node
        if node.op_type == "AveragePool"
    ]
    return any(any(pool.get("pads", ())) and not pool.get("count_include_pad", 0) for pool in pools)


@torch.no_grad()
def _set_norms(
    network: nn.Module, norms: Mapping[str, str], shifts: Mapping[str, Tensor | None], images: Tensor
) -> None:
    """Set every norm so that, with the statistics of `images`, it does no more than add what was folded away."""

    def set_norm(name: str, output: Tensor) -> None:
        norm = network.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        variance, mean = torch.var_mean(output, dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        shift = shifts[name]
        norm.bias.copy_(mean if shift is None else mean + shift)

    handles = [
        network.get_submodule(conv).register_forward_hook(
            lambda _module, _inputs, output, norm=norm: set_norm(norm, output)  # type: ignore[misc]
        )
        for conv, norm in norms.items()
    ]
    network.eval()(images)
    for handle in handles:
        handle.remove()
