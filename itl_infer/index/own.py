"""What makes a database the one of an index, whoever wrote it: our tables alone, and what is kept of them twice."""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import lru_cache
from typing import Any, NamedTuple

from itl_infer.index import schema
from itl_infer.index.schema import Damage, typed

COPIED = ("format", "bundle", "width", "folders")
_COMMENT = re.compile(r"--[^\n]*")
_SPACE = re.compile(r"\s+")
_SPACE_AROUND = re.compile(r"\s*([(),])\s*")


class _Object(NamedTuple):
    """A table or an index of a database."""

    kind: str
    name: str
    table: str
    sql: str | None  # None: SQLite made it for a constraint of its table


def require_own_tables(connection: sqlite3.Connection, version: int) -> None:
    """Raise Damage unless the database has the tables of an index of this format, and nothing that acts on them.

    A table of another name is one that a later itl-infer keeps beside them: nothing here reads it. Views, triggers and
    indexes that are not ours would be code of whoever made the index.
    """
    expected = expected_objects(version)
    tables = {each.name for each in expected.values()}
    found = set()
    for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if not all(isinstance(value, str) for value in row[:3]):
            raise Damage("malformed schema")
        kind, name, table, sql = row
        one = _Object(kind, name, table, None if sql is None else _normal(str(sql)))
        is_other = one.table.lower() not in tables and one.name.lower() not in tables
        if is_other and (one.kind == "index" or _is_plain_table(one)):
            continue
        if expected.get((one.kind, one.name)) != one:
            raise Damage(f"{one.kind} {one.name!r} is not one of an index")
        found.add((one.kind, one.name))
    for key in required_objects(version):
        if key not in found:
            raise Damage(f"{key[0]} {key[1]!r} of an index is missing")


def _is_plain_table(one: _Object) -> bool:
    return one.kind == "table" and (one.sql or "").upper().startswith("CREATE TABLE ")


@lru_cache(maxsize=4)
def expected_objects(version: int) -> Mapping[tuple[str, str], _Object]:
    """Every table and index of this format, by kind and name."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in schema.statements(version):
            connection.execute(statement)
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {
        (kind, name): _Object(kind, name, table, None if sql is None else _normal(sql))
        for kind, name, table, sql in rows
    }


def required_objects(version: int) -> Iterator[tuple[str, str]]:
    """Kind and name of all that are part of this format, and not made where they are missing."""
    made = {
        name for statement in schema.MADE_WHERE_MISSING for name in re.findall(r"EXISTS (\w+)", statement)
    }
    return (key for key, each in expected_objects(version).items() if each.table not in made)


def _normal(sql: str) -> str:
    """SQL without comments and needless spaces. What has quotes, as ours has none, cannot become equal to ours."""
    return _SPACE_AROUND.sub(r"\1", _SPACE.sub(" ", _COMMENT.sub("", sql))).strip()


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
