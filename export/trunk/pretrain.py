"""Pretrains a trunk on labelled pictures: where no published weights can be had, or none know what yours show."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from export.allocator import keep_freed_memory
from export.errors import ExportError
from export.labelled.folders import LabelledDataset
from export.labelled.packed import pack_pictures
from export.loop import History, LoopProgress
from export.report import Reporter
from export.trunk.inception import MIN_SIDE, save_trunk
from export.trunk.recipe import TrunkRecipe
from export.trunk.sources import trunk_with
from export.trunk.tasks import NameClasses, Task
from export.trunk.train import train_trunk


def pretrain(
    dataset: LabelledDataset,
    recipe: TrunkRecipe,
    work: Path,
    reporter: Reporter,
    *,
    weights: str = "none",
    also: Sequence[Task] = (),
    full_side: int = 160,
) -> tuple[nn.Module, History]:
    """A trunk that tells the classes of `dataset` apart; it and the figures of every epoch are kept in `work`.

    `weights` is where it starts, as `trunk_with` takes it; `also` are tasks that it learns beside, and `full_side` is
    the side of epochs for which the recipe names none. Interrupted at any time, the same call goes on where it stopped.
    """
    keep_freed_memory()
    if small := [side for side in (*recipe.sides, full_side) if side < MIN_SIDE]:
        raise ExportError(f"side {small[0]} is too small for InceptionV3: {MIN_SIDE} pixels at least")
    torch.manual_seed(recipe.seed)  # a run that goes on must start from the same place
    trunk = trunk_with(weights, reporter.progress)  # a wrong path is said at once
    train, val = dataset.split("train"), dataset.split("val")
    reporter.say(
        f"{dataset.folder}: {len(train):,} training and {len(val):,} val pictures of {len(dataset.labels)} classes"
    )
    reporter.say("Decoding the labelled pictures")
    packed = pack_pictures([picture.path for picture in dataset], work / "cache", reporter.progress)
    for path, reason in list(packed.failed.items())[:3]:
        reporter.say(f"  left out: {path}: {reason}")
    if len(packed.failed) > 3:
        reporter.say(f"  and {len(packed.failed) - 3:,} more that cannot be read")
    tasks = [NameClasses(dataset, packed), *also]
    reporter.say(f"Training InceptionV3 on {sum(map(len, tasks)):,} pictures, {recipe.epochs} epochs")
    trunk, history = train_trunk(
        trunk,
        tasks,
        full_side,
        recipe,
        work / "checkpoint.pt",
        progress=lambda state: reporter.progress(state.step, state.steps, _note(state)),
        epoch_done=lambda row: reporter.say(f"{time.strftime('%H:%M')} {describe_epoch(row)}"),
    )
    (work / "history.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    save_trunk(trunk, work / "trunk.pth")
    return trunk, history


def describe_epoch(row: dict[str, float]) -> str:
    """One line of an epoch's figures; shares in per cent."""
    shares = [
        f"{key.removeprefix('val_').replace('_', ' ')} {100 * value:.1f}%"
        for key, value in row.items()
        if key.startswith("val_")
    ]
    return f"epoch {row['epoch']:.0f}: loss {row['train_loss']:.3f}, " + ", ".join(shares)


def _note(state: LoopProgress) -> str:
    note = f"epoch {state.epoch}/{state.epochs} loss {state.loss:.3f}"
    return note + (f" top-1 {100 * state.history[-1]['val_top1']:.1f}%" if state.history else "")
