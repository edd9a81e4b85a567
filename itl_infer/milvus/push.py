"""Bring a collection in step with a source: send what is new or changed, in batches, as often as it takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ClusterError
from itl_infer.milvus.address import Address
from itl_infer.milvus.client import Connection
from itl_infer.milvus.collection import Collection
from itl_infer.milvus.engine import Engine
from itl_infer.milvus.rows import DIGEST, KEY, row_of
from itl_infer.milvus.setup import build, create_collection, engine_of, load, read_origin, require_same_origin
from itl_infer.milvus.sources import Source, open_source
from itl_infer.progress import Progress

DEFAULT_BATCH_ROWS = 1000
MOST_BATCH_ROWS = 10_000
SECONDS = 30.0  # that an answer to a batch may take, and that a cluster that went away is waited for
_BYTES_AT_ONCE = 2**25  # of a batch: Milvus takes 64 MB


@dataclass
class PushReport:
    """What a push did, in pictures. Those of the source are the first four together."""

    added: int = 0
    updated: int = 0  # their embeddings had changed
    unchanged: int = 0  # not sent
    skipped: int = 0  # without an embedding, or a path that came before
    removed: int = 0  # from the collection, as the source has them no more
    kept: int = 0  # in the collection, though the source does not have them
    seconds: float = 0.0
    pictures_per_second: float = 0.0  # of the source

    def to_json(self) -> dict[str, Any]:
        """The report as an object for `json`."""
        return asdict(self)


def push(
    source: str | os.PathLike[str],
    address: str | Address,
    *,
    index_type: str | None = None,
    index_params: Mapping[str, float] | None = None,
    prune: bool = False,
    batch_rows: int = DEFAULT_BATCH_ROWS,
    seconds: float = SECONDS,
    progress: Callable[[Progress], None] | None = None,
) -> PushReport:
    """Send the rows of an index folder, or of Parquet, to the collection at an address; made if it is not there.

    Rows are known by their paths: what the collection has already is not sent, and a row sent twice counts once, so
    that a push may be stopped at any moment and begun again. With `prune`, rows that the source does not have are
    deleted; without, they stay, as a collection may be filled from several sources.

    A new collection gets the index that suits the size of the source (`Engine.for_rows`), or the one that is named;
    one that is there is given another only where one is named. Calls to Milvus are tried again for `seconds`.

    Raises IndexStoreError for a source or a collection of another bundle, ClusterError where Milvus cannot be
    reached, or a source not be read; what was sent stays.
    """
    if not 1 <= batch_rows <= MOST_BATCH_ROWS:
        raise ValueError(f"batch_rows is {batch_rows}, expected 1 to {MOST_BATCH_ROWS}")
    address = Address.parse(address) if isinstance(address, str) else address
    rows = open_source(source)
    if len(rows) == 0:
        raise ClusterError(f"{rows.name}: no pictures in it, so nothing was pushed: embed some first")
    index_params = index_params or {}
    engine = Engine.for_rows(len(rows), index_type, index_params, of_lite=address.lite is not None)
    connection = Connection(address, seconds=seconds, create=True)
    try:
        create_collection(connection, rows.origin)
        require_same_origin(address, read_origin(connection), rows.origin)
        current = engine_of(connection)
        if current is None:
            build(connection, engine)
        elif current.differs_from(index_type, index_params):
            index_type = index_type or current.index_type
            build(connection, Engine.for_rows(len(rows), index_type, index_params))
        load(connection, wait=True)
        collection = Collection(connection)
        run = _Push(
            connection,
            collection,
            rows,
            min(batch_rows, _BYTES_AT_ONCE // (4 * rows.origin.embed_dim)),
            progress,
        )
        return run.go(prune=prune)
    finally:
        connection.close()


class _Push:
    """One run: its counts, and the keys of what it has seen."""

    def __init__(
        self,
        connection: Connection,
        collection: Collection,
        source: Source,
        batch_rows: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._connection, self._collection, self._source = connection, collection, source
        self._batch_rows, self._progress = max(1, batch_rows), progress
        self._name = connection.address.name
        self._had_rows = len(collection) > 0
        self._seen: set[bytes] = set()  # some 80 bytes a picture
        self._report, self._started = PushReport(), time.monotonic()

    def go(self, *, prune: bool) -> PushReport:
        report, done, total = self._report, 0, len(self._source)
        try:
            for paths, embeddings in self._source.blocks(self._batch_rows):
                self._send(paths, embeddings)
                done += len(paths)
                if self._progress is not None:
                    self._progress(Progress(done, total, time.monotonic() - self._started))
            report.skipped += total - done
            if prune:
                self._prune()
            # Milvus builds its index over what is flushed; what is not, it searches row by row.
            self._connection.call("flush", self._name)
            report.kept = max(0, self._collection.count() - len(self._seen))
        except ClusterError as error:
            address = self._connection.address
            raise ClusterError(
                f"{error}; {done} of {total} pictures are pushed and stay, the same command does the rest: itl-infer"
                f" push {self._source.name} --to {address.place} --collection {address.name}"
            ) from error
        report.seconds = time.monotonic() - self._started
        report.pictures_per_second = total / report.seconds
        return report

    def _send(self, paths: list[str], embeddings: npt.NDArray[np.float32]) -> None:
        report = self._report
        rows = {}
        for path, embedding in zip(paths, embeddings, strict=True):
            row = row_of(path, embedding)
            key = bytes.fromhex(row[KEY])
            if key not in self._seen:
                self._seen.add(key)
                rows[row[KEY]] = row
        report.skipped += len(paths) - len(rows)
        known = self._digests(list(rows)) if self._had_rows and rows else {}
        new = [row for key, row in rows.items() if known.get(key) != row[DIGEST]]
        if new:  # never "insert": sent again after an answer that got lost, the row would be there twice
            self._connection.call("upsert", self._name, new)
        report.updated += (updated := sum(row[KEY] in known for row in new))
        report.added += len(new) - updated
        report.unchanged += len(rows) - len(new)

    def _digests(self, keys: list[str]) -> dict[str, int]:
        found = self._connection.call(
            "query", self._name, ids=keys, output_fields=[KEY, DIGEST], consistency_level="Strong"
        )
        return {row[KEY]: row[DIGEST] for row in found}

    def _prune(self) -> None:
        gone = [
            row[KEY]
            for block in self._collection.read_all([KEY])
            for row in block
            if bytes.fromhex(row[KEY]) not in self._seen
        ]
        for start in range(0, len(gone), self._batch_rows):
            self._connection.call("delete", self._name, ids=gone[start : start + self._batch_rows])
        self._report.removed = len(gone)
