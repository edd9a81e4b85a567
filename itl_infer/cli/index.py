"""`status`, `check`, `prune` and `export-index`: looking after an index."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from itl_infer.cli.opened import require_index_path
from itl_infer.cli.options import (
    bundle_option,
    index_option,
    report_format_option,
    store_option,
    wait_option,
)
from itl_infer.cli.output import as_json, failure, note, on_one_line, write
from itl_infer.store import is_collection


@click.command()
@index_option
@report_format_option
def status(index_path: Path | None, format_name: str) -> None:
    """Show what an index holds: pictures, folders, failures, bundle, size.

    \b
    itl-infer status -d photos.itl
    itl-infer status -d photos.itl --format json
    """
    from itl_infer.index.upkeep import read_status

    path = require_index_path(index_path)
    status = read_status(path)
    if format_name == "json":
        write(as_json({"path": str(path), **status.to_json()}, indent=2))
        return
    lines = [
        f"index        {path}, {status.bytes_on_disk / 1e6:.1f} MB",
        f"bundle       {status.state.bundle_name} ({status.state.bundle_fingerprint[:12]})",
        f"pictures     {status.pictures}",
        f"set aside    {status.set_aside} (excluded, their embeddings kept)",
        f"gone         {status.gone} (dropped by the next compaction)",
        *(
            f"folder       {folder}: {pictures} pictures{', folder missing' if is_missing else ''}"
            for folder, pictures, is_missing in status.roots
        ),
        *(f"failure      {failure.path}: {failure.error}" for failure in status.failures),
    ]
    write(os.fsencode("".join(f"{on_one_line(line)}\n" for line in lines)))


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
    help="Of a collection: how many pictures of each query recall looks at.  [default: 10]",
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
        from itl_infer.cli.push import check_collection

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


@click.command()
@index_option
@wait_option
def prune(index_path: Path | None, wait: bool) -> None:
    """Drop the pictures whose files are gone, missing folders among them.

    Unlike embed-images it takes a missing folder for gone for good: plug in the drives that you want to keep.

    \b
    itl-infer prune -d photos.itl
    """
    from itl_infer.index.upkeep import prune as prune_index

    path = require_index_path(index_path)
    pruned = prune_index(path, wait=wait)
    for root in pruned.roots:
        note(f"Forgotten, as nothing is left of it: {root}")
    write(f"removed {pruned.pictures}\n".encode())


@click.command("export-index")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@index_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["npy", "parquet", "jsonl"]),
    help="What to write.  [default: what the name of OUTPUT ends in]",
)
def export_index(output: Path, index_path: Path | None, format_name: str | None) -> None:
    """Write the embeddings and paths of an index to OUTPUT, for other tools.

    npy is one float32 array, with a list of paths beside it (.paths.json); jsonl has one object a line with
    "path" and "embedding"; parquet a table of the two, and needs pyarrow (pip install 'itl-infer[parquet]').

    \b
    itl-infer export-index photos.npy -d photos.itl
    itl-infer export-index photos.parquet -d photos.itl
    """
    from itl_infer.index import Index
    from itl_infer.index.export import EXPORT_FORMATS
    from itl_infer.index.export import export_index as export

    name = format_name or output.suffix.removeprefix(".")
    if name not in EXPORT_FORMATS:
        raise click.UsageError(f"Say what to write: --format {'|'.join(EXPORT_FORMATS)}.")
    index = Index.open(require_index_path(index_path), mode="r")
    for path in export(index, output, name):
        write(os.fsencode(f"{path}: {len(index)} pictures\n"))
