"""A stack of Keras layers as torch layers: Dense, Dropout, BatchNormalization, ReLU, a last L2 norm."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from export.branches.encoders import TextEncoder
from export.errors import ExportError
from export.layers import l2_normalize
from export.trunk.hdf5 import KerasLayer, read_stack
from itl_infer.errors import reason_of


class Affine(nn.Module):
    """A batch norm at inference: (N, D) -> x * scale + shift."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


Layer: TypeAlias = "nn.Linear | Affine | nn.ReLU"


class KerasTextEncoder(TextEncoder):
    """A TextEncoder that leaves all that follows its first layer, ReLU or not, to `branch`."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return l2_normalize(self.branch(self.stems(input_ids).sum(dim=1) + self.bias))


def read_branch(path: Path) -> list[Layer]:
    """What a saved model computes before its L2 normalisation. ExportError names the layer it cannot be."""
    layers = [layer for layer in read_stack(path) if layer.class_name != "InputLayer"]
    if layers and layers[-1].class_name == "Lambda":
        with _config_errors(layers[-1], path):
            _check_is_l2_normalize(layers.pop(), path)
    branch: list[Layer] = []
    for layer in layers:
        with _config_errors(layer, path):
            modules = _modules(layer, path)
        for module in modules:
            if branch and not isinstance(module, nn.ReLU) and _widths(module)[0] != output_width(branch):
                raise ExportError(
                    f"{path}: layer {layer.name} takes {_widths(module)[0]} values, "
                    f"the layers before it give {output_width(branch)}"
                )
            branch.append(module)
    if not branch or not isinstance(branch[0], nn.Linear | Affine) or not _linears(branch):
        raise ExportError(f"{path} does not begin with Dense: it is no branch of a two-branch model")
    return branch


@contextmanager
def _config_errors(layer: KerasLayer, path: Path) -> Iterator[None]:
    """Whatever is wrong with a config is an ExportError: anything may stand there."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(
            f"{path}: layer {layer.name} is none that Keras writes ({type(error).__name__}: {reason_of(error)}):"
            " save the model again"
        ) from error


def text_encoder(branch: list[Layer]) -> KerasTextEncoder:
    """The encoder of stem ids for a branch over the binary bag of stems, whose column 0 is never set."""
    position, first = _linears(branch)[0]
    kernel, bias = first.weight.detach().double(), first.bias.detach().double()  # (hidden, V + 1), (hidden,)
    for norm in reversed(branch[:position]):
        if isinstance(norm, Affine):  # the bag of stems is not negative, a ReLU leaves it as it is
            kernel, bias = kernel * norm.scale, bias + kernel @ norm.shift.double()
    encoder = KerasTextEncoder(kernel.shape[1] - 1, kernel.shape[0])
    with torch.no_grad():
        encoder.stems.weight[1:] = kernel.T[1:]
        encoder.bias.copy_(bias)
    encoder.branch.extend(branch[position + 1 :])
    return encoder


def input_width(branch: list[Layer]) -> int:
    return next(_widths(module)[0] for module in branch if not isinstance(module, nn.ReLU))


def output_width(branch: list[Layer]) -> int:
    return next(_widths(module)[1] for module in reversed(branch) if not isinstance(module, nn.ReLU))


def _widths(module: nn.Linear | Affine) -> tuple[int, int]:
    if isinstance(module, Affine):
        return len(module.scale), len(module.scale)
    return module.in_features, module.out_features


def _linears(branch: list[Layer]) -> list[tuple[int, nn.Linear]]:
    return [(position, module) for position, module in enumerate(branch) if isinstance(module, nn.Linear)]


def _modules(layer: KerasLayer, path: Path) -> list[Layer]:
    match layer.class_name:
        case "Dropout":
            return []
        case "Dense":
            return [_linear(layer, path), *_activation(layer, path)]
        case "Activation":
            return _activation(layer, path)
        case "ReLU" if not any(layer.config.get(key) for key in ("max_value", "negative_slope", "threshold")):
            return [nn.ReLU()]
        case "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2":  # V1, V2: TensorFlow 1
            return [_affine(layer, path)]
        case "Lambda":
            raise ExportError(f"{path}: layer {layer.name} is a Lambda before the end; its code is never run")
        case other:
            raise ExportError(
                f"{path}: layer {layer.name} is a {other}: only Dense, ReLU, Dropout, BatchNormalization "
                "and a final L2 normalisation can be imported"
            )


def _linear(layer: KerasLayer, path: Path) -> nn.Linear:
    units, has_bias = layer.config["units"], layer.config["use_bias"]
    inputs = len(layer.weights.get("kernel", ()))
    _check_shapes(layer, {"kernel": (inputs, units), **({"bias": (units,)} if has_bias else {})}, path)
    linear = nn.Linear(inputs, units)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(layer.weights["kernel"].T))
        linear.bias.copy_(torch.from_numpy(layer.weights["bias"]) if has_bias else torch.zeros(units))
    return linear


def _activation(layer: KerasLayer, path: Path) -> list[Layer]:
    activation = layer.config["activation"]
    if activation in ("relu", "linear"):
        return [nn.ReLU()] if activation == "relu" else []
    if isinstance(activation, dict):  # a custom object
        activation = activation.get("registered_name") or activation.get("class_name")
    raise ExportError(
        f"{path}: layer {layer.name} has activation {activation}: only relu and linear can be imported"
    )


def _affine(layer: KerasLayer, path: Path) -> Affine:
    config = layer.config
    if config["axis"] not in (1, -1, [1], [-1]):
        raise ExportError(
            f"{path}: layer {layer.name} normalises along axis {config['axis']}, expected the last one"
        )
    names = ["moving_mean", "moving_variance"]
    names += ["gamma"] * bool(config["scale"]) + ["beta"] * bool(config["center"])
    width = len(layer.weights.get("moving_mean", ()))
    _check_shapes(layer, dict.fromkeys(names, (width,)), path)
    weights = {name: torch.from_numpy(array).double() for name, array in layer.weights.items()}
    scale = weights.get("gamma", 1) / (weights["moving_variance"] + config["epsilon"]).sqrt()
    shift = weights.get("beta", 0) - weights["moving_mean"] * scale
    return Affine(scale.float(), shift.float())


def _check_shapes(layer: KerasLayer, expected: dict[str, tuple[int, ...]], path: Path) -> None:
    found = {name: array.shape for name, array in layer.weights.items()}
    if found != expected:
        raise ExportError(
            f"{path}: {layer.class_name} layer {layer.name} has weights {found or 'missing'}, "
            f"expected {expected}"
        )


def _check_is_l2_normalize(layer: KerasLayer, path: Path) -> None:
    """A Lambda holds marshalled Python code, which is neither run nor unmarshalled.

    The names that code uses lie in it as they are: "l2_norm" is looked for among its bytes, in the name of
    the function where it is one, and in the name of the layer. What such a Lambda does beside that cannot be
    seen; embeddings get unit length here in any case.
    """
    arguments = layer.config.get("arguments") or {}
    if arguments.get("axis", -1) not in (1, -1, [1], [-1]):
        raise ExportError(
            f"{path}: layer {layer.name} normalises along axis {arguments['axis']}, expected the last one"
        )
    if not any(
        b"l2_norm" in text.lower() for text in (layer.name.encode(), *_code(layer.config["function"]))
    ):
        raise ExportError(
            f"{path}: layer {layer.name} is a Lambda, accepted only as L2 normalisation; its code is never "
            "run: if that is what it does, name the layer l2_normalize, or save the model without it"
        )


def _code(function: Any) -> list[bytes]:
    """The bytes of a Lambda's function: its name, or its code out of what Keras wraps around it."""
    if isinstance(function, list):  # Keras 2: [code, defaults, closure]
        return _code(function[0])
    if isinstance(
        function, dict
    ):  # Keras 3: {"config": {"code", "defaults", "closure"}}, or {"config": name}
        return _code(function.get("config") or function.get("code"))
    text = str(function).encode()
    try:
        return [text, base64.b64decode(text)]
    except binascii.Error:
        return [text]
