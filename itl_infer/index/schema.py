"""The SQLite side of an index, which alone says what exists: tables, format version, connections."""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from itl_infer.errors import IndexStoreError
from itl_infer.index.damage import Damage
from itl_infer.index.own import require_own_tables
from itl_infer.index.plain import copy_database, require_plain_database, size_of
from itl_infer.ranking.candidates import FEWEST_NUMBERS

DATABASE = "index.sqlite"
LOCK = "writer.lock"

_BUSY_SECONDS = 30  # a reader needs milliseconds, a commit a few syncs
_STEPS_BETWEEN = (
    100_000  # steps of SQLite's machine, some milliseconds, after which an interrupt gets its turn
)
_LONGEST_NAME = 10_000  # of a bundle
_LAST_GENERATION = 2**31  # after which they begin again


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
MIGRATIONS: tuple[str, ...] = (
    """
-- Whether the facts file says something of the row.
ALTER TABLE pictures ADD COLUMN has_facts INTEGER NOT NULL DEFAULT 0;
CREATE TABLE cameras (                      -- never gets less: the facts file names its lines by number
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL                      -- make and model, each once
);
CREATE TABLE folders (                      -- that pictures lie in, each once; never gets less either
    id   INTEGER PRIMARY KEY,
    root INTEGER NOT NULL,
    path BLOB NOT NULL                      -- from the root on, as in pictures; empty for the root itself
);
""",
)
WITH_FACTS = 2  # the first version with a file of facts
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

# What --exclude left out, and leaves out in every later run until it is taken back.
EXCLUSIONS = """
CREATE TABLE IF NOT EXISTS exclusions (
    root   INTEGER NOT NULL REFERENCES roots,
    path   BLOB NOT NULL,                   -- of the folder that was given, from the root on; empty for the root itself
    glob   BLOB NOT NULL,                   -- of names, or of paths from that folder on
    PRIMARY KEY (root, path, glob)
) WITHOUT ROWID
"""

# Folders that pictures lie in, or below, as the last run found them: by that an emptied one is told from the empty
# place of a drive that is not plugged in.
PLACES = """
CREATE TABLE IF NOT EXISTS places (
    root     INTEGER NOT NULL REFERENCES roots,
    path     BLOB NOT NULL,                 -- from the root on; empty for the root itself
    inode    TEXT NOT NULL,                 -- its number on its file system
    is_mount INTEGER NOT NULL,              -- 1 on another file system than the folder that it is in
    PRIMARY KEY (root, path)
) WITHOUT ROWID
"""

# What of systems and programs the last run over a root left out.
SYSTEM_FILES = """
CREATE TABLE IF NOT EXISTS system_files (
    root  INTEGER NOT NULL REFERENCES roots,
    kind  TEXT NOT NULL,                    -- "@eaDir", "._*"
    files INTEGER NOT NULL,                 -- and folders
    PRIMARY KEY (root, kind)
) WITHOUT ROWID
"""

# What no checksum of a picture covers, a second time: the check finds by it what is damaged, and a repair mends by it.
COPIES = """
CREATE TABLE IF NOT EXISTS copies (
    what    TEXT PRIMARY KEY,               -- "format", "bundle": name and fingerprint, "width", "folders": roots
    content BLOB NOT NULL,                  -- as JSON, bytes in hexadecimal
    crc     INTEGER NOT NULL                -- CRC-32 of content
) WITHOUT ROWID
"""

# Names that were taught, each with its examples, and the moments of all rows. An example keeps its embedding, as its
# picture need be neither in the index nor there; one of another fingerprint says nothing until it is embedded again.
TAUGHT = (
    """
CREATE TABLE IF NOT EXISTS taught (
    key  TEXT PRIMARY KEY,                  -- what names share that are one, whatever their case
    name TEXT NOT NULL
) WITHOUT ROWID
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
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS moments (        -- at most one row
    fingerprint TEXT PRIMARY KEY,           -- of what they are the moments of, as in table state
    generation  INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    live        INTEGER NOT NULL,           -- rows that were summed
    mean        BLOB NOT NULL,              -- float64
    covariance  BLOB NOT NULL,              -- float64, row by row
    crc         INTEGER NOT NULL            -- CRC-32 of all that stands before it
) WITHOUT ROWID
""",
)

# Tables that are not part of a version: those that know nothing of one need not, and where it is missing, nothing is in
# it. So every writer makes those that are not there.
MADE_WHERE_MISSING = (LEFT_OUT, COPIES, EXCLUSIONS, PLACES, SYSTEM_FILES, *TAUGHT)
OF_ROOTS = (
    "left_out",
    "exclusions",
    "places",
    "system_files",
)  # of these, what goes with the root that it speaks of


class NoIndexError(IndexStoreError):
    """There is no index where one is needed, or its making was cut short."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: no index here: itl-infer embed-images PICTURES -d {folder} makes one")


class NewerFormatError(IndexStoreError):
    """An index says that it is of a format that this version does not know."""

    def __init__(self, folder: Path, version: int) -> None:
        super().__init__(
            f"{folder}: index format {version}, this version of itl-infer reads up to {FORMAT_VERSION}: upgrade"
            " itl-infer, or where it never was a later one, itl-infer check --repair"
        )


def require_index(folder: Path) -> None:
    """Raise NoIndexError where there is none in `folder`, IndexStoreError where only its database is not there."""
    if size_of(folder / DATABASE) == 0:
        raise nothing_in(folder)


def nothing_in(folder: Path) -> IndexStoreError:
    """What to say of a folder whose database is missing, empty or without a table."""
    if has_vectors(folder):
        state = "empty" if (folder / DATABASE).exists() else "missing"
        return IndexStoreError(
            f"{folder}: {DATABASE} is {state}: copy it back beside its vectors, or move the folder away and embed again"
        )
    return NoIndexError(folder)


def has_vectors(folder: Path) -> bool:
    """Whether there are embeddings, of whatever generation."""
    return any(path.is_symlink() or path.stat().st_size > 0 for path in folder.glob("vectors-*.f32"))


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

    @property
    def has_codes(self) -> bool:
        """Whether there are so many rows that they are found sooner by codes."""
        return self.rows * self.embed_dim >= FEWEST_NUMBERS

    @property
    def next_generation(self) -> int:
        return self.generation % _LAST_GENERATION + 1

    def grown(self, rows: int, paths_bytes: int) -> State:
        return replace(self, rows=self.rows + rows, paths_bytes=self.paths_bytes + paths_bytes)

    def vectors_file(self, folder: Path) -> Path:
        return folder / f"vectors-{self.generation:06}.f32"

    def paths_file(self, folder: Path) -> Path:
        return folder / f"paths-{self.generation:06}.nul"

    def facts_file(self, folder: Path) -> Path:
        return folder / f"facts-{self.generation:06}.bin"

    def rows_held(self, folder: Path) -> int:
        """How many rows the file of vectors has, those that do not count among them."""
        return size_of(self.vectors_file(folder)) // (self.embed_dim * 4)

    def require_possible(self) -> None:
        """Raise Damage for what no writer writes."""
        numbers = {
            "generation": (self.generation, 0, _LAST_GENERATION),
            "rows": (self.rows, 0, 2**40),
            "paths_bytes": (self.paths_bytes, 0, 2**50),
            "embed_dim": (self.embed_dim, 1, 2**16),
        }
        for name, (number, lowest, highest) in numbers.items():
            if type(number) is not int or not lowest <= number <= highest:
                raise Damage(f"state: {name} is {str(number)[:40]!r}")
        for name, text in (
            ("bundle_name", self.bundle_name),
            ("bundle_fingerprint", self.bundle_fingerprint),
        ):
            if type(text) is not str or len(text) > _LONGEST_NAME:
                raise Damage(f"state: {name} is no name")


def read_state(connection: sqlite3.Connection) -> State:
    """The one row of `state`. Raises Damage where it is none that a writer wrote."""
    found = connection.execute("SELECT * FROM state LIMIT 2").fetchall()
    if len(found) != 1:
        raise Damage(f"state: {'several rows' if found else 'no row'}, expected one")
    state = State(*found[0])
    state.require_possible()
    return state


def require_rows(connection: sqlite3.Connection, folder: Path, state: State) -> None:
    """Raise Damage for rows of which there is neither a record nor a vector: nobody could look at each of 2**39."""
    [(on_record,)] = connection.execute("SELECT COUNT(*) FROM pictures")
    if state.rows > max(on_record, state.rows_held(folder)):
        raise Damage(f"state: {state.rows} rows, of which {on_record} are on record")


def write_state(connection: sqlite3.Connection, state: State) -> None:
    connection.execute("DELETE FROM state")
    connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", astuple(state))


def statements(version: int) -> tuple[str, ...]:
    """What makes the tables of an index of this format version, those made where they are missing among them."""
    scripts = (SCHEMA, *MIGRATIONS[: version - 1], *MADE_WHERE_MISSING)
    return tuple(
        part for script in scripts for part in script.split(";\n")
    )  # executescript would commit what is open


def create(connection: sqlite3.Connection, state: State, version: int | None = None) -> None:
    """Make the tables, inside a transaction of the caller's; those of an older `version` where one is salvaged."""
    version = version or FORMAT_VERSION
    for statement in statements(version):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")
    write_state(connection, state)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring an older index up to this format, inside a transaction of the caller's."""
    for step in range(version, FORMAT_VERSION):
        for statement in MIGRATIONS[step - 1].split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {step + 1}")


def make_missing(connection: sqlite3.Connection) -> None:
    """Make the tables that are not part of a version, where they are not there."""
    for statement in MADE_WHERE_MISSING:
        connection.execute(statement)


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a table is there that is not part of a version."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
    return found.fetchone() is not None


def connect(folder: Path, *, changes: bool = True) -> sqlite3.Connection:
    """A connection that writes only when told to; threads may share it under a lock of their own.

    An index may come from anyone: neither links are followed, nor does anything in the database have functions of its
    own, and Ctrl+C ends what it takes long to do (`disk.database_errors`). One that `changes` nothing may not play
    back the journal of a writer that was killed either. Raises IndexStoreError.
    """
    require_plain_database(folder / DATABASE)
    # mode=rw: never made by accident, and SQLite itself falls back to reading where it may not write.
    connection = sqlite3.connect(
        f"{(folder.absolute() / DATABASE).as_uri()}?mode={'rw' if changes else 'ro'}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.set_progress_handler(_go_on, _STEPS_BETWEEN)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _go_on() -> int:
    """Called by SQLite now and then: Python, which it comes back to by that, raises what a signal asks for."""
    return 0


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
def reading(folder: Path, *, changes: bool = True) -> Iterator[sqlite3.Connection]:
    """A connection inside one read transaction, of an index that may lie where nothing can be written.

    A writer that was killed leaves a journal, which the next to open plays back. Where it may not, as on a
    read-only disk, or where the caller `changes` nothing, that is done to a copy. Raises NoIndexError, IndexStoreError
    for a newer format, and Damage for what is no index of ours.
    """
    require_index(folder)
    with contextlib.ExitStack() as stack:
        if size_of(folder / f"{DATABASE}-journal") and not (changes and os.access(folder, os.W_OK)):
            import tempfile  # rarely needed, and not at once there

            copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="itl-index-")))
            copy_database(folder / DATABASE, copy)
            folder, changes = copy, True
        connection = stack.enter_context(contextlib.closing(connect(folder, changes=changes)))
        connection.execute("BEGIN")
        version = require_version(connection, folder)
        if version == 0:
            raise nothing_in(folder)
        require_own_tables(connection, statements(version))
        yield connection


def require_version(connection: sqlite3.Connection, folder: Path) -> int:
    """The format version of an index, 0 where its making was cut short; IndexStoreError for a newer one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise NewerFormatError(folder, version)
    [(objects,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    if version < 0 or (version == 0 and objects):
        raise Damage(f"format version {version}")
    return int(version)
