"""The rows of an index as a view shows them, and their paths as this machine can open them."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from itl_infer.errors import IndexStoreError
from itl_infer.index.names import name_ends, parse_name
from itl_infer.index.roots import Root


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

    def rows_at(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The row at each of some positions."""
        places = np.minimum(np.searchsorted(self.holes, positions), len(self.holes) - 1)
        if not len(self.holes):
            return positions
        return np.where(self.holes[places] == positions, self.fillers[places], positions)

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
        self.names = names  # of rows, as they are on the disk
        self._layout, self._roots, self._file = layout, roots, file

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
        return bytes(self.names[start : int(self._ends[row])])

    def row_of(self, position: int) -> int:
        """The row of the files that stands at a position."""
        return self._layout.row_at(position)

    def rows(self) -> npt.NDArray[np.int64]:
        """The row of the files that stands at each position, (N,)."""
        return self._layout.rows()

    @property
    def holes(self) -> npt.NDArray[np.int64]:
        """The positions at which another row of the files stands, ascending."""
        return self._layout.holes

    def spans(
        self, positions: slice | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where each of some positions begins and ends in `names`; of a slice, which has a start, without holes."""
        if isinstance(positions, slice):
            ends = self._ends[positions]
            before = self._ends[positions.start - 1] if positions.start else -1
            return np.concatenate([[before], ends[:-1]]) + 1, ends
        rows = self._layout.rows_at(positions)
        return np.where(rows > 0, self._ends[rows - 1] + 1, 0), self._ends[rows]

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return name_ends(self.names)
