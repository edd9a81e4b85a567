"""Parquet shards of embeddings: path, embedding, error; each written whole, and bound to its bundle."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ClusterError, reason_of
from itl_infer.parquet.files import is_file, remove, shown, write_whole
from itl_infer.parquet.table import Floats, embedding_column, make_schema, open_table, read_schema
from itl_infer.store import Origin, are_unit_rows

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

_NAME = "part-{:06}.parquet"
_LEFT_OUT = "_left-out-{:06}"  # a name that those who read the folder as a table leave alone
_IS_LEFT_OUT = re.compile(r"_left-out-(\d{6,})")
_IS_SHARD = re.compile(r"part-(\d{6,})\.parquet")


class Shard(NamedTuple):
    """A shard that is there."""

    number: int
    path: str  # on its file system
    bytes: int


class Rows(NamedTuple):
    """What a shard holds of N pictures: rows of `embeddings` (N, D) that have an error are zeros."""

    paths: list[str]
    embeddings: Floats
    errors: list[str | None]


def shard_path(folder: str, number: int) -> str:
    return f"{folder}/{_NAME.format(number)}"


def write_shard(system: FileSystem, path: str, rows: Rows, fingerprint: str) -> None:
    """Raises OSError where it cannot be written; then there is none."""
    import pyarrow
    from pyarrow import parquet

    columns = [
        pyarrow.array(rows.paths, pyarrow.string()),
        # Zeros and no nulls where there is an error: pyarrow before 26 cannot read lists of a fixed size that are null.
        embedding_column(rows.embeddings),
        pyarrow.array(rows.errors, pyarrow.string()),
    ]
    schema = make_schema(rows.embeddings.shape[1], fingerprint, with_errors=True)
    table = pyarrow.Table.from_arrays(columns, schema=schema)
    stream = pyarrow.BufferOutputStream()
    # Embeddings do not get smaller, and hardly a number comes twice.
    compression = {"path": "zstd", "error": "zstd"}
    parquet.write_table(table, stream, compression=compression, use_dictionary=["error"])
    write_whole(system, path, [stream.getvalue()])


class LeftOutRow(NamedTuple):
    """A row of a shard whose picture nothing could read where it was tried."""

    row: int
    suffix: str  # under which such pictures are counted, ".heic"
    extra: str  # of itl-infer, which brings what reads them


def write_left_out(system: FileSystem, folder: str, number: int, rows: list[LeftOutRow]) -> None:
    """Note beside a shard which rows are to be tried again; none is written of none. Raises OSError."""
    path = f"{folder}/{_LEFT_OUT.format(number)}"
    if rows:
        write_whole(system, path, [json.dumps(rows).encode()])
    elif is_file(system, path):
        remove(system, path)


def read_left_out(system: FileSystem, folder: str, number: int) -> list[LeftOutRow]:
    """What `write_left_out` noted. Raises ClusterError."""
    path = f"{folder}/{_LEFT_OUT.format(number)}"
    if not is_file(system, path):
        return []
    try:
        with system.open_input_stream(path) as stream:
            return [LeftOutRow(*row) for row in json.loads(stream.read())]
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(f"{path}: cannot be read: {reason_of(error)}: {_AGAIN}") from error


def shards_with_left_out(system: FileSystem, folder: str) -> set[int]:
    """The numbers of the shards that have rows to be tried again. Raises OSError."""
    from pyarrow import fs

    listing = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    found = (_IS_LEFT_OUT.fullmatch(info.base_name) for info in listing)
    return {int(match[1]) for match in found if match}


def finished_shards(system: FileSystem, folder: str) -> list[Shard]:
    """The shards that are there, in order. Raises OSError."""
    from pyarrow import fs

    listing = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    files = (info for info in listing if info.type == fs.FileType.File)
    found = [(_IS_SHARD.fullmatch(info.base_name), info) for info in files]
    return sorted(Shard(int(match[1]), info.path, info.size or 0) for match, info in found if match)


def require_shards(system: FileSystem, folder: str, location: str) -> list[Shard]:
    """The shards of a folder, which is at `location`, in order. Raises ClusterError where there are none."""
    from pyarrow import ArrowException

    try:
        shards = finished_shards(system, folder)
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{shown(location)}: cannot be listed: {reason_of(error)}") from error
    if not shards:
        raise ClusterError(
            f"{shown(location)}: no shards (part-000000.parquet, ...) in there: make them with"
            " `itl-infer embed-images PICTURES --ray --out FOLDER`"
        )
    return shards


def read_embeddings(system: FileSystem, path: str, origin: Origin) -> tuple[npt.NDArray[np.int64], Floats]:
    """Row numbers (N,) and embeddings (N, D), unit rows, of the pictures that have one. Raises ClusterError."""
    table, fingerprint, width = _read(system, path, "embedding", "error")
    if fingerprint != origin.fingerprint:
        raise ClusterError(
            f"{path}: made with bundle {fingerprint[:12] or 'unknown'}, not with {origin.bundle_name!r}"
            f" ({origin.fingerprint[:12]}): give that one with --bundle, or embed again into another folder"
        )
    rows = np.flatnonzero(table.column("error").is_null().to_numpy())
    embeddings = _matrix(table, path, width, origin.embed_dim)[rows]
    if not are_unit_rows(embeddings).all():
        raise ClusterError(f"{path}: damaged: embeddings that are not of unit length: {_AGAIN}")
    return rows, embeddings


_AGAIN = "delete it, and run the same `itl-infer embed-images` again"


def _matrix(table: pyarrow.Table, path: str, width: int, embed_dim: int) -> Floats:
    """The embeddings (N, embed_dim) of all rows, where they are so wide."""
    if width != embed_dim:
        found = table.schema.field("embedding").type
        raise ClusterError(
            f"{path}: the column embedding is {found}, expected {embed_dim} numbers: is it of this bundle?"
        )
    column = table.column("embedding")
    parts = [chunk.flatten() for chunk in column.chunks]
    if column.null_count or any(part.null_count for part in parts):
        raise ClusterError(f"{path}: damaged: embeddings that are missing: {_AGAIN}")
    values = [part.to_numpy() for part in parts]
    return np.concatenate([np.empty(0, np.float32), *values]).reshape(-1, embed_dim)


def read_shard(system: FileSystem, path: str, embed_dim: int) -> Rows:
    """All that a shard holds. Raises ClusterError."""
    table, _, width = _read(system, path, "path", "embedding", "error")
    embeddings = _matrix(table, path, width, embed_dim)
    return Rows(table.column("path").to_pylist(), embeddings, table.column("error").to_pylist())


def read_paths(system: FileSystem, path: str) -> list[str]:
    """The path of each row. Raises ClusterError."""
    table, *_ = _read(system, path, "path")
    paths: list[str] = table.column("path").to_pylist()
    return paths


def _read(system: FileSystem, path: str, *columns: str) -> tuple[pyarrow.Table, str, int]:
    """These columns, with the fingerprint and the width that `read_schema` finds. Raises ClusterError."""
    with open_table(system, path, f": {_AGAIN}") as file:
        fingerprint, width = read_schema(path, file.schema_arrow, columns)
        return file.read(list(columns)), fingerprint, width
