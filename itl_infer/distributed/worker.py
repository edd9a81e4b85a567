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
from itl_infer.errors import ClusterError, ImageError, reason_of
from itl_infer.image import load_pixels, open_picture_file
from itl_infer.ingest import Failure
from itl_infer.parquet.files import find_filesystem, is_file, shown
from itl_infer.parquet.shards import Rows, read_shard, shard_path, write_shard
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
        return Piece(done, len(rows.paths) - len(tried), failures[:LISTED], len(failures))

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

        def read(picture: tuple[int, tuple[str, bytes | None]]) -> tuple[int, str, Pixels | str]:
            row, (name, content) = picture
            return row, shown(name), self._read(name, content)

        pictures = (picture for picture in enumerate(_readable(entries)) if picture[0] in wanted)
        with closing(in_order_ahead(self._readers, read, pictures, _READ_AHEAD)) as found:
            for future in found:
                yield future.result()

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
