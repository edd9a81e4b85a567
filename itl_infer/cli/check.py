"""`check`: an index against its checksums, a collection against the exact ranking."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import (
    DEFAULT_TOP,
    bundle_option,
    report_format_option,
    store_option,
    wait_option,
)
from itl_infer.cli.output import as_json, failure, note, on_one_line, write
from itl_infer.store import is_collection

if TYPE_CHECKING:
    import io

    import numpy as np
    import numpy.typing as npt

    from itl_infer.bundle import Bundle
    from itl_infer.milvus import Check


@click.command()
@store_option
@click.option("--repair", is_flag=True, help="Drop what is damaged, and never the rest.")
@wait_option
@click.option(
    "--against",
    metavar="INDEX|PARQUET",
    type=click.Path(),
    help="Of a collection: compare it with what was pushed into it.",
)
@click.option(
    "--queries",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Of a collection: measure recall on the queries of this file, one a line, instead of on its own pictures.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(min=1),
    help="Of a collection: how many of its pictures to measure recall on.  [default: 100]",
)
@click.option(
    "-k",
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Of a collection: how many pictures of each query recall looks at.  [default: {DEFAULT_TOP}]",
)
@bundle_option
@report_format_option
def check(
    location: str | None, repair: bool, wait: bool, bundle_path: Path | None, format_name: str, **options: Any
) -> None:
    """Compare all that an index stores with its checksums, or what Milvus finds with what it should.

    Of an index, checks the database, that every embedding has unit length and the bytes that were written, and that
    names and counts agree. What a repair drops is embedded again by the next embed-images.

    Of a collection of Milvus, measures the recall of its index: of the best pictures by exact ranking, the share that
    Milvus finds. Queries are pictures of its own, each of which looks for others, or the lines of a file. It reads
    every row, or with --against only their keys, and then also says whether the collection is in step. The exit code
    is 1 where it lacks pictures.

    \b
    itl-infer check -d photos.itl
    itl-infer check -d photos.itl --repair
    itl-infer check -d milvus:http://localhost:19530#photos
    itl-infer check -d "milvus:http://localhost:19530#photos?ef=400" --against photos.itl --queries queries.txt
    """
    if location is not None and is_collection(location):
        if repair or wait:
            raise click.UsageError("--repair and --wait are for an index on this machine.")
        check_collection(location, bundle_path, format_name, **options)
        return
    if given := [name for name, value in options.items() if value is not None]:
        raise click.UsageError(f"--{given[0]} is for a collection, -d milvus:URI#NAME.")
    _check_index(require_index_path(None if location is None else Path(location)), repair, wait, format_name)


def _check_index(path: Path, repair: bool, wait: bool, format_name: str) -> None:
    from itl_infer.index.check import check_index

    report = check_index(path, repair=repair, wait=wait)
    for problem in report.problems:
        note(problem)
    if format_name == "json":
        write(as_json({"path": str(path), **asdict(report), "ok": report.ok}, indent=2))
    elif report.ok:
        write(os.fsencode(f"{path}: ok, {report.rows} rows\n"))
    elif repair:
        dropped = len(report.damaged_rows)
        write(
            os.fsencode(f"{path}: repaired, damaged rows dropped: {dropped}; embed-images fills the gaps\n")
        )
    if not report.ok and not repair:
        raise failure(f"{path}: damaged: itl-infer check -d {path} --repair drops that and keeps the rest")


def check_collection(
    location: str,
    bundle_path: Path | None,
    format_name: str,
    *,
    against: str | None,
    queries: Path | None,
    sample: int | None,
    top: int | None,
) -> None:
    """Print what `milvus.check_collection` finds."""
    from itl_infer import milvus

    vectors = None
    bundle = None
    if queries is not None:
        if sample is not None:
            raise click.UsageError(
                "--sample is for pictures of the collection, which --queries takes the place of."
            )
        bundle = open_bundle(bundle_path)
        vectors = _embed_lines(queries, bundle)
    with milvus.Collection.open(location, bundle) as collection:
        found = milvus.check_collection(
            collection,
            queries=vectors,
            k=top or DEFAULT_TOP,
            sample=sample or milvus.DEFAULT_SAMPLE,
            against=against,
        )
        address = collection.address
    if format_name == "json":
        write(as_json({"collection": str(address), **found.to_json()}, indent=2))
    else:
        write("".join(f"{on_one_line(line)}\n" for line in _describe(str(address), found)).encode())
    if found.against and not found.against.is_none:
        raise failure(
            f"{address}: not in step with {against}: itl-infer push {against} --to {address.place} --collection"
            f" {address.name}"
        )


def _embed_lines(file: Path, bundle: Bundle) -> npt.NDArray[np.float32]:
    """The queries of a file, (Q, D)."""
    import numpy as np

    from itl_infer.cli.lines import answer_each, blocks_of_queries
    from itl_infer.search.query import EmbeddedQuery, embed_each

    vectors = []
    with contextlib.nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as stream:
        for lines in blocks_of_queries(cast("io.BufferedReader", stream)):
            for found in answer_each(partial(embed_each, bundle=bundle), lines):
                if isinstance(found, EmbeddedQuery):
                    vectors.append(found.vector)
                else:
                    note(f"left out: {found}")
    if not vectors:
        raise failure(f"{file}: no queries in it: write one on each line")
    return np.array(vectors, np.float32)


def _describe(address: str, found: Check) -> Iterator[str]:
    yield f"collection   {address}"
    yield f"pictures     {found.pictures}"
    yield f"bundle       {found.bundle_name or 'unknown'} ({found.fingerprint[:12]})"
    yield f"index        {found.index}"
    kind = "pictures of its own, each for others" if found.are_pictures else "given queries"
    yield (
        f"recall@{found.k:<4}  {found.recall:.4f} of the exact ranking, {found.worst:.4f} at worst"
        f" ({found.queries} queries: {kind})"
    )
    if (other := found.against) is not None:
        yield (
            f"against      {other.source}, {other.pictures} pictures: missing {other.missing}, changed {other.changed},"
            f" only in the collection {other.more}"
        )
