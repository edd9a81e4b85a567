"""A picture scaled to the square that a graph takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from itl_infer.image.rules import ImageRules

if TYPE_CHECKING:
    from PIL import Image

    from itl_infer.image.colour import ToSrgb


def resize_to(image: Image.Image, rules: ImageRules, to_srgb: ToSrgb | None = None) -> npt.NDArray[np.uint8]:
    """(side, side, 3) by the method of the rules, of an RGB image; `to_srgb` makes that of one in other colours."""
    from PIL import Image

    if rules.resize == "bilinear":
        return resize_bilinear(np.asarray(to_srgb(image) if to_srgb else image), rules.side)
    bicubic = rules.resize == "bicubic-antialias"
    method = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    scaled = image.resize((rules.side, rules.side), method)
    return np.array(to_srgb(scaled) if to_srgb else scaled)  # of few pixels that is soon done


def resize_bilinear(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """(H, W, C) uint8 to (side, side, C) as `tf.image.resize` does: half-pixel centres, no antialiasing.

    Output centre i looks at input coordinate (i + 0.5) * size / side - 0.5, between its two neighbours.
    """
    top, bottom, down = _neighbours(pixels.shape[0], side)
    left, right, across = _neighbours(pixels.shape[1], side)
    across = across[None, :, None]
    down = down[:, None, None]
    upper = pixels[np.ix_(top, left)] * (1 - across) + pixels[np.ix_(top, right)] * across
    lower = pixels[np.ix_(bottom, left)] * (1 - across) + pixels[np.ix_(bottom, right)] * across
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def _neighbours(
    size: int, side: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """For each of `side` output centres: the two input indices around it, and the weight of the second."""
    centres = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(size / side) - np.float32(
        0.5
    )
    floors = np.floor(centres).astype(np.int64)
    return np.maximum(floors, 0), np.minimum(floors + 1, size - 1), centres - floors.astype(np.float32)
