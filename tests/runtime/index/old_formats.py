"""Indexes as earlier versions wrote them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from itl_infer.index import schema

_TO_FORMAT_1 = (
    "DROP INDEX picture_at",
    "DROP INDEX picture_with",
    "DROP INDEX picture_hidden",
    "ALTER TABLE pictures RENAME TO newer",
    """CREATE TABLE pictures (
    row      INTEGER PRIMARY KEY,           -- row of the vectors file, from 0
    root     INTEGER NOT NULL REFERENCES roots,
    path     BLOB NOT NULL,                 -- from the root on, with "/", in the bytes of the file system
    size     INTEGER NOT NULL,              -- bytes
    mtime_ns INTEGER NOT NULL,              -- or -1: modified while it was read, to be read again
    digest   BLOB NOT NULL,                 -- BLAKE2b of the file, 16 bytes
    crc      INTEGER NOT NULL,              -- CRC-32 of its vector, its name in the paths file, its digest
    state    INTEGER NOT NULL DEFAULT 0     -- 0 live, 1 set aside, 2 gone
)""",
    "INSERT INTO pictures SELECT row, root, path, size, mtime_ns, digest, crc, state FROM newer",
    "DROP TABLE newer",
    "CREATE UNIQUE INDEX picture_at ON pictures(root, path) WHERE state <> 2",
    "CREATE INDEX picture_with ON pictures(digest)",
    "CREATE INDEX picture_hidden ON pictures(row) WHERE state <> 0",
    "DROP TABLE cameras",
    "DROP TABLE folders",
    "DROP TABLE copies",
    "PRAGMA user_version = 1",
)


def make_format_1(folder: Path) -> None:
    """Take from an index what format 1 did not have."""
    with contextlib.closing(schema.connect(folder)) as connection:
        for statement in _TO_FORMAT_1:
            connection.execute(statement)
    for path in folder.glob("facts-*.bin"):
        path.unlink()
