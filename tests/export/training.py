"""A small recipe, and runs that are stopped at a step."""

from __future__ import annotations

from export.branches.recipe import Recipe
from export.loop import LoopProgress

RECIPE = Recipe(batch_size=16, epochs=12, patience=12)


class Stopped(Exception):
    pass


def stop_at(step: int):
    def progress(state: LoopProgress) -> None:
        if state.step == step:
            raise Stopped

    return progress
