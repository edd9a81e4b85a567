"""Trains the two branches, on cached trunk features or together with the trunk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.branches.curve import LossCurve, val_figures
from export.branches.data import Array, TrainingData, epoch_batches, shorten
from export.branches.encoders import TextEncoder, TwoBranch
from export.branches.loss import collapsed_loss, softmax_loss, triplet_ranking_loss
from export.branches.recipe import Recipe
from export.errors import ExportError
from export.layers import default_device
from export.loop import History, Loop, LoopProgress, sample_sha256
from export.trunk.tasks import augment
from export.trunk.trunk import Trunk

_EVAL_BATCH = 256


@dataclass
class Kept:
    """What a run must know beside its weights when it goes on, by the names that it has in checkpoints."""

    best: dict[str, Tensor]  # the model of the best epoch
    best_rsum: float = -1.0
    best_epoch: int = 0
    stuck_steps: int = 0  # so many steps in a row, the loss has been that of a collapsed model


class BranchTrainer:
    """One run: `step` trains on a batch, `epoch_end` measures on val and keeps the best epoch.

    All chance is drawn from (seed, epoch, batch), so that a run that was interrupted ends as one in one piece.
    """

    def __init__(
        self,
        train_data: TrainingData,
        val_data: TrainingData,
        vocabulary_size: int,
        recipe: Recipe,
        folder: Path,
        trunk: Trunk | None = None,
    ) -> None:
        if len(train_data) < 2:
            raise ExportError(
                f"{len(train_data)} training pictures: there is nothing to tell apart, give two at least"
            )
        self.recipe = replace(recipe, batch_size=min(recipe.batch_size, len(train_data)))
        self.train_data, self.val_data, self.curve = train_data, val_data, LossCurve(folder)
        self.device = default_device()
        torch.manual_seed(recipe.seed)
        feature_dim = train_data.images.shape[1] if trunk is None else trunk.feature_dim
        self.model = TwoBranch(vocabulary_size, feature_dim, trunk).to(self.device)
        self.optimizer = _optimizer(self.model, recipe)
        self._full_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.kept = Kept(copy.deepcopy(self.model.state_dict()))
        self.steps_per_epoch = len(train_data) // self.recipe.batch_size
        self.checkpoint = folder / "checkpoint.pt"
        self.settings = {
            **asdict(self.recipe),
            "zoom": list(recipe.zoom),
            "train": train_data.ids_sha256,
            "val": val_data.ids_sha256,
            "images": sample_sha256(train_data.images),
            "vocabulary_size": vocabulary_size,
            "trains_trunk": trunk is not None,
        }

    def step(self, epoch: int, batch: int) -> float:
        recipe, data = self.recipe, self.train_data
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        rows = self._batches(epoch)[batch]
        images = torch.from_numpy(np.array(data.images[rows])).to(self.device)
        captions = data.input_ids[data.one_caption_each(rows, rng)]
        input_ids = torch.from_numpy(shorten(captions, recipe.short_captions, rng)).to(self.device)
        self.model.train()
        image_embeddings = self.model.embed_images(
            images, lambda x: augment(x, x.shape[-1], recipe.shift, recipe.zoom, rng)
        )
        loss = batch_loss(data, rows, input_ids, image_embeddings, self.model.text_encoder, recipe)
        rate = recipe.rate(epoch * self.steps_per_epoch + batch, recipe.epochs * self.steps_per_epoch)
        for group, full_rate in zip(self.optimizer.param_groups, self._full_rates, strict=True):
            group["lr"] = rate * full_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        value = loss.item()
        self._stop_if_collapsed(value)
        return value

    def epoch_end(self, epoch: int, mean_loss: float, history: History) -> bool:
        row = {
            "epoch": epoch + 1,
            "train_loss": mean_loss,
            **validate(self.model, self.val_data, self.recipe),
        }
        history.append(row)
        self.curve.update(history)
        kept = self.kept
        if row["val_rsum"] > kept.best_rsum:
            kept.best = copy.deepcopy(self.model.state_dict())
            kept.best_rsum, kept.best_epoch = row["val_rsum"], epoch + 1
        return epoch + 1 - kept.best_epoch >= self.recipe.patience

    @lru_cache(maxsize=1)  # noqa: B019 (of one epoch, and the trainer lives as long)
    def _batches(self, epoch: int) -> Array:
        return epoch_batches(self.train_data, self.recipe, epoch)

    def _stop_if_collapsed(self, loss: float) -> None:
        recipe, kept = self.recipe, self.kept
        hopeless = 0.999 * collapsed_loss(recipe.batch_size, recipe.margin, recipe.temperature)
        kept.stuck_steps = 0 if loss < hopeless else kept.stuck_steps + 1  # a NaN is no way out
        if kept.stuck_steps >= recipe.collapse_steps:
            raise ExportError(
                f"the model has collapsed: for {recipe.collapse_steps} steps the loss stood at {loss:.2f} ="
                f" {'2 x margin x (n - 1)' if recipe.temperature is None else '2 ln n'}, which is what equal embeddings"
                " for every input give;"
                f" lower the learning rate or change the seed, and delete {self.checkpoint}"
            )


def train(
    train_data: TrainingData,
    val_data: TrainingData,
    vocabulary_size: int,
    recipe: Recipe,
    folder: Path,
    *,
    trunk: Trunk | None = None,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
) -> tuple[TwoBranch, History]:
    """The model of the best epoch on val (by rsum), and one row of figures per epoch.

    A batch is `batch_size` different pictures (or all, if there are fewer) with one caption each, drawn by chance.
    Writes into `folder` a checkpoint, from which an interrupted run goes on to the same result, and the loss curve
    (loss_curve.json and loss_curve.png).
    With `trunk`, a copy of its network is trained too. Raises ExportError where the model collapses.
    """
    trainer = BranchTrainer(train_data, val_data, vocabulary_size, recipe, folder, trunk)
    loop = Loop(
        trainer.model,
        trainer.optimizer,
        recipe.epochs,
        trainer.steps_per_epoch,
        trainer.checkpoint,
        trainer.settings,
        kept=vars(trainer.kept),
    )
    history = loop.run(trainer.step, trainer.epoch_end, progress)
    trainer.curve.draw(history)
    trainer.model.load_state_dict(trainer.kept.best)
    return trainer.model.eval(), history


def _optimizer(model: TwoBranch, recipe: Recipe) -> torch.optim.Optimizer:
    heads = [*model.image_branch.parameters(), *model.text_encoder.parameters()]
    groups: list[dict[str, Any]] = [{"params": heads}]
    if model.trunk is not None:
        groups.append({"params": [*model.trunk.parameters()], "lr": recipe.trunk_learning_rate})
    # Fused: the table of stems has a row for every word, and unfused steps over it took most of the time.
    return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)


def batch_loss(
    data: TrainingData,
    rows: Array,
    input_ids: Tensor,
    image_embeddings: Tensor,
    text_encoder: TextEncoder,
    recipe: Recipe,
) -> Tensor:
    """The recipe's loss of the pictures `rows` of `data`: their (n, D) unit rows, and the ids (n, T) of a text each."""
    text_embeddings = text_encoder(input_ids)
    if recipe.temperature is None:
        return triplet_ranking_loss(image_embeddings, text_embeddings, recipe.margin)
    relevant = torch.from_numpy(data.relevance(rows, input_ids.cpu().numpy())).to(image_embeddings.device)
    return softmax_loss(image_embeddings, text_embeddings, recipe.temperature, relevant)


@torch.inference_mode()
def embed(model: TwoBranch, data: TrainingData) -> tuple[Array, Array]:
    """Embeddings of all pictures (N, 128) and all captions (M, 128) of `data`, as float32."""
    model.eval()
    device = next(model.parameters()).device

    def batches(array: Array) -> list[Tensor]:
        starts = range(0, len(array), _EVAL_BATCH)
        return [torch.from_numpy(np.array(array[start : start + _EVAL_BATCH])).to(device) for start in starts]

    images = [model.embed_images(batch).cpu() for batch in batches(data.images)]
    texts = [model.text_encoder(batch).cpu() for batch in batches(data.input_ids)]
    return torch.cat(images).numpy(), torch.cat(texts).numpy()


def validate(model: TwoBranch, data: TrainingData, recipe: Recipe) -> dict[str, float]:
    """Loss in batches as in training (the same batches each time), recalls and their sum on held-out data."""
    images, texts = embed(model, data)
    device = next(model.parameters()).device
    rng = np.random.default_rng(recipe.seed)
    order = rng.permutation(len(data))
    chosen = data.one_caption_each(np.arange(len(data)), rng)
    losses = []
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        rows = order[start : start + recipe.batch_size]
        input_ids = torch.from_numpy(data.input_ids[chosen[rows]]).to(device)
        embedded = torch.from_numpy(images[rows]).to(device)
        losses.append(batch_loss(data, rows, input_ids, embedded, model.text_encoder, recipe).item())
    return {
        "val_loss": float(np.mean(losses)) if losses else float("nan"),
        **val_figures(texts, images, data.owners.tolist()),
    }
