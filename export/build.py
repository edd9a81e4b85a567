"""From captioned pictures to a bundle: vocabulary, trunk, features, branches, bundle; each step resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.allocator import keep_freed_memory
from export.errors import ExportError
from export.features import features_of, pixels_of, unreadable
from export.layers import default_device, weights_sha256
from export.loop import LoopProgress
from export.make_bundle import Gallery, Trained, make_bundle
from export.model import ImageEncoder
from export.recipes import Recipe
from export.report import Reporter
from export.train import TrainingData, train
from export.trunk.inception import MIN_SIDE, inception_trunk, load_trunk, save_trunk
from export.trunk.recipe import TrunkRecipe
from export.trunk.sources import trunk_with
from export.trunk.tasks import NameWords
from export.trunk.train import train_trunk
from itl_infer.bundle import Bundle
from itl_infer.captions import SPLITS, CaptionDataset, describe_faults
from itl_infer.image import ImageRules
from itl_infer.metrics import Figures
from itl_infer.text import DEFAULT_TEXT_RULES, TextProcessor, build_vocabulary, collect_forms


@dataclass(frozen=True)
class BuildSettings:
    """What to build. `inception` is where the trunk's weights come from: imagenet, keras, none or a file."""

    name: str
    domain: str
    inception: str = "imagenet"
    image_rules: ImageRules = field(default_factory=lambda: ImageRules(side=256))
    recipe: Recipe = field(default_factory=Recipe)
    trunk_recipe: TrunkRecipe = field(default_factory=TrunkRecipe)  # with inception "none"
    trunk_training: dict[str, Any] | None = None  # what the bundle says of a trunk that was trained before
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
    rules, recipe = settings.image_rules, settings.recipe
    ready = prepare(dataset, settings, work, reporter)
    dataset, splits, processor, trunk = ready.dataset, ready.splits, ready.processor, ready.trunk

    data = {}
    for name in ("train", "val"):
        if settings.train_trunk:
            reporter.say(f"Decoding the {name} pictures")
            images = pixels_of(splits[name], rules, work / "cache", reporter.progress)
        else:
            reporter.say(f"Computing the trunk's features of the {name} pictures")
            images = features_of(splits[name], rules, trunk, work / "cache", reporter.progress)
        data[name] = TrainingData.of(splits[name], images, processor)

    reporter.say("Training the branches" + (" and the trunk" if settings.train_trunk else ""))
    folder = work / "branches"
    model, history = train(
        data["train"],
        data["val"],
        len(processor.stems),
        recipe,
        folder,
        trunk=trunk if settings.train_trunk else None,
        pixel_scaling=rules.pixel_scaling,
        progress=lambda state: reporter.progress(state.step, state.steps, branch_note(state)),
    )
    best = max(history, key=lambda row: row["val_rsum"])
    reporter.say(
        f"Best on val at epoch {best['epoch']}: rsum {best['val_rsum']:.1f}; curve: {folder}/loss_curve.png"
    )
    trained = Trained(
        ImageEncoder(model.trunk or trunk, model.image_branch, rules.pixel_scaling).cpu(),
        model.text_encoder.cpu(),
        rules,
        processor,
    )
    training = {
        "data": dataset.summary(),
        "recipe": asdict(recipe),
        "epochs_run": len(history),
        "best_epoch": best["epoch"],
        "trains_trunk": settings.train_trunk,
        "trunk_weights": settings.inception,
        "trunk_sha256": weights_sha256(trained.image_encoder.trunk),
        "seed": recipe.seed,
    }
    if settings.inception == "none":
        training["trunk_training"] = {"recipe": asdict(settings.trunk_recipe)}
    elif settings.trunk_training is not None:
        training |= {"trunk_weights": "trained here", "trunk_training": settings.trunk_training}
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


@dataclass(frozen=True)
class Prepared:
    """A data set without what cannot be read, its splits, the words of its training captions, and a trunk."""

    dataset: CaptionDataset
    splits: dict[str, CaptionDataset]
    processor: TextProcessor
    trunk: nn.Module


def prepare(dataset: CaptionDataset, settings: BuildSettings, work: Path, reporter: Reporter) -> Prepared:
    """What features and branches are made from; trains the trunk where the settings ask for it."""
    keep_freed_memory()
    rules = settings.image_rules
    if rules.side < MIN_SIDE:
        raise ExportError(f"side {rules.side} is too small for InceptionV3: {MIN_SIDE} pixels at least")
    _splits(dataset)
    # Before the pictures: a wrong path of weights is said at once.
    given = None if settings.inception == "none" else trunk_with(settings.inception, reporter.progress)
    reporter.say("Looking for pictures that cannot be read")
    dataset = dataset.without(unreadable(dataset, rules, work / "cache", reporter.progress))
    splits = _splits(dataset)
    stems = build_vocabulary(splits["train"].captions, DEFAULT_TEXT_RULES, min_count=settings.min_count)
    forms = collect_forms(splits["train"].captions, DEFAULT_TEXT_RULES, stems)
    processor = TextProcessor(DEFAULT_TEXT_RULES, stems, forms)
    without_words = dataset.captions_without_words(lambda caption: bool(processor.parse(caption).ids))
    lines = [dataset.describe(), f"  {len(stems):,} stems in the training captions"]
    reporter.say("\n".join([*lines, *describe_faults(without_words)]))
    trunk = given if given is not None else _trained_trunk(splits, processor, settings, work, reporter)
    return Prepared(dataset, splits, processor, trunk.to(default_device()).eval())


def _splits(dataset: CaptionDataset) -> dict[str, CaptionDataset]:
    splits = {name: dataset.split(name) for name in SPLITS}
    for name, part in splits.items():
        if not len(part):
            raise ExportError(f"{dataset.name} has no {name} pictures: give it train, val and test splits")
    return splits


def _trained_trunk(
    splits: dict[str, CaptionDataset],
    processor: TextProcessor,
    settings: BuildSettings,
    work: Path,
    reporter: Reporter,
) -> nn.Module:
    trained = work / "trunk" / "trunk.pth"
    if not trained.exists():
        pixels: dict[str, Any] = {}
        for name in ("train", "val"):
            reporter.say(f"Decoding the {name} pictures")
            pixels[name] = pixels_of(splits[name], settings.image_rules, work / "cache", reporter.progress)
        words = NameWords(splits["train"], pixels["train"], splits["val"], pixels["val"], processor)
        reporter.say("Training InceptionV3 to name the words of the captions")
        torch.manual_seed(settings.trunk_recipe.seed)  # a run that goes on must start from the same place
        trunk, history = train_trunk(
            inception_trunk(),
            [words],
            settings.image_rules.side,
            settings.trunk_recipe,
            work / "trunk" / "checkpoint.pt",
            progress=lambda state: reporter.progress(state.step, state.steps, trunk_note(state)),
        )
        (work / "trunk" / "history.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
        save_trunk(trunk, trained)
    return load_trunk(str(trained))


def trunk_note(state: LoopProgress) -> str:
    note = f"epoch {state.epoch}/{state.epochs} loss {state.loss:.3f}"
    return note + (f" named {100 * state.history[-1]['val_named']:.1f}%" if state.history else "")


def branch_note(state: LoopProgress) -> str:
    note = f"epoch {state.epoch}/{state.epochs} loss {state.loss:.2f}"
    if not state.history:
        return note
    last = state.history[-1]
    recalls = f"t2i {100 * last['val_t2i_recall_at_10']:.1f} i2t {100 * last['val_i2t_recall_at_10']:.1f}"
    return f"{note} | val loss {last['val_loss']:.2f} R@10 {recalls}"
