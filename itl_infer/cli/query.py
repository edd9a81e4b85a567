"""`query` and `similar`: the pictures that fit texts and pictures best."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.opened import SearchOptions, check_sheet, open_bundle, open_names, open_store, write_sheet
from itl_infer.cli.options import (
    FILTERS,
    CommandWithMany,
    all_of,
    as_word_option,
    bundle_option,
    explain_option,
    filter_options,
    many_option,
    names_option,
    sheet_option,
    sort_option,
    stop_options,
    store_option,
    top_option,
    understand_not_option,
)
from itl_infer.cli.output import as_bytes, as_lines, note, table_head, table_rows, write
from itl_infer.errors import ItlError

if TYPE_CHECKING:
    from itl_infer.search import Answer, Query

# What `query` and `similar` share.
_search_options = all_of(
    click.option("-a", "--add", metavar="TEXT", multiple=True, help="Add TEXT to the query; repeatable."),
    click.option(
        "-s", "--subtract", metavar="TEXT", multiple=True, help="Subtract TEXT from it; repeatable."
    ),
    click.option(
        "-w",
        "--weighted",
        metavar="N TEXT",
        type=(float, str),
        multiple=True,
        help="Add TEXT with weight N, such as 0.5 or -0.5; repeatable.",
    ),
    click.option(
        "--image-weight",
        metavar="N",
        type=float,
        default=1.0,
        show_default=True,
        help="Weight of each picture of the query; that of a text is 1.",
    ),
    top_option,
    filter_options,
    stop_options,
    sort_option,
    sheet_option,
    click.option(
        "--truth",
        metavar="NAME",
        help="Say where this picture of the index stands among all; frame it on the sheet.",
    ),
    explain_option,
    as_word_option,
    names_option,
    click.option(
        "--preview", is_flag=True, help="Draw the pictures too, where the results go to a terminal."
    ),
    store_option,
    bundle_option,
    click.option(
        "--format",
        "format_name",
        type=click.Choice(["table", "json", "jsonl", "csv", "tsv", "paths"]),
        help="How to print the results.  [default: table]",
    ),
    click.option(
        "-0", "--null", is_flag=True, help="Print paths, each ended by a null character, for xargs -0."
    ),
)


@dataclass(frozen=True, kw_only=True)
class QueryOptions(SearchOptions):
    """The options that `query` and `similar` share. Raises UsageError for some that do not go together."""

    add: tuple[str, ...]
    subtract: tuple[str, ...]
    weighted: tuple[tuple[float, str], ...]
    image_weight: float
    preview: bool
    location: str | None
    bundle_path: Path | None
    format_name: str | None
    null: bool
    as_word: bool
    names_path: Path | None
    understand_not: bool = False
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.null and self.format_name not in (None, "paths"):
            raise click.UsageError(f"--null prints paths, not {self.format_name}.")
        if self.explain and self.shown_as not in ("table", "json", "jsonl"):
            raise click.UsageError("--explain goes with table, json and jsonl.")
        if self.preview and self.shown_as != "table":
            raise click.UsageError("--preview goes with the table only.")

    @property
    def shown_as(self) -> str:
        return "null" if self.null else self.format_name or "table"

    def query(self, text: str | None, images: tuple[str, ...]) -> Query:
        from itl_infer.search import Query

        return Query(
            text,
            images,
            self.add,
            self.subtract,
            self.weighted,
            self.image_weight,
            understand_not=self.understand_not,
            as_word=self.as_word,
            like=self.like,
            unlike=self.unlike,
        )


@click.command(cls=CommandWithMany)
@click.argument("text", required=False)
@click.option(
    "-i",
    "--image",
    "images",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    multiple=True,
    help="Add a picture to the query; repeatable.",
)
@many_option(
    "--like", "like", "PATH...", "Pictures that show what is wanted: files, or of the index.", os.path.lexists
)
@many_option(
    "--unlike", "unlike", "PATH...", "Pictures that show what is not wanted; they come last.", os.path.lexists
)
@understand_not_option
@_search_options
def query(text: str | None, images: tuple[str, ...], **options: Any) -> None:
    """Show the pictures that fit TEXT best.

    Without an index of your own it searches the pictures that come with the bundle. Texts and pictures may be
    added and subtracted: each is a direction, and what is searched for is their sum, so that scores stay
    cosines.

    \b
    itl-infer query "surfer in a wave"
    itl-infer query "dogs playing" -d photos.itl -k 3 --format json
    itl-infer query "red car" -d photos.itl -0 | xargs -0 open
    itl-infer query "dog" -d photos.itl --sheet dogs.html
    itl-infer query "dog" --add snow --subtract grass -w 0.5 night
    itl-infer query "a street without cars" --understand-not
    itl-infer query "at night" --image house.jpg
    itl-infer query "surfr in a wave" --explain
    itl-infer query "Rex on the beach" -d photos.itl    after: itl-infer teach Rex rex1.jpg rex2.jpg
    itl-infer query "dog" -d photos.itl --like good1.jpg good2.jpg --unlike bad.jpg
    itl-infer query "dog" -d photos.itl -k 100 --relevant --dedupe
    itl-infer query "dog" -d photos.itl --under Norway --taken 2019-07..2019-08
    itl-infer query "dog" -d photos.itl --camera iphone --newer 2022 --sort taken
    itl-infer query "dog" -d milvus:http://localhost:19530#photos

    json is one object; jsonl, csv and tsv have one picture a line (tsv writes a tab in a name as \\t).
    In JSON a byte of a name that is not valid UTF-8, such as FF, is written \\udcff.
    """
    parts = ("add", "subtract", "weighted", "like", "unlike")
    if text is None and not (images or any(options[part] for part in parts)):
        raise click.MissingParameter(param_type="argument", param_hint="'TEXT'")
    _run_query(text, images, QueryOptions(**options))


@click.command()
@click.argument("image", type=click.Path(dir_okay=False))
@_search_options
def similar(image: str, **options: Any) -> None:
    """Show the pictures that look most like IMAGE.

    IMAGE is any file, in the index or not; one that is finds itself first. The same as query --image IMAGE.

    \b
    itl-infer similar house.jpg -d photos.itl
    itl-infer similar house.jpg -d photos.itl --add night --sheet houses.png
    """
    _run_query(None, (image,), QueryOptions(**options))


def _run_query(text: str | None, images: tuple[str, ...], options: QueryOptions) -> None:
    check_sheet(options.sheet_path)
    bundle = open_bundle(options.bundle_path)
    query = options.query(text, images)
    names = open_names(options.names_path, bundle)
    try:
        store = open_store(options.location, bundle)
    except ItlError:
        query.embed(bundle)  # its mistakes first: the absence of an index is the smaller one
        raise
    answer = options.searcher(store, names).answer(query)
    embedded = answer.embedded
    for line in embedded.notes:
        note(line)
    if not options.explain:
        for line in answer.describe_carried():
            note(line)
    if embedded.unknown_words and not options.explain:
        note(f"The bundle does not know: {bundle.describe_unknown(embedded.unknown_words)}.")
    if answer.relevant_from is not None:
        note(f"Relevant from a score of {answer.relevant_from:.4f} on: {len(answer.results)} shown.")
    if answer.truth:
        note(f"{answer.truth.path}: {answer.truth}")
    if not answer.results:
        note(_nothing_found(answer, options))
    write_sheet([answer], options.sheet_path)
    if options.preview and _can_draw():
        _draw_pictures(answer)
    else:
        write(as_bytes(answer, options.shown_as))


def _nothing_found(answer: Answer, options: QueryOptions) -> str:
    if not answer.pictures and options.where():
        given = ", ".join(f"--{name}" for name in FILTERS if getattr(options, name) not in ((), None))
        return f"Nothing found: no picture fits {given}."
    if not answer.pictures:
        return "Nothing found: there are no pictures in there: itl-infer embed-images PICTURES puts some in."
    if options.min_score is not None:
        return f"Nothing found: no picture has a score of {options.min_score:g} or more (--min-score)."
    if options.relevant:
        return "Nothing found: no picture stands out (--relevant)."
    return "Nothing found."


def _can_draw() -> bool:
    """Whether stdout is a terminal with room for pictures; some that programs make have no size."""
    return sys.stdout.isatty() and min(os.get_terminal_size(sys.stdout.fileno())) > 0


def _draw_pictures(answer: Answer) -> None:
    """The table, with each picture under its row."""
    from itl_infer.show.preview import draw_picture

    drawn = [(found, draw_picture(found.path)) for found in answer.results]
    from rich.console import Console  # only now, as the line above says what to do where it is missing

    console = Console()
    write(as_lines(table_head(answer)))
    for found, picture in drawn:
        write(as_lines(table_rows(found, answer)))
        console.print(picture)
