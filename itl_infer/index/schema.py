"""The SQLite side of an index, which alone says what exists: tables, format version, connections."""

from __future__ import annotations

import contextlib
import enum
import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from itl_infer.errors import IndexStoreError

DATABASE = "index.sqlite"
LOCK = "writer.lock"

_BUSY_SECONDS = 30  # a reader needs milliseconds, a commit a few syncs


class RowState(enum.IntEnum):
    """What a row is to a reader."""

    LIVE = 0
    ASIDE = 1  # its picture is there but excluded: not shown, embedding kept
    GONE = 2  # its picture is gone, changed or renamed: not shown, dropped by the next compaction


# Version 1, which never changes: what later ones have is what MIGRATIONS make of it, in new indexes too.
SCHEMA = """
CREATE TABLE state (                        -- exactly one row
    generation         INTEGER NOT NULL,    -- number in the names of the vectors and paths files
    rows               INTEGER NOT NULL,    -- rows of both files that count; what is behind them does not
    paths_bytes        INTEGER NOT NULL,    -- bytes of the paths file that count
    embed_dim          INTEGER NOT NULL,
    bundle_name        TEXT NOT NULL,
    bundle_fingerprint TEXT NOT NULL
);
CREATE TABLE roots (
    id       INTEGER PRIMARY KEY,
    location BLOB NOT NULL UNIQUE,          -- absolute; or from the index folder on, for what travels with it
    is_whole INTEGER NOT NULL               -- 1 embedded as a folder, 0 only single files of it
);
CREATE TABLE pictures (
    row      INTEGER PRIMARY KEY,           -- row of the vectors file, from 0
    root     INTEGER NOT NULL REFERENCES roots,
    path     BLOB NOT NULL,                 -- from the root on, with "/", in the bytes of the file system
    size     INTEGER NOT NULL,              -- bytes
    mtime_ns INTEGER NOT NULL,              -- or -1: modified while it was read, to be read again
    digest   BLOB NOT NULL,                 -- BLAKE2b of the file, 16 bytes
    crc      INTEGER NOT NULL,              -- CRC-32 of its vector, its name in the paths file, its digest
    state    INTEGER NOT NULL DEFAULT 0     -- 0 live, 1 set aside, 2 gone
);
CREATE UNIQUE INDEX picture_at ON pictures(root, path) WHERE state <> 2;
CREATE INDEX picture_with ON pictures(digest);
CREATE INDEX picture_hidden ON pictures(row) WHERE state <> 0;
CREATE TABLE failures (                     -- files that could not be embedded, as they were then
    root     INTEGER NOT NULL REFERENCES roots,
    path     BLOB NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest   BLOB,                          -- NULL where it could not be read
    error    TEXT NOT NULL,
    max_megapixels REAL NOT NULL,           -- the limit of that run; a higher one tries again
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
"""

# Statements that turn version i + 1 into i + 2; the first writer to find the older one runs them.
MIGRATIONS: tuple[str, ...] = ()
FORMAT_VERSION = 1 + len(MIGRATIONS)

# Files that nothing here could read, though a package would.
LEFT_OUT = """
CREATE TABLE IF NOT EXISTS left_out (
    root   INTEGER NOT NULL REFERENCES roots,
    path   BLOB NOT NULL,
    suffix TEXT NOT NULL,                   -- of names of the format, ".heic"
    extra  TEXT NOT NULL,                   -- of itl-infer, which brings what reads it
    PRIMARY KEY (root, path)
) WITHOUT ROWID
"""

# Names that were taught, each with its examples, and the moments of all rows. No part of a version either, and made by
# the first writer that has something to put there. An example keeps its embedding, as its picture need be neither in
# the index nor there; one of another fingerprint says nothing until its picture is embedded again.
TAUGHT = (
    """
CREATE TABLE IF NOT EXISTS taught (
    key  TEXT PRIMARY KEY,                  -- what names share that are one, whatever their case
    name TEXT NOT NULL
)
""",
    """
CREATE TABLE IF NOT EXISTS examples (
    key         TEXT NOT NULL,              -- of the name
    digest      BLOB NOT NULL,              -- BLAKE2b of the file, 16 bytes
    location    BLOB NOT NULL,              -- of the file: absolute, or from the index folder on, as of roots
    is_wanted   INTEGER NOT NULL,           -- 1 shows what the name means, 0 what it does not
    fingerprint TEXT NOT NULL,              -- of the bundle that embedded it
    embedding   BLOB NOT NULL,              -- float32, of unit length
    crc         INTEGER NOT NULL,           -- CRC-32 of all that stands before it
    PRIMARY KEY (key, digest)
)
""",
    """
CREATE TABLE IF NOT EXISTS moments (        -- at most one row
    fingerprint TEXT NOT NULL,              -- of what they are the moments of, as in table state
    generation  INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    live        INTEGER NOT NULL,           -- rows that were summed
    mean        BLOB NOT NULL,              -- float64
    covariance  BLOB NOT NULL,              -- float64, row by row
    crc         INTEGER NOT NULL            -- CRC-32 of all that stands before it
)
""",
)

# Tables that are not part of a version: those that know nothing of one need not, and where it is missing, nothing is in
# it. So every writer makes those that are not there.
MADE_WHERE_MISSING = (LEFT_OUT,)


class NoIndexError(IndexStoreError):
    """There is no index where one is needed, or its making was cut short."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: no index here: itl-infer embed-images PICTURES -d {folder} makes one")


def require_index(folder: Path) -> None:
    """Raise NoIndexError where there is none in `folder`."""
    if not (folder / DATABASE).exists():
        raise NoIndexError(folder)


@dataclass(frozen=True)
class State:
    """The one row of table `state`."""

    generation: int
    rows: int
    paths_bytes: int
    embed_dim: int
    bundle_name: str
    bundle_fingerprint: str

    @property
    def vectors_bytes(self) -> int:
        return self.rows * self.embed_dim * 4

    def grown(self, rows: int, paths_bytes: int) -> State:
        return replace(self, rows=self.rows + rows, paths_bytes=self.paths_bytes + paths_bytes)

    def vectors_file(self, folder: Path) -> Path:
        return folder / f"vectors-{self.generation:06}.f32"

    def paths_file(self, folder: Path) -> Path:
        return folder / f"paths-{self.generation:06}.nul"


def read_state(connection: sqlite3.Connection) -> State:
    return State(*connection.execute("SELECT * FROM state").fetchone())


def write_state(connection: sqlite3.Connection, state: State) -> None:
    connection.execute("DELETE FROM state")
    connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", astuple(state))


def statements(version: int) -> Iterator[str]:
    """What makes the tables of an index of this format version, those made where they are missing among them."""
    for script in (SCHEMA, *MIGRATIONS[: version - 1], *MADE_WHERE_MISSING):
        yield from script.split(";\n")  # executescript would commit what is open


def create(connection: sqlite3.Connection, state: State) -> None:
    """Make the tables, inside a transaction of the caller's."""
    for statement in statements(FORMAT_VERSION):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    write_state(connection, state)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring an older index up to this format, all the way or not at all."""
    with transaction(connection):
        for step in range(version, FORMAT_VERSION):
            for statement in MIGRATIONS[step - 1].split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step + 1}")


def make_missing(connection: sqlite3.Connection) -> None:
    """Make the tables that are not part of a version, where they are not there."""
    for statement in MADE_WHERE_MISSING:
        connection.execute(statement)


def make_taught(connection: sqlite3.Connection) -> None:
    """Make the tables of names, where they are not there."""
    for statement in TAUGHT:
        # Without comments, which the database would keep: what says what is in it should be small, as all hangs on it.
        connection.execute(re.sub(" *--.*", "", statement))


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a table is there that is not part of a version."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
    return found.fetchone() is not None


def connect(folder: Path, name: str = DATABASE) -> sqlite3.Connection:
    """A connection that writes only when told to; threads may share it under a lock of their own."""
    # mode=rw: never made by accident, and SQLite itself falls back to reading where it may not write.
    return sqlite3.connect(
        f"{(folder.absolute() / name).as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


class transaction:
    """All of the block's changes or none. Not a generator: an interrupt could leave one half begun."""

    def __init__(self, connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> None:
        self._connection = connection
        self._begin = begin

    def __enter__(self) -> None:
        self._roll_back()  # what an interrupt may have left between a beginning and its block
        self._connection.execute(self._begin)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection inside one read transaction, of an index that may lie where nothing can be written.

    A writer that was killed leaves a journal, which the next to open plays back. Where it may not, as on a
    read-only disk, that is done to a copy. Raises NoIndexError, or IndexStoreError for a newer format.
    """
    require_index(folder)
    with contextlib.ExitStack() as stack:
        if (folder / f"{DATABASE}-journal").exists() and not os.access(folder, os.W_OK):
            import shutil  # rarely needed, and not at once there
            import tempfile

            copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="itl-index-")))
            for name in (DATABASE, f"{DATABASE}-journal"):
                shutil.copyfile(folder / name, copy / name)
            folder = copy
        connection = stack.enter_context(contextlib.closing(connect(folder)))
        connection.execute("BEGIN")
        if require_version(connection, folder) == 0:
            raise NoIndexError(folder)
        yield connection


def require_version(connection: sqlite3.Connection, folder: Path) -> int:
    """The format version of an index, 0 where its making was cut short; IndexStoreError for a newer one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise IndexStoreError(
            f"{folder}: index format {version}, this version of itl-infer reads up to {FORMAT_VERSION}:"
            " upgrade itl-infer"
        )
    return int(version)
