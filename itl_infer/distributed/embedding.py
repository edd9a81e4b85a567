"""Embed pictures on a Ray cluster, into Parquet shards; what is finished is not done again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import IMAGE_GRAPH
from itl_infer.distributed.cluster import connected, map_numbers, require_cluster
from itl_infer.distributed.plan import open_plan
from itl_infer.distributed.source import (
    Location,
    Source,
    absolute,
)
from itl_infer.distributed.worker import LISTED, Piece, Worker
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS
from itl_infer.ingest import Failure, LeftOut, Note
from itl_infer.ingest.report import leave_out, left_out_as_json
from itl_infer.parquet.files import find_filesystem, is_partial, remove
from itl_infer.parquet.shards import finished_shards, shards_with_left_out
from itl_infer.progress import Progress

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from itl_infer.bundle import Bundle


@dataclass(frozen=True)
class ShardsReport:
    """What a run did. `kept` counts the pictures that were done before, whatever came of them."""

    embedded: int
    kept: int
    failed: int
    shards: int
    seconds: float
    images_per_second: float  # of those embedded
    failures: tuple[Failure, ...] = ()  # the first ones; all are in the shards
    incomplete: int = 0  # embedded, though their files are cut at the end
    notes: tuple[Note, ...] = ()  # on the first ones of these
    left_out: dict[str, LeftOut] = field(
        default_factory=dict
    )  # by ending, ".heic": what reads them is missing
    system_files: dict[str, int] = field(default_factory=dict)  # left out as a system's own: "@eaDir", "._*"

    def to_json(self) -> dict[str, Any]:
        """The report as an object for `json`."""
        return {
            **vars(self),
            "failures": [failure._asdict() for failure in self.failures],
            "notes": [note._asdict() for note in self.notes],
            "left_out": left_out_as_json(self.left_out),
        }


def embed(
    source: Location | Iterable[Location],
    out: Location,
    *,
    bundle: Bundle | None = None,
    address: str | None = None,
    cpus: float = 1,
    shard_rows: int | None = None,
    exclude: Sequence[str] = (),
    include_hidden: bool = False,
    include_system: bool = False,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> ShardsReport:
    """Embed the pictures of `source` into Parquet shards in the folder `out`, on the Ray cluster at `address`.

    `source` is a folder of pictures, a .txt file with a path or URI on each line, Parquet with a column "bytes",
    "uri" or "path" (a file, or a folder of such), or several paths and URIs of pictures. Relative names in a file are
    taken from its folder. URIs are what pyarrow knows (s3://, gs://, hdfs://, file://) or fsspec. `exclude`,
    `include_hidden` and `include_system` are as for `embed_directory`; `address` is HOST:PORT, "auto" for the cluster
    of this machine, or None: RAY_ADDRESS, or this machine alone. A worker for each share of `cpus` CPUs embeds a shard
    at a time.

    A shard has `shard_rows` rows (default: 1,024, of very many pictures up to 65,536) and the columns path, embedding
    (a list of embed_dim float32, of unit length) and error, null where there is none: else the embedding is zeros. It
    is whole or not there: however a run ends, the same call makes the shards that are missing, and no other. Pictures
    that a folder gets later are not looked for. `retry_failed` tries again, in finished shards too, those that have
    an error. Those in a format whose reader is an extra that is not installed have an error too, but are counted in
    `left_out` of the report, and tried again by each run.

    docs/cluster.md says what a node needs. Raises ClusterError where source, folder or cluster cannot be used,
    ValueError for settings that mean nothing.
    """
    if cpus <= 0 or (shard_rows is not None and shard_rows < 1):
        raise ValueError(f"cpus is {cpus}, shard_rows {shard_rows}: expected above 0, and 1 or more")
    started = time.monotonic()
    require_cluster(address)
    bundle = bundle or load_bundle()
    out = absolute(out)
    given = absolute(source) if isinstance(source, (str, os.PathLike)) else source
    pictures = Source(given, tuple(exclude), include_hidden, include_system)
    plan = open_plan(out, pictures, bundle, shard_rows)
    system, folder = find_filesystem(out)
    finished = {shard.number for shard in finished_shards(system, folder)}
    finished -= shards_with_left_out(system, folder)  # what reads these may be there by now
    # Later pieces are larger: the small ones end together.
    todo = [piece for piece in reversed(range(len(plan.pieces))) if retry_failed or piece not in finished]
    tally = _Tally(
        started, sum(plan.pieces), sum(plan.pieces[piece] for piece in finished.difference(todo)), progress
    )
    if todo:
        settings = {"out": out, "source_folder": pictures.folder, "max_megapixels": max_megapixels}
        settings |= {"threads": max(1, int(cpus)), "retry_failed": retry_failed, **_what_embeds(bundle)}
        with connected(address):
            tally.show()
            for piece in map_numbers(Worker, settings, todo, cpus):
                tally.add(piece)
        _tidy(system, folder)
    return tally.report(len(plan.pieces), plan.system_files)


def _what_embeds(bundle: Bundle) -> dict[str, Any]:
    """What a worker needs of a bundle, whose folder its machine need not have."""
    return {
        "graph": bundle.read_file(IMAGE_GRAPH),
        "rules": bundle.image_rules,
        "embed_dim": bundle.embed_dim,
        "fingerprint": bundle.fingerprint,
    }


class _Tally:
    """What all pieces come to."""

    def __init__(
        self, started: float, total: int, kept: int, progress: Callable[[Progress], None] | None
    ) -> None:
        self._started, self._total, self._progress = started, total, progress
        self._embedded, self._kept, self._failed = 0, kept, 0
        self._failures: list[Failure] = []
        self._incomplete, self._notes = 0, list[Note]()
        self._left_out: dict[str, LeftOut] = {}

    def add(self, piece: Piece) -> None:
        self._embedded += piece.embedded
        self._kept += piece.kept
        self._failed += piece.failed
        self._failures += piece.failures[: LISTED - len(self._failures)]
        self._incomplete += piece.incomplete
        self._notes += piece.notes[: LISTED - len(self._notes)]
        for suffix, found in piece.left_out.items():
            leave_out(self._left_out, suffix, found.extra, found.files)
        self.show()

    def show(self) -> None:
        if self._progress is not None:
            seconds = time.monotonic() - self._started
            left_out = sum(found.files for found in self._left_out.values())
            done = self._embedded + self._failed + left_out
            self._progress(Progress(self._kept + done, self._total, seconds, self._kept))

    def report(self, shards: int, system_files: dict[str, int]) -> ShardsReport:
        seconds = time.monotonic() - self._started
        rate = self._embedded / seconds
        return ShardsReport(
            self._embedded,
            self._kept,
            self._failed,
            shards,
            seconds,
            rate,
            tuple(self._failures),
            self._incomplete,
            tuple(self._notes),
            self._left_out,
            system_files,
        )


def _tidy(system: FileSystem, folder: str) -> None:
    """Delete what killed workers had begun to write."""
    from pyarrow import fs

    for info in system.get_file_info(fs.FileSelector(folder)):
        if is_partial(info.base_name):
            remove(system, info.path)
