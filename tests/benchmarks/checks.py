"""What the checks for hostile pictures cost ordinary ones: python -m tests.benchmarks.checks [FOLDER]

Every photograph of the folder (by default those beside the checkout) is decoded as `embed-images` decodes it, and once
more without the checks that tell whether it belongs into a process of its own (`docs/security.md`): the clock, scans
of JPEGs, and notes beside the pixels. Both right behind each other, in turns first and second; printed is the ratio of
the time that they compute, of all photographs, for some rounds.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from itl_infer.image import ImageRules, decode, load_pixels
from tests.places import SHARED

SIDE, ROUNDS = 256, 15
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name, without in (
            ("ClockedFile", lambda file, *_: file),
            ("blocks_in_scans", lambda *_: 0),
            ("_tells_too_much", lambda *_: False),
        ):
            stack.enter_context(mock.patch.object(decode, name, without))
        yield


def seconds(path: Path, rules: ImageRules) -> float:
    start = time.thread_time()
    load_pixels(path, rules)
    return time.thread_time() - start


def main(folder: Path) -> None:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    rules, ratios = ImageRules(SIDE), []
    for path in paths:  # read from the disk once
        load_pixels(path, rules)
    for turn in range(ROUNDS):
        checked = unchecked = 0.0
        for number, path in enumerate(paths):
            is_checked_first = (turn + number) % 2 == 0
            if is_checked_first:
                checked += seconds(path, rules)
            with without_checks():
                unchecked += seconds(path, rules)
            if not is_checked_first:
                checked += seconds(path, rules)
        ratios.append(checked / unchecked)
    low, median, high = np.percentile(ratios, [25, 50, 75])
    print(
        f"{len(paths)} photographs, {ROUNDS} rounds, {1000 * unchecked / len(paths):.2f} ms each without checks"
    )
    print(f"with the checks {median:.4f} times as long (quartiles {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "photos")
