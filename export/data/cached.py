"""Arrays with a row for each picture, computed once and kept on disk.

Each is a .npy file named after a hash of everything it depends on, so a changed picture list, resize rule or network
never meets a stale array. A file gets its name when it is whole; until then, its rows are counted in a file of their
own as they reach the disk, and a pass that was interrupted goes on behind the last one that counts. Pictures that
cannot be read have no row; a .json file beside the array says which and why.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itl_infer.errors import ImageError
from itl_infer.files import replacing, sync

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

_SYNC_SECONDS = 1  # between two waits for the disk


@dataclass(frozen=True)
class Rows:
    """A row for every picture that could be read, in the order of the data set, and why the others have none."""

    array: np.ndarray[Any, Any]  # memory-mapped
    failed: dict[str, str]  # path: reason


def cached_rows(
    path: Path,
    row: tuple[int, ...],
    dtype: np.typing.DTypeLike,
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
    return Rows(np.load(path, mmap_mode="r"), failures_beside(path))


def failures_beside(path: Path) -> dict[str, str]:
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
    sync(file)


def _read_counter(counter: Path) -> tuple[int, dict[str, str]]:
    try:
        found = json.loads(counter.read_text(encoding="utf-8"))
        return int(found["rows"]), dict(found["failed"])
    except (FileNotFoundError, ValueError):  # a new pass; a file that a power cut left empty
        return 0, {}


def _write_json(path: Path, content: Any) -> None:
    with replacing(path) as file:
        file.write(json.dumps(content).encode())
