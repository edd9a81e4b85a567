"""`teach`, `names` and `forget`: names of one's own, from a few pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import (
    CommandWithMany,
    bundle_option,
    index_option,
    many_option,
    report_format_option,
    wait_option,
)
from itl_infer.cli.output import as_json, note, on_one_line, write

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.index import Index


@click.command(cls=CommandWithMany)
@click.argument("name")
@click.argument("pictures", metavar="[PICTURE]...", nargs=-1, type=click.Path())
@many_option("--not", "against", "PICTURE...", "Pictures that look like it and are not.")
@click.option("--replace", is_flag=True, help="Start over, instead of adding to what NAME knows.")
@index_option
@bundle_option
@wait_option
@report_format_option
def teach(
    name: str,
    pictures: tuple[str, ...],
    against: tuple[str, ...],
    replace: bool,
    index_path: Path | None,
    bundle_path: Path | None,
    wait: bool,
    format_name: str,
) -> None:
    """Teach NAME from a few pictures that show it, to ask for it as for a word.

    A PICTURE is a file, a folder of them, or one that the index has: by its path, or as much of its end as only one
    has. It need not be in the index. Taught again, a name knows both. One to ten pictures are enough; others that
    look like it and are not, after --not, help where it is mistaken for them.

    \b
    itl-infer teach Rex rex1.jpg rex2.jpg rex3.jpg -d photos.itl
    itl-infer teach Rex ~/Pictures/rex --not ~/Pictures/bello -d photos.itl
    itl-infer query "Rex on the beach" -d photos.itl
    """
    index = _open_index(index_path, open_bundle(bundle_path))
    report = index.teach(name, pictures, against, replace=replace, wait=wait)
    if format_name == "json":
        write(as_json(report.to_json(), indent=2))
        return
    for unread in report.failed:
        note(f"{unread.path}: {unread.error}")
    for path in report.repeated:
        note(f"{path}: known already, counted once")
    for line in report.notes:
        note(line)
    write(
        f"{on_one_line(report.name)}: {_counted(report.examples, report.against)}, {report.added} added\n".encode()
    )


@click.command()
@click.argument("action", required=False, type=click.Choice(["list", "export", "import"]))
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@index_option
@wait_option
@report_format_option
def names(
    action: str | None,
    file: Path | None,
    index_path: Path | None,
    wait: bool,
    format_name: str,
) -> None:
    """List the names that were taught, or move them: names export FILE, names import FILE.

    Behind each name: its examples, and how well they separate: each is left out in turn, and looked for among all
    pictures of the index by what the others say. Were it always first, that is 1.00; always second, 0.50.

    A file has the names with their examples, as embeddings and paths, for another index of the same bundle, for
    shards and for collections (query --names FILE). What an index knows under a name that is imported is kept.

    \b
    itl-infer names -d photos.itl
    itl-infer names export names.json -d photos.itl
    itl-infer names import names.json -d other.itl
    """
    if (file is None) == (action in ("export", "import")):
        raise click.UsageError(
            "Name a file after export or import: itl-infer names export names.json -d photos.itl."
        )
    index = _open_index(index_path)
    if action == "import":
        imported = index.import_names(file or "", wait=wait)
        write(f"{imported} names imported\n".encode())
    elif action == "export":
        index.export_names(file or "")
        write(os.fsencode(f"{file}: {len(index.names)} names\n"))
    elif format_name == "json":
        write(as_json([_as_json(index, name) for name in index.names], indent=2))
    else:
        for name in index.names:
            write(f"{on_one_line(_described(index, name))}\n".encode())
        if not index.names:
            note("Nothing was taught yet: itl-infer teach NAME PICTURE...")


@click.command()
@click.argument("name")
@index_option
@wait_option
def forget(name: str, index_path: Path | None, wait: bool) -> None:
    """Forget NAME and its examples; no picture is touched.

    \b
    itl-infer forget Rex -d photos.itl
    """
    from itl_infer.index.teach import forget as forget_name
    from itl_infer.index.writer import open_writer

    with open_writer(require_index_path(index_path), None, wait=wait) as writer:
        forget_name(writer, name)
    write(f"{on_one_line(name)}: forgotten\n".encode())


def _open_index(index_path: Path | None, bundle: Bundle | None = None) -> Index:
    from itl_infer.index import Index
    from itl_infer.index.schema import require_index

    path = require_index_path(index_path)
    require_index(path)
    return Index.open(path, bundle)


def _counted(examples: int, against: int) -> str:
    return f"{examples} example{'s' * (examples != 1)}" + (f", {against} against" if against else "")


def _described(index: Index, name: str) -> str:
    taught = index.names[name]
    gone = f", {len(taught.gone)} of them gone" if taught.gone else ""
    precision = index.separation(name)
    separates = "" if precision is None else f", left out each is found at {precision:.2f}"
    return f"{taught.name}: {_counted(len(taught.wanted), len(taught.unwanted))}{gone}{separates}"


def _as_json(index: Index, name: str) -> dict[str, Any]:
    taught = index.names[name]
    return {
        "name": taught.name,
        "examples": [example.path for example in taught.wanted],
        "against": [example.path for example in taught.unwanted],
        "gone": [example.path for example in taught.gone],
        "leave_one_out_precision": index.separation(name),
    }
