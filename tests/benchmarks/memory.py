"""What folders of pictures take of memory: python tests/benchmarks/memory.py

Ten JPEGs of 108 megapixels, with all of the machine's memory; and 4,000 pictures of 0.3 to 12 megapixels in a control
group that allows 512 MB, which needs the right to make one. Each is embedded by a command of its own, with the default
workers. Printed is the most that the command and the processes that it started had together. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # where this is run as a file

from tests.benchmarks.hostile import measure

_PHONE = (12000, 9000)
_SIDES = ((640, 480),) * 34 + ((1600, 1200),) * 4 + ((4000, 3000),) * 2  # of 40 that are drawn
_GROUPS = (  # where Linux has control groups of memory, and what says how much one allows
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--allowed", type=int, default=512, metavar="MB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| pictures | allowed MB | MB | it says |\n|---|---:|---:|---|")
        phone, many = Path(folder) / "phone", Path(folder) / "many"
        draw(phone, 10, (_PHONE,))
        megabytes, _, said = measure(phone)
        print(f"| 10 JPEGs of 108 megapixels | all | {megabytes:.0f} | {said} |", flush=True)
        draw(many, arguments.pictures, _SIDES)
        with group(arguments.allowed) as wrapper:
            megabytes, _, said = measure(many, wrapper)
        print(
            f"| {arguments.pictures:,} of 0.3 to 12 megapixels | {arguments.allowed} | {megabytes:.0f} | {said} |"
        )


def draw(folder: Path, count: int, sides: tuple[tuple[int, int], ...]) -> None:
    """JPEGs of these sides in turn: those of one size look the same, and differ by some bytes behind their ends."""
    folder.mkdir()
    kinds: list[bytes] = []
    dice = np.random.default_rng(0)
    for side in dict.fromkeys(sides):
        small = Image.fromarray(dice.integers(0, 256, (60, 80, 3), np.uint8))
        small.resize(side, Image.Resampling.BICUBIC).save(folder / "drawn.jpg", quality=85)
        kinds.append((folder / "drawn.jpg").read_bytes())
    (folder / "drawn.jpg").unlink()
    of_side = dict(zip(dict.fromkeys(sides), kinds, strict=True))
    for number in range(count):
        content = of_side[sides[number % len(sides)]] + b"%06d" % number
        (folder / f"{number:06}.jpg").write_bytes(content)


@contextlib.contextmanager
def group(megabytes: int) -> Iterator[tuple[str, ...]]:
    """What to put before a command so that it runs where no more memory is allowed."""
    top, limit = next((top, limit) for top, limit in _GROUPS if (top / "cgroup.procs").exists())
    made = top / "itl-infer-benchmark"
    made.mkdir()
    try:
        (made / limit).write_text(str(megabytes * 2**20))
        yield ("sh", "-c", f'echo $$ > {made}/cgroup.procs; exec "$@"', "sh")
    finally:
        made.rmdir()


if __name__ == "__main__":
    main()
