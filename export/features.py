"""Pixels and trunk features of a data set, computed once and kept on disk.

Each array is a .npy file named after a hash of everything it depends on, so a changed picture list, resize rule or
weight never meets a stale array. A file gets its name when it is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.model import FEATURE_DIM, ScalePixels, weights_sha256
from itl_infer.captions import CaptionDataset
from itl_infer.image import ImageRules, load_pixels

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def pixels_of(
    dataset: CaptionDataset, rules: ImageRules, cache: Path, progress: Progress
) -> np.ndarray[Any, Any]:
    """uint8 (N, side, side, 3) of all pictures, memory-mapped."""
    path = cache / f"pixels-{_pixels_key(dataset, rules)}.npy"

    def fill(array: np.ndarray[Any, Any]) -> Iterable[int]:
        with ThreadPoolExecutor() as pool:
            for row, pixels in enumerate(pool.map(lambda p: load_pixels(p, rules), dataset.paths)):
                array[row] = pixels
                yield row + 1

    shape = (len(dataset), rules.side, rules.side, 3)
    return _cached(path, shape, np.uint8, fill, progress)


def features_of(
    dataset: CaptionDataset,
    rules: ImageRules,
    trunk: nn.Module,
    cache: Path,
    progress: Progress,
    *,
    batch_size: int = 32,
) -> np.ndarray[Any, Any]:
    """float32 (N, 2048): what the trunk, in eval mode, makes of each picture."""
    made_from = f"{_pixels_key(dataset, rules)} {rules.pixel_scaling} {weights_sha256(trunk)}"
    key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    path = cache / f"features-{key}.npy"

    def fill(array: np.ndarray[Any, Any]) -> Iterable[int]:
        pixels = pixels_of(dataset, rules, cache, progress)
        device = next(trunk.parameters()).device
        scale = ScalePixels(rules.pixel_scaling)
        trunk.eval()
        for start in range(0, len(pixels), batch_size):
            with torch.inference_mode():
                batch = torch.from_numpy(np.array(pixels[start : start + batch_size])).to(device)
                features = trunk(scale(batch).contiguous(memory_format=torch.channels_last))
            array[start : start + batch_size] = features.float().cpu().numpy()
            yield start + len(batch)

    return _cached(path, (len(dataset), FEATURE_DIM), np.float32, fill, progress)


def _pixels_key(dataset: CaptionDataset, rules: ImageRules) -> str:
    """Changes with the pictures (names, sizes, times of change) and with how they are resized."""
    digest = hashlib.sha256(json.dumps([rules.side, rules.resize]).encode())
    for example, path in zip(dataset, dataset.paths, strict=True):
        status = path.stat()
        digest.update(f"{example.image}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _cached(
    path: Path,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    fill: Callable[[np.ndarray[Any, Any]], Iterable[int]],
    progress: Progress,
) -> np.ndarray[Any, Any]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        array = np.lib.format.open_memmap(unfinished, mode="w+", dtype=dtype, shape=shape)
        for done in fill(array):
            progress(done, shape[0])
        array.flush()
        del array
        unfinished.replace(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
