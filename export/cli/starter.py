"""`starter` and `postcards`: the bundle that comes with the package, and the pictures drawn for it."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from export.branches.voting.recipe import VotingRecipe
from export.cli.console import Console
from export.cli.options import PATH, font_option, trunk_options, work_option
from export.trunk.names import LITE0


@click.command()
@click.argument("photographs", type=PATH)
@click.option(
    "--detector", type=PATH, required=True, help="ONNX file of a YOLOX, from which small things are learned."
)
@click.option(
    "--measure",
    "measured_on",
    type=PATH,
    help="Folder of photographs with objects.json to measure on, which are kept out of training.",
)
@trunk_options("imagenet", LITE0)
@click.option("--side", type=click.IntRange(min=1), default=288, show_default=True, help="Pixels a side.")
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's]")
@click.option(
    "--hidden",
    type=click.IntRange(min=1),
    default=VotingRecipe.hidden,
    show_default=True,
    help="Width of both branches: most of a bundle's size beside its trunk, where the trunk has many features.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--out", type=PATH, default=Path("artifacts/starter"), show_default=True, help="Where the bundle goes."
)
@click.option(
    "--gallery",
    type=click.IntRange(min=0),
    default=140,
    show_default=True,
    help="Drawn pictures that come along, so that there is something to search.",
)
@click.option(
    "--without-words",
    "left_out",
    type=click.File(encoding="utf-8"),
    help="File of words, one a line, to leave out of all captions and names: to measure what they are read as.",
)
@work_option
@font_option
def starter(
    photographs: Path,
    detector: Path,
    measured_on: Path | None,
    trunk: str,
    trunk_weights: str,
    side: int,
    epochs: int | None,
    hidden: int,
    seed: int,
    out: Path,
    gallery: int,
    left_out: TextIO | None,
    work: Path,
    font: Path | None,
) -> None:
    """Make the bundle that comes with the package, in less than an hour on two cores.

    PHOTOGRAPHS is a folder with flickr8k and visual7w, as folders or as .tar.gz files. Trunk and teachers look at every
    picture, the branches learn from what they say and from the captions; then the bundle is measured, exported,
    quantised, and gets its gallery of drawn pictures. Interrupt it at any time: the same command goes on where it
    stopped.

    \b
    python -m export starter captioned_photos --detector yolox_nano.onnx --measure photos
    """
    from export.starter.make import StarterSettings, make_starter
    from itl_infer.evaluation.metrics import format_figures

    recipe = VotingRecipe(seed=seed, epochs=epochs or VotingRecipe.epochs, hidden=hidden)
    settings = StarterSettings(
        trunk, trunk_weights, side, recipe, gallery, tuple(left_out.read().split()) if left_out else ()
    )
    figures = make_starter(photographs, detector, measured_on, settings, work, out, Console(), font=font)
    click.echo(format_figures(figures))
    click.echo(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 1e6:.1f} MB")


@click.command()
@click.argument("folder", type=PATH)
@click.option("--train", type=click.IntRange(min=0), default=20_000, show_default=True)
@click.option("--val", type=click.IntRange(min=0), default=1_000, show_default=True)
@click.option("--test", type=click.IntRange(min=0), default=1_000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same pictures.")
@font_option
def postcards(folder: Path, train: int, val: int, test: int, seed: int, font: Path | None) -> None:
    """Draw the built-in captioned pictures into FOLDER: images/ and captions.jsonl."""
    from export.data.postcards.draw import draw_postcards

    console = Console()
    console.say(f"Drawing {train + val + test} postcards into {folder}")
    captions = draw_postcards(
        folder, train=train, val=val, test=test, seed=seed, font=font, progress=console.progress
    )
    click.echo(captions)
