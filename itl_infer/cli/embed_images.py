"""`embed-images`: brings an index in step with folders of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import (
    CommandWithRay,
    bundle_option,
    folder_options,
    index_option,
    ray_option,
    refuse,
    report_format_option,
    threads_option,
    wait_option,
)
from itl_infer.cli.output import (
    as_json,
    as_lines,
    describe_left_out,
    describe_system_files,
    failure,
    note,
    write,
)
from itl_infer.cli.progress import ProgressLine

if TYPE_CHECKING:
    from itl_infer.ingest import Kept

_OF_AN_INDEX = ("index_path", "workers", "batch_size", "no_exclude", "prune", "rebuild", "wait")
_OF_BOTH = ("exclude", "include_hidden", "include_system", "max_megapixels", "retry_failed")


@click.command("embed-images", cls=CommandWithRay)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@index_option
@bundle_option
@click.option("-j", "--workers", metavar="N", type=click.IntRange(min=1), help="Threads that read pictures.")
@threads_option
@click.option(
    "--batch-size", metavar="N", type=click.IntRange(1, 512), help="Pictures embedded at a time, at most 512."
)
@folder_options
@click.option(
    "--max-megapixels",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Leave out pictures that take the memory of more. JPEGs are decoded small: 800 megapixels count as 100.",
)
@click.option("--retry-failed", is_flag=True, help="Try pictures again that failed before and are unchanged.")
@click.option("--prune", is_flag=True, help="Drop the pictures of what is away, too: it is gone for good.")
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

    New and changed pictures are embedded, unchanged and renamed ones are not, those that were deleted are
    dropped. Those of a drive or folder that is away are kept, and said to be; the exit code is 1 then.
    Pictures that cannot be read are listed with the reason, and do not stop the run; it may be interrupted
    and started again at any time. The index must be named, with -d or ITL_INDEX; it is made if it is not
    there. Without a PATH, all that it remembers is looked at again.

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
        kept = {name: options[name] for name in _OF_BOTH}
        bundle = open_bundle(bundle_path, threads)
        _embed_on_cluster(paths, address, out, format_name, bundle=bundle, threads=threads, **kept)
        return
    index_path = require_index_path(index_path, "Name the index to make or to update")
    from itl_infer.index import Index
    from itl_infer.ingest import embed_again, embed_directory

    bundle = open_bundle(bundle_path, threads)
    paths, options["no_exclude"] = paths_and_globs(index_path, paths, options["no_exclude"])
    with ProgressLine() as line:
        options |= {"progress": line.show if line.shown else None, "announce": note}
        if rebuild:
            index, report = embed_again(index_path, bundle, paths, **options)
        else:
            index = Index.open(index_path, bundle)
            report = embed_directory(paths or remembered(index_path), index, **options)
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
    else:
        for failed in report.failed:
            note(f"{failed.path}: {failed.error}")
        for cut in report.incomplete:
            note(f"{cut.path}: {cut.note}")
        for example in report.examples_gone:
            note(f"{example.path}: {example.error}")
        pictures = sum(kept.pictures for kept in report.kept)
        write(_describe_report(report.to_json() | {"kept": pictures}, report.kept))
    without = len(report.failed) + sum(found.files for found in report.left_out.values())
    if without and len(index) == 0:
        raise failure(f"none of the {without} pictures could be embedded")
    if report.kept:
        places = ", ".join(kept.path for kept in report.kept)
        raise failure(f"not seen, or not whole: {places}; what the index has of it is kept, all else is done")


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


def remembered(index_path: Path) -> list[str]:
    """The folders and files of an index."""
    from itl_infer.index.upkeep import remembered_paths

    paths = remembered_paths(index_path)
    if not paths:
        raise failure(f"{index_path}: nothing to embed: name a folder of pictures")
    return paths


def paths_and_globs(
    index_path: Path, paths: tuple[str, ...], globs: tuple[str, ...]
) -> tuple[tuple[str, ...], bool | tuple[str, ...]]:
    """What --no-exclude takes back: all, where it has no glob; a PATH may follow it, which then is no glob."""
    if not globs:
        return paths, False
    from itl_infer.files import one_form
    from itl_infer.index.remembered import read_exclusions

    known = {one_form(exclusion.glob) for exclusion in read_exclusions(index_path)}
    after = tuple(glob for glob in globs if glob and one_form(glob) not in known and Path(glob).exists())
    rest = tuple(glob for glob in globs if glob and glob not in after)
    return (*paths, *after), True if len(rest) < len(globs) else rest


def describe_kept(kept: Kept) -> str:
    if not kept.pictures:
        return f"{kept.path}: {kept.reason}"
    return f"kept {kept.pictures} of {kept.path}: {kept.reason} (--prune drops what is gone for good)"


def _describe_report(report: dict[str, Any], away: Sequence[Kept] = ()) -> bytes:
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
        *map(describe_kept, away),
        *(f"left out {found}" for found in describe_left_out(left_out)),
        *(f"left out {found}" for found in describe_system_files(report["system_files"])),
    ]
    return as_lines(lines)
