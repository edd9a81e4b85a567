"""`watch`: keeps an index in step with folders while they change."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.embed_images import paths_and_globs, remembered
from itl_infer.cli.opened import open_bundle, require_index_path
from itl_infer.cli.options import (
    CommandWithRay,
    bundle_option,
    folder_options,
    index_option,
    threads_option,
)
from itl_infer.cli.output import note, on_one_line, write

if TYPE_CHECKING:
    from itl_infer.ingest import Change


@click.command(cls=CommandWithRay)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@index_option
@bundle_option
@click.option("-j", "--workers", metavar="N", type=click.IntRange(min=1), help="Threads that read pictures.")
@threads_option
@folder_options
@click.option(
    "--poll",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="Look every so often, instead of being told by the system.",
)
@click.option(
    "--unit", is_flag=True, help="Print a unit of systemd that runs this for you, and do nothing else."
)
def watch(
    paths: tuple[str, ...],
    index_path: Path | None,
    bundle_path: Path | None,
    threads: int | None,
    unit: bool,
    **options: Any,
) -> None:
    """Keep an index in step with the pictures under each PATH, until it is stopped.

    What embed-images does, at once and again whenever something changes, with a line for each change. A new
    file is taken when it has stopped growing. Without a PATH, all that the index remembers is watched. It may
    be stopped at any time (Ctrl+C, kill): what was embedded is kept, and the next run goes on from there.

    The system tells of changes (pip install 'itl-infer[watch]'); without that, and on network drives, the
    folders are looked at every 30 seconds.

    \b
    itl-infer watch ~/Pictures -d photos.itl
    itl-infer watch -d photos.itl --poll 60
    itl-infer watch ~/Pictures -d photos.itl --unit > ~/.config/systemd/user/itl-infer.service
    """
    index_path = require_index_path(index_path, "Name the index to make or to update")
    if unit:
        write(_unit(index_path).encode(errors="surrogateescape"))
        note("Once it is in ~/.config/systemd/user: systemctl --user enable --now itl-infer.service")
        return
    from itl_infer.index import Index
    from itl_infer.ingest import watch as watch_folders

    paths, options["no_exclude"] = paths_and_globs(index_path, paths, options["no_exclude"])
    index = Index.open(index_path, open_bundle(bundle_path, threads))
    watch_folders(paths or remembered(index_path), index, _show, announce=note, **options)


def _show(change: Change) -> None:
    reason = f": {change.reason}" if change.reason else ""
    write(os.fsencode(on_one_line(f"{change.kind} {change.path}{reason}") + "\n"))


def _unit(index_path: Path) -> str:
    command = " ".join(map(_quoted, [*_program(), "watch", *_arguments(index_path)]))
    return f"""[Unit]
Description=Keeps {_escaped(on_one_line(str(index_path.absolute())))} in step with its pictures

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=30
Nice=10
IOSchedulingClass=idle

[Install]
WantedBy=default.target
"""


def _program() -> list[str]:
    beside = shutil.which("itl-infer", path=str(Path(sys.executable).parent))
    return [beside] if beside else [sys.executable, "-m", "itl_infer"]


def _arguments(index_path: Path) -> Iterator[str]:
    """Those that were given, without --unit; what they name is named from the root of the file system on."""
    ctx = click.get_current_context()
    yield from ("-d", str(index_path.absolute()))
    if (bundle_path := ctx.params["bundle_path"]) is not None:
        yield from ("-m", str(bundle_path.absolute()))
    for parameter in ctx.command.params:
        value = ctx.params[parameter.name or ""]
        if parameter.name in ("index_path", "bundle_path", "paths", "unit") or value in (None, False, ()):
            continue
        name = max(parameter.opts, key=len)
        if value is True:
            yield name
        else:
            for one in value if isinstance(value, tuple) else (value,):
                yield from (name, str(one)) if one else (name,)
    if ctx.params["paths"]:
        yield "--"
        yield from (os.path.abspath(path) for path in ctx.params["paths"])  # noqa: PTH100, links are kept


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(argument: str) -> str:
    """As systemd reads it: in quotes where that matters, its own signs doubled or written out."""
    escaped = _escaped(on_one_line(argument.replace("\\", "\\\\")).replace('"', '\\"').replace("$", "$$"))
    return f'"{escaped}"' if not escaped or any(sign in escaped for sign in " '\"\\;") else escaped
