"""Rows that are kept though their pictures were not found: those of what is away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from itl_infer.index.schema import RowState
from itl_infer.ingest.away import Away, describe_away

if TYPE_CHECKING:
    from itl_infer.index import Writer

# Rows whose pictures are gone, from the targets or from elsewhere; `kept`, by number, are those of what is away.
GONE_TABLE = "CREATE TEMP TABLE gone (row INTEGER PRIMARY KEY, in_scope INTEGER, kept INTEGER)"
ADD_GONE = """
    INSERT INTO temp.gone VALUES (?, TRUE, NULL) ON CONFLICT (row) DO UPDATE SET in_scope = kept IS NULL
"""
_AGAIN = "ON CONFLICT (row) DO UPDATE SET in_scope = FALSE, kept = excluded.kept"
IN_SCOPE = "WHERE root = :root AND path >= :low AND (:high IS NULL OR path < :high)"


class Scope(NamedTuple):
    """Stored paths that a target covers: those of one root with low <= path < high (None: no end)."""

    root: int
    low: bytes = b""
    high: bytes | None = None


class Kept:
    """What is away, and the rows that are kept of it: they may turn up elsewhere, but are not dropped."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._numbers: dict[Away, int] = {}
        self._pictures: dict[Away, int] = {}  # live ones at first

    def add(self, away: Away, rows: Iterable[tuple[int, RowState]] = ()) -> None:
        """Keep some rows of what is away; of none, it is named all the same."""
        number, rows = self._number(away), list(rows)
        self._writer.executemany(
            f"INSERT INTO temp.gone VALUES (?, FALSE, ?) {_AGAIN}", [(row, number) for row, _ in rows]
        )
        self._pictures[away] += sum(state == RowState.LIVE for _, state in rows)

    def add_scopes(self, away: Away, scopes: Iterable[Scope]) -> None:
        """Keep all live rows of some scopes."""
        number = self._number(away)
        for scope in scopes:
            parameters = {**scope._asdict(), "number": number}
            live = f"FROM pictures {IN_SCOPE} AND state = 0"
            [(pictures,)] = self._writer.execute(f"SELECT count(*) {live}", scope._asdict())
            self._writer.execute(
                f"INSERT INTO temp.gone SELECT row, FALSE, :number {live} {_AGAIN}", parameters
            )
            self._pictures[away] += pictures

    def _number(self, away: Away) -> int:
        self._pictures.setdefault(away, 0)
        return self._numbers.setdefault(away, len(self._numbers))

    def left(self) -> Iterator[tuple[Away, int]]:
        """What is away, and how many of its pictures are kept; without that of which all turned up elsewhere."""
        counts = dict(
            self._writer.execute(
                "SELECT kept, count(*) FROM temp.gone JOIN pictures USING (row)"
                " WHERE kept IS NOT NULL AND state = 0 GROUP BY kept"
            )
        )
        for away, number in self._numbers.items():
            if number in counts or not self._pictures[away]:
                yield away, counts.get(number, 0)

    def describe(self, away: Away) -> str:
        """What it is to say where nothing else was to be looked at."""
        return describe_away(*away, self._pictures[away])
