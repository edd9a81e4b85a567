"""Rows that an answer names are compared with their checksums first: a damaged one must not pass for a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.errors import IndexStoreError
from itl_infer.index import schema
from itl_infer.index.disk import store_errors
from itl_infer.index.names import make_name
from itl_infer.index.rows import RECORDS, Record, as_records
from itl_infer.index.schema import State
from itl_infer.store import are_unit_rows

_AT_ONCE = 500  # rows of one question, which SQLite limits


def require_intact(
    folder: Path, state: State, rows: Mapping[int, npt.NDArray[np.float32]], name_of: Callable[[int], bytes]
) -> None:
    """Compare vectors (D,) and names with what was written of their rows. Raises IndexStoreError for one that differs.

    Where the index has been compacted or emptied since `state`, rows have other numbers, and nothing can be said of
    them; nor where it is not there any more.
    """
    try:
        with store_errors(folder), schema.reading(folder) as connection:
            if schema.read_state(connection).generation != state.generation:
                return
            records = {}
            for some in _parts(list(rows)):
                question = f"{RECORDS} WHERE row IN ({','.join('?' * len(some))})"
                records.update(
                    {record.row: record for record in as_records(connection.execute(question, some))}
                )
    except IndexStoreError:
        return  # what was read before stays as good as it was
    for row, vector in rows.items():
        if row not in records or not _is_intact(records[row], vector, name_of):
            raise IndexStoreError(
                f"{folder}: row {row} is damaged: itl-infer check --repair drops it and keeps the rest"
            )


def _is_intact(record: Record, vector: npt.NDArray[np.float32], name_of: Callable[[int], bytes]) -> bool:
    try:
        name = name_of(record.row)
    except LookupError:
        return False
    return (
        record.fits(vector.astype("<f4").tobytes())
        and name == make_name(record.picture.root, record.picture.path)
        and bool(are_unit_rows(vector[None])[0])
    )


def _parts(rows: list[int]) -> Iterator[list[int]]:
    remaining = iter(rows)
    while part := list(islice(remaining, _AT_ONCE)):
        yield part
