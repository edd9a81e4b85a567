"""`publish`: an index as a page without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import all_of, bundle_option, index_option, refuse, report_format_option
from itl_infer.cli.output import as_json, failure, note, write
from itl_infer.cli.progress import ProgressLine

_SIDES = click.IntRange(32, 2048)
_NOTED = 20  # pictures that are left out and told one by one
_OF_WRITING = (
    *("index_path", "bundle_path", "title", "side", "originals", "base_url"),
    *("names", "taught", "single_file", "workers"),
)


@click.command()
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@all_of(index_option, bundle_option)
@click.option(
    "--title", metavar="TEXT", default="Pictures", show_default=True, help="What the page is called."
)
@click.option(
    "--thumbnails",
    "side",
    metavar="PIXELS",
    type=_SIDES,
    default=320,
    show_default=True,
    help="Longer side of a thumbnail, from 32 to 2048.",
)
@click.option(
    "--originals",
    type=click.Choice(["none", "link", "copy"]),
    help="What to show of the originals: nothing, links to where they are, or copies beside the page.  [default: none,"
    " with --base-url link]",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Where the originals are on the web: each picture links to URL and its path in the folder that was embedded.",
)
@click.option(
    "--names",
    type=click.Choice(["show", "hide"]),
    default="show",
    show_default=True,
    help="Show file names and folders, or call pictures by hashes.",
)
@click.option(
    "--taught", is_flag=True, help="Write the names that were taught too, so that the page knows them."
)
@click.option(
    "--single-file", is_flag=True, help="One file, which opens from a disk too; up to 2,000 pictures."
)
@click.option(
    "-j", "--workers", metavar="N", type=click.IntRange(min=1), help="Threads that make thumbnails."
)
@click.option(
    "--check", is_flag=True, help="Write nothing: compare what was published at OUT with its manifest."
)
@report_format_option
def publish(
    out: Path,
    index_path: Path | None,
    check: bool,
    format_name: str,
    **options: Any,
) -> None:
    """Write a page that answers searches without a server, to put on any web host, or on a stick.

    OUT is a folder that is new, empty, or was published before; with --single-file it may be an .html file. The page
    is that of serve, and answers in the visitor's browser: it asks no one else. Only what changed is written when it
    is published again, and what is there stays whole until the new version is. What becomes public is said before
    anything is written.

    \b
    itl-infer publish -d photos.itl site --title "Our summer"
    itl-infer publish -d photos.itl site --base-url https://example.org/photos
    itl-infer publish -d photos.itl summer.html --single-file --names hide
    itl-infer publish -d photos.itl site --taught      finds "Rex on the beach", after: itl-infer teach Rex ...
    itl-infer publish site --check
    """
    if check:
        refuse(_OF_WRITING, "does not go with --check")
        _check(out, format_name)
        return
    from itl_infer.index import Index
    from itl_infer.publish import Originals, Publication
    from itl_infer.publish.originals import Mode
    from itl_infer.publish.sites import is_html

    originals, base_url = options["originals"], options["base_url"]
    if base_url is not None and originals in ("none", "copy"):
        raise click.UsageError(f"--base-url goes with --originals link, not with {originals}.")
    if is_html(out) and not options["single_file"]:
        raise click.UsageError(f"{out} is the name of one file: add --single-file, or name a folder.")
    index_path = require_index_path(index_path)
    index = Index.open(index_path, open_bundle(options["bundle_path"]), mode="r")
    mode: Mode = originals or ("none" if base_url is None else "link")
    publication = Publication(
        index,
        out,
        title=options["title"],
        side=options["side"],
        originals=Originals(mode, base_url, out if not is_html(out) else out.parent),
        hide_names=options["names"] == "hide",
        single_file=options["single_file"],
        taught=options["taught"],
    )
    note(publication.describe())
    with ProgressLine() as line:
        report = publication.write(workers=options["workers"], progress=line.show if line.shown else None)
    for left_out in report.left_out[:_NOTED]:
        note(f"{left_out.path}: {left_out.error}; left out")
    if len(report.left_out) > _NOTED:
        note(f"and {len(report.left_out) - _NOTED} more pictures are left out")
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
        return
    write(
        f"{report.pictures} pictures, {report.thumbnails_made} thumbnails made, {report.thumbnails_kept} kept,"
        f" {report.files_written} files written, {report.files_removed} removed,"
        f" {len(report.left_out)} pictures left out ({report.seconds:.1f} s)\n".encode()
    )
    if options["single_file"]:
        note(f"Open {out if is_html(out) else out / 'index.html'} in a browser.")
    else:
        note(f"To look at it: python -m http.server -d {out}, and open http://localhost:8000")


def _check(out: Path, format_name: str) -> None:
    from itl_infer.publish import check_published

    report = check_published(out)
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
    else:
        for problem in report.problems:
            note(problem)
        write(f"{report.files} files, {len(report.problems)} problems\n".encode())
    if report.problems:
        raise failure(f"{out}: not what was published: remove what is damaged, and publish again")
