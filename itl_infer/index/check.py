"""Compare all that an index stores with what its database says of it, and drop what is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.errors import IndexStoreError
from itl_infer.files import sync, sync_folder
from itl_infer.index import names, schema
from itl_infer.index.disk import map_file, store_errors, writer_lock
from itl_infer.index.rows import Picture, checksum
from itl_infer.index.schema import DATABASE, LOCK, RowState, State, transaction
from itl_infer.index.snapshot import make_name, read_roots
from itl_infer.index.writer import locked_writer
from itl_infer.store import are_unit_rows

_BLOCK_ROWS = 2**13
_SALVAGED = f"{DATABASE}.salvaged"


@dataclass
class CheckReport:
    """What `check_index` found: nothing wrong, where `ok`."""

    rows: int = 0  # whose record, vector and name were compared
    problems: list[str] = field(default_factory=list)
    damaged_rows: list[int] = field(default_factory=list)  # what a repair drops; the next run embeds it again
    database_is_damaged: bool = False

    @property
    def ok(self) -> bool:
        return not self.problems


def check_index(path: str | os.PathLike[str], *, repair: bool = False, wait: bool = False) -> CheckReport:
    """Check the index at `path`: its database, the record, unit length, checksum and name of every row, and names.

    With `repair`, drop what is damaged and keep the rest; the report is of what was found before. Raises
    IndexStoreError where there is no index, where nothing can be saved, or where another process is writing
    it, unless told to `wait`.
    """
    folder = Path(path)
    schema.require_index(folder)
    is_writable = repair or os.access(folder, os.W_OK)
    with store_errors(folder), contextlib.ExitStack() as stack:
        if is_writable:  # else nobody writes it
            stack.enter_context(writer_lock(folder / LOCK, wait=wait))
        report = _examine(folder)
        if repair and not report.ok:
            if report.database_is_damaged:
                _salvage(folder)
                report.damaged_rows = _examine(folder).damaged_rows
            _drop(folder, report.damaged_rows)
    return report


def _examine(folder: Path) -> CheckReport:
    report = CheckReport()
    try:
        with schema.reading(folder) as connection:
            for (message,) in connection.execute("PRAGMA integrity_check(10)"):
                if message != "ok":
                    raise sqlite3.DatabaseError(message)
            _examine_rows(connection, folder, report)
            report.problems += [what for what, *_ in names.damaged(connection)]
    except sqlite3.DatabaseError as error:
        if "unable to open" in str(error):  # it may well be whole
            raise
        report.database_is_damaged = True
        report.problems.append(f"{DATABASE}: {' '.join(str(error).split())}")
    return report


def _examine_rows(connection: sqlite3.Connection, folder: Path, report: CheckReport) -> None:
    state = schema.read_state(connection)
    roots = read_roots(connection, folder)
    vectors, names = _read_vectors(state, folder, report), _read_names(state, folder, report)
    misnamed = 0
    for row, row_state, crc, picture in _records(connection):
        report.rows += 1
        if row_state == RowState.GONE:
            continue
        if not (isinstance(picture.path, bytes) and isinstance(picture.digest, bytes)):
            damage = "has no proper record"
        elif picture.root not in roots:
            damage = "belongs to no remembered folder"
        elif not 0 <= row < len(vectors):
            damage = "has no vector"
        elif checksum(picture, vectors[row].tobytes()) != crc:
            damage = "does not match its checksum"
        elif not are_unit_rows(vectors[row : row + 1])[0]:
            damage = "is not of unit length"
        else:
            misnamed += row >= len(names) or names[row] != make_name(picture.root, picture.path)
            continue
        report.damaged_rows.append(row)
        name = os.fsdecode(picture.path) if isinstance(picture.path, bytes) else "?"
        report.problems.append(f"row {row} ({name}) {damage}")
    if report.rows != state.rows:
        report.problems.append(f"{report.rows} records for {state.rows} rows")
    if misnamed:
        report.problems.append(f"{state.paths_file(folder).name}: {misnamed} names are not those on record")


def _records(connection: sqlite3.Connection) -> Iterator[tuple[int, int, int, Picture]]:
    query = "SELECT row, state, crc, root, path, size, mtime_ns, digest FROM pictures ORDER BY row"
    for row, state, crc, *picture in connection.execute(query):
        yield row, state, crc, Picture(*picture)


def _read_vectors(state: State, folder: Path, report: CheckReport) -> npt.NDArray[np.float32]:
    """The vectors that are there, (n, D), n <= rows."""
    path = state.vectors_file(folder)
    rows = min(_size(path) // (state.embed_dim * 4), state.rows)
    if rows < state.rows:
        report.problems.append(f"{path.name}: holds {rows} of {state.rows} rows")
    mapped = map_file(path, rows * state.embed_dim * 4)
    return np.frombuffer(mapped, "<f4").reshape(rows, state.embed_dim)


def _read_names(state: State, folder: Path, report: CheckReport) -> list[bytes]:
    path = state.paths_file(folder)
    length = min(_size(path), state.paths_bytes)
    if length < state.paths_bytes:
        report.problems.append(f"{path.name}: holds {length} of {state.paths_bytes} bytes")
    return bytes(map_file(path, length)).split(b"\0")[:-1]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _drop(folder: Path, rows: list[int]) -> None:
    """Drop rows, and write the files again from what the database says of the others."""
    with locked_writer(folder, None) as writer:
        for row in rows:
            writer.set_state(row, RowState.GONE)
        for _, statement, parameters in writer.ask(lambda connection: [*names.damaged(connection)]):
            writer.change(statement, *parameters)
        writer.commit()
        writer.compact()


def _salvage(folder: Path) -> None:
    """Put in place of a damaged database all of its records that can still be read."""
    salvaged = folder / _SALVAGED
    salvaged.unlink(missing_ok=True)
    salvaged.touch()
    with (
        contextlib.closing(schema.connect(folder)) as old,
        contextlib.closing(schema.connect(folder, _SALVAGED)) as new,
    ):
        try:
            state = schema.read_state(old)
            roots = old.execute("SELECT * FROM roots").fetchall()
        except (sqlite3.DatabaseError, TypeError) as error:
            raise IndexStoreError(
                f"{folder / DATABASE}: beyond repair ({error}): move {folder} away and embed again"
            ) from error
        new.execute("PRAGMA auto_vacuum = FULL")
        with transaction(new):
            schema.create(new, state)
            new.executemany("INSERT INTO roots VALUES (?, ?, ?)", roots)
            for row in range(state.rows):
                with contextlib.suppress(sqlite3.DatabaseError):
                    record = old.execute(
                        "SELECT * FROM pictures NOT INDEXED WHERE row = ?", (row,)
                    ).fetchone()
                    if record is not None:
                        new.execute("INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", record)
            with contextlib.suppress(sqlite3.DatabaseError):
                for record in old.execute("SELECT * FROM failures"):
                    new.execute("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?)", record)
            _salvage_names(old, new)
    with salvaged.open("r+b") as file:
        sync(file)
    salvaged.replace(folder / DATABASE)
    sync_folder(folder)


def _salvage_names(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """All that can still be read of what was taught; moments are computed again."""
    try:
        if not schema.has_table(old, "taught"):
            return
    except sqlite3.DatabaseError:
        return
    schema.make_taught(new)
    for table in ("taught", "examples"):
        with contextlib.suppress(sqlite3.DatabaseError):
            columns = len(new.execute(f"PRAGMA table_info({table})").fetchall())
            [(last,)] = old.execute(f"SELECT max(rowid) FROM {table} NOT INDEXED")
            for rowid in range(1, (last or 0) + 1):
                with contextlib.suppress(sqlite3.DatabaseError):
                    found = old.execute(
                        f"SELECT * FROM {table} NOT INDEXED WHERE rowid = ?", (rowid,)
                    ).fetchone()
                    if found is not None:
                        new.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", found)
