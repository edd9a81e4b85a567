"""One consistent view of an index: its matrix, mapped from the disk, and the names of its rows.

A row that counts is never written again, so a view stays whole and true however long it is kept, whatever a
writer does meanwhile; a compaction leaves it the files that it has open.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from itl_infer import ranking, teaching
from itl_infer.errors import IndexStoreError
from itl_infer.image import Facts
from itl_infer.index import schema
from itl_infer.index.copies import require_copies
from itl_infer.index.damage import Damage, typed
from itl_infer.index.disk import map_file, store_errors
from itl_infer.index.facts import RECORD, FactsOfRows, map_records
from itl_infer.index.intact import require_intact
from itl_infer.index.paths import Layout, Paths
from itl_infer.index.roots import Root, is_location, resolve_location
from itl_infer.index.schema import State
from itl_infer.index.taught import names_of, read_moments, read_named

if TYPE_CHECKING:
    from itl_infer.index.codes import DerivedCodes
    from itl_infer.teaching import Moments, Names
    from itl_infer.where import Where

_REPAIR = "itl-infer check --repair drops what is damaged and keeps the rest"
_ATTEMPTS = 5  # at opening files that a compaction may have replaced since the database was read
_REMEMBERED = 16  # filters of a view, a byte a row each


@dataclass(frozen=True)
class Snapshot:
    """What an index held at one moment; a `store.View`, in which the number of a row is its position."""

    state: State
    roots: Mapping[int, Root]
    embeddings: npt.NDArray[np.float32]  # (N, D), unit rows, read-only
    paths: Paths
    facts: FactsOfRows
    folder: Path | None = None  # None: there is none yet
    named: dict[str, str] = field(default_factory=dict, repr=False)  # by their keys, how names are written
    _compared: set[int] = field(default_factory=set, repr=False, compare=False)  # rows, with their checksums
    _selected: dict[Where, npt.NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of all rows, or nearly all: those kept with the index, or else summed here, once."""
        kept = None
        if self.folder is not None:
            with contextlib.suppress(IndexStoreError):  # gone since, or damaged: they are only a short way
                kept = read_moments(self.folder, self.state, len(self))
        return teaching.Moments.of(self.embeddings) if kept is None else kept

    @cached_property
    def names(self) -> Names:
        """The names that were taught."""
        if self.folder is None:
            return teaching.NO_NAMES
        return names_of(self.named, self.folder, self.state, lambda: self.moments)

    @cached_property
    def codes(self) -> DerivedCodes | None:
        """The codes of its rows; None where these are so few that floats are as fast."""
        if self.folder is None or not self.state.has_codes:
            return None
        from itl_infer.index.codes import DerivedCodes

        return DerivedCodes(self.folder, self.state, self.paths.holes)

    def __len__(self) -> int:
        return len(self.embeddings)

    def nearest(
        self, vectors: npt.NDArray[np.float32], k: int, where: Where | None = None
    ) -> Iterator[list[tuple[int, float]]]:
        """For each unit vector of (Q, D) the `k` best rows with their cosines, best first, ties by lower row.

        Of those alone that `where` means, exactly. Raises IndexStoreError where one of them is not what was written.
        """
        try:
            best, scores = self._rank(vectors, k, self.among(where))
        except ValueError as error:
            asked = np.asarray(vectors)
            if "NaN" not in str(error) or asked.dtype.kind not in "fiu" or not np.isfinite(asked).all():
                raise
            raise IndexStoreError(f"{self.folder}: {error}: {_REPAIR}") from error
        self._require_intact(best)
        for rows, cosines in zip(best, scores, strict=True):
            yield list(zip(rows.tolist(), cosines.tolist(), strict=True))

    def _rank(
        self, vectors: npt.NDArray[np.float32], k: int, among: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """By codes, where there are some; the answer is the same."""
        codes = None if self.codes is None else self.codes.of(self.embeddings)
        try:
            return ranking.rank(vectors, self.embeddings, k, among=among, codes=codes)
        except ranking.CodesError as error:
            assert self.codes is not None
            self.codes.give_up(error)
        return ranking.rank(vectors, self.embeddings, k, among=among)

    def _require_intact(self, positions: npt.NDArray[np.int64]) -> None:
        """Compare the rows at some positions with their checksums, each once. Raises IndexStoreError."""
        # Not np.unique, which imports all of numpy.ma: a tenth of the time of a lone query.
        new = sorted(set(positions.reshape(-1).tolist()) - self._compared)
        if self.folder is not None and new:
            require_intact(
                self.folder,
                self.state,
                {self.paths.row_of(position): self.embeddings[position] for position in new},
                self.paths.name_of_row,
            )
            self._compared.update(new)

    def among(self, where: Where | None) -> npt.NDArray[np.bool_] | None:
        """Whether each row is meant, (N,); None: all are. Remembered, as one filter is mostly asked with again."""
        if where is None:
            return None
        from itl_infer.where import require_where

        require_where(where)
        if not where:
            return None
        if where not in self._selected:
            from itl_infer.index.selection import rows_where

            if len(self._selected) >= _REMEMBERED:
                self._selected.clear()
            self._selected[where] = rows_where(where, self.facts, self.paths, self.roots)
        return self._selected[where]

    def count(self, where: Where | None = None) -> int:
        """How many rows are meant."""
        among = self.among(where)
        return len(self) if among is None else int(np.count_nonzero(among))

    def facts_of(self, row: int) -> Facts:
        """The facts of a row; of no width, height, date and camera where they were not read yet."""
        return self.facts[row] or Facts(0, 0)

    def embeddings_of(self, rows: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]:
        """(D,) for each of some rows; looked up when asked for, not copied."""
        return map(self.embeddings.__getitem__, rows)

    def path_of(self, row: int) -> str:
        """The path of a row. IndexError where there is none."""
        return self.paths[row]

    def whole(self, wanted_for: str) -> Snapshot:  # noqa: ARG002, other stores say what cannot be had
        """All rows, which are at hand here whatever they are wanted for."""
        return self


def empty_snapshot(embed_dim: int, bundle_name: str, bundle_fingerprint: str) -> Snapshot:
    """The view of an index that is not there yet."""
    layout = Layout.around(np.empty(0, np.int64), 0)
    state = State(0, 0, 0, embed_dim, bundle_name, bundle_fingerprint)
    facts = FactsOfRows(None, np.empty(0, RECORD))
    return Snapshot(state, {}, np.empty((0, embed_dim), np.float32), Paths(bytearray(), layout, {}), facts)


def take_snapshot(folder: Path) -> Snapshot:
    """The last committed state of the index in `folder`. Raises NoIndexError where there is none yet."""
    for left in reversed(range(_ATTEMPTS)):
        with store_errors(folder):
            with schema.reading(folder) as connection:
                state = schema.read_state(connection)
                has_facts = schema.require_version(connection, folder) >= schema.WITH_FACTS
                require_copies(connection, ("bundle", "folders"))  # the width is compared with the bundle's
                roots = read_roots(connection, folder)
                hidden = _hidden_rows(connection, state)
                named = read_named(connection)
            try:
                layout = Layout.around(hidden, state.rows)
                # Their file may be lost alone: what was embedded is found all the same.
                has_facts &= left > 0 or state.facts_file(folder).exists()
                return _map(folder, state, roots, layout, named, has_facts=has_facts)
            except FileNotFoundError as error:  # a compaction came between
                missing = error.filename
    raise IndexStoreError(
        f"{missing}: missing: copy it back beside {schema.DATABASE}, or itl-infer check --repair, and embed again"
        " what that drops"
    )


def _hidden_rows(connection: sqlite3.Connection, state: State) -> npt.NDArray[np.int64]:
    """Rows that are not shown, ascending. Raises Damage where rows are none that the files have."""
    [(last,)] = connection.execute("SELECT max(row) FROM pictures")
    if last is not None and last >= state.rows:
        raise Damage(f"malformed: the last record is of row {last}, of {state.rows} rows")
    rows = connection.execute(
        "SELECT row FROM pictures WHERE state <> 0 ORDER BY row LIMIT ?", (state.rows + 1,)
    )
    hidden = np.array([row for (row,) in rows], np.int64)
    if len(hidden) > state.rows or (len(hidden) and hidden[0] < 0):
        raise Damage("malformed: records of rows that are not there")
    return hidden


def _map(
    folder: Path,
    state: State,
    roots: Mapping[int, Root],
    layout: Layout,
    named: dict[str, str],
    *,
    has_facts: bool,
) -> Snapshot:
    names = map_file(state.paths_file(folder), state.paths_bytes)
    has_holes = len(layout.holes) > 0
    mapped = map_file(state.vectors_file(folder), state.vectors_bytes, private=has_holes)
    vectors = np.frombuffer(mapped, dtype="<f4").reshape(state.rows, state.embed_dim)
    records = map_records(folder, state, private=has_holes) if has_facts else np.zeros(state.rows, RECORD)
    return Snapshot(
        state,
        roots,
        _filled(vectors, layout),
        Paths(names, layout, roots, state.paths_file(folder)),
        FactsOfRows(folder if has_facts else None, _filled(records, layout)),
        folder,
        named,
    )


def _filled(rows: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """The live ones without gaps; filling the holes copies the pages they lie on, the rest stays on disk."""
    if len(layout.holes):
        rows[layout.holes] = rows[layout.fillers]
    rows.flags.writeable = False
    return rows[: layout.live]


def read_roots(connection: sqlite3.Connection, folder: Path) -> dict[int, Root]:
    """The remembered folders by their numbers. Raises Damage for what is none."""
    roots = {}
    for root, location, is_whole in typed(connection.execute("SELECT * FROM roots"), int, bytes, int):
        if not is_location(location):
            raise Damage(f"malformed: the place of folder {root}")
        roots[root] = Root(root, resolve_location(location, folder), bool(is_whole))
    return roots
