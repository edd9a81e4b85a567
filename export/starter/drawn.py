"""Drawn pictures: those that training recipes are compared on, and those that go along with the shipped bundle."""

from __future__ import annotations

import os
from pathlib import Path

from export.data.postcards.draw import draw_postcards
from export.report import Reporter
from itl_infer.captions import CaptionDataset, read_json_lines

TRAIN, VAL, TEST = 20_000, 1_000, 1_000


def postcards(
    work: Path,
    reporter: Reporter,
    *,
    counts: tuple[int, int, int] = (TRAIN, VAL, TEST),
    font: str | os.PathLike[str] | None = None,
) -> CaptionDataset:
    """So many training, val and test pictures, drawn into a folder of `work` unless they are there."""
    folder = work / (
        "postcards" if counts == (TRAIN, VAL, TEST) else f"postcards-{'-'.join(map(str, counts))}"
    )
    captions = folder / "captions.jsonl"
    if not captions.exists():
        reporter.say(f"Drawing {sum(counts):,} postcards")
        train, val, test = counts
        draw_postcards(folder, train=train, val=val, test=test, font=font, progress=reporter.progress)
    return read_json_lines(captions, name="postcards")
