"""What a database says that cannot be true of an index, and rows whose values are of the kinds that they should be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

_OF_ANOTHER_TYPE = "malformed record: a value is of another type than its column"


class Damage(sqlite3.DatabaseError):
    """The database says what cannot be true of an index; `check --repair` mends it, or says what is lost."""


def typed(rows: Iterable[tuple[Any, ...]], *kinds: type | tuple[type, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows as they are asked for, each value of the kind that its column has. Raises Damage."""
    for row in rows:
        if not all(map(isinstance, row, kinds)):
            raise Damage(_OF_ANOTHER_TYPE)
        yield row


def all_typed(rows: list[tuple[Any, ...]], *kinds: type) -> list[tuple[Any, ...]]:
    """The same of all rows at once, for where thousands are read and a question waits."""
    for column, kind in zip(zip(*rows, strict=True), kinds, strict=False):  # of no rows there are no columns
        if {*map(type, column)} != {kind}:
            raise Damage(_OF_ANOTHER_TYPE)
    return rows
