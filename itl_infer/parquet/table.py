"""The one schema of a table of embeddings: path, embedding and, where pictures may have failed, error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ClusterError, reason_of

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

FINGERPRINT_METADATA = b"itl_infer.bundle"  # of the bundle, in the schema

Floats = npt.NDArray[np.float32]


def make_schema(width: int, fingerprint: str, *, with_errors: bool = False) -> pyarrow.Schema:
    """Of embeddings of `width` numbers that the bundle with that fingerprint made."""
    import pyarrow

    columns = [("path", pyarrow.string()), ("embedding", pyarrow.list_(pyarrow.float32(), width))]
    if with_errors:
        columns.append(("error", pyarrow.string()))
    return pyarrow.schema(columns, metadata={FINGERPRINT_METADATA: fingerprint})


def embedding_column(embeddings: Floats) -> pyarrow.Array:
    """(N, D) as lists of a fixed size."""
    import pyarrow

    values = pyarrow.array(embeddings.reshape(-1), pyarrow.float32())
    return pyarrow.FixedSizeListArray.from_arrays(values, embeddings.shape[1])


def embedding_rows(column: pyarrow.Array, width: int) -> Floats:
    """(N, width) of such a column, of which none is missing."""
    rows: Floats = column.flatten().to_numpy().reshape(-1, width)
    return rows


@contextlib.contextmanager
def open_table(system: FileSystem, path: str, mend: str = "") -> Iterator[Any]:
    """A Parquet file, open; what is wrong with it becomes a ClusterError, which ends with `mend`."""
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, filesystem=system) as file:
            yield file
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{path}: cannot be read: {reason_of(error)}{mend}") from error


def read_schema(path: str, schema: pyarrow.Schema, names: tuple[str, ...]) -> tuple[str, int]:
    """Fingerprint ("" where there is none) and width of a table that has those columns, of their types.

    Raises ClusterError for one that has not.
    """
    import pyarrow

    if missing := [name for name in names if name not in schema.names]:
        raise ClusterError(
            f"{path}: no column {missing[0]!r}, only {', '.join(schema.names)[:200]}: is it of itl-infer?"
        )
    width = 0
    for name in names:
        kind = schema.field(name).type
        if name == "embedding":
            expected = "fixed-size list of float32"
            fits = pyarrow.types.is_fixed_size_list(kind) and pyarrow.types.is_float32(kind.value_type)
            width = kind.list_size if fits else 0
        else:
            expected = "string"
            fits = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
            # What others write may have no type for a column of nothing but nulls: no picture failed.
            fits = fits or (name == "error" and pyarrow.types.is_null(kind))
        if not fits:
            raise ClusterError(
                f"{path}: the column {name} is {kind}, expected {expected}: is it of itl-infer?"
            )
    return (schema.metadata or {}).get(FINGERPRINT_METADATA, b"").decode(), width
