"""Trains an InceptionV3 from nothing, or from weights given, on one task or several at once.

Needed where no pretrained weights can be had. Every batch holds pictures of all tasks, as many of each as there are;
each task has outputs of its own, which are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.loop import History, Loop, LoopProgress, batch_rows
from export.model import FEATURE_DIM, default_device, weights_sha256
from export.recipes import TrunkRecipe
from export.tasks import Task


def train_trunk(
    trunk: nn.Module,
    tasks: Sequence[Task],
    full_side: int,
    recipe: TrunkRecipe,
    checkpoint: Path,
    *,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
    epoch_done: Callable[[dict[str, float]], None] = lambda _row: None,
) -> tuple[nn.Module, History]:
    """`trunk`, trained, and one row of figures per epoch: loss, and what each task measures.

    An epoch passes over the pictures of all tasks once; its `hours` are those since the start. `full_side` is the side
    where `recipe.sides` names none. Interrupted at any time, a second call continues from the last checkpoint and ends
    with the same weights as a run in one piece.
    """
    device = default_device()
    ends = [*accumulate(len(task) for task in tasks)]
    recipe = replace(recipe, batch_size=min(recipe.batch_size, ends[-1]))
    start = weights_sha256(trunk)
    torch.manual_seed(recipe.seed)
    heads = nn.ModuleList(nn.Linear(FEATURE_DIM, task.outputs) for task in tasks)
    model = nn.ModuleDict({"trunk": trunk, "heads": heads}).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # No decay of biases and of what batch norms learn (He et al. 2018, arXiv:1812.01187).
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    loop = Loop(
        model,
        optimizer,
        recipe.epochs,
        steps_per_epoch=ends[-1] // recipe.batch_size,
        checkpoint=checkpoint,
        settings={
            **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(recipe).items()},
            "full_side": full_side,
            "start": start,
            "tasks": [task.identity() for task in tasks],
        },
        kept={},
    )
    steps = loop.epochs * loop.steps_per_epoch

    def train_step(epoch: int, batch: int) -> float:
        rows = batch_rows(recipe.seed, epoch, batch, recipe.batch_size, ends[-1])
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        side = recipe.side(epoch, full_side)
        # By chance a small batch may hold no picture of a task.
        own = [rows[(rows >= first) & (rows < end)] - first for first, end in pairwise([0, *ends])]
        parts = [part for part in zip(tasks, heads, own, strict=True) if len(part[2])]
        x = torch.cat([task.images(chosen, side, recipe, rng) for task, _, chosen in parts])
        model.train()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            features = trunk(x.to(device).contiguous(memory_format=torch.channels_last))
        loss = torch.zeros((), device=device)
        for (task, head, chosen), feature in zip(
            parts, features.split([len(p[2]) for p in parts]), strict=True
        ):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logits = head(feature)
            targets = task.targets(chosen, recipe).to(device)
            loss = loss - (targets * F.log_softmax(logits.float(), dim=1)).sum() / len(rows)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch * loop.steps_per_epoch + batch, steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    def epoch_end(epoch: int, mean_loss: float, history: History) -> bool:
        hours = round(loop.seconds / 3600, 3)
        row: dict[str, float] = {"epoch": epoch + 1, "hours": hours, "train_loss": mean_loss}
        side = recipe.side(epoch, full_side)
        model.eval()
        for task, head in zip(tasks, heads, strict=True):

            def predict(x: Tensor, head: nn.Module = head) -> Tensor:
                x = x.to(device).contiguous(memory_format=torch.channels_last)
                with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
                    return head(trunk(x)).float().cpu()  # type: ignore[no-any-return]

            row |= task.measure(predict, side)
        history.append(row)
        epoch_done(row)
        return False

    history = loop.run(train_step, epoch_end, progress)
    return trunk.eval(), history
