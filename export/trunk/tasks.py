"""What a trunk learns from: the classes of labelled pictures, and the words of captioned ones.

Each task has its own outputs behind the trunk, prepares its own pictures, and measures itself on its val pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from export.data.labelled import LabelledDataset
from export.data.packed import PackedPictures
from export.layers import ScalePixels
from export.loop import sample_sha256
from export.trunk.recipe import TrunkRecipe
from itl_infer.captions import CaptionDataset
from itl_infer.text import TextProcessor

GUESSES = 10
_SCALE = ScalePixels(
    (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)
)  # to [-1, 1]; each trunk has its own scaling
_MEASURED_AT_ONCE = 64  # pictures

Predict = Callable[[Tensor], Tensor]
"""Pictures (n, 3, side, side) in [-1, 1] to logits (n, outputs) of the task that asks."""


class Task(Protocol):
    """Training and val pictures with what is to be said of each."""

    outputs: int

    def __len__(self) -> int: ...

    def images(
        self, rows: np.ndarray[Any, Any], side: int, recipe: TrunkRecipe, rng: np.random.Generator
    ) -> Tensor:
        """Float (n, 3, side, side): these training pictures in [-1, 1], each changed by chance."""
        ...

    def targets(self, rows: np.ndarray[Any, Any], recipe: TrunkRecipe) -> Tensor:
        """Float (n, outputs): how much each output should say of these training pictures; rows sum to 1."""
        ...

    def measure(self, predict: Predict, side: int) -> dict[str, float]:
        """Shares between 0 and 1, by name, on the val pictures."""
        ...

    def identity(self) -> dict[str, Any]:
        """Plain values that change with the data."""
        ...


class NameClasses:
    """Say which class a labelled picture is of."""

    def __init__(self, dataset: LabelledDataset, pictures: PackedPictures) -> None:
        """`pictures` belong to `dataset` row by row; those that could not be read are left out."""
        self._labels = dataset.labels
        number = {label: i for i, label in enumerate(self._labels)}
        self._classes = np.array([number[picture.label] for picture in dataset])
        self._pictures = pictures
        splits = np.array([picture.split for picture in dataset])
        rows = pictures.readable
        self._train, self._val = rows[splits[rows] == "train"], rows[splits[rows] == "val"]
        self._sources = np.array([picture.source for picture in dataset])
        self.outputs = len(self._labels)

    def __len__(self) -> int:
        return len(self._train)

    def images(
        self, rows: np.ndarray[Any, Any], side: int, recipe: TrunkRecipe, rng: np.random.Generator
    ) -> Tensor:
        pixels = np.empty((len(rows), side, side, 3), dtype=np.uint8)
        for i, row in enumerate(self._train[rows]):
            pixels[i] = crop_at_random(self._pictures[row], side, recipe.crop, rng)
        return change_colours(_SCALE(torch.from_numpy(pixels)), recipe.colour, rng)

    def targets(self, rows: np.ndarray[Any, Any], recipe: TrunkRecipe) -> Tensor:
        targets = torch.full((len(rows), self.outputs), recipe.label_smoothing / self.outputs)
        targets[torch.arange(len(rows)), torch.from_numpy(self._classes[self._train[rows]])] += (
            1 - recipe.label_smoothing
        )
        return targets

    def measure(self, predict: Predict, side: int) -> dict[str, float]:
        """Share of the val pictures whose class is the first guess: `top1` of all, and of each source."""
        right = np.empty(len(self._val), dtype=bool)
        for start in range(0, len(self._val), _MEASURED_AT_ONCE):
            rows = self._val[start : start + _MEASURED_AT_ONCE]
            pixels = np.stack([stretched(self._pictures[row], side) for row in rows])
            guesses = predict(_SCALE(torch.from_numpy(pixels))).argmax(dim=1).numpy()
            right[start : start + len(rows)] = guesses == self._classes[rows]
        sources = self._sources[self._val]
        return {
            "val_top1": float(right.mean()),
            **{f"val_top1_{source}": float(right[sources == source].mean()) for source in np.unique(sources)},
        }

    def identity(self) -> dict[str, Any]:
        return {
            "labels": len(self._labels),
            "pictures": len(self._train),
            "classes": sample_sha256(self._classes),
            "pixels": sample_sha256(self._pictures.pixels),
        }


class NameWords:
    """Say the stems of a picture's captions.

    The task is that of Joulin et al. 2016 (arXiv:1511.02251): one softmax over the vocabulary, whose target is spread
    over the stems that people used. Rare stems weigh more (log inverse document frequency), since "penguin" says more
    than "near".
    """

    def __init__(
        self,
        train: CaptionDataset,
        pixels: np.ndarray[Any, Any],
        val: CaptionDataset,
        val_pixels: np.ndarray[Any, Any],
        processor: TextProcessor,
    ) -> None:
        """`pixels` uint8 (N, S, S, 3) belong to `train` row by row, `val_pixels` to `val`."""
        self._train, self._pixels, self._val_pixels = train, pixels, val_pixels
        self._targets = stem_targets(train, processor)
        self._val_targets = stem_targets(val, processor)
        self.outputs = len(processor.stems) + 1

    def __len__(self) -> int:
        return len(self._pixels)

    def images(
        self, rows: np.ndarray[Any, Any], side: int, recipe: TrunkRecipe, rng: np.random.Generator
    ) -> Tensor:
        x = _SCALE(torch.from_numpy(self._pixels[rows]))
        # On fewer pixels things are zoomed in, so that they are as large as they are in use (Touvron et al. 2019,
        # arXiv:1906.06423).
        zoom = (recipe.zoom[0] * min(1, side / x.shape[-1]), recipe.zoom[1])
        return augment(x, side, recipe.shift, zoom, rng)

    def targets(self, rows: np.ndarray[Any, Any], recipe: TrunkRecipe) -> Tensor:  # noqa: ARG002
        return self._targets[rows]

    def measure(self, predict: Predict, side: int) -> dict[str, float]:
        """Share of the stems that people used (by weight) among the first ten guesses for a val picture."""
        found = 0.0
        for start in range(0, len(self._val_pixels), _MEASURED_AT_ONCE):
            pixels = np.array(self._val_pixels[start : start + _MEASURED_AT_ONCE])
            x = _SCALE(torch.from_numpy(pixels))
            logits = predict(F.interpolate(x, size=(side, side), mode="area"))
            guesses = logits.topk(min(GUESSES, self.outputs - 1), dim=1).indices
            found += self._val_targets[start : start + len(pixels)].gather(1, guesses).sum().item()
        return {"val_named": found / len(self._val_pixels)}

    def identity(self) -> dict[str, Any]:
        return {
            "train": self._train.ids_sha256,
            "images": sample_sha256(self._pixels),
            "stems": self.outputs - 1,
        }


def stem_targets(dataset: CaptionDataset, processor: TextProcessor) -> Tensor:
    """(N, V + 1) float32: for each picture, the weight of each stem of its captions; rows sum to 1."""
    counts = torch.zeros(len(dataset), len(processor.stems) + 1)
    for row, example in enumerate(dataset):
        for caption in example.captions:
            counts[row, list(processor.ids_of(caption))] += 1 / len(example.captions)
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


def crop_at_random(
    pixels: np.ndarray[Any, Any], side: int, share: tuple[float, float], rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """uint8 (H, W, 3) -> (side, side, 3): a part with this share of the area, mirrored by chance.

    Random resized crops as in Szegedy et al. 2015 (arXiv:1409.4842): 3/4 to 4/3 as wide as high.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    area = rng.uniform(*share) * height * width
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w, h = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    cut = Image.fromarray(pixels).resize(
        (side, side), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h)
    )
    found = np.asarray(cut)
    return found[:, ::-1] if rng.random() < 0.5 else found


def change_colours(x: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """(N, 3, H, W) in [-1, 1]: brightness, contrast and saturation of each changed by up to `strength`, by chance."""

    def factors() -> Tensor:
        return torch.from_numpy(rng.uniform(1 - strength, 1 + strength, (len(x), 1, 1, 1)).astype(np.float32))

    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * factors()
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * factors()
    return ((x + 1) * factors() - 1).clamp(-1, 1)


def stretched(pixels: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """uint8 (H, W, 3) -> (side, side, 3): the whole picture."""
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
