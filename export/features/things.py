"""A small head on a trunk's maps that says which of some named things are in a picture, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.errors import ExportError
from export.features.recipe import ThingsRecipe
from export.features.views import maps_in
from export.loop import History, Loop, LoopProgress, batch_rows, sample_sha256
from export.schedule import cosine_rate

Array = np.ndarray[Any, Any]

_AT_ONCE = 256  # pictures
_FINE, _COARSE = 128, 256  # channels on finer maps, and on the coarsest


class ThingsHead(nn.Module):
    """Maps (N, C, h, w), the finest first -> logits (N, K) of each thing, wherever it is.

    Places are pooled by log-sum-exp, so that a thing counts however small it is, and what else is in a picture takes
    nothing from it. Finer maps see what the coarser ones made of the same place.
    """

    def __init__(self, statistics: list[tuple[Tensor, Tensor]], things: int) -> None:
        """`statistics`: mean and std (C,) of the channels of each map."""
        super().__init__()
        self.norms = nn.ModuleList(_Standardize(mean, std) for mean, std in statistics)
        widths = [_FINE] * (len(statistics) - 1) + [_COARSE]
        self.enter = nn.ModuleList(
            nn.Conv2d(len(mean), width, 1) for (mean, _), width in zip(statistics, widths, strict=True)
        )
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, groups=width),
                nn.ReLU(),
                nn.Conv2d(width, width, 1),
                nn.ReLU(),
            )
            for width in widths
        )
        self.down = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in zip(widths[1:], widths, strict=False))
        self.out = nn.ModuleList(nn.Conv2d(width, things, 1) for width in widths)
        for layer in self.out:
            # Most things are in no picture: 0.03 to begin with, as the sum over some 400 places adds 6.
            nn.init.constant_(layer.bias, -9.5)  # type: ignore[arg-type]

    def forward(self, *maps: Tensor) -> Tensor:
        logits = []
        coarser: Tensor | None = None
        for place in reversed(range(len(maps))):
            entered = self.enter[place](self.norms[place](maps[place]))
            if coarser is not None:
                above = F.interpolate(self.down[place](coarser), size=entered.shape[2:], mode="nearest")
                entered = entered + above
            coarser = self.mix[place](entered)
            logits.append(self.out[place](coarser).flatten(2))
        return torch.cat(logits, dim=2).logsumexp(dim=2)


class _Standardize(nn.Module):
    """(x - mean) / std, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(-1, 1, 1))
        self.register_buffer("std", std.reshape(-1, 1, 1) + 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class ThingsTrainer:
    """One run of a head: `step` trains on a batch, binary cross entropy summed over the things.

    All chance is drawn from (seed, epoch, batch), so that a run that was interrupted ends as one in one piece.
    """

    def __init__(self, views: list[Array], rows: Array, scores: Array, recipe: ThingsRecipe) -> None:
        self.views, self.rows, self.scores, self.recipe = views, rows, scores, recipe
        torch.manual_seed(recipe.seed)
        self.head = ThingsHead(_statistics(views[0], rows), scores.shape[1])
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._batch_size = min(recipe.batch_size, len(rows))
        self.steps_per_epoch = len(rows) // self._batch_size

    def step(self, epoch: int, batch: int) -> float:
        recipe = self.recipe
        chosen = batch_rows(recipe.seed, epoch, batch, self._batch_size, len(self.rows))
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        view = self.views[int(rng.integers(len(self.views)))]
        targets = torch.from_numpy(self.scores[chosen].astype(np.float32))
        self.head.train()
        logits = self.head(*_maps(view[self.rows[chosen]]))
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1).mean()
        step, steps = epoch * self.steps_per_epoch + batch, recipe.epochs * self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * cosine_rate(step, steps, min(recipe.warm_up, steps // 10))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def epoch_end(self, epoch: int, mean_loss: float, history: History) -> bool:
        history.append({"epoch": epoch + 1, "train_loss": mean_loss})
        return False


def train_things_head(
    views: list[Array],
    rows: Array,
    scores: Array,
    recipe: ThingsRecipe,
    folder: Path,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
) -> ThingsHead:
    """A head that says of the pictures `rows` what a teacher says of them, `scores` (len(rows), K) from 0 to 1.

    `views` are records with the maps of every picture, and of its mirror image: one is drawn each time. Interrupted,
    the same call goes on from the checkpoint in `folder`. Raises ExportError where there are no maps, or no picture has
    a thing in it.
    """
    if not maps_in(views[0]):
        raise ExportError(
            "it is not known which layers of the trunk have its maps, so small things cannot be looked for on them:"
            " take inception_v3 or efficientnet_lite0, or leave --detector and --names-from out"
        )
    if not len(rows) or not scores.any():
        raise ExportError("none of the training pictures has one of the named things in it: nothing to learn")
    trainer = ThingsTrainer(views, rows, scores, recipe)
    loop = Loop(
        trainer.head,
        trainer.optimizer,
        recipe.epochs,
        trainer.steps_per_epoch,
        checkpoint=folder / "checkpoint.pt",
        settings={
            **asdict(recipe),
            "maps": sample_sha256(views[0][maps_in(views[0])[-1]]),
            "views": len(views),
            "rows": sample_sha256(rows),
            "scores": sample_sha256(scores),
        },
    )
    loop.run(trainer.step, trainer.epoch_end, progress)
    return trainer.head.eval()


@torch.inference_mode()
def things_seen(head: ThingsHead, view: Array) -> Array:
    """float32 (N, K) from 0 to 1: how sure the head is of each thing in the pictures whose records are `view`."""

    def parts() -> Iterator[Array]:
        for start in range(0, len(view), _AT_ONCE):
            yield torch.sigmoid(head(*_maps(view[start : start + _AT_ONCE]))).numpy()

    return np.concatenate([*parts()])


def _maps(records: Array) -> list[Tensor]:
    return [torch.from_numpy(records[name].astype(np.float32)) for name in maps_in(records)]


def _statistics(view: Array, rows: Array) -> list[tuple[Tensor, Tensor]]:
    """Mean and std of the channels of each map, over pictures spread among `rows`."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _AT_ONCE)).astype(int)]
    return [(m.mean(dim=(0, 2, 3)), m.std(dim=(0, 2, 3))) for m in _maps(view[some])]
