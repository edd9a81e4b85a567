"""`status`, `check`, `prune` and `export-index`: looking after an index."""

from __future__ import annotations

import os
from pathlib import Path

import click

from itl_infer.cli.opened import require_index_path
from itl_infer.cli.options import (
    index_option,
    report_format_option,
    wait_option,
)
from itl_infer.cli.output import as_json, describe_left_out, describe_system_files, note, on_one_line, write


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
            f"folder       {root.folder}: {root.pictures} pictures"
            f"{', folder missing' if root.is_missing else ', folder empty' if root.is_empty else ''}"
            for root in status.roots
        ),
        *(f"excluded     {exclusion.glob} in {exclusion.folder}" for exclusion in status.exclusions),
        *(f"left out     {found}" for found in describe_left_out(status.left_out)),
        *(f"left out     {found}" for found in describe_system_files(status.system_files)),
        *(f"failure      {failure.path}: {failure.error}" for failure in status.failures),
    ]
    write(os.fsencode("".join(f"{on_one_line(line)}\n" for line in lines)))


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
