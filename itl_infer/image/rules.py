"""How a picture becomes pixels, as a bundle writes it down; and how large it may be, unless somebody says otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass

DEFAULT_MAX_MEGAPIXELS = 100.0  # that are decoded
LARGEST_SIDE = 2048  # of what a graph looks at: 12 MB each
_ORDINARY_SIDE = 512  # pixels; networks that look at more are rare

_RESIZES = ("bilinear-antialias", "bicubic-antialias", "bilinear")


@dataclass(frozen=True)
class ImageRules:
    """How a picture becomes pixels; written into the bundle. ValueError for values that mean nothing.

    `resize` is "bilinear-antialias", "bicubic-antialias" (Pillow's BILINEAR and BICUBIC) or "bilinear"
    (tf.image.resize: half-pixel centres, no antialiasing). `mean` and `std`, of red, green and blue from 0 to 255, are
    on record only: the image graph scales pixels to (pixel - mean) / std.
    """

    side: int
    resize: str = "bilinear-antialias"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        if type(self.side) is not int or self.side < 1:
            raise ValueError(f"image side is {self.side!r}, expected a whole number above 0")
        if self.side > LARGEST_SIDE:
            raise ValueError(f"image side is {self.side}, expected {LARGEST_SIDE} at most")
        if self.resize not in _RESIZES:
            raise ValueError(f"unknown resize method {self.resize!r}, expected one of {list(_RESIZES)}")
        if not (_are_three(self.mean) and _are_three(self.std) and min(self.std) > 0):
            raise ValueError(
                f"pixels are scaled by mean {self.mean!r} and std {self.std!r}, expected three numbers each,"
                " those of std above 0"
            )

    def pictures_at_a_time(self, most: int) -> int:
        """Of `most` so many, at least 1, that they take no more memory than as many of an ordinary side."""
        return max(1, min(most, most * _ORDINARY_SIDE**2 // self.side**2))


def _are_three(values: tuple[float, ...]) -> bool:
    return len(values) == 3 and all(type(value) in (int, float) and math.isfinite(value) for value in values)
