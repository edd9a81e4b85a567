"""Pixels and trunk features of a data set, computed once and kept on disk.

Each array is a .npy file named after a hash of everything it depends on, so a changed picture list, resize rule or
network never meets a stale array. A file gets its name when it is whole; until then, its rows are counted in a file
of their own as they reach the disk, and a pass that was interrupted goes on behind the last one that counts. Pictures
that cannot be read have no row; a .json file beside the array says which and why.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.layers import ScalePixels
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset
from itl_infer.decoding import decode_ahead
from itl_infer.errors import ImageError
from itl_infer.image import ImageRules

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

_SYNC_SECONDS = 1  # between two waits for the disk
_BATCH = 32  # pictures
_LOGITS_AT_ONCE = 4096


@dataclass(frozen=True)
class Rows:
    """A row for every picture that could be read, in the order of the data set, and why the others have none."""

    array: np.ndarray[Any, Any]  # memory-mapped
    failed: dict[str, str]  # path: reason


def pixels_of(dataset: CaptionDataset, rules: ImageRules, cache: Path, progress: Progress) -> Rows:
    """uint8 (N, side, side, 3) of all readable pictures: what training the trunk needs."""

    def compute(start: int, failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        return decode_ahead(dataset.paths[start:], rules, failed)

    row = (rules.side, rules.side, 3)
    return _cached(_pixels_path(dataset, rules, cache), row, np.uint8, len(dataset), compute, progress)


def features_of(dataset: CaptionDataset, trunk: Trunk, cache: Path, progress: Progress) -> Rows:
    """float32 (N, feature_dim): what the trunk, in eval mode, makes of each readable picture at its side.

    Pictures are decoded while the trunk is at work on those before them, and their pixels are not kept; those that
    `pixels_of` kept are not decoded again.
    """
    rules, network = trunk.image_rules, trunk.network
    scale = ScalePixels(trunk.mean, trunk.std)

    def compute(start: int, failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        network.eval()
        device = next(network.parameters()).device
        scale.to(device)
        for pixels in _pixels_from(dataset, rules, cache, start, failed):
            with torch.inference_mode():
                batch = scale(torch.from_numpy(pixels).to(device))
                yield network(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()

    key = _key(dataset, rules, *map(str, (*trunk.mean, *trunk.std)), trunk.weights_sha256, _layers(network))
    path = cache / f"features-{key}.npy"
    return _cached(path, (trunk.feature_dim,), np.float32, len(dataset), compute, progress)


def logits_of(features: np.ndarray[Any, Any], trunk: Trunk) -> np.ndarray[Any, Any]:
    """float32 (N, C): what the trunk's classifier makes of features that `features_of` kept of it.

    Raises ExportError for a trunk without classifier.
    """
    parts = []
    for start in range(0, max(1, len(features)), _LOGITS_AT_ONCE):
        batch = torch.from_numpy(np.array(features[start : start + _LOGITS_AT_ONCE]))
        with torch.inference_mode():
            parts.append(trunk.logits(batch).numpy())
    return np.concatenate(parts)


def _pixels_path(dataset: CaptionDataset, rules: ImageRules, cache: Path) -> Path:
    return cache / f"pixels-{_key(dataset, rules)}.npy"


def _pixels_from(
    dataset: CaptionDataset, rules: ImageRules, cache: Path, start: int, failed: list[ImageError]
) -> Iterator[np.ndarray[Any, Any]]:
    """Batches of the pictures from `start` on: those that were kept, or decoded."""
    path = _pixels_path(dataset, rules, cache)
    if start or not path.exists():  # kept ones have no rows of unreadable pictures to start behind
        yield from decode_ahead(dataset.paths[start:], rules, failed)
        return
    kept = np.load(path, mmap_mode="r")
    failed += [ImageError(name, reason) for name, reason in _failures(path).items()]
    for first in range(0, len(kept), _BATCH):
        yield np.array(kept[first : first + _BATCH])


def _key(dataset: CaptionDataset, rules: ImageRules, *more: str) -> str:
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


def _layers(network: nn.Module) -> str:
    """What a network does beside its weights; how a traced one pools stands in its graph."""
    return str(network.graph) if isinstance(network, torch.fx.GraphModule) else str(network)


def _cached(
    path: Path,
    row: tuple[int, ...],
    dtype: type[np.generic],
    count: int,
    compute: Callable[[int, list[ImageError]], Iterator[np.ndarray[Any, Any]]],
    progress: Progress,
) -> Rows:
    """The rows at `path`, of up to `count` pictures, with the failures among them.

    Where they are not whole, `compute(start, failed)` yields those of the pictures from `start` on, and adds to
    `failed` the ones it passes over, as it comes to them.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part, counter = path.with_suffix(".part"), path.with_suffix(".rows")
        failed = _fill(part, counter, row, np.dtype(dtype), count, compute, progress)
        beside = path.with_suffix(".json")
        beside.unlink(missing_ok=True)
        if failed:
            _write_json(beside, failed)
        part.replace(path)
        counter.unlink(missing_ok=True)  # a short pass is whole before it is counted
    return Rows(np.load(path, mmap_mode="r"), _failures(path))


def _failures(path: Path) -> dict[str, str]:
    """The pictures that have no row in the array at `path`, with the reasons."""
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}


def _fill(
    part: Path,
    counter: Path,
    row: tuple[int, ...],
    dtype: np.dtype[Any],
    count: int,
    compute: Callable[[int, list[ImageError]], Iterator[np.ndarray[Any, Any]]],
    progress: Progress,
) -> dict[str, str]:
    """Write the .npy file `part`, and return the failures; `counter` has those so far, and the rows on the disk."""
    row_bytes = dtype.itemsize * int(np.prod(row))
    with part.open("ab") as file:  # makes it, and leaves what is there
        pass
    with part.open("r+b") as file:
        _write_header(file, dtype, (count, *row))
        first = file.tell()
        counted, known = _read_counter(counter)
        done = min(counted, (part.stat().st_size - first) // row_bytes, count)
        if done < counted and known:  # it is not known which of them come behind the rows that are left
            done, known = 0, {}
        file.truncate(first + done * row_bytes)  # what is behind may be half a row
        file.seek(0, os.SEEK_END)
        progress(done + len(known), count)
        sync_at = time.monotonic() + _SYNC_SECONDS
        failed: list[ImageError] = []

        def failures() -> dict[str, str]:
            return known | {error.name: error.reason for error in failed}

        for batch in compute(done + len(known), failed):
            file.write(np.ascontiguousarray(batch, dtype))
            done += len(batch)
            if time.monotonic() >= sync_at:
                _sync(file)
                _write_json(counter, {"rows": done, "failed": failures()})
                sync_at = time.monotonic() + _SYNC_SECONDS
            progress(done + len(failures()), count)
        file.seek(0)
        _write_header(file, dtype, (done, *row))
        assert file.tell() == first  # numpy leaves room for any number of rows
        _sync(file)
        return failures()


def _write_header(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.flush()


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _read_counter(counter: Path) -> tuple[int, dict[str, str]]:
    try:
        found = json.loads(counter.read_text(encoding="utf-8"))
        return int(found["rows"]), dict(found["failed"])
    except (FileNotFoundError, ValueError):  # a new pass; a file that a power cut left empty
        return 0, {}


def _write_json(path: Path, content: Any) -> None:
    unfinished = path.with_suffix(f"{path.suffix}-new")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.replace(path)
