"""Trains a trunk and keeps it: where no published weights can be had, or none know what yours show."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from export.allocator import keep_freed_memory
from export.data.labelled import LabelledDataset
from export.data.packed import pack_pictures
from export.loop import History, LoopProgress
from export.report import Reporter
from export.trunk.names import INCEPTION
from export.trunk.recipe import TrunkRecipe
from export.trunk.sources import open_trunk
from export.trunk.state import save_trunk
from export.trunk.tasks import NameClasses, Task
from export.trunk.train import train_trunk
from export.trunk.trunk import Trunk


def pretrain(
    dataset: LabelledDataset,
    recipe: TrunkRecipe,
    work: Path,
    reporter: Reporter,
    *,
    trunk: str = INCEPTION,
    weights: str = "none",
    full_side: int = 160,
) -> tuple[Trunk, History]:
    """A trunk that tells the classes of `dataset` apart; it and the figures of every epoch are kept in `work`.

    `trunk` and `weights` are where it starts, as `open_trunk` takes them; `full_side` is the side of epochs for which
    the recipe names none. Interrupted at any time, the same call goes on where it stopped.
    """
    keep_freed_memory()
    torch.manual_seed(recipe.seed)  # a run that goes on must start from the same place
    opened = open_trunk(trunk, weights, reporter.progress)  # a wrong path is said at once
    train, val = dataset.split("train"), dataset.split("val")
    reporter.say(
        f"{dataset.folder}: {len(train):,} training and {len(val):,} val pictures of {len(dataset.labels)} classes"
    )
    for side in (*recipe.sides, full_side):
        opened.at(side)
    reporter.say("Decoding the labelled pictures")
    packed = pack_pictures([picture.path for picture in dataset], work / "cache", reporter.progress)
    say_left_out(packed.failed, reporter)
    return train_and_keep(opened, [NameClasses(dataset, packed)], full_side, recipe, work, reporter)


def train_and_keep(
    trunk: Trunk, tasks: Sequence[Task], full_side: int, recipe: TrunkRecipe, folder: Path, reporter: Reporter
) -> tuple[Trunk, History]:
    """What `train_trunk` gives; `folder` keeps its checkpoint, and at the end trunk.pth and history.json."""
    reporter.say(f"Training {trunk.name} on {sum(map(len, tasks)):,} pictures, {recipe.epochs} epochs")
    trained, history = train_trunk(
        trunk,
        tasks,
        full_side,
        recipe,
        folder / "checkpoint.pt",
        progress=lambda state: reporter.progress(state.step, state.steps, _note(state)),
        epoch_done=lambda row: reporter.say(f"{time.strftime('%H:%M')} {describe_epoch(row)}"),
    )
    (folder / "history.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    save_trunk(trained, folder / "trunk.pth")
    return trained, history


def say_left_out(failed: dict[str, str], reporter: Reporter) -> None:
    """The first pictures that cannot be read, and how many more there are."""
    for path, reason in list(failed.items())[:3]:
        reporter.say(f"  left out: {path}: {reason}")
    if len(failed) > 3:
        reporter.say(f"  and {len(failed) - 3:,} more that cannot be read")


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
    measured = state.history[-1] if state.history else {}
    said = {"val_top1": "top-1", "val_named": "named"}
    return note + "".join(
        f" {word} {100 * measured[key]:.1f}%" for key, word in said.items() if key in measured
    )
