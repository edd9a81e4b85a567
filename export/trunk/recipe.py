"""The settings of training a trunk; frozen, saved with checkpoints and in the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from export.schedule import cosine_rate


@dataclass(frozen=True)
class TrunkRecipe:
    """Settings of one run; saved with its checkpoints, which a run with others will not continue."""

    epochs: int = 7
    batch_size: int = 128
    # Pixels in each epoch, the last one for all that follow; none: always those of the bundle. Few pixels are fast,
    # but below 107 the last map of InceptionV3 is a single cell, and what is small in the picture is not learnt.
    sides: tuple[int, ...] = ()
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    # The rate rises over the first `warm_up` epochs, stands for `steady`, then falls as a cosine to nothing. What a run
    # is before the fall does not depend on its length: it can be gone on with, for one that is longer (the schedule of
    # Hägele et al. 2024, arXiv:2405.18392).
    warm_up: float = 0.2
    steady: int = 0
    shift: float = 0.1  # captioned pictures are moved by up to this share of their side
    zoom: tuple[float, float] = (0.8, 1.05)  # and show this share of their width and height
    crop: tuple[float, float] = (0.35, 1.0)  # labelled pictures are cut to this share of their area
    colour: float = 0.3  # and brightness, contrast and saturation change by up to this share
    label_smoothing: float = 0.1
    seed: int = 0

    def side(self, epoch: int, full: int) -> int:
        return self.sides[min(epoch, len(self.sides) - 1)] if self.sides else full

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step."""
        steps, warm_up, steady = (
            round(epochs * steps_per_epoch) for epochs in (self.epochs, self.warm_up, self.steady)
        )
        return self.learning_rate * cosine_rate(step, steps, warm_up, steady)

    def plan(self, full_side: int) -> list[list[int]]:
        """For every epoch its side, and which of how many epochs of falling rate it is (0 of 0 while it stands)."""
        falling = self.epochs - self.steady
        return [
            [self.side(epoch, full_side)]
            + ([0, 0] if epoch < self.steady else [epoch - self.steady + 1, falling])
            for epoch in range(self.epochs)
        ]


def labelled_recipe(
    epochs: int = 16, steady: int | None = None, sides: tuple[int, ...] = (), **others: Any
) -> TrunkRecipe:
    """For labelled pictures: what gave most accuracy by the hour, on two cores and pictures of 64 to 140 pixels.

    The rate stands for three quarters of the epochs, which see 107 pixels, the least side at which the last map of
    InceptionV3 has more than one cell; while it falls they see 128. `others` are fields of `TrunkRecipe`.
    """
    steady = epochs * 3 // 4 if steady is None else steady
    kept = {"batch_size": 64, "learning_rate": 8e-4, **others}
    return TrunkRecipe(epochs=epochs, steady=steady, sides=sides or (107,) * steady + (128,), **kept)
