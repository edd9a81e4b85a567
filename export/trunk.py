"""Trains an InceptionV3 from nothing on captioned pictures: it learns to name the stems of their captions.

Needed where no pretrained weights can be had. The task is that of Joulin et al. 2016 (arXiv:1511.02251): one softmax
over the vocabulary, whose target is spread over the stems that people used for the picture. Rare stems weigh
more (log inverse document frequency), since "penguin" says more than "near". The head is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.loop import History, Loop, LoopProgress, batch_rows, load_checkpoint, sample_sha256
from export.model import FEATURE_DIM, ScalePixels, default_device, inception_trunk
from export.recipes import TrunkRecipe
from itl_infer.captions import CaptionDataset
from itl_infer.text import TextProcessor

GUESSES = 10
PIXEL_SCALING = "inception"  # what a trunk trained here expects


def train_trunk(
    train: CaptionDataset,
    pixels: np.ndarray[Any, Any],
    val: CaptionDataset,
    val_pixels: np.ndarray[Any, Any],
    processor: TextProcessor,
    recipe: TrunkRecipe,
    checkpoint: Path,
    *,
    after: Path | None = None,
    progress: Callable[[LoopProgress], None] = lambda _state: None,
) -> tuple[nn.Module, History]:
    """A trunk that knows the things in `train`, and one row of figures per epoch.

    `pixels` (N, S, S, 3) uint8 belong to `train` row by row. Interrupted at any time, a second call continues from
    the last checkpoint and ends with the same weights as a run in one piece. `after` is the checkpoint of a finished
    run whose weights this one starts from.
    """
    device = default_device()
    recipe = replace(recipe, batch_size=min(recipe.batch_size, len(train)))
    torch.manual_seed(recipe.seed)
    trunk = inception_trunk()
    head = nn.Linear(FEATURE_DIM, len(processor.stems) + 1)
    model = nn.Sequential(trunk, head)
    if after is not None and (finished := load_checkpoint(after)):
        model.load_state_dict(finished["model"])
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    targets = stem_targets(train, processor)
    loop = Loop(
        model,
        optimizer,
        recipe.epochs,
        steps_per_epoch=len(train) // recipe.batch_size,
        checkpoint=checkpoint,
        settings={
            **asdict(recipe),
            "sides": list(recipe.sides),
            "zoom": list(recipe.zoom),
            "train": train.ids_sha256,
            "images": sample_sha256(pixels),
            "stems": len(processor.stems),
        },
        kept={},
    )
    steps = loop.epochs * loop.steps_per_epoch
    scale = ScalePixels(PIXEL_SCALING)

    def train_step(epoch: int, batch: int) -> float:
        rows = batch_rows(recipe.seed, epoch, batch, recipe.batch_size, len(train))
        rng = np.random.default_rng((recipe.seed, epoch, batch))
        images = scale(torch.from_numpy(pixels[rows]).to(device))
        images = augment(images, recipe.side(epoch, pixels.shape[1]), recipe.shift, recipe.zoom, rng)
        model.train()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = model(images)
        loss = -(targets[rows].to(device) * F.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch * loop.steps_per_epoch + batch, steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    def epoch_end(epoch: int, mean_loss: float, history: History) -> bool:
        named = share_named(model, val, val_pixels, processor, recipe.side(epoch, pixels.shape[1]))
        history.append({"epoch": epoch + 1, "train_loss": mean_loss, "val_named": named})
        return False

    history = loop.run(train_step, epoch_end, progress)
    return trunk.eval(), history


def stem_targets(dataset: CaptionDataset, processor: TextProcessor) -> Tensor:
    """(N, V + 1) float32: for each picture, the weight of each stem of its captions; rows sum to 1."""
    counts = torch.zeros(len(dataset), len(processor.stems) + 1)
    for row, example in enumerate(dataset):
        for caption in example.captions:
            counts[row, list(processor.parse(caption).ids)] += 1 / len(example.captions)
    frequency = (counts > 0).sum(dim=0).clamp(min=1) / len(dataset)
    weights = counts * -torch.log(frequency.clamp(max=1 - 1e-3))
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)


def augment(
    x: Tensor, side: int, shift: float, zoom: tuple[float, float], rng: np.random.Generator
) -> Tensor:
    """(N, 3, S, S) -> (N, 3, side, side), each picture mirrored by chance, moved and zoomed a little."""
    count = len(x)
    theta = torch.zeros(count, 2, 3)
    scale = rng.uniform(*zoom, count)
    theta[:, 0, 0] = torch.from_numpy(scale * rng.choice((-1.0, 1.0), count))
    theta[:, 1, 1] = torch.from_numpy(scale)
    theta[:, :, 2] = torch.from_numpy(rng.uniform(-shift, shift, (count, 2)))
    grid = F.affine_grid(theta.to(x.device), [count, 3, side, side], align_corners=False)
    if side < x.shape[-1]:  # shrink first: sampling a large picture at few points would leave fine edges out
        x = F.interpolate(x, size=(side, side), mode="area")
    moved = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)


def share_named(
    model: nn.Module,
    dataset: CaptionDataset,
    pixels: np.ndarray[Any, Any],
    processor: TextProcessor,
    side: int,
) -> float:
    """Share of the stems that people used (by weight) among the model's first ten guesses for a picture."""
    device = next(model.parameters()).device
    targets = stem_targets(dataset, processor)
    model.eval()
    found = 0.0
    for start in range(0, len(pixels), 64):
        x = ScalePixels(PIXEL_SCALING)(torch.from_numpy(np.array(pixels[start : start + 64])).to(device))
        x = F.interpolate(x, size=(side, side), mode="area").contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
            guesses = model(x).topk(min(GUESSES, len(processor.stems)), dim=1).indices.cpu()
        found += targets[start : start + 64].gather(1, guesses).sum().item()
    return found / len(dataset)
