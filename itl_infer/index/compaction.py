"""The next generation of an index: its files without the rows that are gone, in the order that readers saw."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.files import sync, sync_folder
from itl_infer.index import schema
from itl_infer.index.disk import map_file
from itl_infer.index.facts import KNOWN, RECORD, are_whole, read_records
from itl_infer.index.names import make_name
from itl_infer.index.paths import Layout
from itl_infer.index.plain import make_anew
from itl_infer.index.schema import State, transaction

_BLOCK_ROWS = 2**14  # rows copied at a time: 8 MiB at 128 columns

Rows = npt.NDArray[np.int64]


def compact(folder: Path, connection: sqlite3.Connection, old: State) -> None:
    """Write the next generation, whole on the disk, before the database turns to it in one transaction.

    Until then the new files are nothing, and the old ones count.
    """
    schema.require_rows(connection, folder, old)
    order = _kept_rows(connection, old)
    without_facts = _write_facts(folder, connection, old, order)
    new = _write_generation(folder, connection, old, order)
    with transaction(connection):
        connection.executemany("UPDATE pictures SET has_facts = 0 WHERE row = ?", without_facts)
        _renumber(connection, order)
        schema.write_state(connection, new)


def _kept_rows(connection: sqlite3.Connection, state: State) -> Rows:
    """The rows to keep: the live ones in the order of a reader's view, then those set aside."""
    hidden = np.setdiff1d(np.arange(state.rows), _rows(connection, "state = 0"), assume_unique=True)
    return np.concatenate([Layout.around(hidden, state.rows).rows(), _rows(connection, "state = 1")])


def _rows(connection: sqlite3.Connection, where: str) -> Rows:
    found = connection.execute(f"SELECT row FROM pictures WHERE {where} ORDER BY row")
    return np.array([row for (row,) in found], np.int64)


def _write_generation(folder: Path, connection: sqlite3.Connection, old: State, order: Rows) -> State:
    new = replace(old, generation=old.next_generation, rows=len(order))
    needed = int(order.max(initial=-1)) + 1  # after a repair, the end of the file may be missing
    mapped = map_file(old.vectors_file(folder), needed * old.embed_dim * 4)
    vectors = np.frombuffer(mapped, "<f4").reshape(needed, old.embed_dim)
    with make_anew(new.vectors_file(folder)) as file:
        for start in range(0, len(order), _BLOCK_ROWS):
            file.write(vectors[order[start : start + _BLOCK_ROWS]].tobytes())
        sync(file)
    with make_anew(new.paths_file(folder)) as file:
        for row in order.tolist():
            found = connection.execute("SELECT root, path FROM pictures WHERE row = ?", (row,))
            file.write(make_name(*found.fetchone()) + b"\0")
        sync(file)
        paths_bytes = file.tell()
    sync_folder(folder)
    return replace(new, paths_bytes=paths_bytes)


def _write_facts(folder: Path, connection: sqlite3.Connection, old: State, order: Rows) -> list[tuple[int]]:
    """The next file of facts, without what is damaged; the rows of which it says nothing, though it should."""
    records = read_records(folder, old)
    said = _rows(
        connection, "has_facts = 1 AND state <> 2"
    )  # those that are dropped may be of rows beyond all files
    is_said = np.zeros(old.rows, bool)
    is_said[said] = True
    is_good = is_said & are_whole(records) & (records["flags"] & KNOWN > 0)
    records[~is_good] = np.zeros(1, RECORD)
    with make_anew(replace(old, generation=old.next_generation).facts_file(folder)) as file:
        file.write(records[order].tobytes())
        sync(file)
    return [(row,) for row in said[~is_good[said]].tolist()]


def _renumber(connection: sqlite3.Connection, order: Rows) -> None:
    """Give the kept rows the numbers of their new places; most have them already."""
    connection.execute("DELETE FROM pictures WHERE state = 2")
    moved = np.flatnonzero(order != np.arange(len(order)))
    # By way of negative numbers, as a new place may not be free yet.
    connection.executemany(
        "UPDATE pictures SET row = ? WHERE row = ?",
        zip((-1 - moved).tolist(), order[moved].tolist(), strict=True),
    )
    connection.execute("UPDATE pictures SET row = -1 - row WHERE row < 0")
