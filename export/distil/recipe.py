"""The settings of learning from a teacher; frozen, saved with checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from export.schedule import cosine_rate


@dataclass(frozen=True)
class DistilRecipe:
    """How a student learns; saved with its checkpoints. What was tried: docs/quality.md."""

    # Passes over all pictures; in the first `frozen_epochs`, layers up to `frozen` stay as they are, and the others
    # learn from what these make of each view, computed once. Then all learn, at `whole_rate` of the learning rate: that
    # is for layers that nobody trained. With no frozen epochs before, all learn at the learning rate itself.
    epochs: int = 16
    frozen: str = ""
    frozen_epochs: int = 0
    whole_rate: float = 0.25
    views: int = 4  # parts of each picture that are looked at, an epoch each, in turn
    crop: tuple[float, float] = (0.4, 1.0)  # their share of the picture's area
    batch_size: int = 64
    learning_rate: float = 1e-3
    warm_up: float = 0.3  # epochs in which the rate rises; then it falls as a cosine to nothing
    weight_decay: float = 0.02
    temperature: float = 2.0  # of both softmaxes: how much the unlikely classes say
    features_weight: float = 1.0  # of saying the teacher's features, beside its classes
    val: float = 0.03  # share of the pictures that is measured on, and not learned from
    seed: int = 0

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step."""
        warm_up = round(self.warm_up * steps_per_epoch)
        share = cosine_rate(step, self.epochs * steps_per_epoch, warm_up)
        is_thawed = 0 < self.frozen_epochs * steps_per_epoch <= step
        return self.learning_rate * share * (self.whole_rate if is_thawed else 1)
