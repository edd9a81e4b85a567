"""Photographs with the names that another network is sure of: for measuring, where nobody named them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from export.features.features import features_of, logits_of
from export.report import Reporter
from export.trunk.sources import open_trunk
from itl_infer.captions import CaptionDataset, CaptionedImage

JUDGE = "efficientnet_lite2"
SURE = 0.5  # of its softmax: what it is less sure of has no name


def write_names(paths: Sequence[Path], work: Path, reporter: Reporter) -> Path:
    """The JSON file, in `work`, of names with the files that show them, as `itl-infer evaluate --labelled` takes it.

    A picture's name is the first of its class. Raises ExportError where the judge's weights are not installed.
    """
    judge = open_trunk(JUDGE, "imagenet")
    folder = paths[0].parent
    dataset = CaptionDataset(
        "set aside", folder, tuple(CaptionedImage(path.name, (), "test") for path in paths)
    )
    rows = features_of(dataset, judge, work / "cache", reporter.progress)
    readable = [path.name for path in dataset.paths if str(path) not in rows.failed]
    sure, best = torch.from_numpy(logits_of(rows.array, judge)).softmax(dim=1).max(dim=1)
    found: dict[str, list[str]] = {}
    for name, share, label in zip(readable, sure.tolist(), best.tolist(), strict=True):
        if share > SURE:
            found.setdefault(judge.class_names[label][0], []).append(name)
    path = work / "names.json"
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path
