"""Trains the two branches, on cached trunk features or together with the trunk."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.branches.encoders import TextEncoder, image_branch
from export.branches.loss import collapsed_loss, softmax_loss, triplet_ranking_loss
from export.branches.recipe import Recipe
from export.errors import ExportError
from export.layers import ScalePixels, default_device, l2_normalize
from export.loop import History, Loop, LoopProgress, sample_sha256
from export.trunk.tasks import augment
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset
from itl_infer.evaluation.metrics import evaluate_retrieval, rsum
from itl_infer.text import TextProcessor

_EVAL_BATCH = 256


@dataclass(frozen=True)
class TrainingData:
    """Pictures as the model takes them, and their captions as ids.

    `images` is float32 (N, feature_dim) features, or uint8 (N, S, S, 3) pixels where the trunk is trained too.
    """

    images: np.ndarray[Any, Any]
    input_ids: np.ndarray[Any, Any]  # int64 (M, T), the captions of a picture one after the other
    owners: np.ndarray[Any, Any]  # int64 (M,), the picture of each caption
    ids_sha256: str

    @classmethod
    def of(
        cls, dataset: CaptionDataset, images: np.ndarray[Any, Any], processor: TextProcessor
    ) -> TrainingData:
        """The captions of `dataset` as `processor` reads them, beside its pictures."""
        return cls(
            images,
            processor.input_ids(dataset.captions),
            np.array(dataset.caption_owners),
            dataset.ids_sha256,
        )

    def __len__(self) -> int:
        return len(self.images)

    # Both once and not at every step: they look at all captions.

    @cached_property
    def _captions_of(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """For each picture the position of its first caption, and how many it has."""
        return _spans(self.owners, np.arange(len(self)))

    @cached_property
    def _highest_id(self) -> int:
        return int(self.input_ids.max())

    @cached_property
    def _said(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The ids that the captions of each picture have, one behind the other; where each begins, and how many."""
        of_picture = self.owners[:, None] * (self._highest_id + 1)
        picture, ids = np.divmod(np.unique(of_picture + self.input_ids), self._highest_id + 1)
        return ids, *_spans(picture, np.arange(len(self)))

    def one_caption_each(self, rows: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """The position of one caption of each of these pictures, by chance."""
        firsts, counts = self._captions_of
        return firsts[rows] + (rng.random(len(rows)) * counts[rows]).astype(np.int64)

    def holds(self, rows: np.ndarray[Any, Any], input_ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(n, m) bool: whether the captions of picture `rows[i]` have all stems of text `input_ids[j]`."""
        ids, starts, counts = self._said
        places = np.concatenate([np.arange(starts[row], starts[row] + counts[row]) for row in rows])
        said = np.zeros((len(rows), max(self._highest_id, int(input_ids.max())) + 1), dtype=bool)
        said[np.repeat(np.arange(len(rows)), counts[rows]), ids[places]] = True
        said[:, 0] = True  # padding
        found = np.ones((len(rows), len(input_ids)), dtype=bool)
        for column in input_ids.T:
            found &= said[:, column]
        return found


def _spans(
    owners: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where each wanted picture begins among `owners`, which rise, and how often it is there."""
    starts = np.searchsorted(owners, wanted)
    return starts, np.searchsorted(owners, wanted, side="right") - starts


class TwoBranch(nn.Module):
    """Both branches, and the trunk where it is trained too; what a checkpoint holds."""

    def __init__(self, vocabulary_size: int, feature_dim: int, trunk: Trunk | None = None) -> None:
        super().__init__()
        self.trunk = None if trunk is None else copy.deepcopy(trunk.network)
        self.scale_pixels = None if trunk is None else ScalePixels(trunk.mean, trunk.std)
        self.image_branch = image_branch(feature_dim)
        self.text_encoder = TextEncoder(vocabulary_size)

    def embed_images(self, images: Tensor, prepare: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """Features (N, feature_dim), or pixels uint8 (N, S, S, 3) where there is a trunk -> (N, 128).

        `prepare` changes scaled pixels before the trunk sees them.
        """
        if self.trunk is not None and self.scale_pixels is not None:
            images = self.trunk(prepare(self.scale_pixels(images)))
        return l2_normalize(self.image_branch(images))


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
    if len(train_data) < 2:
        raise ExportError(
            f"{len(train_data)} training pictures: there is nothing to tell apart, give two at least"
        )
    recipe = replace(recipe, batch_size=min(recipe.batch_size, len(train_data)))
    device = default_device()
    torch.manual_seed(recipe.seed)
    feature_dim = train_data.images.shape[1] if trunk is None else trunk.feature_dim
    model = TwoBranch(vocabulary_size, feature_dim, trunk).to(device)
    heads = [*model.image_branch.parameters(), *model.text_encoder.parameters()]
    groups: list[dict[str, Any]] = [{"params": heads}]
    if model.trunk is not None:
        groups.append({"params": [*model.trunk.parameters()], "lr": recipe.trunk_learning_rate})
    # Fused: the table of stems has a row for every word, and unfused steps over it took most of the time.
    optimizer = torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)
    learning_rates = [group["lr"] for group in optimizer.param_groups]
    kept = {"best": copy.deepcopy(model.state_dict()), "best_rsum": -1.0, "best_epoch": 0, "stuck_steps": 0}
    loop = Loop(
        model,
        optimizer,
        recipe.epochs,
        steps_per_epoch=len(train_data) // recipe.batch_size,
        checkpoint=folder / "checkpoint.pt",
        settings={
            **asdict(recipe),
            "zoom": list(recipe.zoom),
            "train": train_data.ids_sha256,
            "val": val_data.ids_sha256,
            "images": sample_sha256(train_data.images),
            "vocabulary_size": vocabulary_size,
            "trains_trunk": trunk is not None,
        },
        kept=kept,
    )
    steps = recipe.epochs * loop.steps_per_epoch
    hopeless = 0.999 * collapsed_loss(recipe.batch_size, recipe.margin, recipe.temperature)

    @lru_cache(maxsize=1)
    def batches(epoch: int) -> np.ndarray[Any, Any]:
        return epoch_batches(train_data, recipe, epoch)

    def train_step(epoch: int, batch: int) -> float:
        rows = batches(epoch)[batch]
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        images = torch.from_numpy(np.array(train_data.images[rows])).to(device)
        input_ids = train_data.input_ids[train_data.one_caption_each(rows, rng)]
        input_ids = torch.from_numpy(shorten(input_ids, recipe.short_captions, rng)).to(device)
        model.train()
        image_embeddings = model.embed_images(
            images, lambda x: augment(x, x.shape[-1], recipe.shift, recipe.zoom, rng)
        )
        loss = batch_loss(train_data, rows, input_ids, image_embeddings, model.text_encoder, recipe)
        rate = recipe.rate(epoch * loop.steps_per_epoch + batch, steps)
        for group, learning_rate in zip(optimizer.param_groups, learning_rates, strict=True):
            group["lr"] = rate * learning_rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        value = loss.item()
        kept["stuck_steps"] = kept["stuck_steps"] + 1 if not value < hopeless else 0
        if kept["stuck_steps"] >= recipe.collapse_steps:
            raise ExportError(
                f"the model has collapsed: for {recipe.collapse_steps} steps the loss stood at {value:.2f} ="
                f" {'2 x margin x (n - 1)' if recipe.temperature is None else '2 ln n'}, which is what equal embeddings"
                " for every input give;"
                f" lower the learning rate or change the seed, and delete {loop.checkpoint}"
            )
        return value

    def epoch_end(epoch: int, mean_loss: float, history: History) -> bool:
        row = {"epoch": epoch + 1, "train_loss": mean_loss, **validate(model, val_data, recipe)}
        history.append(row)
        write_loss_curve(history, folder)
        if row["val_rsum"] > kept["best_rsum"]:
            kept.update(
                best=copy.deepcopy(model.state_dict()), best_rsum=row["val_rsum"], best_epoch=epoch + 1
            )
        return epoch + 1 - kept["best_epoch"] >= recipe.patience

    history = loop.run(train_step, epoch_end, progress)
    model.load_state_dict(kept["best"])
    return model.eval(), history


def epoch_batches(data: TrainingData, recipe: Recipe, epoch: int) -> np.ndarray[Any, Any]:
    """(B, n): the pictures of each batch of an epoch, by chance; in rising order, which memory maps like."""
    rng = np.random.default_rng((recipe.seed, epoch))
    rows = rng.permutation(len(data))
    count = len(rows) // recipe.batch_size
    return np.sort(rows[: count * recipe.batch_size].reshape(count, -1), axis=1)


def batch_loss(
    data: TrainingData,
    rows: np.ndarray[Any, Any],
    input_ids: Tensor,
    image_embeddings: Tensor,
    text_encoder: TextEncoder,
    recipe: Recipe,
) -> Tensor:
    """The recipe's loss of the pictures `rows` of `data`: their (n, D) unit rows, and the ids (n, T) of a text each."""
    text_embeddings = text_encoder(input_ids)
    if recipe.temperature is None:
        return triplet_ranking_loss(image_embeddings, text_embeddings, recipe.margin)
    shown = torch.from_numpy(data.holds(rows, input_ids.cpu().numpy())).to(image_embeddings.device)
    return softmax_loss(image_embeddings, text_embeddings, recipe.temperature, shown)


def shorten(input_ids: np.ndarray[Any, Any], share: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """(N, T) ids with a random `share` of the rows cut to some of their ids: any number from 1, any of them."""
    counts = (input_ids > 0).sum(axis=1)
    keep = np.where(
        rng.random(len(input_ids)) < share, 1 + (rng.random(len(input_ids)) * counts).astype(int), counts
    )
    places = np.where(input_ids > 0, rng.random(input_ids.shape), 2.0).argsort(axis=1).argsort(axis=1)
    return np.where(places < keep[:, None], input_ids, 0)


@torch.inference_mode()
def embed(model: TwoBranch, data: TrainingData) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Embeddings of all pictures (N, 128) and all captions (M, 128) of `data`, as float32."""
    model.eval()
    device = next(model.parameters()).device

    def batches(array: np.ndarray[Any, Any]) -> list[Tensor]:
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
    figures = evaluate_retrieval(texts, images, data.owners.tolist())
    return {
        "val_loss": float(np.mean(losses)) if losses else float("nan"),
        "val_rsum": rsum(figures),
        **{f"val_{way}_recall_at_10": figures[way]["recall_at_10"] for way in ("t2i", "i2t")},
    }


def branch_note(state: LoopProgress) -> str:
    """Where a run of the branches stands, for a line of progress."""
    note = f"epoch {state.epoch}/{state.epochs} loss {state.loss:.2f}"
    if not state.history:
        return note
    last = state.history[-1]
    recalls = f"t2i {100 * last['val_t2i_recall_at_10']:.1f} i2t {100 * last['val_i2t_recall_at_10']:.1f}"
    return f"{note} | val loss {last['val_loss']:.2f} R@10 {recalls}"


def write_loss_curve(history: History, folder: Path) -> None:
    """`loss_curve.json` (the rows) and `loss_curve.png` (losses and recalls against epochs) in `folder`."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loss_curve.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    figure = Figure(figsize=(9, 4), layout="constrained")
    losses, recalls = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for key, label in (("train_loss", "train"), ("val_loss", "val")):
        losses.plot(epochs, [row[key] for row in history], label=label)
    losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    for key, label in (("val_t2i_recall_at_10", "text to image"), ("val_i2t_recall_at_10", "image to text")):
        recalls.plot(epochs, [100 * row[key] for row in history], label=label)
    recalls.set(xlabel="epoch", ylabel="recall at 10 on val, %", ylim=(0, 100))
    for axes in (losses, recalls):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(folder / "loss_curve.png", dpi=110)
