"""Pictures whose pixels are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from itl_infer.image import ImageRules

SIDE = 8
RULES = ImageRules(SIDE)
SEED = np.random.default_rng(7)


def scene(width: int = 24, height: int = 16) -> Image.Image:
    """A smooth picture that looks different from every side, so that lossy formats stay close."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], 2).astype(np.uint8)
    )


def expected(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def distance(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())
