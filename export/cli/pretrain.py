"""`pretrain`: a trunk from labelled pictures."""

from __future__ import annotations

from pathlib import Path

import click

from export.cli.console import Console
from export.cli.options import PATH, trunk_options, trunk_recipe_options
from export.trunk.recipe import TrunkRecipe


@click.command()
@click.argument("folder", type=PATH)
@trunk_recipe_options
@trunk_options("none")
@click.option(
    "--work",
    type=PATH,
    default=Path("work/pretrain"),
    show_default=True,
    help="Folder for what is made: trunk.pth, for `build --trunk-weights`, and history.json.",
)
def pretrain(folder: Path, recipe: TrunkRecipe, trunk: str, trunk_weights: str, work: Path) -> None:
    """Train a trunk on labelled pictures: a folder for each class, in FOLDER.

    FOLDER holds SOURCE/train/CLASS and SOURCE/val/CLASS, or a folder for each class, of which every twentieth picture
    is held out. Prints after every epoch how many of the held-out pictures of each source it names right. Interrupt it
    at any time: the same command goes on where it stopped.

    \b
    python -m export pretrain photographs --epochs 5
    python -m export build --captions captions.csv --trunk-weights work/pretrain/trunk.pth --out artifacts/mine
    """
    from export.data.labelled import read_labelled
    from export.trunk.pretrain import pretrain

    console = Console()
    pretrain(read_labelled(folder), recipe, work, console, trunk=trunk, weights=trunk_weights)
    console.close()
    click.echo(work / "trunk.pth")
