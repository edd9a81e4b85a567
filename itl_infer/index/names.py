"""The names in a paths file: for each row the number of a root and the path from there on, and a null byte."""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

_SCANNED_BYTES = 2**22


def make_name(root: int, path: bytes) -> bytes:
    """What the paths file holds for a row, without the null byte that ends it."""
    return b"%d/%b" % (root, path)


def parse_name(name: bytes) -> tuple[int, bytes]:
    """Root and path. ValueError for what `make_name` does not make."""
    root, _, path = name.partition(b"/")
    if not (root.isdigit() and len(root) < 20):
        raise ValueError(f"not a name of a row: {name[:40]!r}")
    return int(root), path


def name_ends(names: mmap.mmap | bytearray) -> npt.NDArray[np.int64]:
    """Where the names of a paths file end: the places of its null bytes."""
    buffer = np.frombuffer(names, np.uint8)
    blocks = range(0, len(buffer), _SCANNED_BYTES)  # a mask of the whole would be as large as the file
    ends = [np.flatnonzero(buffer[start : start + _SCANNED_BYTES] == 0) + start for start in blocks]
    return np.concatenate(ends) if ends else np.empty(0, np.int64)
