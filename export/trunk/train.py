"""Trains a trunk from nothing, or from weights given, on one task or several at once.

Needed where no pretrained weights can be had. Every batch holds pictures of all tasks, as many of each as there are;
each task has outputs of its own, which are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.layers import adamw, autocast, default_device
from export.loop import History, Loop, LoopProgress, batch_rows
from export.trunk.auxiliary import AUXILIARY_SIDE, AUXILIARY_WEIGHT, auxiliary_of
from export.trunk.recipe import TrunkRecipe
from export.trunk.tasks import Task
from export.trunk.trunk import Trunk

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Learned:
    """A task with what is its own: outputs of the network, columns of an auxiliary head, rows of all pictures."""

    task: Task
    head: nn.Module
    columns: slice
    first: int
    end: int

    def own(self, rows: Array) -> Array:
        """Which of its pictures are among these rows."""
        return rows[(rows >= self.first) & (rows < self.end)] - self.first


class TrunkTrainer:
    """One run: `step` trains on a batch of pictures of all tasks, `epoch_end` lets each task measure.

    All chance is drawn from (seed, epoch, batch), so that a run that was interrupted ends as one in one piece.
    """

    def __init__(
        self, trunk: Trunk, tasks: Sequence[Task], full_side: int, recipe: TrunkRecipe, checkpoint: Path
    ) -> None:
        self.device, self.network, self.full_side = default_device(), trunk.network, full_side
        ends = [*accumulate(len(task) for task in tasks)]
        self._pictures = ends[-1]
        self.recipe = recipe = replace(recipe, batch_size=min(recipe.batch_size, self._pictures))
        start = trunk.weights_sha256
        torch.manual_seed(recipe.seed)
        heads = nn.ModuleList(nn.Linear(trunk.feature_dim, task.outputs) for task in tasks)
        columns = [slice(*pair) for pair in pairwise([0, *accumulate(task.outputs for task in tasks)])]
        self._learned = [
            _Learned(*parts) for parts in zip(tasks, heads, columns, [0, *ends[:-1]], ends, strict=True)
        ]
        self.model = nn.ModuleDict({"trunk": self.network, "heads": heads})
        plan = recipe.plan(full_side)
        # One for all tasks: its batch norm sees a single cell of each picture, and a task may have but one in a batch.
        self._auxiliary = auxiliary_of(trunk, columns[-1].stop, max(side for side, *_ in plan))
        if self._auxiliary is not None:
            self.model["auxiliary"] = self._auxiliary
        self._rescale = _Rescale(trunk)
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = adamw(self.model, recipe.learning_rate, recipe.weight_decay)
        self.loop = Loop(
            self.model,
            self.optimizer,
            recipe.epochs,
            steps_per_epoch=self._pictures // recipe.batch_size,
            checkpoint=checkpoint,
            settings={**_settings(recipe), "start": start, "tasks": [task.identity() for task in tasks]},
            plan=plan,
            keep_after=recipe.steady,
        )

    def step(self, epoch: int, batch: int) -> float:
        recipe, steps_per_epoch = self.recipe, self.loop.steps_per_epoch
        rows = batch_rows(recipe.seed, epoch, batch, recipe.batch_size, self._pictures)
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        side = recipe.side(epoch, self.full_side)
        # By chance a small batch may hold no picture of a task.
        parts = [(learned, own) for learned in self._learned if len(own := learned.own(rows))]
        x = torch.cat([learned.task.images(own, side, recipe, rng) for learned, own in parts])
        self.model.train()
        with autocast(self.device):
            features = self.network(self._on_device(x))
            has_guesses = self._auxiliary is not None and side >= AUXILIARY_SIDE
            guesses = self._auxiliary() if has_guesses else None
        loss = self._loss(parts, features, guesses)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(epoch * steps_per_epoch + batch, steps_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def measure(self, epoch: int) -> dict[str, float]:
        """What each task makes of the network as it is, at the side of an epoch."""
        side = self.recipe.side(epoch, self.full_side)
        self.model.eval()
        found: dict[str, float] = {}
        for learned in self._learned:
            found |= learned.task.measure(lambda x, head=learned.head: self._logits(x, head), side)  # type: ignore[misc]
        return found

    def leave(self) -> None:
        """Let go of the network, which is done with training."""
        if self._auxiliary is not None:
            self._auxiliary.leave()
        self.network.eval()

    def _loss(self, parts: list[tuple[_Learned, Array]], features: Tensor, guesses: Tensor | None) -> Tensor:
        """Cross entropy of features (n, D), and of the auxiliary head's guesses (n, outputs), over the n pictures."""
        loss = torch.zeros((), device=self.device)
        count, done = len(features), 0
        for learned, own in parts:
            own_rows = slice(done, done := done + len(own))
            with autocast(self.device):
                logits = learned.head(features[own_rows])
            targets = learned.task.targets(own, self.recipe).to(self.device)
            loss = loss + _cross_entropy(logits, targets) / count
            if guesses is not None:
                inner_loss = _cross_entropy(guesses[own_rows, learned.columns], targets)
                loss = loss + AUXILIARY_WEIGHT * inner_loss / count
        return loss

    @torch.inference_mode()
    def _logits(self, x: Tensor, head: nn.Module) -> Tensor:
        x = self._on_device(x)
        with autocast(self.device):
            return head(self.network(x)).float().cpu()  # type: ignore[no-any-return]

    def _on_device(self, x: Tensor) -> Tensor:
        """Pictures as tasks give them, as the network takes them."""
        return self._rescale(x).to(self.device).contiguous(memory_format=torch.channels_last)


def train_trunk(
    trunk: Trunk,
    tasks: Sequence[Task],
    full_side: int,
    recipe: TrunkRecipe,
    checkpoint: Path,
    *,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
    epoch_done: Callable[[dict[str, float]], None] = lambda _row: None,
) -> tuple[Trunk, History]:
    """`trunk`, its network trained in place, and one row of figures per epoch: loss, and what each task measures.

    An epoch passes over the pictures of all tasks once; its `hours` are those since the start. `full_side` is the side
    where `recipe.sides` names none. Interrupted at any time, a second call continues from the last checkpoint and ends
    with the same weights as a run in one piece; and so does a call with more epochs in `recipe.steady`, from where the
    rate began to fall. Epochs of `AUXILIARY_SIDE` and more also train an auxiliary head on an inner layer of
    InceptionV3.
    """
    trainer = TrunkTrainer(trunk, tasks, full_side, recipe, checkpoint)

    def epoch_end(epoch: int, mean_loss: float, history: History) -> bool:
        hours = round(trainer.loop.seconds / 3600, 3)
        history.append(
            {"epoch": epoch + 1, "hours": hours, "train_loss": mean_loss, **trainer.measure(epoch)}
        )
        epoch_done(history[-1])
        return False

    try:
        history = trainer.loop.run(trainer.step, epoch_end, progress)
    finally:
        trainer.leave()
    return trunk.retrained(), history


def _settings(recipe: TrunkRecipe) -> dict[str, Any]:
    """What a checkpoint must agree with, as plain values; epochs and their sides are in the plan."""
    settings = {
        key: value for key, value in asdict(recipe).items() if key not in ("epochs", "steady", "sides")
    }
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


class _Rescale:
    """Pictures (N, 3, H, W) in [-1, 1], as tasks give them, to what a trunk takes."""

    def __init__(self, trunk: Trunk) -> None:
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (trunk.mean, trunk.std))
        self._scale, self._offset = 127.5 / std, (127.5 - mean) / std

    def __call__(self, x: Tensor) -> Tensor:
        return x * self._scale + self._offset


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of (n, outputs) and what they should say, summed over the n pictures."""
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum()
