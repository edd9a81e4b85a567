"""A perceptual hash: 64 bits of what a picture looks like from afar, which copies of one picture have nearly in common.

The signs of its lowest frequencies of brightness. A smaller, greyer or more compressed copy has the same but for a few.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

BITS = 64
_SIDE = 32  # pixels, to which it is scaled down first
_FREQUENCIES = 11  # of each side, from 0

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> int:
    """Of a picture (side, side, 3), stretched to a square; from 0 to 2^64 - 1."""
    from PIL import Image

    small = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves, lowest = _cosines_and_lowest()
    # Of einsum, as a product by BLAS would wake all its threads for it.
    across = np.einsum("uy,yx->ux", waves, np.asarray(small, np.float32))
    bits = np.einsum("ux,vx->uv", across, waves)[lowest] > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=1)
def _cosines_and_lowest() -> tuple[npt.NDArray[np.float32], Pairs]:
    """Of a DCT-II (frequencies, side), and its 64 lowest frequencies down and across, without that of the mean."""
    numbers = np.arange(_FREQUENCIES)[:, None]
    waves = np.cos(np.pi * numbers * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)).astype(np.float32)
    down, across = np.divmod(np.arange(_FREQUENCIES**2), _FREQUENCIES)
    order = np.lexsort((down, down**2 + across**2))[1 : BITS + 1]
    return waves, (down[order], across[order])
