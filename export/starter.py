"""The bundle that comes with the package: from nothing to artifacts/starter, on drawn pictures."""

from __future__ import annotations

import os
from pathlib import Path

from export.build import BuildSettings, build
from export.make_bundle import Gallery
from export.postcards import draw_postcards
from export.recipes import RECIPES, TrunkRecipe
from export.report import Reporter
from itl_infer.captions import CaptionDataset, read_json_lines
from itl_infer.image import ImageRules
from itl_infer.metrics import Figures

TRAIN, VAL, TEST = 20_000, 1_000, 1_000
SETTINGS = BuildSettings(
    name="starter",
    domain="drawn scenes made of emoji (postcards); not photographs",
    inception="none",
    image_rules=ImageRules(side=160),
    recipe=RECIPES["best"],
    # Most of the training on fewer pixels, zoomed in so that things are as large as they are in use (Touvron et al.
    # 2019, arXiv:1906.06423), at two thirds of the cost; then as many pixels as in use.
    trunk_recipes=(
        TrunkRecipe(epochs=7, sides=(128,)),
        TrunkRecipe(epochs=4, learning_rate=4e-4, zoom=(0.8, 1.05), seed=1),
    ),
    gallery=Gallery(pictures=200, featuring=("surfer", "surfers")),  # the README's query
)


def postcards(
    work: Path, reporter: Reporter, *, font: str | os.PathLike[str] | None = None
) -> CaptionDataset:
    """The starter's pictures, drawn into `work/postcards` unless they are there."""
    folder = work / "postcards"
    captions = folder / "captions.jsonl"
    if not captions.exists():
        reporter.say(f"Drawing {TRAIN + VAL + TEST} postcards")
        draw_postcards(folder, train=TRAIN, val=VAL, test=TEST, font=font, progress=reporter.progress)
    return read_json_lines(captions, name="postcards")


def make_starter(
    work: Path, out: Path, reporter: Reporter, *, font: str | os.PathLike[str] | None = None
) -> Figures:
    """Draw, train trunk and branches, measure, export, quantise, add gallery and index; returns the recalls."""
    return build(postcards(work, reporter, font=font), SETTINGS, work, out, reporter)
