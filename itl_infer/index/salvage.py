"""Put in place of a damaged database, or of one that is none of ours, all of its records that can still be read.

Nothing of the old database is trusted but the numbers of the pages on which its tables begin: a copy of it gets a first
page that we write, with our tables alone, and each record is read by its own number. State and folders are read from
their own tables, or else from the copies kept of them; rows are checked against their checksums by those who call this.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from itl_infer.errors import IndexStoreError
from itl_infer.files import sync, sync_folder
from itl_infer.index import schema
from itl_infer.index.copies import read_copies, write_copies
from itl_infer.index.damage import Damage
from itl_infer.index.own import expected_objects
from itl_infer.index.plain import copy_database, size_of
from itl_infer.index.roots import is_location
from itl_infer.index.schema import DATABASE, State, transaction

_WORK = "salvage"  # a folder in that of the index, while this is at work
_NEW = "new.sqlite"
_MAGIC = b"SQLite format 3\0"
_USUAL_PAGE = 4096
_Errors = (sqlite3.Error, UnicodeDecodeError)


def salvage(folder: Path) -> None:
    """Write the database of the index in `folder` anew. Raises IndexStoreError where nothing can be saved.

    Killed at any moment, it leaves the old one, or the new one.
    """
    work = folder / _WORK
    _remove(work)
    work.mkdir()
    try:
        copy_database(folder / DATABASE, work)
        _play_back_journal(work / DATABASE)
        with contextlib.closing(_Old(work / DATABASE)) as old:
            state, roots = _identify(folder, old)
            with contextlib.closing(_connect(work / _NEW, "rwc")) as new:
                _fill(new, old, state, roots)
        with (work / _NEW).open("r+b") as file:
            sync(file)
        # The old journal first: it would be played back into the new database.
        for suffix in ("-journal", "-wal", "-shm"):
            (folder / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        sync_folder(folder)
        (work / _NEW).replace(folder / DATABASE)
        sync_folder(folder)
    finally:
        _remove(work)


def _remove(work: Path) -> None:
    """What an earlier one that was killed left."""
    if work.is_symlink() or work.is_file():
        work.unlink()
    elif work.exists():
        shutil.rmtree(work)


def _connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _play_back_journal(path: Path) -> None:
    """Let SQLite undo what a writer that was killed had begun, as far as it can."""
    with contextlib.suppress(*_Errors), contextlib.closing(_connect(path)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def copied_format(folder: Path) -> object:
    """The format version of an index as it is kept a second time; None where there is none that can be read."""
    with (
        contextlib.suppress(*_Errors),
        contextlib.closing(schema.connect(folder, changes=False)) as connection,
    ):
        rows = connection.execute("SELECT what, content, crc FROM copies WHERE what = 'format'")
        return read_copies(rows).get("format")
    return None


class _Old:
    """The records of a database that may be damaged anywhere."""

    def __init__(self, path: Path) -> None:
        self.version, pages = self._first_pages(path)
        self._open(path, pages)
        self.copies = read_copies(self.all("SELECT what, content, crc FROM copies"))
        version = self.copies.get("format", self.version)
        if version != self.version and version in range(1, schema.FORMAT_VERSION + 1):
            self.version = version
            self._connection.close()
            self._open(path, {**_usual_pages(version), **pages})

    def _open(self, path: Path, pages: Mapping[str, int]) -> None:
        _write_first_page(path, _page_size(path), pages, self.version)
        self._connection = _connect(path)

    def close(self) -> None:
        self._connection.close()

    def _first_pages(self, path: Path) -> tuple[int, dict[str, int]]:
        """The format, and on which page each table begins: as the database says, or else as a new index has it."""
        version, pages = schema.FORMAT_VERSION, _usual_pages(schema.FORMAT_VERSION)
        with contextlib.suppress(*_Errors), contextlib.closing(_connect(path)) as connection:
            connection.text_factory = bytes
            for number in range(2):  # the first statement meets the error that the second ignores
                with contextlib.suppress(*_Errors):
                    connection.execute(
                        "PRAGMA writable_schema = ON" if number == 0 else "SELECT 1 FROM sqlite_master"
                    )
            [(said,)] = connection.execute("PRAGMA user_version")
            if 0 < said <= schema.FORMAT_VERSION:
                version, pages = said, _usual_pages(said)
            question = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"
            for name, page in connection.execute(question):
                if isinstance(name, bytes) and isinstance(page, int) and page > 1:
                    known = name.decode("ascii", "replace")
                    if known in pages:
                        pages[known] = page
        return version, pages

    def one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        """The first row of an answer, where it can be read."""
        with contextlib.suppress(*_Errors):
            found: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
            return found
        return None

    def all(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """The rows of an answer, up to one that cannot be read."""
        with contextlib.suppress(*_Errors):
            yield from self._connection.execute(sql)


def _page_size(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:18], "big")
    return size if 512 <= size <= 2**15 and size & (size - 1) == 0 else _USUAL_PAGE


def _usual_pages(version: int) -> dict[str, int]:
    """On which page each table of a new index begins."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = FULL")
        for statement in schema.statements(version):
            connection.execute(statement)
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))


def _write_first_page(path: Path, size: int, pages: Mapping[str, int], version: int) -> None:
    """Give a database a first page that names our tables, and what it has them on; without indexes."""
    made = path.with_name("first-page.sqlite")
    made.unlink(missing_ok=True)
    with contextlib.closing(_connect(made, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size = {size}")
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("CREATE TABLE first (one)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master")
        for name, page in pages.items():
            sql = _bare_table(name, version)
            connection.execute(
                "INSERT INTO sqlite_master VALUES ('table', ?, ?, ?, ?)", (name, name, page, sql)
            )
        connection.execute(f"PRAGMA user_version = {version}")
    head = bytearray(made.read_bytes()[:size])
    with path.open("r+b") as file:
        length = file.seek(0, os.SEEK_END)
        count = max(1, -(-length // size))
        file.truncate(count * size)  # the last page whole
        head[28:32] = count.to_bytes(4, "big")
        head[32:40] = bytes(8)  # no free pages: nothing will be written
        file.seek(0)
        file.write(head)


def _bare_table(name: str, version: int) -> str:
    """A table with the columns of ours, but without what would need an index."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in schema.statements(version):
            connection.execute(statement)
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
    sql = expected_objects(schema.statements(version))["table", name].sql or ""
    key = ",".join(column for _, column, *_, place in sorted(columns, key=lambda each: each[5]) if place)
    # With their defaults, which a record has that is older than its column.
    names = [
        column if default is None else f"{column} DEFAULT {default}"
        for _, column, _, _, default, _ in columns
    ]
    if sql.endswith("WITHOUT ROWID"):
        return f"CREATE TABLE {name}({','.join(names)},PRIMARY KEY({key}))WITHOUT ROWID"
    typed = [f"{column} INTEGER PRIMARY KEY" if column == key else column for column in names]
    return f"CREATE TABLE {name}({','.join(typed)})"


def _identify(folder: Path, old: _Old) -> tuple[State, list[tuple[int, bytes, int]]]:
    """State and folders: what their tables say where they agree with the copies or there is none, else the copies."""
    copies = old.copies
    state = _read_state(folder, old, copies)
    if state is None:
        raise IndexStoreError(
            f"{folder / DATABASE}: beyond repair, which pictures its vectors are of is lost: move {folder} away and"
            " embed again"
        )
    if "folders" in copies:
        roots = [(root, bytes.fromhex(location), is_whole) for root, location, is_whole in copies["folders"]]
    else:
        roots = list(old.all("SELECT id, location, is_whole FROM roots"))
    return state, [root for root in roots if is_location(root[1]) and isinstance(root[2], int)]


def _read_state(folder: Path, old: _Old, copies: Mapping[str, Any]) -> State | None:
    found = old.one("SELECT * FROM state")
    generation, rows, paths_bytes, embed_dim, *bundle = found or (None, None, 0, None, None, None)
    name, fingerprint = copies.get("bundle", bundle)
    embed_dim = copies.get("width", embed_dim)
    with contextlib.suppress(Damage):
        state = State(generation, rows, paths_bytes, embed_dim, name, fingerprint)
        state.require_possible()
        if held := state.rows_held(folder):
            return replace(state, rows=min(rows, held))  # a record without a vector would be dropped
    with contextlib.suppress(Damage):
        # Numbers that cannot be: the largest file of vectors says them too.
        files = sorted(folder.glob("vectors-*.f32"), key=size_of)
        number = files[-1].stem.removeprefix("vectors-") if files else ""
        state = State(int(number) if number.isdecimal() else 0, 0, 0, embed_dim, name, fingerprint)
        state.require_possible()
        return replace(state, rows=state.rows_held(folder), paths_bytes=size_of(state.paths_file(folder)))
    return None


def _fill(new: sqlite3.Connection, old: _Old, state: State, roots: list[tuple[int, bytes, int]]) -> None:
    new.execute("PRAGMA journal_mode = OFF")  # nothing is there yet that could be lost
    new.execute("PRAGMA synchronous = OFF")
    new.execute("PRAGMA auto_vacuum = FULL")
    with transaction(new):
        schema.create(new, state, old.version)
        for root in roots:
            _insert(new, "roots", root)
        for row in range(state.rows):
            record = old.one("SELECT * FROM pictures WHERE row = ?", row)
            if record is not None:
                _insert(new, "pictures", record)
        for kind, name in expected_objects(schema.statements(old.version)):
            if kind == "table" and name not in ("state", "roots", "pictures", "copies"):
                for record in old.all(f"SELECT * FROM {name}"):
                    _insert(new, name, record)
        if old.version >= schema.WITH_FACTS:
            # What facts name by number may be lost: the next run reads them again.
            for statement in (
                "UPDATE pictures SET has_facts = 0",
                "DELETE FROM cameras",
                "DELETE FROM folders",
            ):
                new.execute(statement)
        write_copies(new)


def _insert(new: sqlite3.Connection, table: str, record: tuple[Any, ...]) -> None:
    with contextlib.suppress(
        sqlite3.Error
    ):  # twice the same path, or nothing where something must be: damage
        new.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(record))})", record)
