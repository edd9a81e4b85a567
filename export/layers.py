"""What every network here is made with: the scaling of pixels, unit rows, a hash of weights, a device."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of (N, D) divided by their length, as Keras does it: x * rsqrt(max(sum(x^2), 1e-12))."""
    return x * x.square().sum(dim=-1, keepdim=True).clamp(min=1e-12).rsqrt()


class ScalePixels(nn.Module):
    """uint8 (N, H, W, 3) -> float (N, 3, H, W), in [-1, 1] ("inception") or [0, 1] ("unit")."""

    def __init__(self, pixel_scaling: str) -> None:
        super().__init__()
        self.scale, self.offset = {"inception": (1 / 127.5, -1.0), "unit": (1 / 255, 0.0)}[pixel_scaling]

    def forward(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.permute(0, 3, 1, 2).float() * self.scale + self.offset


def weights_sha256(module: nn.Module) -> str:
    """A hash of every parameter and buffer, to key what was computed with them."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
