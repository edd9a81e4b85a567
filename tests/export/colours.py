"""Plain pictures, a trunk that tells their colours apart, and captions of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from export.branches.voting.data import VotingData
from export.features.scores import NamedScores
from export.layers import l2_normalize
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset, CaptionedImage

COLOURS = ("red", "green", "blue", "yellow")
NAMES = (("red", "scarlet"), ("green",), ("blue",), ("yellow",))


def quiet(_done: float, _total: float) -> None:
    """No progress."""


class Colours(nn.Module):
    """A network whose features are the mean colour; its maps are the picture, smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.AvgPool2d(2)
        self.coarse = nn.AvgPool2d(2)
        self.pool = nn.Flatten(2)
        self.scale = nn.Parameter(torch.ones(()))  # so that there is a device

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.coarse(self.fine(x * self.scale))).mean(dim=2)  # type: ignore[no-any-return]


def colour_trunk(**changes: Any) -> Trunk:
    """It tells red, green, blue and yellow pictures apart, and is sure of it."""
    classifier = nn.Linear(3, 4)
    with torch.no_grad():
        classifier.weight.copy_(
            20 * l2_normalize(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]]))
        )
        classifier.bias.zero_()
    trunk = Trunk(
        "colours",
        Colours().eval(),
        feature_dim=3,
        side=16,
        min_side=4,
        resize="bilinear-antialias",
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        source="made here",
        classifier=classifier,
        class_names=NAMES,
        map_layers=("fine", "coarse"),
        pool_layer="pool",
    )
    return replace(trunk, **changes)


def colour_pictures(
    folder: Path, count: int, split: str = "train", *, captioned: bool = True
) -> CaptionDataset:
    """Plain pictures in turn, on every second of which lies a small white ball."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for number in range(count):
        colour = COLOURS[number % 4]
        picture = Image.new("RGB", (24, 24), {"green": "lime"}.get(colour, colour))
        if number % 8 < 4:
            ImageDraw.Draw(picture).ellipse((2, 2, 8, 8), "white")
        name = f"{split}{number}.png"
        picture.save(folder / name)
        what = f"a {colour} field" + (" with a ball" if number % 8 < 4 else "")
        examples.append(CaptionedImage(name, (what, f"{colour} things") if captioned else (), split))
    return CaptionDataset(folder.name, folder, tuple(examples))


def ball_scores(*datasets: CaptionDataset) -> NamedScores:
    """What a perfect teacher says of the ball, and of an elephant, which is in none."""
    of = {}
    for dataset in datasets:
        for number, path in enumerate(dataset.paths):
            of[str(path.resolve())] = np.array([float(number % 8 < 4), 0.0], np.float32)
    return NamedScores(("ball", "elephant"), of)


def toy_data(pictures: int, captions_each: list[int], sources: list[int]) -> VotingData:
    owners = np.repeat(np.arange(pictures), captions_each)
    return VotingData(
        (np.random.default_rng(0).normal(size=(pictures, 3)).astype(np.float32),),
        (np.zeros((pictures, 0), np.float32),),
        np.zeros((pictures, 0), np.float32),
        np.array(sources),
        np.arange(1, len(owners) + 1)[:, None],
        owners,
    )
