"""`build`: a bundle of your own captioned pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from export.branches.recipe import RECIPES, Recipe
from export.branches.voting.recipe import VotingRecipe
from export.cli.console import Console
from export.cli.options import PATH, images_option, splits_option, trunk_options
from export.trunk.recipe import TrunkRecipe


@click.command()
@click.option("--captions", type=PATH, required=True, help="File of captions; its format is recognised.")
@images_option
@splits_option
@trunk_options("imagenet")
@click.option(
    "--side",
    type=click.IntRange(min=1),
    help="Pixels a side.  [default: the trunk's: 256 for inception_v3, 224 for efficientnet_lite0]",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="best",
    show_default=True,
    help="How the branches are trained: as the original was, as won on held-out data, or with the votes of a trunk that"
    " has a classifier with names, for photographs.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's]")
@click.option(
    "--detector",
    type=PATH,
    help="With the recipe photographs: ONNX file of a YOLOX, from which small things are learned.",
)
@click.option(
    "--names-from",
    type=PATH,
    help="Instead: Parquet file of file, name and score, what your own tagger sees in the pictures.",
)
@click.option(
    "--min-count", type=click.IntRange(min=1), default=1, show_default=True, help="Leave rarer stems out."
)
@click.option(
    "--text",
    type=click.Choice(["forms", "original"]),
    default="forms",
    show_default=True,
    help="How captions and queries are read: forms of one word as one, or every stem by itself, as the original did.",
)
@click.option(
    "--train-trunk", is_flag=True, help="Train the trunk with the branches, which takes far longer."
)
@click.option("--precision", type=click.Choice(["int8", "float32"]), default="int8", show_default=True)
@click.option(
    "--gallery", type=click.IntRange(min=0), default=0, show_default=True, help="Test pictures to include."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--work", type=PATH, help="Folder for what is made on the way.  [default: work/NAME]")
@click.option("--out", type=PATH, required=True, help="Where the bundle goes: artifacts/NAME.")
def build(
    captions: Path,
    images: Path | None,
    splits: Path | None,
    trunk: str,
    trunk_weights: str,
    side: int | None,
    recipe: str,
    epochs: int | None,
    detector: Path | None,
    names_from: Path | None,
    min_count: int,
    text: str,
    train_trunk: bool,
    precision: str,
    gallery: int,
    seed: int,
    work: Path | None,
    out: Path,
) -> None:
    """Train on captioned pictures and write a bundle: features, branches, evaluation, graphs, int8.

    With weights "none" the trunk first learns to name the words of the captions. Interrupt it at any time: the same
    command goes on where it stopped.

    \b
    python -m export build --captions flickr30k/results.csv --images flickr30k/images --out artifacts/flickr30k
    """
    chosen = RECIPES[recipe]
    _check_recipe(chosen, detector, names_from, train_trunk)
    from export.bundle.gallery import Gallery
    from export.data.forms import text_rules
    from export.runs.build import build
    from export.runs.prepare import BuildSettings
    from itl_infer.captions import read_captions
    from itl_infer.evaluation.metrics import format_figures
    from itl_infer.text import ORIGINAL_TEXT_RULES

    dataset = read_captions(captions, images, splits, seed=seed)
    settings = BuildSettings(
        name=out.name,
        domain=f"pictures like those of {dataset.name}",
        trunk=trunk,
        trunk_weights=trunk_weights,
        side=side,
        text_rules=ORIGINAL_TEXT_RULES if text == "original" else text_rules(),
        recipe=replace(chosen, epochs=epochs or chosen.epochs, seed=seed),
        trunk_recipe=TrunkRecipe(seed=seed),
        train_trunk=train_trunk,
        detector=detector,
        names_from=names_from,
        min_count=min_count,
        precision=precision,
        gallery=Gallery(gallery) if gallery else None,
        carry=text != "original",  # whose words are to be what they were
    )
    figures = build(dataset, settings, work or Path("work") / out.name, out, Console())
    click.echo(format_figures(figures))
    click.echo(out)


def _check_recipe(
    recipe: Recipe | VotingRecipe, detector: Path | None, names_from: Path | None, train_trunk: bool
) -> None:
    """Raise UsageError for options that do not go with the recipe, or with each other."""
    votes = isinstance(recipe, VotingRecipe)
    if (detector or names_from) and not votes:
        raise click.UsageError(f"--detector and --names-from go with --recipe {VotingRecipe.name}.")
    if detector and names_from:
        raise click.UsageError("Give --detector or --names-from, not both.")
    if train_trunk and votes:
        raise click.UsageError(f"--train-trunk does not go with --recipe {VotingRecipe.name}.")
