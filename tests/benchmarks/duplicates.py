"""How well copies are found, and how fast: python -m tests.benchmarks.duplicates PICTURES

Makes copies of every picture in a folder (scaled to a half, JPEG at quality 40, cropped by 5 %, made grey), embeds all
with the shipped bundle, and compares what `find_duplicates` says with what was copied. What is no copy is what is near:
every pair of different pictures counts, above all the nearest ones. Then 100,000 pictures that nobody took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.bundle import Bundle
from itl_infer.image import IMAGE_SUFFIXES
from itl_infer.search.same import find_duplicates
from tests.benchmarks.filters import write_index
from tests.benchmarks.report import Table

ROWS = 100_000
_NEAR = 0.9  # cosine of two pictures that are neighbours

KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "JPEG, quality 40": lambda picture: picture,
    "cropped by 5 %": lambda picture: picture.crop(
        (
            round(picture.width * 0.025),
            round(picture.height * 0.025),
            round(picture.width * 0.975),
            round(picture.height * 0.975),
        )
    ),
    "grey": lambda picture: picture.convert("L"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="a folder of pictures, none of which is there twice")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    bundle = load_bundle()
    with tempfile.TemporaryDirectory(prefix="itl-duplicates-") as folder:
        print(quality(Path(folder) / "copies", options.pictures, bundle).markdown(), end="\n\n")
        print(speed(Path(folder), bundle, options.rows).markdown())


def quality(folder: Path, pictures: Path, bundle: Bundle) -> Table:
    originals = sorted(path for path in pictures.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    for number, path in enumerate(originals):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        own = folder / f"{number:05}"
        own.mkdir(parents=True)
        picture.save(own / "original.png")
        for kind, change in KINDS.items():
            change(picture).save(own / f"{kind}.jpg", quality=40 if "40" in kind else 90)
    index = Index.open(folder / "photos.itl", bundle)
    embed_directory(folder, index)
    found = find_duplicates(index)
    right: Counter[str] = Counter()
    wrong = 0
    for first, *copies in found.groups:
        for copy in copies:
            is_right = Path(copy.path).parent == Path(first.path).parent
            right[Path(copy.path).stem] += is_right
            wrong += not is_right
    table = Table(
        f"Copies of {len(originals)} pictures, of which {_neighbours(index):,} pairs have a cosine of {_NEAR} or more",
        ("copy", "found", "of", "recall"),
    )
    for kind in KINDS:
        table.add(kind, str(right[kind]), str(len(originals)), right[kind] / len(originals))
    total = sum(right.values())
    table.add("all", str(total), str(len(KINDS) * len(originals)), total / (len(KINDS) * len(originals)))
    table.add("precision", str(total), str(total + wrong), total / max(1, total + wrong))
    return table


def _neighbours(index: Index) -> int:
    """Pairs of different originals that their embeddings alone would call the same."""
    rows = [row for row, path in enumerate(index.paths) if Path(path).stem == "original"]
    embeddings = index.embeddings[rows]
    return int(np.count_nonzero(np.triu(embeddings @ embeddings.T, 1) >= _NEAR))


def speed(folder: Path, bundle: Bundle, rows: int) -> Table:
    index = Index.open(write_index(folder, bundle, rows, random_hashes=True), bundle, mode="r")
    started, cpu = time.perf_counter(), time.process_time()
    found = find_duplicates(index)
    table = Table("All pictures of an index compared", ("pictures", "seconds", "of a core", "groups"))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    table.add(f"{found.pictures:,}", seconds, cpu, str(len(found.groups)))
    return table


if __name__ == "__main__":
    sys.exit(main())
