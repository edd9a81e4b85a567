"""The one writer of an index: bytes are put on the disk first, and count from the SQLite commit on.

Whatever happens to the machine, the database therefore only ever speaks of bytes that the disk has; what a
writer that was cut off left behind the last row that counts is written over by the next.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from itl_infer.errors import IndexStoreError
from itl_infer.files import sync_folder
from itl_infer.index import schema
from itl_infer.index.codes import codes_file, extend_codes
from itl_infer.index.compaction import compact
from itl_infer.index.copies import require_copies, write_copies
from itl_infer.index.damage import Damage
from itl_infer.index.disk import store_errors, write_at, writer_lock
from itl_infer.index.facts import NOTHING, RECORD, are_whole, make_file, pack, unpack
from itl_infer.index.names import make_name
from itl_infer.index.own import require_own_tables
from itl_infer.index.plain import open_plain, require_plain_database
from itl_infer.index.roots import Root, resolve_location, store_location
from itl_infer.index.rows import RECORDS, FailedFile, Picture, as_records, checksum
from itl_infer.index.schema import RowState, State, transaction
from itl_infer.index.snapshot import read_roots

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.image import Facts


T = TypeVar("T")
_GONE_SHARE = 1 / 4  # of all rows, from which on a compaction is worth its while
_SPARE_BYTES = 2**24  # what a compaction that nobody asked for leaves free on the disk

_INSERT_PICTURE = """
    INSERT INTO pictures (row, root, path, size, mtime_ns, digest, crc, has_facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class _Addition(NamedTuple):
    """A row to be added; one object, so that an interrupt never parts its vector from its name."""

    picture: Picture
    vector: bytes
    record: bytes


class _Statement(NamedTuple):
    """Any other change."""

    sql: str
    parameters: tuple[object, ...]


class Writer:
    """Changes an index: all that is called between two commits is on the disk after the second, or nothing.

    One thread makes the changes; others may `execute` questions meanwhile.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = threading.Lock()  # two threads in one statement would get each other's answers
        self.state = schema.read_state(connection)
        self._last_root = max(self.roots(), default=0)
        connection.execute("CREATE TEMP TABLE commits AS SELECT 0 AS number")
        self._commits, self._committing = 0, self.state  # the last commit, and what is so after the next
        self._forget_pending()
        self._numbers: dict[str, dict[tuple[object, ...], int]] = {}

    def _forget_pending(self) -> None:
        self._changes: list[_Addition | _Statement] = []
        self.pending = 0  # rows added since the last commit

    def change(self, sql: str, *parameters: object) -> None:
        """A change of the database that the next commit makes."""
        self._changes.append(_Statement(sql, parameters))

    def execute(self, sql: str, parameters: Mapping[str, object] | Sequence[object] = ()) -> list[Any]:
        """The answer to a question, or a change of temporary tables, at once. Safe from any thread."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer to several questions at once. Safe from any thread."""
        with store_errors(self.folder), self._lock:
            return question(self._connection)

    def close(self) -> None:
        """Let go of the database once nobody asks it anything: readers that were left behind may be about to.

        SQLite does not look whether a connection that it closes is in use by another thread, and crashes.
        """
        with self._lock:
            self._connection.close()

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> int:
        """Many changes of temporary tables at once; how many rows they changed."""
        with self._lock, transaction(self._connection, "BEGIN"):
            return self._connection.executemany(sql, parameters).rowcount

    def roots(self) -> dict[int, Root]:
        return read_roots(self._connection, self.folder)

    def add_root(self, folder: Path, *, is_whole: bool = True) -> Root:
        """Remember a folder, so that pictures can be added to it."""
        self._last_root += 1
        location = store_location(folder, self.folder)
        self.change("INSERT INTO roots VALUES (?, ?, ?)", self._last_root, location, is_whole)
        return Root(self._last_root, resolve_location(location, self.folder), is_whole)

    def make_whole(self, root: Root) -> None:
        """Note that a folder of which single files were embedded was embedded as a folder."""
        self.change("UPDATE roots SET is_whole = 1 WHERE id = ?", root.id)

    def forget_root(self, root: int) -> None:
        """Forget a folder, and all that is known of it."""
        self.change("UPDATE pictures SET state = 2 WHERE root = ?", root)
        self.change("DELETE FROM failures WHERE root = ?", root)
        for table in schema.OF_ROOTS:
            self.change(f"DELETE FROM {table} WHERE root = ?", root)
        self.change("DELETE FROM roots WHERE id = ?", root)

    def add(self, picture: Picture, embedding: npt.NDArray[np.float32], facts: Facts | None = None) -> None:
        """A picture and its unit embedding (D,), in place of what was known of its path, good or bad.

        Without facts, the next run reads them.
        """
        self.drop(picture.root, picture.path)
        record = NOTHING
        if facts is not None:
            folder, _, name = picture.path.rpartition(b"/")
            record = pack(
                facts,
                self._number("folders", picture.root, folder),
                self._number("cameras", facts.camera) if facts.camera else 0,
                is_ascii=name.isascii(),
            )
        self._changes.append(_Addition(picture, np.ascontiguousarray(embedding, "<f4").tobytes(), record))
        self.pending += 1

    def _number(self, table: str, *line: object) -> int:
        """The number of a line of a table to which lines are only ever added, from 1; added where it is new."""
        if table not in self._numbers:
            known = self.execute(f"SELECT * FROM {table}")
            self._numbers[table] = {tuple(columns): number for number, *columns in known}
        numbers = self._numbers[table]
        if line not in numbers:
            number = len(numbers) + 1
            self.change(f"INSERT INTO {table} VALUES (?{', ?' * len(line)})", number, *line)
            numbers[line] = number
        return numbers[line]

    def drop(self, root: int, path: bytes) -> None:
        """Forget what is known of a path, good or bad."""
        self.change("UPDATE pictures SET state = 2 WHERE root = ? AND path = ? AND state <> 2", root, path)
        self.change("DELETE FROM failures WHERE root = ? AND path = ?", root, path)
        self.change("DELETE FROM left_out WHERE root = ? AND path = ?", root, path)

    def fail(self, file: FailedFile) -> None:
        """Enter a file in the ledger of failures, in place of what was known of its path."""
        self.drop(file.root, file.path)
        self.change("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?)", *file)

    def leave_out(self, root: int, path: bytes, suffix: str, extra: str) -> None:
        """Note a file that nothing here reads, in place of what was known of its path."""
        self.drop(root, path)
        self.change("INSERT INTO left_out VALUES (?, ?, ?, ?)", root, path, suffix, extra)

    def touch(self, picture: Picture) -> None:
        """The file at a known path, good or bad, has a new size or time, but the content that it had."""
        to = (picture.size, picture.mtime_ns, picture.root, picture.path)
        self.change(
            "UPDATE pictures SET size = ?, mtime_ns = ? WHERE root = ? AND path = ? AND state <> 2", *to
        )
        self.change("UPDATE failures SET size = ?, mtime_ns = ? WHERE root = ? AND path = ?", *to)

    def set_state(self, row: int, state: RowState) -> None:
        self.change("UPDATE pictures SET state = ? WHERE row = ?", int(state), row)

    def set_states(self, rows: str, state: RowState) -> None:
        """`set_state` for all that SELECT row FROM `rows` gives at the commit, temporary tables included."""
        self.change(f"UPDATE pictures SET state = ? WHERE row IN (SELECT row FROM {rows})", int(state))

    def embedding(self, row: int) -> npt.NDArray[np.float32]:
        """The stored embedding (D,) of a committed row, whatever its state."""
        width = self.state.embed_dim * 4
        with store_errors(self.folder), open_plain(self.state.vectors_file(self.folder)) as file:
            file.seek(row * width)
            vector = file.read(width)
            [record] = as_records(self.execute(f"{RECORDS} WHERE row = ?", (row,)))
        if not record.fits(vector):
            raise IndexStoreError(
                f"{self.folder}: row {row} is damaged: itl-infer check --repair drops it and keeps the rest"
            )
        return np.frombuffer(vector, "<f4")

    def facts(self, row: int) -> Facts | None:
        """The stored facts of a committed row, whatever its state; None where there are none, or they are damaged."""
        with store_errors(self.folder), open_plain(self.state.facts_file(self.folder)) as file:
            file.seek(row * RECORD.itemsize)
            record = np.frombuffer(file.read(RECORD.itemsize), RECORD)
        if len(record) == 0 or not are_whole(record)[0]:
            return None
        number = int(record[0]["camera"])
        camera = self.execute("SELECT name FROM cameras WHERE id = ?", (number,)) if number else []
        return unpack(record[0], camera[0][0] if camera else "")

    def row_of(self, root: int, path: bytes) -> int:
        """The committed row of a path."""
        [(row,)] = self.execute(
            "SELECT row FROM pictures WHERE root = ? AND path = ? AND state <> 2", (root, path)
        )
        return int(row)

    def commit(self) -> None:
        """Make everything since the last commit durable, at once."""
        with store_errors(self.folder), self._lock:
            self._take_note()
        if not self._changes:
            return
        added = [change for change in self._changes if isinstance(change, _Addition)]
        vectors = b"".join(change.vector for change in added)
        records = b"".join(change.record for change in added)
        names = b"".join(make_name(picture.root, picture.path) + b"\0" for picture, *_ in added)
        old, new = self.state, self.state.grown(len(added), len(names))
        self._committing = new
        with store_errors(self.folder), self._lock:
            if added:
                write_at(old.vectors_file(self.folder), old.vectors_bytes, vectors)
                write_at(old.paths_file(self.folder), old.paths_bytes, names)
                write_at(old.facts_file(self.folder), old.rows * RECORD.itemsize, records)
            try:
                with transaction(self._connection):
                    self._apply_changes()
                    schema.write_state(self._connection, new)
                    write_copies(self._connection)
                    self._connection.execute("UPDATE temp.commits SET number = ?", (self._commits + 1,))
            finally:
                self._take_note()
        if added:
            extend_codes(self.folder, new)

    def _take_note(self) -> None:
        """Of a commit that the database says it has made: an interrupt may come at any line behind it, this too.

        The number of the last one is part of its transaction, and of no file.
        """
        [(number,)] = self._connection.execute("SELECT number FROM temp.commits")
        if number != self._commits:
            self.state = self._committing
            self._forget_pending()
            self._commits = number

    def _apply_changes(self) -> None:
        row = self.state.rows
        for change in self._changes:
            if isinstance(change, _Statement):
                self._connection.execute(*change)
            else:
                crc = checksum(change.picture, change.vector)
                self._connection.execute(
                    _INSERT_PICTURE, (row, *change.picture, crc, change.record != NOTHING)
                )
                row += 1

    def compact_if_due(self) -> None:
        """Compact once a quarter of the rows are gone, if the disk has room for the copy that it takes."""
        [(gone,)] = self.execute("SELECT count(*) FROM pictures WHERE state = 2")
        if 0 < gone >= self.state.rows * _GONE_SHARE:
            state = self.state
            needed = state.vectors_bytes + state.paths_bytes + state.rows * RECORD.itemsize + _SPARE_BYTES
            import shutil  # some milliseconds, which only this should cost

            if shutil.disk_usage(self.folder).free > needed:
                self.compact()

    def compact(self) -> None:
        """Rewrite the files without the rows that are gone; in one step, and in the order that readers saw."""
        assert not self._changes, "commit first"
        with store_errors(self.folder):
            try:
                compact(self.folder, self._connection, self.state)
            finally:
                self.state = schema.read_state(self._connection)
                remove_other_generations(self.folder, self.state)
        extend_codes(self.folder, self.state)

    def start_over(self, bundle: Bundle) -> None:
        """Empty the index and bind it to another bundle, in one step; its roots stay."""
        self._forget_pending()
        self._numbers = {}
        new = State(self.state.next_generation, 0, 0, bundle.embed_dim, bundle.name, bundle.fingerprint)
        with store_errors(self.folder):
            _make_files(self.folder, new)
            with transaction(self._connection):
                self._connection.execute("DELETE FROM pictures")
                self._connection.execute("DELETE FROM failures")
                self._connection.execute("DELETE FROM left_out")
                schema.write_state(self._connection, new)
                write_copies(self._connection)
            self.state = new
            remove_other_generations(self.folder, new)


@contextlib.contextmanager
def open_writer(folder: Path, bundle: Bundle | None, *, wait: bool = False) -> Iterator[Writer]:
    """The writer of an index, which is made first where there is none and a bundle is given.

    Raises IndexStoreError where another writer is at work (unless told to `wait`), or nothing may be written.
    """
    with contextlib.ExitStack() as stack:
        with store_errors(folder):
            if bundle is None:
                schema.require_index(folder)
            else:
                _make_folder(folder)
            stack.enter_context(writer_lock(folder / schema.LOCK, wait=wait))
            writer = stack.enter_context(locked_writer(folder, bundle))
        yield writer


@contextlib.contextmanager
def locked_writer(folder: Path, bundle: Bundle | None, *, repairing: bool = False) -> Iterator[Writer]:
    """`open_writer` for one who holds the lock; who is `repairing` drops what is wrong with single records."""
    require_plain_database(folder / schema.DATABASE, to_write=True)
    if bundle is not None:
        (folder / schema.DATABASE).touch()
    with contextlib.closing(schema.connect(folder)) as connection:
        # EXTRA also syncs the folder after a commit: without it, power loss may bring an old journal back.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA fullfsync = ON")
        version = schema.require_version(connection, folder)
        if version == 0:
            if bundle is None or schema.has_vectors(folder):
                raise schema.nothing_in(folder)
            _make_database(folder, connection, bundle)
        else:
            require_own_tables(connection, schema.statements(version))
            require_copies(connection)
            if not repairing:
                _require_proper_records(connection)
            if version < schema.WITH_FACTS:
                make_file(folder, schema.read_state(connection))
        with transaction(connection):
            if version:  # else it was made just now
                schema.migrate(connection, version)
            schema.make_missing(connection)
            write_copies(connection)
        writer = Writer(folder, connection)
        remove_other_generations(folder, writer.state)
        try:
            yield writer
        finally:
            writer.close()


def _require_proper_records(connection: sqlite3.Connection) -> None:
    """Raise Damage where a path is none: what walks folders and compares them relies on it."""
    for table in ("pictures", "failures"):
        wrong = f"SELECT 1 FROM {table} WHERE typeof(path) <> 'blob' OR typeof(root) <> 'integer' LIMIT 1"
        if connection.execute(wrong).fetchone():
            raise Damage(f"malformed: a path in table {table}")


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        names = set(os.listdir(folder))  # noqa: PTH208 (only names are needed)
        if names and not names & {schema.LOCK, schema.DATABASE}:
            raise IndexStoreError(f"{folder}: a folder, but no index: name one that does not exist yet")
        with contextlib.suppress(schema.NoIndexError):  # one whose making was cut short is made now
            schema.require_index(folder)
    elif folder.exists():
        raise IndexStoreError(f"{folder}: a file, not an index: name a folder that does not exist yet")
    else:
        folder.mkdir(parents=True)
        sync_folder(folder.parent)


def _make_database(folder: Path, connection: sqlite3.Connection, bundle: Bundle) -> None:
    state = State(1, 0, 0, bundle.embed_dim, bundle.name, bundle.fingerprint)
    _make_files(folder, state)
    connection.execute("PRAGMA auto_vacuum = FULL")  # what a compaction frees goes back to the disk
    with transaction(connection):
        schema.create(connection, state)


def _make_files(folder: Path, state: State) -> None:
    for path in _files(folder, state):
        open_plain(path, to_write=True, make=True).close()
    sync_folder(folder)


def _files(folder: Path, state: State) -> tuple[Path, ...]:
    return state.vectors_file(folder), state.paths_file(folder), state.facts_file(folder)


def remove_other_generations(folder: Path, state: State) -> None:
    """Remove what a compaction replaced, or one that was cut off left behind."""
    current = {*_files(folder, state), codes_file(folder, state)}
    for pattern in ("vectors-*.f32", "paths-*.nul", "facts-*.bin", "codes-*.u8*"):
        for path in folder.glob(pattern):
            if path not in current:
                with contextlib.suppress(PermissionError, IsADirectoryError):
                    path.unlink()  # Windows: a reader may have it; the next writer tries again
