"""What filters cost: python -m tests.benchmarks.filters

Searches of 1,000,000 pictures with each filter beside searches without, warm (another query, the filter asked before),
the first time that a filter is asked, and as whole commands. Needs 1.2 GB in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from itl_infer.bundle import Bundle, load_bundle
from itl_infer.image import Facts
from itl_infer.index import Index, Picture
from itl_infer.where import Where
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import run, samples

ROWS = 1_000_000
_COMMITTED = 50_000
_PER_FOLDER = 200
_CAMERAS = ("", "Apple iPhone 12", "NIKON D90", "Canon EOS 5D", *(f"Nobody Box {i}" for i in range(96)))
_COMMANDS = 7  # of each kind, in turns

FILTERS = {
    "--taken 2019": (Where(taken="2019"), ("--taken", "2019")),
    "--taken 2019-07..2019-08": (Where(taken="2019-07..2019-08"), ("--taken", "2019-07..2019-08")),
    "--under (a tenth)": (Where(under="year 3"), ("--under", "year 3")),
    "--under (a folder)": (Where(under="year 3/event 0150"), ("--under", "year 3/event 0150")),
    "--name '*.jpg' (all)": (Where(name="*.jpg"), ("--name", "*.jpg")),
    "--name 'IMG_00012*'": (Where(name="IMG_00012*"), ("--name", "IMG_00012*")),
    "--name '*777*'": (Where(name="*777*"), ("--name", "*777*")),
    "--camera iphone": (Where(camera="iphone"), ("--camera", "iphone")),
    "--orientation landscape (half)": (Where(orientation="landscape"), ("--orientation", "landscape")),
    "--newer 2015 (nearly all)": (Where(newer="2015"), ("--newer", "2015")),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    bundle = load_bundle()
    with tempfile.TemporaryDirectory(prefix="itl-filters-") as folder:
        path = write_index(Path(folder), bundle, rows)
        print(in_one_process(path, bundle).markdown(), end="\n\n")
        print(as_commands(path).markdown())


def unit_rows(n: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_index(folder: Path, bundle: Bundle, rows: int, *, random_hashes: bool = False) -> Path:
    """Random embeddings of pictures that are nowhere, from ten years, in folders of 200."""
    dice = np.random.default_rng(0)
    hashes = dice.integers(0, 2**63, rows, np.uint64) if random_hashes else np.arange(rows, dtype=np.uint64)
    with Index.open(folder / "photos.itl", bundle).writing() as writer:
        root = writer.add_root(folder / "photos")
        for start in range(0, rows, _COMMITTED):
            embeddings = unit_rows(min(_COMMITTED, rows - start), bundle.embed_dim, seed=start)
            for i, embedding in enumerate(embeddings, start):
                year, event = divmod(i // _PER_FOLDER, max(1, rows // _PER_FOLDER // 10))
                path = b"year %d/event %04d/IMG_%07d.jpg" % (year, event, i)
                taken = datetime(2014, 1, 1) + timedelta(seconds=10 * 365 * 86_400 // rows * i)
                sides = (4000, 3000) if i % 2 else (3000, 4000)
                facts = Facts(*sides, taken, _CAMERAS[i % len(_CAMERAS)], i % 3 == 0, int(hashes[i]))
                writer.add(Picture(root.id, path, 1, 1, b"%016d" % i), embedding, facts)
            writer.commit()
    return folder / "photos.itl"


def in_one_process(path: Path, bundle: Bundle) -> Table:
    index = Index.open(path, bundle, mode="r")
    query = unit_rows(1, bundle.embed_dim, seed=1)[0]

    def plain() -> object:
        return index.search(query)

    plain()
    table = Table(
        f"One query over {len(index):,} pictures, ms; a ratio is to the one without a filter",
        ("filter", "pictures", "without", "with", "ratio", "the first time"),
    )
    for name, (where, _) in FILTERS.items():
        index.refresh()
        index.search(query)
        started = time.perf_counter()
        index.search(query, where=where)
        first = 1000 * (time.perf_counter() - started)
        without, filtered = samples(plain, lambda where=where: index.search(query, where=where), rounds=5)
        pictures = f"{index.snapshot.count(where):,}"
        table.add(name, pictures, spread(without, 1), spread(filtered, 1), spread(filtered / without), first)
        table.at_most(f"{name}: ratio", 1.3, spread(filtered / without))
    return table


def as_commands(path: Path) -> Table:
    table = Table("`itl-infer query surfer`, whole processes, s", ("filter", "without", "with", "ratio"))
    command = ("-m", "itl_infer", "query", "surfer", "-d", str(path))
    run(*command)
    for name, (_, options) in FILTERS.items():
        pairs = [(run(*command).seconds, run(*command, *options).seconds) for _ in range(_COMMANDS)]
        without, filtered = np.array(pairs).T
        table.add(name, spread(without), spread(filtered), spread(filtered / without))
    return table


if __name__ == "__main__":
    sys.exit(main())
