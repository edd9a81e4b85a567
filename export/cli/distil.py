"""`distil`: a trunk that learns what another sees."""

from __future__ import annotations

from pathlib import Path

import click

from export.cli.console import Console
from export.cli.options import PATH
from export.distil.recipe import DistilRecipe
from export.trunk.names import INCEPTION, LITE0

_RECIPE = DistilRecipe()


@click.command()
@click.option(
    "--student", default=INCEPTION, show_default=True, metavar="NAME", help="Network that learns, as --trunk."
)
@click.option(
    "--student-weights",
    default="none",
    show_default=True,
    metavar="none|PATH|...",
    help="What it begins with, as --trunk-weights.",
)
@click.option(
    "--teacher",
    default=LITE0,
    show_default=True,
    metavar="NAME",
    help="Network that it learns from, as --trunk.",
)
@click.option(
    "--teacher-weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|PATH|...",
    help="The teacher's weights, as --trunk-weights; they must have a classifier.",
)
@click.option(
    "--pictures",
    type=PATH,
    required=True,
    multiple=True,
    metavar="DIR",
    help="Folder of pictures, with all below it; or one with flickr8k and visual7w, as `starter` takes it, of which"
    " only those to train on are looked at. Give it again for more.",
)
@click.option(
    "--keep-out",
    type=PATH,
    metavar="DIR",
    help="Folder of pictures to measure on: those that show the same are left out.",
)
@click.option(
    "--side",
    type=click.IntRange(min=1),
    default=160,
    show_default=True,
    help="Pixels a side, for the student.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=_RECIPE.epochs, show_default=True)
@click.option(
    "--frozen",
    metavar="LAYER",
    default="",
    help="The student's layers up to this one stay as they are in the first epochs, as Mixed_6a of inception_v3: what"
    " they make of each view is computed once, and a step takes a third of the time.",
)
@click.option(
    "--frozen-epochs",
    type=click.IntRange(min=0),
    help="How many epochs they do.  [default: all, with --frozen]",
)
@click.option(
    "--views",
    type=click.IntRange(min=1),
    default=_RECIPE.views,
    show_default=True,
    help="Parts of each picture that both look at.",
)
@click.option("--batch-size", type=click.IntRange(min=2), default=_RECIPE.batch_size, show_default=True)
@click.option("--learning-rate", type=float, default=_RECIPE.learning_rate, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--work",
    type=PATH,
    default=Path("work/distil"),
    show_default=True,
    help="Folder for what is made: trunk.pth, for --trunk-weights, and history.json.",
)
def distil(
    student: str,
    student_weights: str,
    teacher: str,
    teacher_weights: str,
    pictures: tuple[Path, ...],
    keep_out: Path | None,
    side: int,
    frozen: str,
    frozen_epochs: int | None,
    work: Path,
    **recipe: int | float,
) -> None:
    """Train a network to see in photographs what another one sees: its classes and its features, without labels.

    The student's own classifier names the teacher's classes, so that it votes as any trunk with a classifier does.
    Prints after every epoch how many held-out pictures it names as the teacher does. Interrupt it at any time: the same
    command goes on where it stopped.

    \b
    python -m export distil --pictures photographs --side 192 --epochs 100
    python -m export build --captions captions.csv --trunk-weights work/distil/trunk.pth --out artifacts/mine
    """
    from export.runs.distil import distil
    from export.starter.photographs import pictures_to_learn_from
    from export.trunk.sources import open_trunk

    console = Console()
    epochs = int(recipe["epochs"])
    if frozen_epochs and not frozen:
        raise click.UsageError(
            "--frozen-epochs: give --frozen, the layer up to which they are to stay as they are."
        )
    if frozen_epochs is None:
        frozen_epochs = epochs if frozen else 0
    settings = DistilRecipe(frozen=frozen, frozen_epochs=min(frozen_epochs, epochs), **recipe)  # type: ignore[arg-type]
    learner = open_trunk(student, student_weights, console.progress, side=side)
    knower = open_trunk(teacher, teacher_weights, console.progress)
    paths = pictures_to_learn_from(pictures, work, keep_out, console.say)
    distil(learner, knower, paths, settings, work, console)
    console.close()
    click.echo(work / "trunk.pth")
