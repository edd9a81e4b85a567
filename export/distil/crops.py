"""The parts of pictures that teacher and student both look at: the same ones, always."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.data.packed import PackedPictures
from export.trunk.tasks import crop_at_random, stretched
from itl_infer.ahead import in_order_ahead

Array = np.ndarray[Any, Any]

_AT_ONCE = 32  # pictures
_AHEAD = 2  # times as many are being cut


@dataclass(frozen=True)
class Crops:
    """One part of each readable picture, row by row, as any side wants it; `number` -1 is the whole of each.

    Teacher and student see the same part of a picture, mirrored alike (Beyer et al. 2022, arXiv:2106.05237).
    """

    pictures: PackedPictures
    rows: Array  # of `pictures`
    number: int
    area: tuple[float, float]  # smallest and largest share
    seed: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identity(self) -> list[Any]:
        """Plain values that change with what is seen."""
        rows = hashlib.sha256(self.rows.tobytes()).hexdigest()
        return [self.pictures.key, rows, self.number, *(self.area if self.number >= 0 else ()), self.seed]

    def at(self, places: Array, side: int) -> Array:
        """uint8 (n, side, side, 3): the parts of the pictures `rows[places]`."""
        found = np.empty((len(places), side, side, 3), np.uint8)
        for i, place in enumerate(places):
            found[i] = self._cut(int(place), side)
        return found

    def batches(self, start: int, side: int) -> Iterator[Array]:
        """All parts from place `start` on, in order; the next ones are cut while these are looked at."""
        parts = (np.arange(i, min(i + _AT_ONCE, len(self))) for i in range(start, len(self), _AT_ONCE))
        with (
            ThreadPoolExecutor(_AHEAD) as pool,
            closing(in_order_ahead(pool, lambda places: self.at(places, side), parts, _AHEAD)) as cut,
        ):
            for future in cut:
                yield future.result()

    def _cut(self, place: int, side: int) -> Array:
        row = int(self.rows[place])
        if self.number < 0:
            return stretched(self.pictures[row], side)
        # Drawn anew for each side, and the same for each.
        rng = np.random.default_rng((self.seed, self.number, row))
        return crop_at_random(self.pictures[row], side, self.area, rng)
