"""What no checksum of a picture covers is kept twice: by that, damage is found, and a repair puts it right."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any

from itl_infer.index import schema
from itl_infer.index.damage import Damage, typed

COPIED = ("format", "bundle", "width", "folders")


def write_copies(connection: sqlite3.Connection) -> None:
    """Keep a second time what no checksum of a picture covers, inside a transaction of the caller's."""
    copies = {what: json.dumps(value).encode() for what, value in _originals(connection).items()}
    if _kept(connection) != copies:
        connection.execute("DELETE FROM copies")
        rows = ((what, content, zlib.crc32(content)) for what, content in copies.items())
        connection.executemany("INSERT INTO copies VALUES (?, ?, ?)", rows)


def require_copies(connection: sqlite3.Connection, which: Iterable[str] = COPIED) -> None:
    """Raise Damage where what is kept twice is not the same; of an older index nothing is."""
    if not schema.has_table(connection, "copies"):
        return
    kept, originals = _kept(connection), _originals(connection)
    for what in which:
        if what in kept and kept[what] != json.dumps(originals[what]).encode():
            raise Damage(f"the record of its {what} does not match its copy")


def copies_are_whole(connection: sqlite3.Connection) -> bool:
    """Whether each copy that should be there is, with its checksum; an older index has none."""
    return not schema.has_table(connection, "copies") or _kept(connection).keys() == set(COPIED)


def read_copies(rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """What those rows of `copies` say whose checksum is right, by the names in COPIED."""
    copies = {}
    for what, content, crc in rows:
        if isinstance(what, str) and isinstance(content, bytes) and zlib.crc32(content) == crc:
            copies[what] = json.loads(content)
    return copies


def _kept(connection: sqlite3.Connection) -> dict[str, bytes]:
    rows = connection.execute("SELECT what, content, crc FROM copies LIMIT 10")
    return {
        what: content
        for what, content, crc in rows
        if isinstance(content, bytes) and zlib.crc32(content) == crc
    }


def _originals(connection: sqlite3.Connection) -> dict[str, Any]:
    state = schema.read_state(connection)
    roots = connection.execute("SELECT id, hex(location), is_whole FROM roots ORDER BY id")
    [(version,)] = connection.execute("PRAGMA user_version")
    return {
        "format": version,
        "bundle": [state.bundle_name, state.bundle_fingerprint],
        "width": state.embed_dim,
        "folders": [list(root) for root in typed(roots, int, str, int)],
    }
