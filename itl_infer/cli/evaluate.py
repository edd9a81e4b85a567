"""`evaluate`: how well captions find their pictures."""

from __future__ import annotations

import os
from pathlib import Path

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import bundle_option, index_option
from itl_infer.cli.output import as_json, note, write


@click.command()
@click.option(
    "--captions",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="File of captions, whose format is recognised, or a folder of .txt files.",
)
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the pictures.  [default: that of the captions, or all that the index holds]",
)
@click.option(
    "--splits",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Folder of train/val/test.txt, or a JSON file of splits.  [default: as the captions say]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="Which pictures to measure.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the split, where none is given: that of the training.",
)
@index_option
@bundle_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it; json has the rank of every caption.",
)
@click.option(
    "--ranks",
    "ranks_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rank of every caption to a CSV file.",
)
def evaluate(
    captions: Path,
    images: Path | None,
    splits: Path | None,
    split: str,
    seed: int,
    index_path: Path | None,
    bundle_path: Path | None,
    format_name: str,
    ranks_path: Path | None,
) -> None:
    """Measure how well captions find their pictures, and pictures their captions.

    The index must hold the pictures; they are found by their paths, and only those with captions in the split
    are ranked. Prints recall at 1, 5 and 10 in per cent, median and mean rank, their sum over both ways (rsum),
    95 % confidence intervals, and what guessing would give. Equal scores count against the bundle.

    Read are Flickr30k's, Flickr8k's, COCO's, Karpathy's and Kaggle's files, lines of JSON, and .txt files.

    \b
    itl-infer evaluate --captions results.csv -d photos.itl
    itl-infer evaluate --captions mine.jsonl --split all -d photos.itl --ranks ranks.csv
    """
    from itl_infer.evaluation import evaluate_index
    from itl_infer.index import Index

    index = Index.open(require_index_path(index_path), open_bundle(bundle_path), mode="r")
    found = evaluate_index(captions, index, images=images, splits=splits, split=split, seed=seed)
    if ranks_path:
        found.write_ranks(ranks_path)
    for line in found.describe_faults():
        note(line)
    write(
        as_json(found.to_json(), indent=2) if format_name == "json" else os.fsencode(found.to_table() + "\n")
    )
