"""Parquet shards of embeddings: path, embedding, error; each written whole, and bound to its bundle."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.distributed.files import find_filesystem, one_line, write_whole
from itl_infer.errors import ClusterError

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

_NAME = "part-{:06}.parquet"
_IS_SHARD = re.compile(r"part-(\d{6,})\.parquet")
_FINGERPRINT = b"itl_infer.bundle"


class MadeWith(NamedTuple):
    """The bundle of some embeddings, as far as shards know it."""

    name: str
    fingerprint: str
    embed_dim: int


def write_shard(
    system: FileSystem,
    folder: str,
    number: int,
    paths: list[str],
    embeddings: npt.NDArray[np.float32],
    errors: list[str | None],
    fingerprint: str,
) -> None:
    """Write N pictures: `embeddings` (N, D) float32, of which rows with an error do not count."""
    import pyarrow
    from pyarrow import parquet

    width = embeddings.shape[1]
    failed = pyarrow.array([error is not None for error in errors])
    vectors = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(embeddings.reshape(-1), pyarrow.float32()), width, mask=failed
    )
    schema = pyarrow.schema(
        [
            ("path", pyarrow.string()),
            ("embedding", pyarrow.list_(pyarrow.float32(), width)),
            ("error", pyarrow.string()),
        ],
        metadata={_FINGERPRINT: fingerprint},
    )
    table = pyarrow.Table.from_arrays(
        [pyarrow.array(paths, pyarrow.string()), vectors, pyarrow.array(errors, pyarrow.string())],
        schema=schema,
    )
    stream = pyarrow.BufferOutputStream()
    parquet.write_table(table, stream)
    write_whole(system, f"{folder}/{_NAME.format(number)}", stream.getvalue())


def finished_shards(system: FileSystem, folder: str) -> dict[int, str]:
    """The shards that are there, by number: their paths on the file system."""
    from pyarrow import fs

    found = {}
    for info in system.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        if match := _IS_SHARD.fullmatch(info.base_name):
            found[int(match[1])] = info.path
    return dict(sorted(found.items()))


def find_shards(location: str) -> tuple[FileSystem, list[str]]:
    """The shards of a folder, in order. Raises ClusterError where there are none."""
    system, folder = find_filesystem(location)
    try:
        shards = list(finished_shards(system, folder).values())
    except OSError as error:
        raise ClusterError(f"{location}: cannot be listed: {one_line(error)}") from error
    if not shards:
        raise ClusterError(
            f"{location}: no shards (part-000000.parquet, ...) in there: make them with"
            " `itl-infer embed-images PICTURES --ray --out FOLDER`"
        )
    return system, shards


def read_embeddings(
    system: FileSystem, path: str, bundle: MadeWith
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Row numbers (N,) and embeddings (N, D) of the pictures that have one. Raises ClusterError."""
    import pyarrow

    table = _read(system, path, ["embedding"])
    found = (table.schema.metadata or {}).get(_FINGERPRINT, b"").decode()
    if found != bundle.fingerprint:
        raise ClusterError(
            f"{path}: made with bundle {found[:12] or 'unknown'}, not with {bundle.name!r}"
            f" ({bundle.fingerprint[:12]}): give that one with --bundle, or embed again into another folder"
        )
    column = table.column("embedding").combine_chunks()
    expected = pyarrow.list_(pyarrow.float32(), bundle.embed_dim)
    if column.type != expected:
        raise ClusterError(f"{path}: the column embedding is {column.type}, expected {expected}")
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    values = column.drop_null().flatten().to_numpy()
    return rows, values.reshape(-1, bundle.embed_dim)


def read_paths(system: FileSystem, path: str) -> list[str]:
    """The path of each row."""
    paths: list[str] = _read(system, path, ["path"]).column("path").to_pylist()
    return paths


def _read(system: FileSystem, path: str, columns: list[str]) -> pyarrow.Table:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, filesystem=system) as file:
            names = file.schema_arrow.names
            if missing := [name for name in columns if name not in names]:
                raise ClusterError(
                    f"{path}: no column {missing[0]!r}, only {', '.join(names)}: is it a shard?"
                )
            return file.read(columns)
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{path}: cannot be read: {one_line(error)}") from error
