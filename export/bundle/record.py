"""What the manifest of a bundle says of how its model was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from export.branches.curve import best_row
from export.branches.recipe import Recipe
from export.branches.voting.recipe import VotingRecipe
from export.loop import History
from export.trunk.recipe import TrunkRecipe


@dataclass(frozen=True)
class TrainingRecord:
    """A run of the branches: on what, how, and how far it went. What is None, the manifest does not mention."""

    data: dict[str, Any]
    recipe: Recipe | VotingRecipe
    history: History
    trains_trunk: bool | None = None
    pictures: int | None = None  # trained on, with captions and without
    captions: int | None = None
    trunk_recipe: TrunkRecipe | None = None  # of a trunk trained from nothing before

    def describe(self) -> dict[str, Any]:
        described = {
            "data": self.data,
            "recipe": asdict(self.recipe),
            "epochs_run": len(self.history),
            "best_epoch": best_row(self.history)["epoch"],
            "trains_trunk": self.trains_trunk,
            "seed": self.recipe.seed,
            "pictures": self.pictures,
            "captions": self.captions,
            "trunk_training": self.trunk_recipe and {"recipe": asdict(self.trunk_recipe)},
        }
        return {key: value for key, value in described.items() if value is not None}
