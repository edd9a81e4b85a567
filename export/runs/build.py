"""From captioned pictures to a bundle: vocabulary, trunk, features, branches, bundle; each step resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.allocator import keep_freed_memory
from export.branches.encoders import ImageEncoder
from export.branches.recipe import Recipe
from export.branches.train import TrainingData, branch_note, train
from export.branches.voting.recipe import VotingRecipe
from export.bundle.make import Gallery, Trained, make_bundle
from export.data.cached import Rows
from export.data.forms import text_rules
from export.data.pixels import pixels_of
from export.errors import ExportError
from export.features.features import features_of
from export.features.scores import detector_scores, read_scores
from export.features.views import views_of
from export.layers import default_device
from export.report import Reporter
from export.runs.voting import describe_run, run_voting
from export.trunk.inception import NAME as INCEPTION
from export.trunk.pretrain import train_and_keep
from export.trunk.recipe import TrunkRecipe
from export.trunk.sources import open_trunk
from export.trunk.tasks import NameWords
from export.trunk.trunk import Trunk
from itl_infer.bundle import Bundle
from itl_infer.captions import SPLITS, CaptionDataset, describe_faults
from itl_infer.evaluation.metrics import Figures
from itl_infer.text import TextProcessor, TextRules, build_vocabulary, collect_spellings


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
    gallery: Gallery | None = None


def build(
    dataset: CaptionDataset,
    settings: BuildSettings,
    work: Path,
    out: Path,
    reporter: Reporter,
    *,
    also_measure: Callable[[Bundle], dict[str, Any]] | None = None,
    card: Callable[[dict[str, Any]], str] | None = None,
) -> Figures:
    """Train on `dataset` and write the bundle `out`; what is computed on the way stays in `work`.

    Interrupted at any time, the same call goes on where it stopped. Returns the figures on the test split, as
    `metrics.measure_ranks` gives them; `also_measure` and `card` are as for `make_bundle`.
    """
    recipe = settings.recipe
    if isinstance(recipe, VotingRecipe):
        return _build_voting(dataset, settings, recipe, work, out, reporter)
    ready = prepare(dataset, settings, work, reporter)
    dataset, splits, processor, trunk = ready.dataset, ready.splits, ready.processor, ready.trunk
    data = {name: TrainingData.of(splits[name], ready.images[name], processor) for name in ("train", "val")}

    reporter.say("Training the branches" + (" and the trunk" if settings.train_trunk else ""))
    folder = work / "branches"
    model, history = train(
        data["train"],
        data["val"],
        len(processor.stems),
        recipe,
        folder,
        trunk=trunk if settings.train_trunk else None,
        progress=lambda state: reporter.progress(state.step, state.steps, branch_note(state)),
    )
    best = max(history, key=lambda row: row["val_rsum"])
    reporter.say(
        f"Best on val at epoch {best['epoch']}: rsum {best['val_rsum']:.1f}; curve: {folder}/loss_curve.png"
    )
    if model.trunk is not None:
        trunk = replace(trunk.retrained(), network=model.trunk)
    trained = Trained(
        ImageEncoder(trunk, model.image_branch).cpu(), model.text_encoder.cpu(), trunk, processor
    )
    training = {
        "data": dataset.summary(),
        "recipe": asdict(recipe),
        "epochs_run": len(history),
        "best_epoch": best["epoch"],
        "trains_trunk": settings.train_trunk,
        "seed": recipe.seed,
    }
    if settings.trunk_weights == "none":
        training["trunk_training"] = {"recipe": asdict(settings.trunk_recipe)}
    return make_bundle(
        out,
        trained,
        dataset,
        name=settings.name,
        domain=settings.domain,
        training=training,
        precision=settings.precision,
        gallery=settings.gallery,
        also_measure=also_measure,
        card=card,
        reporter=reporter,
    )


def _build_voting(
    dataset: CaptionDataset,
    settings: BuildSettings,
    recipe: VotingRecipe,
    work: Path,
    out: Path,
    reporter: Reporter,
) -> Figures:
    """`build` by a recipe with votes."""
    keep_freed_memory()
    splits = _splits(dataset)
    trunk = open_trunk(settings.trunk, settings.trunk_weights, reporter.progress, side=settings.side)
    scores = None
    if settings.detector is not None:
        reporter.say(f"Asking {settings.detector.name} what is in the training pictures")
        scores = detector_scores(settings.detector, splits["train"], work / "cache", reporter.progress)
    elif settings.names_from is not None:
        scores = read_scores(settings.names_from, dataset.folder)
    run = run_voting(
        [splits["train"]],
        splits["val"],
        trunk,
        scores,
        settings.text_rules,
        recipe,
        work,
        reporter,
        min_count=settings.min_count,
    )
    reporter.say("Looking at the test pictures")
    unreadable = views_of(splits["test"], trunk, work / "cache", reporter.progress).failed
    return make_bundle(
        out,
        Trained(run.image_encoder, run.text_encoder, trunk, run.processor),
        dataset.without(unreadable | run.unreadable),
        name=settings.name,
        domain=settings.domain,
        training={"data": dataset.summary(), **describe_run(run, recipe)},
        precision=settings.precision,
        text_precision=settings.precision,
        gallery=settings.gallery,
        reporter=reporter,
    )


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
    given = _splits(dataset)
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
    splits = _splits(dataset)
    captions, words = splits["train"].captions, settings.text_rules
    stems = build_vocabulary(captions, words, min_count=settings.min_count)
    processor = TextProcessor(words, stems, collect_spellings(captions, words, stems))
    without_words = dataset.captions_without_words(lambda caption: bool(processor.parse(caption).ids))
    lines = [dataset.describe(), f"  {len(stems):,} stems in the training captions"]
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


def _splits(dataset: CaptionDataset) -> dict[str, CaptionDataset]:
    splits = {name: dataset.split(name) for name in SPLITS}
    for name, part in splits.items():
        if not len(part):
            raise ExportError(f"{dataset.name} has no {name} pictures: give it train, val and test splits")
    return splits
