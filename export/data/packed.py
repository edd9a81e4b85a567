"""Decodes pictures of mixed sizes once, into one memory-mapped file, for training that crops them anew each time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itl_infer.errors import ImageError
from itl_infer.files import replacing, sync
from itl_infer.image import load_thumbnail

LONGEST_SIDE = 256
_AT_ONCE = 256  # pictures


@dataclass(frozen=True)
class PackedPictures:
    """RGB pictures of mixed sizes, one behind the other; row i belongs to the i-th path that was packed."""

    pixels: np.ndarray[Any, Any]  # uint8 (bytes of all pictures,)
    offsets: np.ndarray[Any, Any]  # int64 (N,), where each begins
    sizes: np.ndarray[Any, Any]  # int64 (N, 2), height and width; 0 x 0 is a picture that cannot be read
    failed: dict[str, str]  # path: reason
    key: str  # changes with names, sizes and times of change of the files

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, row: int) -> np.ndarray[Any, Any]:
        """uint8 (H, W, 3), a view."""
        height, width = (int(n) for n in self.sizes[row])
        start = int(self.offsets[row])
        return self.pixels[start : start + 3 * height * width].reshape(height, width, 3)

    @property
    def readable(self) -> np.ndarray[Any, Any]:
        """The rows of the pictures that could be read."""
        return np.flatnonzero(self.sizes.min(axis=1) > 0)


def pack_pictures(paths: Sequence[Path], cache: Path, progress: Callable[[int, int], None]) -> PackedPictures:
    """All pictures, upright and over white, scaled down to 256 pixels a side at most; decoded where `cache` has none.

    The file is named after paths, sizes and times of change, so that changed pictures are decoded again; and so are
    all of them where the file is not as long as it was.
    """
    key = _key(paths)
    index, pixels = cache / f"packed-{key}.json", cache / f"packed-{key}.bin"
    if not _is_whole(index, pixels):
        cache.mkdir(parents=True, exist_ok=True)
        sizes: list[tuple[int, int]] = []
        failed: dict[str, str] = {}
        with pixels.open("wb") as file, ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), _AT_ONCE):
                for found in pool.map(_decode, paths[start : start + _AT_ONCE]):
                    if isinstance(found, ImageError):
                        failed[found.name] = found.reason
                        sizes.append((0, 0))
                    else:
                        sizes.append(found.shape[:2])
                        file.write(found.tobytes())
                progress(len(sizes), len(paths))
            sync(file)
        with replacing(index) as file:
            file.write(json.dumps({"sizes": sizes, "failed": failed}).encode())
    known = json.loads(index.read_text(encoding="utf-8"))
    shapes = _shapes(known)
    ends = np.cumsum(3 * shapes.prod(axis=1))
    # No file of no bytes can be mapped.
    mapped = np.memmap(pixels, np.uint8, "r") if pixels.stat().st_size else np.empty(0, np.uint8)
    return PackedPictures(mapped, ends - 3 * shapes.prod(axis=1), shapes, known["failed"], key)


def _is_whole(index: Path, pixels: Path) -> bool:
    """Whether all was packed, and is still there."""
    try:
        known = json.loads(index.read_text(encoding="utf-8"))  # written last
        return pixels.stat().st_size == 3 * int(_shapes(known).prod(axis=1).sum())
    except (OSError, ValueError, KeyError):
        return False


def _shapes(known: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array(known["sizes"], dtype=np.int64).reshape(-1, 2)


def _decode(path: Path) -> np.ndarray[Any, Any] | ImageError:
    try:
        return np.asarray(load_thumbnail(path, LONGEST_SIDE))
    except ImageError as error:
        return error


def _key(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(str(LONGEST_SIDE).encode())
    for path in paths:
        status = path.stat()
        digest.update(os.fsencode(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]
