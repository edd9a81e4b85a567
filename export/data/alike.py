"""Finds pictures that are copies of others, whatever their size and quality: by a hash of what is lighter than what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itl_infer.errors import ImageError
from itl_infer.image import ImageRules
from itl_infer.image.batches import decode_ahead

COPY_BITS = 50  # of 256: copies of another size and quality differ in fewer, other pictures in more
_SIDE = 64  # pixels, before they become a hash's 17 x 16
_ROUND = 4096  # pictures compared at a time


def copies_among(paths: Sequence[Path], originals: Sequence[Path]) -> list[Path]:
    """Those of `paths` that show what one of `originals` shows, mirrored or not. Unreadable ones are copies of none."""
    if not originals:
        return []
    known, _ = _hashes(originals)
    known = np.concatenate([known, _mirrored(known)])
    found, readable = _hashes(paths)
    near = np.zeros(len(found), bool)
    for start in range(0, len(found), _ROUND):
        part = found[start : start + _ROUND].astype(np.float32)
        # Bits that differ, by two products: those set here only, and there only.
        differing = part @ (1 - known.T.astype(np.float32)) + (1 - part) @ known.T.astype(np.float32)
        near[start : start + _ROUND] = differing.min(axis=1) < COPY_BITS
    return [path for path, is_near in zip(readable, near, strict=True) if is_near]


def _hashes(paths: Sequence[Path]) -> tuple[np.ndarray[Any, Any], list[Path]]:
    """bool (n, 256): whether each of 16 x 16 places is lighter than the one to its left; and whose each row is."""
    failed: list[ImageError] = []
    rows = [
        _hash(pixels)
        for batch in decode_ahead(paths, ImageRules(_SIDE, "bilinear-antialias"), failed)
        for pixels in batch
    ]
    unreadable = {error.name for error in failed}
    return np.array(rows, dtype=bool).reshape(-1, 256), [
        path for path in paths if str(path) not in unreadable
    ]


def _hash(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    grey = Image.fromarray(pixels).convert("L").resize((17, 16), Image.Resampling.BOX)
    values = np.asarray(grey).astype(np.int16)
    return (values[:, 1:] > values[:, :-1]).ravel()


def _mirrored(hashes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Those of the mirror images, but for places that are equally light."""
    return ~hashes.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
