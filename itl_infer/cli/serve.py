"""`serve`: the page to search on."""

from __future__ import annotations

from pathlib import Path

import click

from itl_infer.cli.opened import open_names, open_store
from itl_infer.cli.options import all_of, bundle_option, names_option, store_option
from itl_infer.cli.output import failure, note
from itl_infer.errors import MissingExtraError, reason_of


@click.command()
@all_of(store_option, bundle_option, names_option)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Answer under this name too, as another machine calls this one; repeatable.",
)
@click.option(
    "--root-path",
    metavar="PATH",
    default="",
    help="Where a proxy shows the page, such as /photos, whether it takes that off requests or not.",
)
def serve(
    location: str | None,
    bundle_path: Path | None,
    names_path: Path | None,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    root_path: str,
) -> None:
    """Open a page to search on, and the same as JSON at /api.

    The page sees what other runs add to the index. Only this machine can reach it, unless --host says
    otherwise: there is no password. The API is described at /api/openapi.json. Ctrl+C stops it.
    Needs Starlette and uvicorn: pip install 'itl-infer[serve]'.

    \b
    itl-infer serve -d photos.itl
    itl-infer serve -d photos.itl --host 0.0.0.0 --allow-host nas.local --port 80
    itl-infer serve -d photos.itl --root-path /photos --allow-host www.example.org
    itl-infer serve -d milvus:http://localhost:19530#photos --names photos.itl
    """
    try:
        from itl_infer.web import HostRule
        from itl_infer.web import serve as run
        from itl_infer.web.below import parse_root_path
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("itl_infer"):
            raise
        raise MissingExtraError("serve", error.name or "Starlette", "serve") from error
    from itl_infer.bundle import load_bundle

    try:
        root_path = parse_root_path(root_path)
    except ValueError as error:
        raise click.UsageError(f"--root-path: {error}.") from error
    bundle = load_bundle(bundle_path, threads=1)  # requests are many, each is small
    names = open_names(names_path, bundle)
    store = open_store(location, bundle)
    try:
        rule = HostRule(host, hosts)
        run(store, host, port, rule, lambda url: note(_describe(len(store), url)), root_path, names, log=note)
    except OSError as error:
        reason = reason_of(error).partition(" (")[0]
        raise failure(f"cannot listen at {host}, port {port}: {reason}: name another --port") from error


def _describe(pictures: int, url: str) -> str:
    empty = "" if pictures else "; the page says how to add some"
    return f"{pictures} pictures at {url} (Ctrl+C stops{empty})"
