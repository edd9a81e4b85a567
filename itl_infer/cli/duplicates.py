"""`duplicates`: the groups of an index that show the same picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.opened import require_index_path, where_of
from itl_infer.cli.options import filter_options, index_option, report_format_option
from itl_infer.cli.output import as_json, as_lines, note, on_one_line, write

if TYPE_CHECKING:
    from itl_infer.search.same import Duplicates, Same


@click.command()
@index_option
@filter_options
@report_format_option
@click.option(
    "-0",
    "--null",
    is_flag=True,
    help="Print the copies alone, without the best of each group, each ended by a null character, for xargs -0.",
)
def duplicates(index_path: Path | None, format_name: str, null: bool, **filters: Any) -> None:
    """Show the pictures of an index that are the same: copied, scaled down, made grey or compressed again.

    By perceptual hashes and embeddings, so that the files need not be there. The best of each group comes first: of
    the most pixels, then of the largest file. Nothing is deleted. Pages of text and pictures of a burst may look the
    same from afar: look before you delete.

    \b
    itl-infer duplicates -d photos.itl
    itl-infer duplicates -d photos.itl --under Phone --format json
    itl-infer duplicates -d photos.itl -0 | xargs -0 -I{} mv {} ~/copies
    """
    if null and format_name != "text":
        raise click.UsageError("--null prints paths, not json.")
    path = require_index_path(index_path)
    where = where_of(filters)
    from itl_infer.index import Index
    from itl_infer.search.same import find_duplicates

    found = find_duplicates(Index.open(path, mode="r"), where=where)
    if found.without_hash:
        note(
            f"{found.without_hash} pictures have no hash yet and were not compared: itl-infer embed-images -d {path}"
            " reads them"
        )
    if null:
        write(b"".join(os.fsencode(copy.path) + b"\0" for group in found.groups for copy in group[1:]))
    elif format_name == "json":
        write(as_json(found.to_json(), indent=2))
    else:
        write(as_lines(_lines(found)))
        note(_summary(found))


def _lines(found: Duplicates) -> Iterator[str]:
    for group in found.groups:
        for same in group:
            mark = "" if same is group[0] else "   =  "
            yield f"{mark}{on_one_line(same.path)}  ({_describe(same)})"


def _describe(same: Same) -> str:
    return f"{same.facts.width} x {same.facts.height}, {same.bytes / 1e6:.1f} MB"


def _summary(found: Duplicates) -> str:
    copies = [copy for group in found.groups for copy in group[1:]]
    return (
        f"{len(found.groups)} groups, {len(copies)} copies of {sum(copy.bytes for copy in copies) / 1e6:.1f} MB, among"
        f" {found.pictures} pictures"
    )
