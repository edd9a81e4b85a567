"""From captioned pictures to a bundle: vocabulary, trunk, features, branches, bundle; each step resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.allocator import keep_freed_memory
from export.branches.curve import best_row, branch_note
from export.branches.data import TrainingData
from export.branches.encoders import ImageEncoder
from export.branches.recipe import Recipe
from export.branches.train import train
from export.branches.voting.recipe import VotingRecipe
from export.bundle.make import Trained, make_bundle
from export.bundle.record import TrainingRecord
from export.features.scores import detector_scores, read_scores
from export.features.views import views_of
from export.loop import History
from export.report import Reporter
from export.runs.prepare import BuildSettings, Prepared, prepare, splits_of
from export.runs.voting import run_voting
from export.trunk.sources import open_trunk
from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset
from itl_infer.evaluation.metrics import Figures


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
    trained, history = _train_branches(ready, settings, recipe, work / "branches", reporter)
    record = TrainingRecord(
        ready.dataset.summary(),
        recipe,
        history,
        trains_trunk=settings.train_trunk,
        trunk_recipe=settings.trunk_recipe if settings.trunk_weights == "none" else None,
    )
    return make_bundle(
        out,
        trained,
        ready.dataset,
        name=settings.name,
        domain=settings.domain,
        training=record.describe(),
        precision=settings.precision,
        gallery=settings.gallery,
        carry=settings.carry,
        also_measure=also_measure,
        card=card,
        reporter=reporter,
    )


def _train_branches(
    ready: Prepared, settings: BuildSettings, recipe: Recipe, folder: Path, reporter: Reporter
) -> tuple[Trained, History]:
    """The two encoders of the best epoch on val, and how training went; `folder` keeps its checkpoint and curve."""
    trunk, processor = ready.trunk, ready.processor
    data = {
        name: TrainingData.of(ready.splits[name], ready.images[name], processor) for name in ("train", "val")
    }
    reporter.say("Training the branches" + (" and the trunk" if settings.train_trunk else ""))
    model, history = train(
        data["train"],
        data["val"],
        len(processor.stems),
        recipe,
        folder,
        trunk=trunk if settings.train_trunk else None,
        progress=lambda state: reporter.progress(state.step, state.steps, branch_note(state)),
    )
    best = best_row(history)
    reporter.say(
        f"Best on val at epoch {best['epoch']}: rsum {best['val_rsum']:.1f}; curve: {folder}/loss_curve.png"
    )
    if model.trunk is not None:
        trunk = replace(trunk.retrained(), network=model.trunk)
    trained = Trained(
        ImageEncoder(trunk, model.image_branch).cpu(), model.text_encoder.cpu(), trunk, processor
    )
    return trained, history


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
    splits = splits_of(dataset)
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
        training=run.record(dataset.summary(), recipe).describe(),
        precision=settings.precision,
        text_precision=settings.precision,
        gallery=settings.gallery,
        carry=settings.carry,
        reporter=reporter,
    )
