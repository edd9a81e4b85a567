"""The settings of learning to see things from a teacher; frozen, saved with checkpoints and in the bundle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ThingsRecipe:
    """How the head is trained; saved with its checkpoints."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 3e-3
    warm_up: int = 30  # steps; then the rate falls as a cosine to nothing
    weight_decay: float = 0.02
    seed: int = 0
