"""The drawn pictures of the bundle that comes with the package."""

from __future__ import annotations

import os
from pathlib import Path

from export.postcards import draw_postcards
from export.report import Reporter
from itl_infer.captions import CaptionDataset, read_json_lines

TRAIN, VAL, TEST = 20_000, 1_000, 1_000


def postcards(
    work: Path, reporter: Reporter, *, font: str | os.PathLike[str] | None = None
) -> CaptionDataset:
    """The starter's drawn pictures, drawn into `work/postcards` unless they are there."""
    folder = work / "postcards"
    captions = folder / "captions.jsonl"
    if not captions.exists():
        reporter.say(f"Drawing {TRAIN + VAL + TEST} postcards")
        draw_postcards(folder, train=TRAIN, val=VAL, test=TEST, font=font, progress=reporter.progress)
    return read_json_lines(captions, name="postcards")
