"""Trains a trunk from nothing, or from weights given, on one task or several at once.

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

from export.layers import default_device
from export.loop import History, Loop, LoopProgress, batch_rows
from export.trunk.names import INCEPTION
from export.trunk.recipe import TrunkRecipe
from export.trunk.tasks import Task
from export.trunk.torchvision_models import torchvision_models
from export.trunk.trunk import Trunk

AUXILIARY_SIDE = 299
"""torchvision's auxiliary head ends in a 5 x 5 convolution; with fewer pixels its map is smaller."""
_AUXILIARY_WEIGHT = 0.3  # Szegedy et al. 2014 (arXiv:1409.4842)


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
    rate began to fall. Epochs of `AUXILIARY_SIDE` and more also train
    an auxiliary head on an inner layer of InceptionV3.
    """
    device, network = default_device(), trunk.network
    ends = [*accumulate(len(task) for task in tasks)]
    recipe = replace(recipe, batch_size=min(recipe.batch_size, ends[-1]))
    start = trunk.weights_sha256
    torch.manual_seed(recipe.seed)
    heads = nn.ModuleList(nn.Linear(trunk.feature_dim, task.outputs) for task in tasks)
    outputs = [task.outputs for task in tasks]
    model = nn.ModuleDict({"trunk": network, "heads": heads})
    plan = recipe.plan(full_side)
    auxiliary = None
    has_inner = trunk.name == INCEPTION and not isinstance(network, torch.fx.GraphModule)
    if has_inner and max(side for side, *_ in plan) >= AUXILIARY_SIDE:
        # One for all tasks: its batch norm sees a single cell of each picture, and a task may have but one in a batch.
        auxiliary = model["auxiliary"] = _Auxiliary(network, sum(outputs))
    rescale = _Rescale(trunk)
    columns = [*pairwise([0, *accumulate(outputs)])]
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
            **{
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(recipe).items()
                if key not in ("epochs", "steady", "sides")  # in the plan
            },
            "start": start,
            "tasks": [task.identity() for task in tasks],
        },
        kept={},
        plan=plan,
        keep_after=recipe.steady,
    )

    def train_step(epoch: int, batch: int) -> float:
        rows = batch_rows(recipe.seed, epoch, batch, recipe.batch_size, ends[-1])
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        side = recipe.side(epoch, full_side)
        # By chance a small batch may hold no picture of a task.
        own = [rows[(rows >= first) & (rows < end)] - first for first, end in pairwise([0, *ends])]
        parts = [part for part in zip(tasks, heads, columns, own, strict=True) if len(part[3])]
        x = rescale(torch.cat([task.images(chosen, side, recipe, rng) for task, _, _, chosen in parts]))
        model.train()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            features = network(x.to(device).contiguous(memory_format=torch.channels_last))
            guesses = auxiliary() if auxiliary is not None and side >= AUXILIARY_SIDE else None
        loss = torch.zeros((), device=device)
        done = 0
        for task, head, (first, end), chosen in parts:
            own_rows = slice(done, done := done + len(chosen))
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logits = head(features[own_rows])
            targets = task.targets(chosen, recipe).to(device)
            loss = loss + _cross_entropy(logits, targets) / len(rows)
            if guesses is not None:
                inner_loss = _cross_entropy(guesses[own_rows, first:end], targets)
                loss = loss + _AUXILIARY_WEIGHT * inner_loss / len(rows)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch * loop.steps_per_epoch + batch, loop.steps_per_epoch)
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
                x = rescale(x).to(device).contiguous(memory_format=torch.channels_last)
                with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
                    return head(network(x)).float().cpu()  # type: ignore[no-any-return]

            row |= task.measure(predict, side)
        history.append(row)
        epoch_done(row)
        return False

    try:
        history = loop.run(train_step, epoch_end, progress)
    finally:
        if auxiliary is not None:
            auxiliary.leave()
    network.eval()
    return trunk.retrained(), history


class _Rescale:
    """Pictures (N, 3, H, W) in [-1, 1], as tasks give them, to what a trunk takes."""

    def __init__(self, trunk: Trunk) -> None:
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (trunk.mean, trunk.std))
        self._scale, self._offset = 127.5 / std, (127.5 - mean) / std

    def __call__(self, x: Tensor) -> Tensor:
        return x * self._scale + self._offset


class _Auxiliary(nn.Module):
    """torchvision's auxiliary head on an inner layer of InceptionV3, called after it: (n, outputs)."""

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.head = torchvision_models().inception.InceptionAux(768, outputs)
        self._seen: Tensor | None = None
        self._hook = network.get_submodule("Mixed_6e").register_forward_hook(self._look)

    def _look(self, layer: nn.Module, _inputs: object, output: Tensor) -> None:
        self._seen = output if layer.training else None

    def forward(self) -> Tensor:
        seen, self._seen = self._seen, None
        return self.head(seen)  # type: ignore[no-any-return]

    def leave(self) -> None:
        """Let go of the network."""
        self._hook.remove()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of (n, outputs) and what they should say, summed over the n pictures."""
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum()
