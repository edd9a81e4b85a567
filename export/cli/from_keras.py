"""`from-keras`: a bundle of the original project's models."""

from __future__ import annotations

from pathlib import Path

import click

from export.cli.console import Console
from export.cli.options import PATH, trunk_options


@click.command("from-keras")
@click.argument("clone", type=PATH, required=False)
@click.option("--image-model", type=PATH, help="image_model_1h_v1.h5, saved with model.save.")
@click.option("--text-model", type=PATH, help="text_model_1h_v1.h5, saved with model.save.")
@click.option("--tokenizer", type=PATH, help="tokenizer_one_hot.pickle.")
@trunk_options("keras")
@click.option(
    "--pixel-scaling",
    type=click.Choice(["unit", "inception"]),
    default="unit",
    show_default=True,
    help="What the models were trained on: pixels in [0, 1], or in [-1, 1].",
)
@click.option(
    "--out", type=PATH, default=Path("artifacts/original"), show_default=True, help="Where the bundle goes."
)
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
    console = Console()
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
