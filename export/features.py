"""Pixels and trunk features of a data set, computed once and kept on disk.

Each array is a .npy file named after a hash of everything it depends on, so a changed picture list, resize rule or
network never meets a stale array. A file gets its name when it is whole; until then, its rows are counted in a file
of their own as they reach the disk, and a pass that was interrupted goes on behind the last one that counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.layers import ScalePixels, weights_sha256
from export.trunk.inception import FEATURE_DIM
from itl_infer.captions import CaptionDataset
from itl_infer.errors import ImageError
from itl_infer.image import ImageRules, load_pixels

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

_BATCH = 32  # pictures
_BATCHES_AHEAD = 4  # of decoded pictures: 34 MB at 299 pixels
_SYNC_SECONDS = 1  # between two waits for the disk


def pixels_of(
    dataset: CaptionDataset, rules: ImageRules, cache: Path, progress: Progress
) -> np.ndarray[Any, Any]:
    """uint8 (N, side, side, 3) of all pictures, memory-mapped: what training the trunk needs."""
    shape = (len(dataset), rules.side, rules.side, 3)
    path = cache / f"pixels-{_key(dataset, rules)}.npy"
    return _cached(path, shape, np.uint8, lambda start: _decoded(dataset, rules, start), progress)


def features_of(
    dataset: CaptionDataset, rules: ImageRules, trunk: nn.Module, cache: Path, progress: Progress
) -> np.ndarray[Any, Any]:
    """float32 (N, 2048), memory-mapped: what the trunk, in eval mode, makes of each picture.

    Pictures are decoded while the trunk is at work on those before them, and their pixels are not kept.
    """

    def compute(start: int) -> Iterator[np.ndarray[Any, Any]]:
        device = next(trunk.parameters()).device
        scale = ScalePixels(rules.pixel_scaling)
        trunk.eval()
        for pixels in _decoded(dataset, rules, start):
            with torch.inference_mode():
                batch = scale(torch.from_numpy(pixels).to(device))
                yield trunk(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()

    path = cache / f"features-{_key(dataset, rules, rules.pixel_scaling, *_network(trunk))}.npy"
    return _cached(path, (len(dataset), FEATURE_DIM), np.float32, compute, progress)


def unreadable(dataset: CaptionDataset, rules: ImageRules, cache: Path, progress: Progress) -> dict[str, str]:
    """The paths of pictures that cannot be decoded, with the reasons; looked at once for each picture list.

    It takes a few minutes for tens of thousands, so that hours of work do not end at the last picture of them.
    """
    path = cache / f"unreadable-{_key(dataset, rules)}.json"
    if not path.exists():
        failed: list[ImageError] = []
        done = 0
        for pixels in decode_ahead(dataset.paths, rules, failed):
            done += len(pixels)
            progress(done + len(failed), len(dataset))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps({error.name: error.reason for error in failed}), encoding="utf-8")
        unfinished.replace(path)
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def decode_ahead(
    paths: Iterable[Path], rules: ImageRules, failed: list[ImageError] | None = None
) -> Iterator[np.ndarray[Any, Any]]:
    """uint8 (n, side, side, 3) batches of the pictures in order, decoded by threads a few batches ahead.

    Pictures that cannot be read are left out and added to `failed`; without such a list, the first is raised.
    """
    remaining = iter(paths)
    with ThreadPoolExecutor() as pool:
        ahead: deque[list[Future[np.ndarray[Any, Any]]]] = deque()

        def submit() -> None:
            if batch := [pool.submit(load_pixels, path, rules) for path in islice(remaining, _BATCH)]:
                ahead.append(batch)

        def results(batch: list[Future[np.ndarray[Any, Any]]]) -> Iterator[np.ndarray[Any, Any]]:
            for decoded in batch:
                try:
                    yield decoded.result()
                except ImageError as error:
                    if failed is None:
                        raise
                    failed.append(error)

        try:
            for _ in range(_BATCHES_AHEAD):
                submit()
            while ahead:
                pixels = list(results(ahead.popleft()))
                submit()
                if pixels:
                    yield np.stack(pixels)
        finally:  # whoever asks for no more must not wait for what was ahead
            pool.shutdown(wait=False, cancel_futures=True)


def _decoded(dataset: CaptionDataset, rules: ImageRules, start: int) -> Iterator[np.ndarray[Any, Any]]:
    return decode_ahead(dataset.paths[start:], rules)


def _key(dataset: CaptionDataset, rules: ImageRules, *more: str) -> str:
    """Changes with the pictures (names, sizes, times of change), with how they are resized, and with `more`."""
    digest = hashlib.sha256(json.dumps([rules.side, rules.resize, *more]).encode())
    for example, path in zip(dataset, dataset.paths, strict=True):
        try:
            status = path.stat()
        except OSError:  # whoever decodes it will say so
            continue
        digest.update(os.fsencode(f"{example.image}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]


def _network(trunk: nn.Module) -> tuple[str, str]:
    """What a trunk computes: its weights, and its layers; how it pools stands in the graph of a traced one."""
    layers = str(trunk.graph) if isinstance(trunk, torch.fx.GraphModule) else str(trunk)
    return weights_sha256(trunk), layers


def _cached(
    path: Path,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    compute: Callable[[int], Iterator[np.ndarray[Any, Any]]],
    progress: Progress,
) -> np.ndarray[Any, Any]:
    """The array at `path`, memory-mapped; where it is not whole, `compute(start)` yields its rows from `start` on."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = path.with_suffix(".part"), path.with_suffix(".rows")
        _fill(*rows, shape, np.dtype(dtype), compute, progress)
        rows[0].replace(path)
        rows[1].unlink(missing_ok=True)  # a short pass is whole before it is counted
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _fill(
    part: Path,
    counter: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    compute: Callable[[int], Iterator[np.ndarray[Any, Any]]],
    progress: Progress,
) -> None:
    """Write the .npy file `part`; `counter` says how many of its rows are on the disk."""
    row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
    with part.open("ab") as file:  # makes it, and leaves what is there
        pass
    with part.open("r+b") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        first = file.tell()
        done = min(_count(counter), (part.stat().st_size - first) // row_bytes, shape[0])
        file.truncate(first + done * row_bytes)  # what is behind may be half a row
        file.seek(0, os.SEEK_END)
        progress(done, shape[0])
        sync_at = time.monotonic() + _SYNC_SECONDS
        for batch in compute(done):
            file.write(np.ascontiguousarray(batch, dtype))
            done += len(batch)
            if time.monotonic() >= sync_at:
                _sync(file)
                _write_count(counter, done)
                sync_at = time.monotonic() + _SYNC_SECONDS
            progress(done, shape[0])
        _sync(file)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _count(counter: Path) -> int:
    try:
        return int(counter.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):  # a new pass; a file that a power cut left empty
        return 0


def _write_count(counter: Path, rows: int) -> None:
    unfinished = counter.with_suffix(".rows-new")
    unfinished.write_text(str(rows), encoding="ascii")
    unfinished.replace(counter)
