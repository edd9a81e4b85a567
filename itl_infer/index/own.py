"""What makes a database the one of an index, whoever wrote it: our tables, and nothing that acts on them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from itl_infer.index.damage import Damage

_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"
# Compiled when they are first needed, as a database is to the letter what it should be.
_COMMENT, _SPACE, _SPACE_AROUND = r"--[^\n]*", r"\s+", r"\s*([(),])\s*"


class _Object(NamedTuple):
    """A table or an index of a database."""

    kind: str
    name: str
    table: str
    sql: str | None  # None: SQLite made it for a constraint of its table


def require_own_tables(connection: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    """Raise Damage unless the database has the tables that `statements` make, and nothing that acts on them.

    Those made IF NOT EXISTS may be missing.

    A table of another name is one that a later itl-infer keeps beside them: nothing here reads it. Views, triggers and
    indexes that are not ours would be code of whoever made the index.
    """
    made = _rows_made(statements)
    rows = list(islice(connection.execute(_OBJECTS), len(made) + 1))
    if len(rows) == len(made) and set(rows) == made:
        return  # to the letter, as nearly always
    expected = expected_objects(statements)
    tables = {each.name for each in expected.values()}
    found = set()
    for row in connection.execute(_OBJECTS):
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
    for key in required_objects(statements):
        if key not in found:
            raise Damage(f"{key[0]} {key[1]!r} of an index is missing")


def _is_plain_table(one: _Object) -> bool:
    return one.kind == "table" and (one.sql or "").upper().startswith("CREATE TABLE ")


@lru_cache(maxsize=4)
def expected_objects(statements: tuple[str, ...]) -> Mapping[tuple[str, str], _Object]:
    """Every table and index that statements make, by kind and name."""
    return {
        (kind, name): _Object(kind, name, table, None if sql is None else _normal(sql))
        for kind, name, table, sql in _rows_made(statements)
    }


@lru_cache(maxsize=4)
def _rows_made(statements: tuple[str, ...]) -> frozenset[tuple[str, str, str, str | None]]:
    """What `_OBJECTS` gives of a database that statements made."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        return frozenset(connection.execute(_OBJECTS))


def required_objects(statements: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Kind and name of all that are not made only where they are missing."""
    made = {name for statement in statements for name in re.findall(r"EXISTS (\w+)", statement)}
    return (key for key, each in expected_objects(statements).items() if each.table not in made)


def _normal(sql: str) -> str:
    """SQL without comments and needless spaces. What has quotes, as ours has none, cannot become equal to ours."""
    return re.sub(_SPACE_AROUND, r"\1", re.sub(_SPACE, " ", re.sub(_COMMENT, "", sql))).strip()
