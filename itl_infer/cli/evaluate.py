"""`evaluate`: how well captions find their pictures, or the names of labelled pictures all of theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import all_of, bundle_option, format_option, index_option, refuse
from itl_infer.cli.output import as_json, note, write
from itl_infer.cli.progress import ProgressLine

if TYPE_CHECKING:
    from itl_infer.evaluation import Evaluation, LabelledEvaluation, TaughtEvaluation

_OF_CAPTIONS = ("splits", "split", "seed", "ranks_path")


_pictures_options = all_of(
    click.option(
        "--captions",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="File of captions, whose format is recognised, or a folder of .txt files.",
    ),
    click.option(
        "--labelled",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Folder with a folder for each class, or a JSON file of names and their pictures.",
    ),
    click.option(
        "--images",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Folder of the pictures.  [default: that of the file; of an index, else all]",
    ),
)
_split_options = all_of(
    click.option(
        "--splits",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Folder of train/val/test.txt, or a JSON file of splits.  [default: as the captions say]",
    ),
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test", "all"]),
        default="test",
        show_default=True,
        help="Which captioned pictures to measure.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Of the split, where none is given: that of the training.",
    ),
)
_measure_options = all_of(
    click.option(
        "--taught",
        is_flag=True,
        help="Measure names that are taught from a few of the pictures, instead of words.",
    ),
    format_option("table", "How to print it; json has a row for every caption or name."),
    click.option(
        "--ranks",
        "ranks_path",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write the rank of every caption to a CSV file.",
    ),
)


@click.command()
@all_of(_pictures_options, _split_options, index_option, bundle_option, _measure_options)
def evaluate(
    captions: Path | None,
    labelled: Path | None,
    images: Path | None,
    index_path: Path | None,
    bundle_path: Path | None,
    format_name: str,
    ranks_path: Path | None,
    taught: bool,
    **of_split: Any,
) -> None:
    """Measure a bundle on captioned or on labelled pictures.

    They are embedded for it, or taken from an index that holds them. Equal scores count against the bundle. Figures
    are in per cent, with 95 % confidence intervals and what guessing would give.

    --captions: how well captions find their picture, and pictures a caption of theirs: recall at 1, 5 and 10, median
    and mean rank, and the recalls' sum (rsum). Only pictures with captions in the split are ranked. Read are
    Flickr30k's, Flickr8k's, COCO's, Karpathy's and Kaggle's files, lines of JSON, and .txt files.

    --labelled: how well each name finds all pictures that it is right for. Means over the names of average precision
    (mAP), R-precision (the share of R right pictures that are among the first R) and precision at 10 (P@10), and the
    share of names with a right picture among the first 1 and 10 (R@1, R@10). A name of which no word is known is a
    miss. Only pictures with a name are ranked. JSON is {"red car": ["1.jpg", "2.jpg"], ...}; a class is called as its
    folder, underscores are spaces.

    --taught: how well 1, 3, 5, 10 and 20 pictures of a class, drawn anew five times, find the others of it (mAP), as
    `itl-infer teach` makes a name of them. A class is a label; of captions, a noun that three captions of a picture
    have. And what marking two right and two wrong of the first ten does for a name as a query.

    \b
    itl-infer evaluate --labelled photos/objects.json
    itl-infer evaluate --labelled classes --taught
    itl-infer evaluate --captions results.csv -d photos.itl
    itl-infer evaluate --captions mine.jsonl --split all -d photos.itl --ranks ranks.csv
    """
    if (captions is None) == (labelled is None):
        raise click.UsageError("Give either --captions FILE or --labelled PATH.")
    if labelled is not None:
        refuse(_OF_CAPTIONS, "goes with --captions")
    if taught:
        refuse(("ranks_path",), "does not go with --taught")
    from itl_infer import evaluation
    from itl_infer.index import Index

    bundle = open_bundle(bundle_path)
    index = None if index_path is None else Index.open(require_index_path(index_path), bundle, mode="r")
    source = bundle if index is None else index
    found: Evaluation | LabelledEvaluation | TaughtEvaluation
    with ProgressLine() as progress_line:
        progress = progress_line.show if progress_line.shown else None
        if labelled is not None:
            measure = evaluation.evaluate_taught_labels if taught else evaluation.evaluate_labelled
            found = measure(labelled, source, images=images, progress=progress)
        else:
            assert captions is not None
            if taught:
                found = evaluation.evaluate_taught_captions(
                    captions, source, images=images, progress=progress, **of_split
                )
            elif index is None:
                found = evaluation.evaluate_bundle(
                    captions, bundle, images=images, progress=progress, **of_split
                )
            else:
                found = evaluation.evaluate_index(captions, index, images=images, **of_split)
            if ranks_path is not None:
                assert isinstance(found, evaluation.Evaluation)
                found.write_ranks(ranks_path)
    for line in found.describe_faults():
        note(line)
    write(
        as_json(found.to_json(), indent=2) if format_name == "json" else os.fsencode(found.to_table() + "\n")
    )
