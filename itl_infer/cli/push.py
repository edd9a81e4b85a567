"""`push`, and `check` of what was pushed: a collection of Milvus in step with an index, or with Parquet."""

from __future__ import annotations

import click

from itl_infer.cli.options import report_format_option
from itl_infer.cli.output import as_json, failure, note, write
from itl_infer.cli.progress import ProgressLine
from itl_infer.store import is_collection


class _Parameter(click.ParamType[tuple[str, float]]):
    """NAME=NUMBER."""

    name = "parameter"

    def convert(
        self, value: str | tuple[str, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        from itl_infer.milvus.address import parse_parameter

        try:
            return parse_parameter(value)
        except ValueError:
            self.fail(f"{value!r} is not a name and a number, such as M=16", param, ctx)


@click.command()
@click.argument("source", metavar="INDEX|PARQUET", type=click.Path())
@click.option(
    "--to",
    "uri",
    metavar="URI",
    required=True,
    help="Milvus: http://HOST:19530, or a file of Milvus Lite, which ends in .db.",
)
@click.option(
    "--collection", "name", metavar="NAME", required=True, help="The collection; made if it is not there."
)
@click.option(
    "--index-type",
    metavar="TYPE",
    help="FLAT, HNSW, IVF_FLAT, IVF_SQ8, AUTOINDEX, ...: built again where the collection has another.  [default: FLAT"
    " up to 100,000 pictures, HNSW up to 20 million, then IVF_SQ8; a collection that is there keeps its own]",
)
@click.option(
    "--index-param",
    "index_params",
    metavar="NAME=N",
    type=_Parameter(),
    multiple=True,
    help="How the index is built, such as M=16, efConstruction=200 or nlist=1024; repeatable.",
)
@click.option(
    "--prune", is_flag=True, help="Delete the rows of the collection that the source does not have."
)
@click.option(
    "--batch-size",
    "batch_rows",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="Pictures sent at a time.",
)
@click.option(
    "--timeout",
    "seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="How long an answer may take, and how long a cluster that went away is waited for.",
)
@report_format_option
def push(
    source: str,
    uri: str,
    name: str,
    index_type: str | None,
    index_params: tuple[tuple[str, float], ...],
    prune: bool,
    batch_rows: int,
    seconds: float,
    format_name: str,
) -> None:
    """Bring a collection of Milvus in step with an index, or with Parquet.

    INDEX is the folder of an index; PARQUET is a file that export-index wrote, or the folder or URI of the shards
    that embed-images --ray wrote. Rows are known by their paths. What the collection has already is not sent again,
    so that a run may be interrupted at any time, and the same command does the rest. What the source does not have is
    kept, as a collection may be filled from several sources; --prune deletes it.

    The collection remembers the bundle, and refuses rows and queries of another one. Where Milvus wants to know who
    asks, set MILVUS_TOKEN to a token, or USER:PASSWORD. Needs pymilvus: pip install 'itl-infer[milvus]'.

    \b
    itl-infer push photos.itl --to http://localhost:19530 --collection photos
    itl-infer push photos.itl --to photos.db --collection photos --index-type HNSW --index-param M=32
    itl-infer push s3://bucket/shards --to http://localhost:19530 --collection photos --format json
    """
    if is_collection(uri):
        raise click.UsageError("--to takes the URI alone, such as photos.db, and --collection the name.")
    from itl_infer import milvus

    with ProgressLine() as line:
        report = milvus.push(
            source,
            milvus.Address(uri, name),
            index_type=index_type,
            index_params=dict(index_params),
            prune=prune,
            batch_rows=batch_rows,
            seconds=seconds,
            progress=line.show if line.shown else None,
        )
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
    else:
        if report.kept:
            note(
                f"{report.kept} pictures of the collection are not in {source}; they are kept (--prune deletes them)"
            )
        counts = {name: value for name, value in report.to_json().items() if type(value) is int}
        shown = [
            f"{name} {value}" for name, value in counts.items() if value or name in ("added", "unchanged")
        ]
        write(
            f"{', '.join(shown)} ({report.seconds:.1f} s, {report.pictures_per_second:.1f} pictures/s)\n".encode()
        )
    if not report.added + report.updated + report.unchanged:
        raise failure(f"{source}: none of its pictures has an embedding")
