"""The settings of training the branches; frozen, saved with checkpoints and in the bundle."""

from __future__ import annotations

from dataclasses import dataclass

from export.branches.voting.recipe import VotingRecipe
from export.schedule import WARM_UP_STEPS, cosine_rate


@dataclass(frozen=True)
class Recipe:
    """How the branches are trained; the defaults are the original's. Saved with checkpoints and in the bundle."""

    name: str = "original"
    batch_size: int = 64
    margin: float = 0.5
    temperature: float | None = None  # with one, the softmax loss takes the place of the triplet loss
    learning_rate: float = 1e-3
    cosine: bool = False  # learning rate: a short rise, then a cosine down to nothing at the last epoch
    epochs: int = 60
    patience: int = 10  # epochs without a better val before the run ends
    short_captions: float = (
        0.0  # share of captions cut to some of their words, to be more like people's queries
    )
    collapse_steps: int = 300  # steps in a row at the loss of a collapsed model before the run is stopped
    trunk_learning_rate: float = 1e-4  # only where the trunk is trained too
    shift: float = 0.1  # likewise: how far pictures are moved, as in TrunkRecipe
    zoom: tuple[float, float] = (0.8, 1.05)  # likewise
    seed: int = 0

    def rate(self, step: int, steps: int) -> float:
        """Share of the learning rates at a step."""
        if not self.cosine:
            return 1.0
        return cosine_rate(step, steps, min(WARM_UP_STEPS, steps // 10))


ORIGINAL = Recipe()
# What each difference gives: python -m export recipes
BEST = Recipe(
    name="best",
    temperature=0.06,
    short_captions=0.9,
    batch_size=512,
    learning_rate=2e-3,
    cosine=True,
    patience=60,
)
RECIPES: dict[str, Recipe | VotingRecipe] = {
    "original": ORIGINAL,
    "best": BEST,
    # For photographs, with a trunk that votes: what the shipped bundle is made by.
    "photographs": VotingRecipe(),
}
