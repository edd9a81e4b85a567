"""Preparing a build: from captioned pictures to what branches are trained on, beside decoding the pictures alone."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from export.branches.data import TrainingData
from export.report import Reporter
from export.runs.prepare import BuildSettings, prepare
from export.trunk.sources import open_trunk
from export.trunk.state import save_network
from itl_infer.captions import CaptionDataset, read_captions
from itl_infer.image.batches import decode_ahead
from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table, spread

PICTURES, CAPTIONS_EACH = 6_000, 5
TRUNK, SIDE = "timm:test_resnet", 224  # so light that what is seen is the rest
_ROUNDS = 3


def tables(ground: Ground) -> Iterator[Table]:
    dataset = _captioned(ground)
    weights = ground.folder / "trunk.pth"
    trunk = open_trunk(TRUNK, "none", side=SIDE)
    save_network(trunk.network, weights)
    settings = BuildSettings("prepared", "", trunk=TRUNK, trunk_weights=str(weights), side=SIDE)
    decoding, preparing = [], []
    for turn in range(_ROUNDS):

        def decode() -> None:
            deque(decode_ahead(dataset.paths, trunk.image_rules), maxlen=0)

        def to_training_data(work: Path = ground.folder / f"work-{turn}") -> None:
            ready = prepare(dataset, settings, work, Reporter())
            for name in ("train", "val"):
                TrainingData.of(ready.splits[name], ready.images[name], ready.processor)

        decoding.append(_seconds(decode))
        preparing.append(_seconds(to_training_data))
    table = Table(
        f"Preparing a build of {PICTURES:,} photographs with {CAPTIONS_EACH} captions each, a trunk of no weight",
        ("what", "seconds"),
    )
    table.add("decoding the pictures, alone", spread(decoding, 1))
    table.add("words, pictures, features, ids", spread(preparing, 1))
    table.at_most("preparing, against decoding alone", 1.5, spread(np.array(preparing) / decoding))
    yield table


def _captioned(ground: Ground) -> CaptionDataset:
    """The photographs again and again, each time with other words of the starter."""
    folder = ground.many(PICTURES, ground.photos, "captioned")
    rng = np.random.default_rng(0)
    names = sorted(path.name for path in folder.iterdir())
    parts = ["train"] * (PICTURES - 200) + ["val"] * 100 + ["test"] * 100
    with (folder / "captions.jsonl").open("w", encoding="utf-8") as lines:
        for name, part in zip(names, parts, strict=True):
            drawn = rng.choice(ground.starter.words, (CAPTIONS_EACH, 4))
            captions = ["A {} and two {} in front of the {}, near a {} .".format(*words) for words in drawn]
            lines.write(json.dumps({"image": name, "captions": captions, "split": part}) + "\n")
    return read_captions(folder / "captions.jsonl", None, None)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
