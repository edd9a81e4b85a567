"""Trains branches with votes on what trunk and teachers say of each picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.branches.curve import LossCurve, val_figures
from export.branches.data import shorten
from export.branches.voting.data import Array, VotingData, epoch_batches
from export.branches.voting.encoders import Names, VotingModel, centred
from export.branches.voting.loss import captions_loss, names_loss
from export.branches.voting.recipe import VotingRecipe
from export.errors import ExportError
from export.layers import adamw
from export.loop import History, Loop, LoopProgress, sample_sha256
from export.schedule import cosine_rate

_AT_ONCE = 1024  # pictures or captions embedded at a time
_SURE = 0.1  # what the teacher of things is less sure of is not taught
_ENOUGH = 0.3  # a picture of fewer things in all teaches less of them


@dataclass(frozen=True)
class Voters:
    """Who votes, and what is voted for."""

    classifier: nn.Linear  # features (N, D) -> logits (N, C)
    classes: Names
    things: Names | None = None  # of the head that looks for them, where there is one

    def votes(self, features: Tensor, temperature: float) -> Tensor:
        """(N, C) of features at large (N, F): the trunk's own softmax."""
        with torch.no_grad():
            own = features[:, : self.classifier.in_features]
            return (self.classifier(own) / temperature).softmax(dim=1)


@dataclass
class Kept:
    """What a run must know beside its weights when it goes on, by the names that it has in checkpoints."""

    mean: dict[str, Tensor]  # of the weights over the last steps
    best: dict[str, Tensor]  # the mean of the best epoch
    best_rsum: float = -1.0
    best_epoch: int = 0


class VotingTrainer:
    """One run: `step` trains on a batch, `epoch_end` measures the mean of the weights on val.

    All chance is drawn from (seed, epoch, batch), so that a run that was interrupted ends as one in one piece.
    """

    def __init__(
        self,
        model: VotingModel,
        train_data: VotingData,
        val_data: VotingData,
        voters: Voters,
        recipe: VotingRecipe,
        folder: Path,
    ) -> None:
        first, beside = train_data.captioned
        if len(first) < 2:
            raise ExportError(
                f"{len(first)} captioned training pictures: there is nothing to tell apart, give two at least"
            )
        others = recipe.others if len(beside) else 0.0
        fitting = int(len(first) / (1 - others))  # the largest batch that has its share of the first data set
        self.recipe = replace(recipe, batch_size=min(recipe.batch_size, fitting))
        self.model, self.voters = model, voters
        self.train_data, self.val_data, self.curve = train_data, val_data, LossCurve(folder)
        self.steps_per_epoch = len(self._batches(0))
        # Nor of the rows of stems, most of which are in no batch.
        stems = model.captions.stems.weight
        self.optimizer = adamw(model, recipe.learning_rate, recipe.weight_decay, undecayed=(stems,))
        self.kept = Kept(mean=_copy(model), best=_copy(model))

    def step(self, epoch: int, batch: int) -> float:
        recipe, data = self.recipe, self.train_data
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        torch.manual_seed(int(rng.integers(2**31)))  # of dropout
        step, steps = epoch * self.steps_per_epoch + batch, recipe.epochs * self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * cosine_rate(step, steps, min(recipe.warm_up, steps // 10))
        loss = self._loss(self._batches(epoch)[batch], int(rng.integers(len(data.features))), rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self._average(step)
        return float(loss.item())

    def epoch_end(self, epoch: int, mean_loss: float, history: History) -> bool:
        trained = _copy(self.model)
        self.model.load_state_dict(self.kept.mean)
        row = {"epoch": epoch + 1, "train_loss": mean_loss, **self.validate()}
        kept = self.kept
        if row["val_rsum"] > kept.best_rsum:
            kept.best, kept.best_rsum, kept.best_epoch = _copy(self.model), row["val_rsum"], epoch + 1
        self.model.load_state_dict(trained)
        history.append(row)
        self.curve.update(history)
        return epoch + 1 - kept.best_epoch >= self.recipe.patience

    def validate(self) -> dict[str, float]:
        """Loss of one batch, recalls and their sum on held-out pictures, of the model as it is."""
        images, texts = embed(self.model, self.val_data, self.voters, self.recipe.vote_temperature)
        chosen = np.searchsorted(self.val_data.owners, np.arange(len(images)))
        size = min(len(images), self.recipe.batch_size)
        pair = (torch.from_numpy(rows[:size]) for rows in (images, texts[chosen]))
        return {
            "val_loss": captions_loss(*pair, self.recipe.temperature).item(),
            **val_figures(texts, images, self.val_data.owners.tolist()),
        }

    @lru_cache(maxsize=1)  # noqa: B019 (of one epoch, and the trainer lives as long)
    def _batches(self, epoch: int) -> Array:
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, epoch))
        return epoch_batches(self.train_data, recipe.batch_size, recipe.others, recipe.uncaptioned, rng)

    def _loss(self, rows: Array, view: int, rng: np.random.Generator) -> Tensor:
        recipe, data, voters, model = self.recipe, self.train_data, self.voters, self.model
        model.train()
        captions = data.one_caption_each(rows[: recipe.batch_size], rng)
        input_ids = shorten(data.input_ids[captions], recipe.short_captions, rng)
        input_ids = input_ids[:, (input_ids > 0).any(axis=0)]
        text_embeddings = model.captions(torch.from_numpy(input_ids))
        class_texts = model.captions(torch.from_numpy(voters.classes.one_each(rng)))
        features = torch.from_numpy(data.features[view][rows])
        votes = voters.votes(features, recipe.vote_temperature)
        meanings = (
            None if data.meanings is None else torch.from_numpy(data.meanings[captions].astype(np.float32))
        )
        if voters.things is None:
            images, of_things = model.pictures(features, votes, centred(class_texts)), torch.zeros(())
        else:
            thing_texts = model.captions(torch.from_numpy(voters.things.one_each(rng)))
            seen = torch.from_numpy(data.seen[view][rows])
            images = model.pictures(features, votes, centred(class_texts), seen, centred(thing_texts))
            of_things = names_loss(images, thing_texts, recipe.temperature, _shares(data.taught[rows]))
        of_captions = captions_loss(
            images[: recipe.batch_size],
            text_embeddings,
            recipe.temperature,
            meanings,
            recipe.meaning_weight,
            recipe.meaning_temperature,
        )
        of_classes = names_loss(images, class_texts, recipe.temperature, votes)
        return of_captions + recipe.class_weight * of_classes + recipe.thing_weight * of_things

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Polyak averaging; at first over as many steps as there were."""
        share = max(1 - self.recipe.averaging, 1 / (step + 1))
        for key, value in self.model.state_dict().items():
            self.kept.mean[key].lerp_(value, share)


def train_voting(
    model: VotingModel,
    train_data: VotingData,
    val_data: VotingData,
    voters: Voters,
    recipe: VotingRecipe,
    folder: Path,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
) -> tuple[VotingModel, History]:
    """The mean model of the best epoch on val (by rsum), and one row of figures per epoch.

    Writes into `folder` a checkpoint, from which an interrupted run goes on to the same result, and the loss curve.
    Raises ExportError where there is nothing to tell apart.
    """
    trainer = VotingTrainer(model, train_data, val_data, voters, recipe, folder)
    loop = Loop(
        model,
        trainer.optimizer,
        trainer.recipe.epochs,
        steps_per_epoch=trainer.steps_per_epoch,
        checkpoint=folder / "checkpoint.pt",
        settings={
            **trainer.recipe.settings(),
            "train": _identity(train_data),
            "val": _identity(val_data),
            "classes": sample_sha256(voters.classes.input_ids),
            "things": "" if voters.things is None else sample_sha256(voters.things.input_ids),
        },
        kept=vars(trainer.kept),
    )
    history = loop.run(trainer.step, trainer.epoch_end, progress)
    trainer.curve.draw(history)
    model.load_state_dict(trainer.kept.best)
    return model.eval(), history


@torch.inference_mode()
def embed(
    model: VotingModel, data: VotingData, voters: Voters, vote_temperature: float
) -> tuple[Array, Array]:
    """float32 unit rows: (N, 128) of all pictures, as they are, and (M, 128) of all captions."""
    model.eval()
    class_texts = centred(voters.classes.texts(model.captions))
    thing_texts = None if voters.things is None else centred(voters.things.texts(model.captions))
    images, texts = [], []
    for start in range(0, len(data), _AT_ONCE):
        features, seen = (
            torch.from_numpy(rows[0][start : start + _AT_ONCE]) for rows in (data.features, data.seen)
        )
        votes = voters.votes(features, vote_temperature)
        images.append(model.pictures(features, votes, class_texts, seen, thing_texts))
    for start in range(0, len(data.input_ids), _AT_ONCE):
        texts.append(model.captions(torch.from_numpy(data.input_ids[start : start + _AT_ONCE])))
    return torch.cat(images).numpy(), torch.cat(texts).numpy()


def _shares(taught: Array) -> Tensor:
    """(n, K) scores as shares of each picture, without what the teacher is not sure of."""
    sure = torch.from_numpy(np.where(taught > _SURE, taught, 0).astype(np.float32))
    return sure / sure.sum(dim=1, keepdim=True).clamp(min=_ENOUGH)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _identity(data: VotingData) -> list[str]:
    arrays = [*data.features, *data.seen, data.taught, data.input_ids, data.owners, data.sources]
    return [sample_sha256(array) for array in arrays]
