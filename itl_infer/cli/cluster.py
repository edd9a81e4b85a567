"""What `embed-images` and `batch` do on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TextIO

import click

from itl_infer.cli.options import DEFAULT_TOP

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.distributed.embedding import ShardsReport
    from itl_infer.search import AnswerMany
    from itl_infer.teaching import Names

_RESULTS = 2**18  # found in one pass over the shards, at most


def queries_at_once(top: int | None) -> int:
    """How many queries share a pass over the shards, which costs far more than a query does."""
    return max(256, _RESULTS // (top or DEFAULT_TOP))


def embed_on_cluster(
    paths: Sequence[str], address: str | None, out: str | None, threads: int | None, **options: Any
) -> ShardsReport:
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
    shards: str | None,
    address: str | None,
    bundle: Bundle,
    top: int | None,
    min_score: float | None,
    names: Names | None = None,
) -> Iterator[tuple[AnswerMany, Callable[[bytes], None]]]:
    """Inside, Ray is connected; what answers queries over the shards, and what writes to stdout."""
    if shards is None:
        raise click.UsageError("--ray searches shards: name their folder, --shards shards.")
    from itl_infer.distributed import search
    from itl_infer.distributed.cluster import connected
    from itl_infer.teaching import NO_NAMES

    with quiet_ray() as streams, connected(address or None):
        yield (
            partial(
                search,
                shards=shards,
                bundle=bundle,
                k=top or DEFAULT_TOP,
                min_score=min_score,
                names=NO_NAMES if names is None else names,
            ),
            streams.write,
        )


class Streams(NamedTuple):
    """The real ones."""

    stdout: BinaryIO
    stderr: TextIO

    def write(self, content: bytes) -> None:
        self.stdout.write(content)
        self.stdout.flush()


@contextlib.contextmanager
def quiet_ray() -> Iterator[Streams]:
    """Keep from stdout and stderr what Ray writes to both, such as what is raised as well; gives the real ones."""
    try:
        are_real = (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
    except (OSError, ValueError):
        are_real = False
    if not are_real:  # a test holds them
        yield Streams(sys.stdout.buffer, sys.stderr)
        return
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context(open(stack.enter_context(_silenced(sys.stdout)), "wb", closefd=False))
        file = stack.enter_context(_silenced(sys.stderr))
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
        yield Streams(
            stdout, stack.enter_context(open(file, "w", encoding=encoding, errors=errors, closefd=False))
        )


@contextlib.contextmanager
def _silenced(stream: TextIO) -> Iterator[int]:
    """What is written to the stream goes nowhere; gives another descriptor of where it went."""
    stream.flush()
    kept = os.dup(stream.fileno())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    try:
        yield kept
    finally:
        stream.flush()
        os.dup2(kept, stream.fileno())
        os.close(kept)
