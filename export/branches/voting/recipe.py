"""The settings of training branches with votes; frozen, saved with checkpoints and in the bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from export.features.recipe import ThingsRecipe


@dataclass(frozen=True)
class VotingRecipe:
    """How branches with votes are trained. What each part gave: docs/quality.md."""

    name: str = "photographs"
    epochs: int = 24  # passes over the captioned pictures of the first data set
    batch_size: int = 512  # captioned pictures, of which a share is of the other data sets
    others: float = 0.25
    uncaptioned: int = 128  # pictures more, which only the trunk and the teachers say something of
    learning_rate: float = 3e-3
    warm_up: int = 100  # steps; then the rate falls as a cosine to nothing
    weight_decay: float = 0.02
    averaging: float = 0.96  # of the weights, by the step: the model is their mean over the last steps
    hidden: int = 1024  # width of both branches between what they take and the embedding
    stem_dim: int = 384  # numbers that a stem is, before the caption branch
    dropout: float = 0.4
    temperature: float = 0.07  # of all softmaxes over embeddings
    short_captions: float = 0.5  # share of captions that lose words, so that queries of one or two words work
    # How much votes and things count beside what the branch makes of the features, to begin with: they are learned on.
    gains: tuple[float, float] = (1.0, 3.0)
    vote_temperature: float = 1.0  # of the trunk's own softmax
    class_weight: float = 1.0  # of saying what the trunk says, among all names
    thing_weight: float = 1.5  # of saying what the teacher of things says, among all things
    meaning_weight: float = 0.3  # share of the captions' targets that lies on captions of like meaning
    meaning_temperature: float = 0.05
    patience: int = 24  # epochs without a better val before the run ends
    things: ThingsRecipe = field(default_factory=ThingsRecipe)
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {key: value for key, value in vars(self).items() if key != "things"} | {
            "gains": list(self.gains)
        }
