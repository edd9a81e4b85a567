"""What every network here is made and trained with: scaled pixels, unit rows, a hash of weights, a device, steps."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

Channels = tuple[float, float, float]
"""A number for red, green and blue."""


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of (N, D) divided by their length, as Keras does it: x * rsqrt(max(sum(x^2), 1e-12))."""
    return x * x.square().sum(dim=-1, keepdim=True).clamp(min=1e-12).rsqrt()


class ScalePixels(nn.Module):
    """uint8 (N, H, W, 3) -> float (N, 3, H, W): (pixel - mean) / std."""

    scale: float | Tensor
    offset: float | Tensor

    def __init__(self, mean: Channels, std: Channels) -> None:
        super().__init__()
        scales = [1 / s for s in std]
        offsets = [0.0 - m / s for m, s in zip(mean, std, strict=True)]
        if len(set(scales)) == len(set(offsets)) == 1:
            self.scale, self.offset = scales[0], offsets[0]
        else:
            self.register_buffer("scale", torch.tensor(scales).reshape(3, 1, 1), persistent=False)
            self.register_buffer("offset", torch.tensor(offsets).reshape(3, 1, 1), persistent=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.permute(0, 3, 1, 2).float() * self.scale + self.offset


def weights_sha256(module: nn.Module) -> str:
    """A hash of every parameter and buffer, to key what was computed with them."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def norms_of_convolutions(module: nn.Module, inputs: Tensor) -> dict[str, str]:
    """By name, each convolution whose output goes straight into a batch norm, and that norm.

    Seen on the way of `inputs` through the module, since how networks name and nest the two differs.
    """
    made: dict[int, tuple[str, Tensor]] = {}  # the tensors too: a freed one's id would be another's
    calls: Counter[str] = Counter()
    found: dict[str, str] = {}

    def after_convolution(name: str, output: Tensor) -> None:
        calls[name] += 1
        made[id(output)] = name, output

    def before_norm(name: str, inputs: tuple[Any, ...]) -> None:
        calls[name] += 1
        if id(inputs[0]) in made:
            found[made[id(inputs[0])][0]] = name

    handles = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            handles.append(
                part.register_forward_hook(lambda _m, _i, output, name=name: after_convolution(name, output))  # type: ignore[misc]
            )
        elif isinstance(part, nn.BatchNorm2d):
            handles.append(
                part.register_forward_pre_hook(lambda _m, given, name=name: before_norm(name, given))
            )  # type: ignore[misc]
    try:
        module.eval()(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {conv: norm for conv, norm in found.items() if calls[conv] == calls[norm] == 1}


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where that is faster: on a GPU, and on CPUs that multiply it; others would take seven times as long."""
    is_fast = device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_fast)


def adamw(
    model: nn.Module, learning_rate: float, weight_decay: float, *, undecayed: Collection[Tensor] = ()
) -> torch.optim.Optimizer:
    """No decay of biases, gains and batch norms (He et al. 2018, arXiv:1812.01187), nor of `undecayed`."""
    spared = {id(parameter) for parameter in undecayed}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in spared]
    others = [p for p in model.parameters() if p.ndim <= 1 or id(p) in spared]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
