"""Compare all that an index stores with what its database says of it, and drop what is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.index import schema, taught
from itl_infer.index.codes import codes_file, problem_of_codes, write_codes
from itl_infer.index.copies import copies_are_whole, require_copies
from itl_infer.index.disk import map_file, no_writer, raise_interrupt, store_errors, writer_lock
from itl_infer.index.facts import KNOWN, RECORD, are_whole, read_records
from itl_infer.index.names import make_name
from itl_infer.index.plain import size_of
from itl_infer.index.rows import RECORDS, as_records
from itl_infer.index.salvage import copied_format, salvage
from itl_infer.index.schema import DATABASE, LOCK, RowState, State
from itl_infer.index.snapshot import read_roots
from itl_infer.index.writer import locked_writer
from itl_infer.store import are_unit_rows

# Where SQLite says one of these, the database may well be whole.
_NO_DAMAGE = ("unable to open", "locked", "I/O error", "full", "readonly")


@dataclass
class CheckReport:
    """What `check_index` found: nothing wrong, where `ok`."""

    rows: int = 0  # whose record, vector and name were compared
    problems: list[str] = field(default_factory=list)
    damaged_rows: list[int] = field(default_factory=list)  # what a repair drops; the next run embeds it again
    damaged_facts: int = 0  # rows whose date, camera and hash a repair forgets; the next run reads them again
    database_is_damaged: bool = False
    codes_are_damaged: bool = False  # which a repair makes anew; no row depends on them

    @property
    def ok(self) -> bool:
        return not self.problems


def check_index(path: str | os.PathLike[str], *, repair: bool = False, wait: bool = False) -> CheckReport:
    """Check the index at `path`: its database, and the record, unit length, checksum and name of every row.

    So are the names that were taught. Writes nothing, unless told to `repair`: then it drops what is damaged and keeps
    the rest; the report is of what was found before. Raises IndexStoreError where there is no index, where nothing can
    be saved, or where another process is writing it, unless told to `wait`.
    """
    folder = Path(path)
    lock = writer_lock if repair else no_writer
    with store_errors(folder), contextlib.ExitStack() as stack:
        schema.require_index(folder)
        if repair or os.access(folder, os.W_OK):  # else nobody writes it
            stack.enter_context(lock(folder / LOCK, wait=wait))
        report = _examine(folder, repair=repair)
        if repair and len(report.problems) > report.codes_are_damaged:
            if report.database_is_damaged:
                salvage(folder)
                report.damaged_rows = _examine(folder, repair=repair).damaged_rows
            _drop(folder, report.damaged_rows)
        if repair:
            _mend_codes(folder)
    return report


def _mend_codes(folder: Path) -> None:
    """Make the codes anew where they are missing or damaged."""
    with schema.reading(folder) as connection:
        state = schema.read_state(connection)
    if not codes_file(folder, state).exists() or problem_of_codes(folder, state):
        write_codes(folder, state)


def _examine(folder: Path, *, repair: bool) -> CheckReport:
    report = CheckReport()
    try:
        with schema.reading(folder, changes=repair) as connection:
            for (message,) in connection.execute("PRAGMA integrity_check(10)"):
                if message != "ok":
                    raise sqlite3.DatabaseError(message)
            require_copies(connection)
            _examine_rows(connection, folder, report)
            report.problems += [what for what, *_ in taught.damaged(connection)]
            if not copies_are_whole(connection):
                report.problems.append(f"{DATABASE}: the copies of bundle and folders are damaged")
    except sqlite3.DatabaseError as error:
        raise_interrupt(error)
        if any(sign in str(error) for sign in _NO_DAMAGE):
            raise
        _note_damage(report, str(error))
    except schema.NewerFormatError as error:
        if not repair or copied_format(folder) not in range(1, schema.FORMAT_VERSION + 1):
            raise
        _note_damage(report, str(error))
    except UnicodeDecodeError:  # in what SQLite itself says of the damage
        _note_damage(report, "malformed text")
    return report


def _note_damage(report: CheckReport, reason: str) -> None:
    report.database_is_damaged = True
    report.problems.append(f"{DATABASE}: {' '.join(reason.split())}")


def _examine_rows(connection: sqlite3.Connection, folder: Path, report: CheckReport) -> None:
    state = schema.read_state(connection)
    schema.require_rows(connection, folder, state)
    roots = read_roots(connection, folder)
    vectors, names = _read_vectors(state, folder, report), _read_names(state, folder, report)
    if schema.require_version(connection, folder) >= schema.WITH_FACTS:
        _examine_facts(connection, state, folder, report)
    misnamed = 0
    for record in as_records(connection.execute(f"{RECORDS} ORDER BY row")):
        report.rows += 1
        row, picture = record.row, record.picture
        if not record.is_proper:
            damage = "has no proper record"
        elif picture.root not in roots and record.state != RowState.GONE:
            damage = "belongs to no remembered folder"
        elif not 0 <= row < len(vectors):
            damage = "has no vector"
        elif not record.fits(
            vectors[row].tobytes()
        ):  # one that is gone too: its embedding may be wanted again
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
    elif len(names) != state.rows:
        report.problems.append(f"{state.paths_file(folder).name}: {len(names)} names of {state.rows} rows")
    if len(vectors) == state.rows and (problem := problem_of_codes(folder, state)):
        report.codes_are_damaged = True
        report.problems.append(problem)


def _examine_facts(connection: sqlite3.Connection, state: State, folder: Path, report: CheckReport) -> None:
    path, length = state.facts_file(folder), state.rows * RECORD.itemsize
    if size_of(path) < length:
        report.problems.append(f"{path.name}: holds {size_of(path)} of {length} bytes")
    records = read_records(folder, state)
    has_facts = connection.execute("SELECT row FROM pictures WHERE has_facts = 1 AND state <> 2")
    rows = np.array([row for (row,) in has_facts if 0 <= row < state.rows], np.int64)
    is_good = (are_whole(records) & (records["flags"] & KNOWN > 0))[rows]
    report.damaged_facts = int((~is_good).sum())
    if report.damaged_facts:
        report.problems.append(f"{path.name}: {report.damaged_facts} records are damaged")


def _read_vectors(state: State, folder: Path, report: CheckReport) -> npt.NDArray[np.float32]:
    """The vectors that are there, (n, D), n <= rows."""
    path = state.vectors_file(folder)
    rows = min(state.rows_held(folder), state.rows)
    if rows < state.rows:
        report.problems.append(f"{path.name}: holds {rows} of {state.rows} rows")
    mapped = map_file(path, rows * state.embed_dim * 4)
    return np.frombuffer(mapped, "<f4").reshape(rows, state.embed_dim)


def _read_names(state: State, folder: Path, report: CheckReport) -> list[bytes]:
    path = state.paths_file(folder)
    length = min(size_of(path), state.paths_bytes)
    if length < state.paths_bytes:
        report.problems.append(f"{path.name}: holds {length} of {state.paths_bytes} bytes")
    return bytes(map_file(path, length)).split(b"\0")[:-1]


def _drop(folder: Path, rows: list[int]) -> None:
    """Drop rows, and write the files again from what the database says of the others."""
    with locked_writer(folder, None, repairing=True) as writer:
        for row in rows:
            writer.set_state(row, RowState.GONE)
        for _, statement, parameters in writer.ask(lambda connection: [*taught.damaged(connection)]):
            writer.change(statement, *parameters)
        writer.commit()
        writer.compact()
