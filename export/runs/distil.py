"""From photographs and a teacher to a trunk that sees: pack, ask the teacher, train, keep; each step resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from export.allocator import keep_freed_memory
from export.data.packed import PackedPictures, pack_pictures
from export.distil.crops import Crops
from export.distil.recipe import DistilRecipe
from export.distil.seen import seen_by
from export.distil.student import halves, settle
from export.distil.train import DistilData, train_student
from export.errors import ExportError
from export.loop import History, LoopProgress
from export.report import Reporter
from export.trunk.pretrain import describe_epoch, say_left_out
from export.trunk.state import save_trunk
from export.trunk.trunk import Trunk

WHOLE = -1  # the number of the view that shows whole pictures


def distil(
    student: Trunk,
    teacher: Trunk,
    paths: Sequence[Path],
    recipe: DistilRecipe,
    work: Path,
    reporter: Reporter,
) -> tuple[Trunk, History]:
    """`student` once it sees what `teacher` sees in the pictures; it and the figures of every epoch are kept in `work`.

    Interrupted at any time, the same call goes on where it stopped. Raises ExportError for a teacher without
    classifier, and where there are too few pictures.
    """
    keep_freed_memory()
    if teacher.classifier is None:
        raise ExportError(
            f"the teacher {teacher.name} (weights: {teacher.source}) has no classifier, so it says nothing of classes:"
            " take weights that have one, as --teacher-weights imagenet"
        )
    torch.manual_seed(recipe.seed)  # a run that goes on must start from the same place
    first, last = halves(student, recipe.frozen) if recipe.frozen_epochs else (None, None)
    cache = work / "cache"
    reporter.say(f"Packing {len(paths):,} pictures")
    packed = pack_pictures(paths, cache, reporter.progress)
    say_left_out(packed.failed, reporter)
    train_rows, val_rows = _split(packed, recipe)
    views = [Crops(packed, train_rows, number, recipe.crop, recipe.seed) for number in range(recipe.views)]
    val = Crops(packed, val_rows, WHOLE, recipe.crop, recipe.seed)
    reporter.say(
        f"Asking {teacher.name} at {teacher.side} pixels what is in {len(val):,} pictures to measure on"
    )
    val_answers = seen_by(teacher, val, cache, reporter.progress)
    answers, maps = [], []
    if first is not None:
        settle(student, first, views[0])
    for view in views:
        reporter.say(
            f"Asking {teacher.name} of view {view.number + 1} of {recipe.views} of {len(view):,} pictures"
        )
        answers.append(seen_by(teacher, view, cache, reporter.progress))
        if first is not None:
            reporter.say(f"Looking at it through {student.name} up to {recipe.frozen}")
            maps.append(seen_by(student, view, cache, reporter.progress, layers=first))
    reporter.say(f"Training {student.name} at {student.side} pixels, {recipe.epochs} epochs")
    trained, history = train_student(
        student,
        teacher,
        DistilData(views, answers, maps, val, val_answers),
        last,
        recipe,
        work / "checkpoint.pt",
        progress=lambda state: reporter.progress(state.step, state.steps, _note(state)),
        epoch_done=lambda row: reporter.say(f"{time.strftime('%H:%M')} {describe_epoch(row)}"),
    )
    (work / "history.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    save_trunk(trained, work / "trunk.pth", source=trained.source)
    return trained, history


def _split(packed: PackedPictures, recipe: DistilRecipe) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(recipe.seed).permutation(packed.readable)
    held_out = max(1, round(recipe.val * len(rows)))
    if len(rows) < held_out + 2:
        raise ExportError(
            f"{len(rows)} pictures that can be read: too few to learn from, give more with --pictures"
        )
    return np.sort(rows[held_out:]), np.sort(rows[:held_out])


def _note(state: LoopProgress) -> str:
    return f"epoch {state.epoch}/{state.epochs} loss {state.loss:.3f}"
