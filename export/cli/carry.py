"""`carry`: what a bundle reads words as that no caption had."""

from __future__ import annotations

from pathlib import Path

import click

from export.cli.console import Console
from export.cli.options import PATH


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--wordnet", type=PATH, help="Folder of WordNet 3.0.  [default: /usr/share/wordnet]")
@click.option(
    "--measure",
    "labelled",
    type=PATH,
    help="Write nothing: take each name of these labelled pictures out of the vocabulary, and say what it finds then.",
)
@click.option(
    "--images", type=PATH, help="Folder of the pictures of --measure.  [default: that of the labels]"
)
def carry(bundle: Path, wordnet: Path | None, labelled: Path | None, images: Path | None) -> None:
    """Give BUNDLE a table of carried words: what it reads words as that no caption had.

    For the commonest English words and WordNet's nouns, by WordNet and by word vectors (pip install -e '.[words]').
    Nothing is trained, the fingerprint stays, and so do indexes that were made with the bundle.

    \b
    python -m export carry artifacts/mine
    python -m export carry artifacts/mine --measure names.json --images photographs
    """
    from export.bundle.carry import carry, read_sources
    from export.runs.carry import format_carried_names, measure_carried

    console = Console()
    sources = read_sources(wordnet)
    if labelled is not None:
        found = measure_carried(bundle, labelled, images, sources, console)
        console.close()
        click.echo(format_carried_names(found))
        return
    words = carry(bundle, sources, console)
    console.close()
    click.echo(f"{bundle}: reads {words:,} words as others")
