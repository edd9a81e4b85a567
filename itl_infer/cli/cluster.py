"""What `embed-images` and `batch` do on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.cli.batch import AnswerMany
    from itl_infer.distributed import Report

_TOP = 10
_RESULTS = 2**18  # found in one pass over the shards, at most


def queries_at_once(top: int | None) -> int:
    """How many queries share a pass over the shards, which costs far more than a query does."""
    return max(256, _RESULTS // (top or _TOP))


def embed_on_cluster(
    paths: Sequence[str], address: str | None, out: str | None, threads: int | None, **options: Any
) -> Report:
    """Embed one source into shards."""
    if address is None:
        raise click.UsageError("--out goes with --ray; without, embeddings go into an index: -d photos.itl.")
    if out is None:
        raise click.UsageError("Name the folder of the shards: --out shards.")
    if len(paths) != 1:
        raise click.UsageError(
            f"--ray takes one source (a folder, a .txt file or Parquet), not {len(paths)}; an address is HOST:PORT"
            " or auto."
        )
    from itl_infer.distributed import embed

    return embed(paths[0], out, address=address or None, cpus=threads or 1, **options)


@contextlib.contextmanager
def searching(
    shards: str | None, address: str | None, bundle: Bundle, top: int | None, min_score: float | None
) -> Iterator[AnswerMany]:
    """Inside, Ray is connected, and what this gives answers queries over the shards."""
    if shards is None:
        raise click.UsageError("--ray searches shards: name their folder, --shards shards.")
    from itl_infer.distributed import search
    from itl_infer.distributed.cluster import connected

    with quiet_ray(), connected(address or None):
        yield partial(search, shards=shards, bundle=bundle, k=top or _TOP, min_score=min_score)


@contextlib.contextmanager
def quiet_ray() -> Iterator[IO[str]]:
    """Keep from stderr what Ray writes to it, errors that it raises as well among it; gives the real one."""
    try:
        is_real = sys.stderr.fileno() == 2
    except (OSError, ValueError):
        is_real = False
    if not is_real:  # a test holds it
        yield sys.stderr
        return
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        with open(kept, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False) as stderr:
            yield stderr
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
