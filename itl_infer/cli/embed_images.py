"""`embed-images`: brings an index in step with folders of pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import (
    CommandWithRay,
    bundle_option,
    index_option,
    ray_option,
    refuse,
    report_format_option,
    threads_option,
    wait_option,
)
from itl_infer.cli.output import as_json, as_lines, describe_left_out, failure, note, write
from itl_infer.cli.progress import ProgressLine

_OF_AN_INDEX = ("index_path", "workers", "batch_size", "prune", "rebuild", "wait")


@click.command("embed-images", cls=CommandWithRay)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@index_option
@bundle_option
@click.option("-j", "--workers", metavar="N", type=click.IntRange(min=1), help="Threads that read pictures.")
@threads_option
@click.option(
    "--batch-size", metavar="N", type=click.IntRange(1, 512), help="Pictures embedded at a time, at most 512."
)
@click.option(
    "--exclude", metavar="GLOB", multiple=True, help="Leave out names or paths like this; repeatable."
)
@click.option("--include-hidden", is_flag=True, help="Take hidden files and folders too.")
@click.option(
    "--max-megapixels",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Leave out pictures that take the memory of more. JPEGs are decoded small: 800 megapixels count as 100.",
)
@click.option("--retry-failed", is_flag=True, help="Try pictures again that failed before and are unchanged.")
@click.option("--prune", is_flag=True, help="Drop the pictures of a PATH that is gone for good.")
@click.option("--rebuild", is_flag=True, help="Embed all that the index has again, with this bundle.")
@wait_option
@ray_option(
    "Embed on the Ray cluster at HOST:PORT, or auto: the one of this machine. Without: this machine alone."
)
@click.option("--out", metavar="FOLDER", help="With --ray: where the Parquet shards go, a path or URI.")
@report_format_option
def embed_images(
    paths: tuple[str, ...],
    index_path: Path | None,
    bundle_path: Path | None,
    threads: int | None,
    format_name: str,
    rebuild: bool,
    address: str | None,
    out: str | None,
    **options: Any,
) -> None:
    """Bring an index in step with the pictures under each PATH.

    New and changed pictures are embedded, unchanged and renamed ones are not, those that are gone are
    dropped. Pictures that cannot be read are listed with the reason, and do not stop the run; it may be
    interrupted and started again at any time. The index must be named, with -d or ITL_INDEX; it is made if
    it is not there. Without a PATH, all that it remembers is looked at again.

    With --ray, one PATH becomes Parquet shards of path, embedding and error. It may be a URI (s3://, gs://,
    hdfs://), a .txt file with a path or URI on each line, or Parquet with a column bytes, uri or path. Shards
    that are finished are not done again; --threads is the CPUs of a worker.

    \b
    itl-infer embed-images ~/Pictures -d photos.itl
    itl-infer embed-images ~/Pictures ~/scans -d photos.itl --exclude "*.tif" --format json
    itl-infer embed-images -d photos.itl --rebuild -m my-bundle
    itl-infer embed-images s3://bucket/pictures --ray head:6379 --out s3://bucket/shards
    """
    if address is not None or out is not None:
        refuse(_OF_AN_INDEX, "goes with an index, not with --ray")
        kept = {
            name: options[name] for name in ("exclude", "include_hidden", "max_megapixels", "retry_failed")
        }
        bundle = open_bundle(bundle_path, threads)
        _embed_on_cluster(paths, address, out, format_name, bundle=bundle, threads=threads, **kept)
        return
    index_path = require_index_path(index_path, "Name the index to make or to update")
    from itl_infer.index import Index
    from itl_infer.ingest import embed_again, embed_directory

    bundle = open_bundle(bundle_path, threads)
    with ProgressLine() as line:
        options["progress"] = line.show if line.shown else None
        if rebuild:
            index, report = embed_again(index_path, bundle, paths, **options)
        else:
            index = Index.open(index_path, bundle)
            report = embed_directory(paths or _remembered(index_path, options["prune"]), index, **options)
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
    else:
        for failed in report.failed:
            note(f"{failed.path}: {failed.error}")
        for cut in report.incomplete:
            note(f"{cut.path}: {cut.note}")
        for example in report.examples_gone:
            note(f"{example.path}: {example.error}")
        write(_describe_report(report.to_json()))
    without = len(report.failed) + sum(found.files for found in report.left_out.values())
    if without and len(index) == 0:
        raise failure(f"none of the {without} pictures could be embedded")


def _embed_on_cluster(
    paths: tuple[str, ...], address: str | None, out: str | None, format_name: str, **options: Any
) -> None:
    from itl_infer.cli.cluster import embed_on_cluster, quiet_ray

    with quiet_ray() as streams, ProgressLine(streams.stderr) as line:
        progress = line.show if line.shown else None
        report = embed_on_cluster(paths, address, out, progress=progress, **options)
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
    else:
        for failed in report.failures:
            note(f"{failed.path}: {failed.error}")
        if more := report.failed - len(report.failures):
            note(f"and {more} more: see the column error of the shards")
        for cut in report.notes:
            note(f"{cut.path}: {cut.note}")
        counts = {
            name: value for name, value in report.to_json().items() if name not in ("failures", "notes")
        }
        write(_describe_report(counts))
    without = report.failed + sum(found.files for found in report.left_out.values())
    if without and not report.embedded + report.kept:
        raise failure(f"none of the {without} pictures could be embedded; --retry-failed tries them again")


def _remembered(index_path: Path, prune: bool) -> list[str]:
    """The folders and files of an index, without those that are missing."""
    from itl_infer.index.upkeep import remembered_paths

    paths = remembered_paths(index_path)
    missing = [] if prune else [path for path in paths if not os.path.lexists(path)]
    for path in missing:
        note(f"{path} is missing; its pictures are kept (--prune drops them)")
    there = [path for path in paths if path not in missing]
    if not there:
        raise failure(f"{index_path}: nothing to embed: name a folder of pictures")
    return there


def _describe_report(report: dict[str, Any]) -> bytes:
    """The counts that always matter, and those of the others that are not 0; below, what was left out and its mend."""
    counts = {
        name: value if isinstance(value, int) else len(value)
        for name, value in report.items()
        if type(value) in (int, list)
    }
    shown = [
        f"{name.replace('_', ' ')} {count}"
        for name, count in counts.items()
        if count or name in ("embedded", "unchanged", "removed", "failed")
    ]
    left_out = {suffix: (found["files"], found["extra"]) for suffix, found in report["left_out"].items()}
    lines = [
        f"{', '.join(shown)} ({report['seconds']:.1f} s, {report['images_per_second']:.1f} pictures/s)",
        *(f"left out {found}" for found in describe_left_out(left_out)),
    ]
    return as_lines(lines)
