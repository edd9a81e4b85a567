"""What `embed-images` and `batch` do with --ray."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.output import note

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.cli.batch import AnswerMany
    from itl_infer.distributed import Progress, Report

BLOCK = 2**14  # queries answered in one pass over the shards
_TOP = 10
_ADDRESS = re.compile(r"auto|ray://\S+|[^/\s]+:\d+")


def embed_on_cluster(
    paths: Sequence[str],
    address: str | None,
    out: str | None,
    bundle: Bundle,
    max_megapixels: float,
    progress: Callable[[Progress], None] | None,
) -> Report:
    """Embed one source into shards."""
    if address is None:
        raise click.UsageError("--out goes with --ray; without, embeddings go into an index: -d photos.itl.")
    if address and not _ADDRESS.fullmatch(address):  # `--ray PICTURES`: what follows it is no address
        paths, address = [address, *paths], ""
    if out is None:
        raise click.UsageError("Name the folder of the shards: --out shards.")
    if len(paths) != 1:
        raise click.UsageError(f"--ray takes one source, not {len(paths)}: a folder, a .txt file or Parquet.")
    from itl_infer.distributed import embed

    report = embed(
        paths[0],
        out,
        bundle=bundle,
        address=address or None,
        max_megapixels=max_megapixels,
        progress=progress,
    )
    if report.failed:
        note(f"{report.failed} pictures could not be embedded: see the column error of the shards in {out}")
    return report


@contextlib.contextmanager
def searching(
    shards: str | None, address: str | None, bundle: Bundle, top: int | None, asked: dict[str, Any]
) -> Iterator[AnswerMany]:
    """Inside, Ray is connected, and what this gives answers queries over the shards."""
    if shards is None:
        raise click.UsageError("Name the folder of the shards: --shards shards.")
    if others := [name for name, value in asked.items() if value not in (None, False)]:
        raise click.UsageError(
            f"--{others[0].replace('_', '-')} needs an index of one machine: -d, without --shards."
        )
    from itl_infer.distributed import search
    from itl_infer.distributed.cluster import connected

    with connected(address or None):
        yield partial(search, shards=shards, bundle=bundle, k=top or _TOP)
