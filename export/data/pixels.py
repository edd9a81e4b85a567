"""The pixels of a data set, decoded once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from export.data.cached import Progress, Rows, cached_rows, failures_beside
from itl_infer.captions import CaptionDataset
from itl_infer.errors import ImageError
from itl_infer.image import ImageRules
from itl_infer.image.batches import decode_ahead

_BATCH = 32  # pictures


def pixels_of(dataset: CaptionDataset, rules: ImageRules, cache: Path, progress: Progress) -> Rows:
    """uint8 (N, side, side, 3) of all readable pictures: what training the trunk needs."""

    def compute(start: int, failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        return decode_ahead(dataset.paths[start:], rules, failed)

    row = (rules.side, rules.side, 3)
    return cached_rows(_pixels_path(dataset, rules, cache), row, np.uint8, len(dataset), compute, progress)


def _pixels_path(dataset: CaptionDataset, rules: ImageRules, cache: Path) -> Path:
    return cache / f"pixels-{pictures_key(dataset, rules)}.npy"


def pixels_from(
    dataset: CaptionDataset, rules: ImageRules, cache: Path, start: int, failed: list[ImageError]
) -> Iterator[np.ndarray[Any, Any]]:
    """Batches of the pictures from `start` on: those that were kept, or decoded."""
    path = _pixels_path(dataset, rules, cache)
    if start or not path.exists():  # kept ones have no rows of unreadable pictures to start behind
        yield from decode_ahead(dataset.paths[start:], rules, failed)
        return
    kept = np.load(path, mmap_mode="r")
    failed += [ImageError(name, reason) for name, reason in failures_beside(path).items()]
    for first in range(0, len(kept), _BATCH):
        yield np.array(kept[first : first + _BATCH])


def pictures_key(dataset: CaptionDataset, rules: ImageRules, *more: str) -> str:
    """Changes with the pictures (names, sizes, times of change), with how they are resized, and with `more`."""
    digest = hashlib.sha256(json.dumps([rules.side, rules.resize, *more]).encode())
    for example, path in zip(dataset, dataset.paths, strict=True):
        try:
            status = path.stat()
            found = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:  # whoever decodes it will say so
            found = "missing"
        digest.update(os.fsencode(f"{example.image}\0{found}\n"))
    return digest.hexdigest()[:16]
