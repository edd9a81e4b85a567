"""From captioned pictures to what the branches are trained on: words, trunk, features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.allocator import keep_freed_memory
from export.branches.recipe import Recipe
from export.branches.voting.recipe import VotingRecipe
from export.bundle.gallery import Gallery
from export.data.cached import Rows
from export.data.forms import text_rules
from export.data.pixels import pixels_of
from export.data.words import LearnedWords
from export.errors import ExportError
from export.features.features import features_of
from export.layers import default_device
from export.report import Reporter
from export.trunk.names import INCEPTION
from export.trunk.pretrain import train_and_keep
from export.trunk.recipe import TrunkRecipe
from export.trunk.sources import open_trunk
from export.trunk.tasks import NameWords
from export.trunk.trunk import Trunk
from itl_infer.captions import SPLITS, CaptionDataset, describe_faults
from itl_infer.text import TextProcessor, TextRules


@dataclass(frozen=True)
class BuildSettings:
    """What to build. `trunk`, `trunk_weights` and `side` are what `open_trunk` takes."""

    name: str
    domain: str
    trunk: str = INCEPTION
    trunk_weights: str = "imagenet"
    side: int | None = None
    text_rules: TextRules = field(default_factory=text_rules)
    recipe: Recipe | VotingRecipe = field(default_factory=Recipe)
    trunk_recipe: TrunkRecipe = field(default_factory=TrunkRecipe)  # with weights "none"
    detector: Path | None = None  # of a VotingRecipe: the ONNX file of the teacher of things
    names_from: Path | None = None  # or: what another teacher said, as `read_scores` takes it
    train_trunk: bool = False  # also train the trunk with the retrieval loss
    min_count: int = 1  # stems that occur less often in the training captions are left out
    precision: str = "int8"
    carry: bool = False  # give it a table of carried words, where what that takes is installed
    gallery: Gallery | None = None


@dataclass(frozen=True)
class Prepared:
    """A data set without what cannot be read, its splits, the words of its training captions, a trunk, its features."""

    dataset: CaptionDataset
    splits: dict[str, CaptionDataset]
    processor: TextProcessor
    trunk: Trunk
    # Of each split, row by row: features (N, feature_dim), or pixels where the trunk is trained with the branches.
    images: dict[str, np.ndarray[Any, Any]]


def prepare(dataset: CaptionDataset, settings: BuildSettings, work: Path, reporter: Reporter) -> Prepared:
    """What the branches are trained on; trains the trunk where the settings ask for it."""
    keep_freed_memory()
    given = splits_of(dataset)
    # Before the pictures: a wrong path of weights is said at once.
    torch.manual_seed(settings.trunk_recipe.seed)  # a run that goes on must start from the same place
    trunk = open_trunk(settings.trunk, settings.trunk_weights, reporter.progress, side=settings.side)
    trunk.network.to(default_device())

    def pixels() -> dict[str, Rows]:
        return _of_each(
            given,
            "Decoding the {} pictures",
            lambda part: pixels_of(part, trunk.image_rules, work / "cache", reporter.progress),
            reporter,
        )

    def features() -> dict[str, Rows]:
        return _of_each(
            given,
            "Computing the trunk's features of the {} pictures",
            lambda part: features_of(part, trunk, work / "cache", reporter.progress),
            reporter,
        )

    from_nothing = settings.trunk_weights == "none"
    images = pixels() if from_nothing or settings.train_trunk else features()
    dataset = dataset.without({path: why for rows in images.values() for path, why in rows.failed.items()})
    splits = splits_of(dataset)
    processor = LearnedWords(splits["train"].captions, settings.text_rules, min_count=settings.min_count)
    without_words = dataset.captions_without_words(lambda caption: bool(processor.ids_of(caption)))
    lines = [dataset.describe(), f"  {len(processor.stems):,} stems in the training captions"]
    reporter.say("\n".join([*lines, *describe_faults(without_words)]))
    if from_nothing:
        words = NameWords(
            splits["train"], images["train"].array, splits["val"], images["val"].array, processor
        )
        trunk, _ = train_and_keep(trunk, [words], trunk.side, settings.trunk_recipe, work / "trunk", reporter)
        images = images if settings.train_trunk else features()
    return Prepared(dataset, splits, processor, trunk, {name: rows.array for name, rows in images.items()})


def _of_each(
    parts: dict[str, CaptionDataset], said: str, make: Callable[[CaptionDataset], Rows], reporter: Reporter
) -> dict[str, Rows]:
    found = {}
    for name, part in parts.items():
        reporter.say(said.format(name))
        found[name] = make(part)
    return found


def splits_of(dataset: CaptionDataset) -> dict[str, CaptionDataset]:
    splits = {name: dataset.split(name) for name in SPLITS}
    for name, part in splits.items():
        if not len(part):
            raise ExportError(f"{dataset.name} has no {name} pictures: give it train, val and test splits")
    return splits
