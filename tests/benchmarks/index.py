"""How long an index of a million pictures takes to open, and how fast `batch` answers over 100,000."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from itl_infer.bundle import Bundle
from itl_infer.index import Index, Picture
from tests.benchmarks.ground import Ground
from tests.benchmarks.ranking import unit_rows
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import run, samples

OPENED_ROWS = 1_000_000
BATCH_ROWS = 100_000
LINES = 50_000
RUNS = 5
_COMMITTED = 100_000  # rows at a time


def write_index(folder: Path, bundle: Bundle, rows: int) -> Path:
    """An index of random embeddings, of pictures that are nowhere."""
    with Index.open(folder / "photos.itl", bundle).writing() as writer:
        root = writer.add_root(folder / "photos")
        for start in range(0, rows, _COMMITTED):
            for i, embedding in enumerate(unit_rows(min(_COMMITTED, rows - start), seed=start), start):
                writer.add(Picture(root.id, b"%07d.jpg" % i, 1, 1, b"%016d" % i), embedding)
            writer.commit()
    return folder / "photos.itl"


def tables(ground: Ground) -> Iterator[Table]:
    bundle = ground.starter
    index = write_index(ground.folder / "million", bundle, OPENED_ROWS)
    [opening] = samples(lambda: Index.open(index, bundle, mode="r"))
    table = Table(f"Opening an index of {OPENED_ROWS:,} pictures", ("ms",))
    table.add(spread(opening, 1))
    yield table
    index = write_index(ground.folder / "smaller", bundle, BATCH_ROWS)
    drawn = np.random.default_rng(0).choice(bundle.words, (LINES, 3))
    queries = ground.folder / "queries.txt"
    queries.write_text("".join(f"{' '.join(line)}\n" for line in drawn), encoding="utf-8")
    done = [run("-m", "itl_infer", "batch", str(queries), "-d", str(index)) for _ in range(RUNS)]
    table = Table(
        f"`itl-infer batch`, {LINES:,} lines over {BATCH_ROWS:,} pictures", ("queries/s", "peak, MB")
    )
    table.add(
        spread([LINES / found.seconds for found in done], 0), float(max(found.peak_mb for found in done))
    )
    yield table
