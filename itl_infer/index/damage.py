"""What a database says that cannot be true of an index, and rows whose values are of the kinds that they should be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any


class Damage(sqlite3.DatabaseError):
    """The database says what cannot be true of an index; `check --repair` mends it, or says what is lost."""


def typed(rows: Iterable[tuple[Any, ...]], *kinds: type | tuple[type, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows as they are asked for, each value of the kind that its column has. Raises Damage."""
    for row in rows:
        if not all(map(isinstance, row, kinds)):
            raise Damage("malformed record: a value is of another type than its column")
        yield row
