"""What one worker of a cluster does: read pictures, embed them, write a shard."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_order_ahead
from itl_infer.distributed.plan import PlanFile
from itl_infer.distributed.source import (
    CONTENT,
    NAMES,
    Entry,
    picture_column,
)
from itl_infer.encoder import ImageEncoder
from itl_infer.errors import ClusterError, ImageError, ReaderMissingError, reason_of
from itl_infer.image import load_pixels, open_picture_file
from itl_infer.ingest import Failure, LeftOut, Note
from itl_infer.ingest.report import leave_out
from itl_infer.parquet.files import find_filesystem, is_file, shown
from itl_infer.parquet.shards import (
    LeftOutRow,
    Rows,
    read_left_out,
    read_shard,
    shard_path,
    write_left_out,
    write_shard,
)
from itl_infer.store import are_unit_rows

if TYPE_CHECKING:
    from itl_infer.image import ImageRules


LISTED = 10  # failures that a report names; all are in the shards
_BATCH = 32  # pictures embedded at a time
_READ_AHEAD = 2 * _BATCH
_READERS = 4  # threads of a worker: pictures may have a long way
_BUFFER = 2**20  # bytes of a table's column in memory, beside the rows at hand


Pixels = npt.NDArray[np.uint8]


class Piece(NamedTuple):
    """What a worker did for one piece."""

    embedded: int
    kept: int
    failures: list[Failure]  # the first ones
    failed: int
    notes: list[Note]  # the first ones, on pictures that were embedded though they are cut at the end
    incomplete: int
    left_out: dict[str, LeftOut]  # by ending


class Read(NamedTuple):
    """What came of one picture."""

    pixels: Pixels | None = None
    error: str | None = None  # where there are none
    note: str | None = None
    missing: tuple[str, str] | None = None  # the ending and the extra of a format that nothing here reads


class Worker:
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
        retry_failed: bool,
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
        self._max_megapixels, self._retry_failed = max_megapixels, retry_failed
        self._encoder = ImageEncoder(
            graph, "the bundle", side=rules.side, embed_dim=embed_dim, threads=threads
        )
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="itl-read")

    def __call__(self, number: int) -> Piece:
        path = shard_path(self._folder, number)
        before, wanted = None, list[int]()
        if is_file(self._system, path):  # pictures are to be tried again; or this was done once already
            before = read_shard(self._system, path, self._embed_dim)
            left_before = read_left_out(self._system, self._folder, number)
            wanted = [found.row for found in left_before]
            if self._retry_failed or not wanted:
                wanted = [row for row, error in enumerate(before.errors) if error is not None]
        rows, tried, results = self._embed(self._plan.read(number), before, wanted)
        left = [LeftOutRow(row, *missing) for row in tried if (missing := results[row].missing) is not None]
        try:
            if before is None or len(left) < len(tried):
                # First: whatever happens behind it, these rows are tried again.
                if left:
                    write_left_out(self._system, self._folder, number, left)
                write_shard(self._system, path, rows, self._fingerprint)
                write_left_out(self._system, self._folder, number, left)
        except OSError as error:  # the disk is full, the store away
            raise ClusterError(
                f"{shown(self._out)}: shard {number} cannot be written: {reason_of(error)}; what is finished stays:"
                " see that it can be, and run again"
            ) from error
        left_out: dict[str, LeftOut] = {}
        for _, suffix, extra in left:
            leave_out(left_out, suffix, extra)
        tried_here = [row for row in tried if results[row].missing is None]
        failures = [
            Failure(rows.paths[row], why) for row in tried_here if (why := rows.errors[row]) is not None
        ]
        notes = [Note(rows.paths[row], note) for row in tried_here if (note := results[row].note) is not None]
        done, kept = len(tried_here) - len(failures), len(rows.paths) - len(tried)
        return Piece(done, kept, failures[:LISTED], len(failures), notes[:LISTED], len(notes), left_out)

    def _embed(
        self, entries: list[Entry], before: Rows | None, wanted: list[int]
    ) -> tuple[Rows, list[int], dict[int, Read]]:
        """All rows of a shard, the numbers of those that are new (all, or the wanted ones), and what came of these."""
        if before is None:
            count = sum(entry.pictures for entry in entries)
            rows = Rows([""] * count, np.zeros((count, self._embed_dim), np.float32), [None] * count)
            tried = list(range(count))
        else:
            rows, tried = before, wanted
        batch: list[tuple[int, Pixels]] = []
        results: dict[int, Read] = {}
        for row, name, found in self._pictures(entries, set(tried)):
            rows.paths[row] = os.fsencode(name).decode(errors="backslashreplace")
            rows.errors[row] = found.error
            results[row] = found._replace(pixels=None)
            if found.pixels is not None:
                batch.append((row, found.pixels))
            if len(batch) == _BATCH:
                self._embed_batch(batch, rows)
                batch.clear()
        self._embed_batch(batch, rows)
        return rows, tried, results

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

    def _pictures(self, entries: list[Entry], wanted: set[int]) -> Iterator[tuple[int, str, Read]]:
        """Row, name and what came of each wanted picture; a few are read ahead."""

        def read(picture: tuple[int, tuple[str, bytes | None]]) -> tuple[int, str, Read]:
            row, (name, content) = picture
            return row, shown(name), self._read(name, content)

        pictures = (picture for picture in enumerate(_readable(entries)) if picture[0] in wanted)
        with closing(in_order_ahead(self._readers, read, pictures, _READ_AHEAD)) as found:
            for future in found:
                yield future.result()

    def _read(self, name: str, content: bytes | None) -> Read:
        """The pixels of a picture, or why it has none."""
        try:
            if content is not None:
                return self._decode(io.BytesIO(content), name) if content else Read(error="empty (0 bytes)")
            if not name:
                return Read(error="no path or URI in this row")
            if "://" not in name:
                with open_picture_file(name) as file:
                    return self._decode(file, name)
            system, path = find_filesystem(name)
            with system.open_input_stream(path) as stream:
                content = stream.read()
            return self._decode(io.BytesIO(content), path) if content else Read(error="empty file (0 bytes)")
        except ReaderMissingError as error:
            return Read(error=error.reason, missing=(error.suffix, error.extra))
        except ImageError as error:
            return Read(error=error.reason)
        except ClusterError as error:
            return Read(error=str(error).removeprefix(f"{shown(name)}: "))
        except Exception as error:  # file systems of fsspec raise errors of their own
            return Read(error=f"cannot be read: {reason_of(error)}")

    def _decode(self, file: BinaryIO, name: str) -> Read:
        notes: list[str] = []
        pixels = load_pixels(file, self._rules, max_megapixels=self._max_megapixels, name=name, notes=notes)
        return Read(pixels, note=notes[0] if notes else None)


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
