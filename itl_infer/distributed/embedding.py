"""Embed pictures on a Ray cluster, into Parquet shards; what is finished is not done again."""

from __future__ import annotations

import io
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import IMAGE_GRAPH
from itl_infer.distributed.cluster import connected, map_numbers, require_cluster
from itl_infer.distributed.plan import PlanFile, open_plan
from itl_infer.distributed.source import (
    CONTENT,
    NAMES,
    Entry,
    Location,
    Source,
    absolute,
    picture_column,
)
from itl_infer.encoder import ImageEncoder
from itl_infer.errors import ClusterError, ImageError, reason_of
from itl_infer.image import DEFAULT_MAX_MEGAPIXELS, load_pixels, open_picture_file
from itl_infer.ingest import Failure
from itl_infer.parquet.files import find_filesystem, is_file, is_partial, remove, shown
from itl_infer.parquet.shards import Rows, finished_shards, read_shard, shard_path, write_shard
from itl_infer.progress import Progress
from itl_infer.store import are_unit_rows

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from itl_infer.bundle import Bundle
    from itl_infer.image import ImageRules

_BATCH = 32  # pictures embedded at a time
_READ_AHEAD = 2 * _BATCH
_READERS = 4  # threads of a worker: pictures may have a long way
_LISTED = 10  # failures that a report names; all are in the shards
_BUFFER = 2**20  # bytes of a table's column in memory, beside the rows at hand

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Report:
    """What a run did. `kept` counts the pictures that were done before, whatever came of them."""

    embedded: int
    kept: int
    failed: int
    shards: int
    seconds: float
    images_per_second: float  # of those embedded
    failures: tuple[Failure, ...] = ()  # the first ones; all are in the shards

    def to_json(self) -> dict[str, Any]:
        """The report as an object for `json`."""
        return {**vars(self), "failures": [failure._asdict() for failure in self.failures]}


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
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Embed the pictures of `source` into Parquet shards in the folder `out`, on the Ray cluster at `address`.

    `source` is a folder of pictures, a .txt file with a path or URI on each line, Parquet with a column "bytes",
    "uri" or "path" (a file, or a folder of such), or several paths and URIs of pictures. Relative names in a file are
    taken from its folder. URIs are what pyarrow knows (s3://, gs://, hdfs://, file://) or fsspec. `exclude` and
    `include_hidden` are as for `embed_directory`.

    A shard has the columns path, embedding (a list of embed_dim float32, of unit length) and error, null where there
    is none: else the embedding is zeros. It is whole or not there, and has `shard_rows` pictures (default: 1,024, of
    very many up to 65,536).

    What there is to do is written to `out` first: however a run ends, the same call does the shards that are missing,
    and nothing else. Pictures that a folder gets later are not looked for. `retry_failed` tries again, in finished
    shards too, the pictures that have an error.

    A worker for each share of `cpus` CPUs gets the bundle through Ray's object store. It reads a few pictures ahead
    of those it embeds: what it needs of memory, beside a shard's embeddings, does not grow with their number.
    `address` is HOST:PORT, "auto" for the cluster of this machine, or None: RAY_ADDRESS, or this machine alone.

    A node needs Python and Ray in the versions that are used here, as Ray demands, and this version of itl-infer:
    `pip install 'itl-infer[ray]'` in its image, or a runtime environment (`ray.init(address, runtime_env={"pip":
    [...]})` before the call). It shares no files with this machine but what source and `out` name: URIs whose
    credentials it has, or folders that are mounted on every node under the same path.

    Raises ClusterError where source, folder or cluster cannot be used, ValueError for settings that mean nothing.
    """
    if cpus <= 0 or (shard_rows is not None and shard_rows < 1):
        raise ValueError(f"cpus is {cpus}, shard_rows {shard_rows}: expected above 0, and 1 or more")
    started = time.monotonic()
    require_cluster(address)
    bundle = bundle or load_bundle()
    out = absolute(out)
    given = absolute(source) if isinstance(source, (str, os.PathLike)) else source
    pictures = Source(given, tuple(exclude), include_hidden)
    plan = open_plan(out, pictures, bundle, shard_rows)
    system, folder = find_filesystem(out)
    finished = {shard.number for shard in finished_shards(system, folder)}
    # Later pieces are larger: the small ones end together.
    todo = [piece for piece in reversed(range(len(plan.pieces))) if retry_failed or piece not in finished]
    tally = _Tally(
        started, sum(plan.pieces), sum(plan.pieces[piece] for piece in finished.difference(todo)), progress
    )
    if todo:
        settings = {
            "out": out,
            "source_folder": pictures.folder,
            "graph": bundle.read_file(IMAGE_GRAPH),
            "rules": bundle.image_rules,
            "embed_dim": bundle.embed_dim,
            "fingerprint": bundle.fingerprint,
            "threads": max(1, int(cpus)),
            "max_megapixels": max_megapixels,
        }
        with connected(address):
            tally.show()
            for piece in map_numbers(_Worker, settings, todo, cpus):
                tally.add(piece)
        _tidy(system, folder)
    return tally.report(len(plan.pieces))


class Piece(NamedTuple):
    """What a worker did for one piece."""

    embedded: int
    kept: int
    failures: list[Failure]  # the first ones
    failed: int


class _Tally:
    """What all pieces come to."""

    def __init__(
        self, started: float, total: int, kept: int, progress: Callable[[Progress], None] | None
    ) -> None:
        self._started, self._total, self._progress = started, total, progress
        self._embedded, self._kept, self._failed = 0, kept, 0
        self._failures: list[Failure] = []

    def add(self, piece: Piece) -> None:
        self._embedded += piece.embedded
        self._kept += piece.kept
        self._failed += piece.failed
        self._failures += piece.failures[: _LISTED - len(self._failures)]
        self.show()

    def show(self) -> None:
        if self._progress is not None:
            seconds = time.monotonic() - self._started
            done = self._embedded + self._failed
            self._progress(Progress(self._kept + done, self._total, seconds, self._kept))

    def report(self, shards: int) -> Report:
        seconds = time.monotonic() - self._started
        rate = self._embedded / seconds
        failures = tuple(self._failures)
        return Report(self._embedded, self._kept, self._failed, shards, seconds, rate, failures)


def _tidy(system: FileSystem, folder: str) -> None:
    """Delete what killed workers had begun to write."""
    from pyarrow import fs

    for info in system.get_file_info(fs.FileSelector(folder)):
        if is_partial(info.base_name):
            remove(system, info.path)


class _Worker:
    """Embeds pieces of the plan, on whatever machine Ray starts it."""

    def __init__(
        self,
        out: str,
        source_folder: str,
        graph: bytes,
        rules: ImageRules,
        embed_dim: int,
        fingerprint: str,
        threads: int,
        max_megapixels: float,
    ) -> None:
        for folder in (out, source_folder):
            if folder and "://" not in folder and not Path(folder).is_dir():
                raise ClusterError(
                    f"{folder}: node {socket.gethostname()} does not see this folder: give one that all nodes share,"
                    " or a URI such as s3://bucket/folder"
                )
        self._system, self._folder = find_filesystem(out)
        self._plan = PlanFile(self._system, self._folder)
        self._out, self._rules, self._embed_dim, self._fingerprint = out, rules, embed_dim, fingerprint
        self._max_megapixels = max_megapixels
        self._encoder = ImageEncoder(
            graph, "the bundle", side=rules.side, embed_dim=embed_dim, threads=threads
        )
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="itl-read")

    def __call__(self, number: int) -> Piece:
        path = shard_path(self._folder, number)
        before = None
        if is_file(
            self._system, path
        ):  # pictures that failed are to be tried again; or this was done once already
            before = read_shard(self._system, path, self._embed_dim)
        rows, tried = self._embed(self._plan.read(number), before)
        try:
            if tried:
                write_shard(self._system, path, rows, self._fingerprint)
        except OSError as error:  # the disk is full, the store away
            raise ClusterError(
                f"{shown(self._out)}: shard {number} cannot be written: {reason_of(error)}; what is finished stays:"
                " see that it can be, and run again"
            ) from error
        failures = [Failure(rows.paths[row], why) for row in tried if (why := rows.errors[row]) is not None]
        done = len(tried) - len(failures)
        return Piece(done, len(rows.paths) - len(tried), failures[:_LISTED], len(failures))

    def _embed(self, entries: list[Entry], before: Rows | None) -> tuple[Rows, list[int]]:
        """All rows of a shard, and the numbers of those that are new: all, or those that had failed."""
        if before is None:
            count = sum(entry.pictures for entry in entries)
            rows = Rows([""] * count, np.zeros((count, self._embed_dim), np.float32), [None] * count)
            tried = list(range(count))
        else:
            rows = before
            tried = [row for row, error in enumerate(rows.errors) if error is not None]
        batch: list[tuple[int, Pixels]] = []
        for row, name, found in self._pictures(entries, set(tried)):
            rows.paths[row] = os.fsencode(name).decode(errors="backslashreplace")
            rows.errors[row] = found if isinstance(found, str) else None
            if not isinstance(found, str):
                batch.append((row, found))
            if len(batch) == _BATCH:
                self._embed_batch(batch, rows)
                batch.clear()
        self._embed_batch(batch, rows)
        return rows, tried

    def _embed_batch(self, batch: list[tuple[int, Pixels]], rows: Rows) -> None:
        if not batch:
            return
        embeddings = self._encoder.embed(np.stack([pixels for _, pixels in batch]))
        are_unit = are_unit_rows(embeddings)
        for (row, _), embedding, is_unit in zip(batch, embeddings, are_unit, strict=True):
            if is_unit:
                rows.embeddings[row] = embedding
            else:
                rows.errors[row] = "the bundle gave it no unit vector: itl-infer bundle verify"

    def _pictures(self, entries: list[Entry], wanted: set[int]) -> Iterator[tuple[int, str, Pixels | str]]:
        """Row, name and pixels of each wanted picture, or why it has none; a few are read ahead."""
        window: deque[tuple[int, str, Future[Pixels | str]]] = deque()
        for row, (name, content) in enumerate(_readable(entries)):
            if row not in wanted:
                continue
            window.append((row, shown(name), self._readers.submit(self._read, name, content)))
            if len(window) == _READ_AHEAD:
                first, name, future = window.popleft()
                yield first, name, future.result()
        for row, name, future in window:
            yield row, name, future.result()

    def _read(self, name: str, content: bytes | None) -> Pixels | str:
        """The pixels of a picture, or why it has none."""
        try:
            if content is not None:
                return self._decode(io.BytesIO(content)) if content else "empty (0 bytes)"
            if not name:
                return "no path or URI in this row"
            if "://" not in name:
                with open_picture_file(name) as file:
                    return self._decode(file)
            system, path = find_filesystem(name)
            with system.open_input_stream(path) as stream:
                content = stream.read()
            return self._decode(io.BytesIO(content)) if content else "empty file (0 bytes)"
        except ImageError as error:
            return error.reason
        except ClusterError as error:
            return str(error).removeprefix(f"{shown(name)}: ")
        except Exception as error:  # file systems of fsspec raise errors of their own
            return f"cannot be read: {reason_of(error)}"

    def _decode(self, file: BinaryIO) -> Pixels:
        return load_pixels(file, self._rules, max_megapixels=self._max_megapixels)


def _readable(entries: list[Entry]) -> Iterator[tuple[str, bytes | None]]:
    """The location of each picture, or its name and content where a table has that."""
    for entry in entries:
        if entry.row_group < 0:
            yield entry.location, None
        else:
            yield from _rows_of_table(entry)


def _rows_of_table(entry: Entry) -> Iterator[tuple[str, bytes | None]]:
    """Name and content of some rows of a table; a few at a time in memory."""
    from pyarrow import ArrowException, parquet

    system, path = find_filesystem(entry.location)
    try:
        with parquet.ParquetFile(path, filesystem=system, pre_buffer=False, buffer_size=_BUFFER) as file:
            picture_column(file.schema_arrow, entry.location)
            names = [name for name in NAMES if name in file.schema_arrow.names]
            start = 0
            for batch in file.iter_batches(_BATCH, [entry.row_group], [CONTENT, *names]):
                first, end = max(0, entry.first - start), min(len(batch), entry.end - start)
                for row, values in enumerate(
                    batch.slice(first, max(0, end - first)).to_pylist(), start + first
                ):
                    name = next((values[name] for name in names if values[name]), None)
                    unnamed = f"{entry.location}#{entry.row_group}.{row}"
                    yield str(name or unnamed), values[CONTENT] or b""
                start += len(batch)
                if start >= entry.end:
                    return
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{shown(entry.location)}: cannot be read: {reason_of(error)}") from error
