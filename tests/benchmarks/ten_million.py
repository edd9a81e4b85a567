"""Ranking by codes over ten million rows, by hand: `OMP_NUM_THREADS=1 python -m tests.benchmarks.ten_million FOLDER`.

The rows lie in a file in the folder, 5.1 GB, which is mapped; made where it is not there. Every answer is compared with
that from floats to the last bit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from itl_infer.ranking import quantize_rows, rank
from tests.benchmarks.ranking import DIM, unit_rows

ROWS, STEP = 10_000_000, 250_000
QUERIES = 256
T = TypeVar("T")


def rows_in(folder: Path) -> np.ndarray:
    """Random unit rows (ROWS, DIM), mapped."""
    path = folder / "rows.npy"
    if not path.exists():
        part = path.with_suffix(".part")
        rows = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(ROWS, DIM))
        for start in range(0, ROWS, STEP):
            rows[start : start + STEP] = unit_rows(STEP, seed=start)
        rows.flush()
        part.rename(path)
    return np.load(path, mmap_mode="r")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the seconds of processor time that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def main(folder: Path) -> None:
    rows = rows_in(folder)
    queries = unit_rows(QUERIES, seed=1)
    queries[200:] = rows[:: ROWS // (QUERIES - 200)][: QUERIES - 200]
    codes, seconds = timed(lambda: quantize_rows(rows))
    print(f"codes of {ROWS:,} rows: {codes.nbytes / 1e6:.0f} MB in {seconds:.1f} s")
    for batch, k in ((1, 10), (16, 10), (256, 10), (256, 100), (256, 1000), (256, 10_000)):
        some = queries[:batch]
        expected, floats = timed(lambda some=some, k=k: rank(some, rows, k))
        found, coded = timed(lambda some=some, k=k: rank(some, rows, k, codes=codes))
        for one, other in zip(found, expected, strict=True):
            assert one.tobytes() == other.tobytes()
        print(
            f"{batch} queries, k {k}: {coded:.2f} s, {coded / floats:.2f} of floats; the same to the last bit"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
