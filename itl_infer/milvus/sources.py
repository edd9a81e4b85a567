"""What is pushed: the rows of an index folder, of a Parquet file, or of a folder of Parquet shards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ClusterError, MissingExtraError
from itl_infer.index import Index
from itl_infer.index.schema import DATABASE
from itl_infer.parquet.files import find_filesystem, shown
from itl_infer.parquet.shards import require_shards
from itl_infer.parquet.table import embedding_rows, open_table, read_schema
from itl_infer.store import Origin, are_unit_rows

if TYPE_CHECKING:
    import pyarrow

Block = tuple[list[str], npt.NDArray[np.float32]]  # n paths, embeddings (n, D)


class Source(Protocol):
    """Paths with their embeddings, in an order that does not change."""

    name: str
    origin: Origin

    def __len__(self) -> int: ...

    def blocks(self, rows: int) -> Iterator[Block]:
        """All pictures that have an embedding, `rows` at a time at most."""


def open_source(location: str | os.PathLike[str]) -> Source:
    """Open an index folder, a .parquet file, or a folder of shards, by path or URI.

    Raises IndexStoreError for an index that cannot be opened, else ClusterError.
    """
    location = os.fspath(location)
    if location.endswith(".parquet") or "://" in location:
        return _Parquet(location)
    if not (Path(location) / DATABASE).exists() and any(Path(location).glob("part-*.parquet")):
        return _Parquet(location)
    return _IndexSource(location)


class _IndexSource:
    def __init__(self, location: str) -> None:
        snapshot = Index.open(location, mode="r").snapshot
        state = snapshot.state
        self._snapshot, self.name = snapshot, location
        self.origin = Origin(state.bundle_name, state.bundle_fingerprint, state.embed_dim)

    def __len__(self) -> int:
        return len(self._snapshot)

    def blocks(self, rows: int) -> Iterator[Block]:
        for start in range(0, len(self), rows):
            block = slice(start, start + rows)
            yield self._snapshot.paths[block], self._snapshot.embeddings[block]


class _Parquet:
    """Tables with the columns path and embedding, of one bundle."""

    def __init__(self, location: str) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(f"{shown(location)}: Parquet", "pyarrow", "parquet") from error
        self.name = shown(location)
        self._system, path = find_filesystem(location)
        if location.endswith(".parquet"):
            self._files = [path]
        else:
            self._files = [shard.path for shard in require_shards(self._system, path, location)]
        origins: set[Origin] = set()
        self._rows = 0
        for path in self._files:
            with open_table(self._system, path) as file:
                schema = file.schema_arrow
                self._rows += file.metadata.num_rows
            origins.add(_origin_of(path, schema))
        if len(origins) > 1:
            prints = " and ".join(
                sorted(f"{origin.fingerprint[:12]} ({origin.embed_dim})" for origin in origins)
            )
            raise ClusterError(
                f"{self.name}: made with several bundles, {prints}: push each from a folder of its own"
            )
        [self.origin] = origins

    def __len__(self) -> int:
        return self._rows

    def blocks(self, rows: int) -> Iterator[Block]:
        for path in self._files:
            with open_table(self._system, path) as file:
                columns = {"path", "embedding", "error"} & set(file.schema_arrow.names)
                for batch in file.iter_batches(rows, columns=sorted(columns)):
                    batch = batch.filter(batch.column("embedding").is_valid())
                    if "error" in columns:
                        batch = batch.filter(batch.column("error").is_null())
                    embeddings = embedding_rows(batch.column("embedding"), self.origin.embed_dim)
                    if not are_unit_rows(embeddings).all():
                        raise ClusterError(
                            f"{path}: holds embeddings that are not of unit length: write it again"
                        )
                    paths = batch.column("path")
                    if paths.null_count:
                        raise ClusterError(f"{path}: holds a picture without a path: write it again")
                    yield paths.to_pylist(), embeddings


def _origin_of(path: str, schema: pyarrow.Schema) -> Origin:
    fingerprint, width = read_schema(path, schema, ("path", "embedding"))
    if not fingerprint:
        raise ClusterError(
            f"{path}: does not say which bundle it was made with: write it again with itl-infer export-index, or"
            " embed-images --ray"
        )
    return Origin("", fingerprint, width)
