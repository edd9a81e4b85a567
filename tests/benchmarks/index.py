"""How long an index of a million pictures takes to open, and how fast `batch` answers over 100,000."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from itl_infer.bundle import Bundle, load_bundle
from itl_infer.index import Index, Picture
from tests.benchmarks.ranking import unit_rows
from tests.benchmarks.timing import samples, spread

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


def batch(index: Path, queries: Path, answers: Path) -> float:
    """Queries a second of the command, its start included."""
    start = time.perf_counter()
    with answers.open("wb") as output:
        command = [sys.executable, "-m", "itl_infer", "batch", str(queries), "-d", str(index)]
        subprocess.run(command, stdout=output, check=True)
    return LINES / (time.perf_counter() - start)


def main() -> None:
    bundle = load_bundle()
    with tempfile.TemporaryDirectory() as folder:
        index = write_index(Path(folder, "million"), bundle, OPENED_ROWS)
        [opening] = samples(lambda: Index.open(index, bundle, mode="r"))
        print(f"opening an index of {OPENED_ROWS:,} rows: {spread(opening, 1)} ms")
        index = write_index(Path(folder, "smaller"), bundle, BATCH_ROWS)
        words = (bundle.path / "vocabulary.txt").read_text().split()
        drawn = np.random.default_rng(0).choice(words, (LINES, 3))
        queries = Path(folder, "queries.txt")
        queries.write_text("".join(f"{' '.join(line)}\n" for line in drawn))
        rates = np.array([batch(index, queries, Path(folder, "answers.jsonl")) for _ in range(RUNS)])
        print(
            f"itl-infer batch, {LINES:,} lines over {BATCH_ROWS:,} rows: {spread(rates, 0)} queries a second"
        )
