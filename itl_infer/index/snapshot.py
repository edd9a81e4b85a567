"""One consistent view of an index: its matrix, mapped from the disk, and the names of its rows.

A row that counts is never written again, so a view stays whole and true however long it is kept, whatever a
writer does meanwhile; a compaction leaves it the files that it has open.
"""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.errors import IndexStoreError
from itl_infer.index import schema
from itl_infer.index.codes import DerivedCodes
from itl_infer.index.copies import require_copies
from itl_infer.index.damage import Damage, typed
from itl_infer.index.disk import map_file, store_errors
from itl_infer.index.intact import require_intact
from itl_infer.index.names import name_ends, parse_name
from itl_infer.index.roots import Root, is_location, resolve_location
from itl_infer.index.schema import State

_REPAIR = "itl-infer check --repair drops what is damaged and keeps the rest"
_ATTEMPTS = 5  # at opening files that a compaction may have replaced since the database was read


@dataclass(frozen=True)
class Layout:
    """Which row of the files stands at each position of a view of `live` rows without gaps.

    Positions are rows, except for `holes`: hidden rows before the end of the view, where live rows from
    behind the end (`fillers`) stand instead. So a view without hidden rows is the file itself.
    """

    live: int
    holes: npt.NDArray[np.int64]  # ascending
    fillers: npt.NDArray[np.int64]  # one for each hole

    @classmethod
    def around(cls, hidden: npt.NDArray[np.int64], rows: int) -> Layout:
        """The layout of `rows` rows of which the `hidden` ones, ascending, are not shown."""
        live = rows - len(hidden)
        fillers = np.setdiff1d(np.arange(live, rows), hidden, assume_unique=True)
        return cls(live, hidden[hidden < live], fillers)

    def row_at(self, position: int) -> int:
        hole = int(np.searchsorted(self.holes, position))
        if hole < len(self.holes) and self.holes[hole] == position:
            return int(self.fillers[hole])
        return position

    def rows(self) -> npt.NDArray[np.int64]:
        """The row at every position, (live,)."""
        rows = np.arange(self.live)
        rows[self.holes] = self.fillers
        return rows


class Paths(Sequence[str]):
    """The path of each position of a view, as this machine can open it; looked up when asked for."""

    def __init__(
        self,
        names: mmap.mmap | bytearray,
        layout: Layout,
        roots: Mapping[int, Root],
        file: Path | None = None,
    ) -> None:
        self._names, self._layout, self._roots, self._file = names, layout, roots, file

    def __len__(self) -> int:
        return self._layout.live

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        position = range(len(self))[position]  # negative ones count from the end, IndexError beyond
        row = self._layout.row_at(position)
        try:
            root, path = parse_name(self.name_of_row(row))
            return self._roots[root].locate(path)
        except (ValueError, LookupError) as error:
            raise IndexStoreError(
                f"{self._file}: row {row} has no proper name: itl-infer check --repair writes the names again"
            ) from error

    def name_of_row(self, row: int) -> bytes:
        """What the paths file says. LookupError where it does not go that far."""
        start = int(self._ends[row - 1]) + 1 if row else 0
        return bytes(self._names[start : int(self._ends[row])])

    def row_of(self, position: int) -> int:
        """The row of the files that stands at a position."""
        return self._layout.row_at(position)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return name_ends(self._names)


@dataclass(frozen=True)
class Snapshot:
    """What an index held at one moment; a `store.View`, in which the number of a row is its position."""

    state: State
    roots: Mapping[int, Root]
    embeddings: npt.NDArray[np.float32]  # (N, D), unit rows, read-only
    paths: Paths
    folder: Path | None = None  # None: there is none yet
    codes: DerivedCodes | None = None
    _compared: set[int] = field(default_factory=set, repr=False, compare=False)  # rows, with their checksums

    def __len__(self) -> int:
        return len(self.embeddings)

    def nearest(self, vectors: npt.NDArray[np.float32], k: int) -> Iterator[list[tuple[int, float]]]:
        """For each unit vector of (Q, D) the `k` best rows with their cosines, best first, ties by lower row.

        Raises IndexStoreError where one of them is not what was written.
        """
        try:
            best, scores = self._rank(vectors, k)
        except ValueError as error:
            if k < 1 or np.isnan(vectors).any() or vectors.shape[1:] != self.embeddings.shape[1:]:
                raise
            raise IndexStoreError(f"{self.folder}: {error}: {_REPAIR}") from error
        self._require_intact(best)
        for rows, cosines in zip(best, scores, strict=True):
            yield list(zip(rows.tolist(), cosines.tolist(), strict=True))

    def _rank(
        self, vectors: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """By codes, where there are some; the answer is the same."""
        codes = None if self.codes is None else self.codes.of(self.embeddings)
        try:
            return ranking.rank(vectors, self.embeddings, k, codes=codes)
        except ranking.CodesError as error:
            assert self.codes is not None
            self.codes.give_up(error)
        return ranking.rank(vectors, self.embeddings, k)

    def _require_intact(self, positions: npt.NDArray[np.int64]) -> None:
        """Compare the rows at some positions with their checksums, each once. Raises IndexStoreError."""
        new = [position for position in np.unique(positions).tolist() if position not in self._compared]
        if self.folder is not None and new:
            require_intact(
                self.folder,
                self.state,
                {self.paths.row_of(position): self.embeddings[position] for position in new},
                self.paths.name_of_row,
            )
            self._compared.update(new)

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
    return Snapshot(state, {}, np.empty((0, embed_dim), np.float32), Paths(bytearray(), layout, {}))


def take_snapshot(folder: Path) -> Snapshot:
    """The last committed state of the index in `folder`. Raises NoIndexError where there is none yet."""
    for _ in range(_ATTEMPTS):
        with store_errors(folder):
            with schema.reading(folder) as connection:
                state = schema.read_state(connection)
                require_copies(connection, ("bundle", "folders"))  # the width is compared with the bundle's
                roots = read_roots(connection, folder)
                hidden = _hidden_rows(connection, state)
            try:
                return _map(folder, state, roots, Layout.around(hidden, state.rows))
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


def _map(folder: Path, state: State, roots: Mapping[int, Root], layout: Layout) -> Snapshot:
    names = map_file(state.paths_file(folder), state.paths_bytes)
    paths = Paths(names, layout, roots, state.paths_file(folder))
    codes = DerivedCodes(folder, state, layout.holes)
    return Snapshot(state, roots, _map_matrix(folder, state, layout), paths, folder, codes)


def _map_matrix(folder: Path, state: State, layout: Layout) -> npt.NDArray[np.float32]:
    """The live rows as one matrix; filling the holes copies the pages they lie on, the rest stays on disk."""
    mapped = map_file(state.vectors_file(folder), state.vectors_bytes, private=len(layout.holes) > 0)
    matrix = np.frombuffer(mapped, dtype="<f4").reshape(state.rows, state.embed_dim)
    if len(layout.holes):
        matrix[layout.holes] = matrix[layout.fillers]
    matrix.flags.writeable = False
    return matrix[: layout.live]


def read_roots(connection: sqlite3.Connection, folder: Path) -> dict[int, Root]:
    """The remembered folders by their numbers. Raises Damage for what is none."""
    roots = {}
    for root, location, is_whole in typed(connection.execute("SELECT * FROM roots"), int, bytes, int):
        if not is_location(location):
            raise Damage(f"malformed: the place of folder {root}")
        roots[root] = Root(root, resolve_location(location, folder), bool(is_whole))
    return roots
