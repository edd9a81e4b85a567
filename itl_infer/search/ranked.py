"""The rows of a store in the order of a query: best first, and last what it says is not wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itl_infer.search.query import EmbeddedQuery
    from itl_infer.store import View
    from itl_infer.where import Where

Floats = npt.NDArray[np.float32]
Rows = list[tuple[int, float]]  # rows of a store with their scores, best first

_ONE_PICTURE = 0.9999  # a cosine that a picture has with itself, embedded again or from a copy of its file


def is_unwanted(embeddings: Iterable[Floats], unwanted: Floats) -> npt.NDArray[np.bool_]:
    """Whether each of N embeddings (D,) is that of a picture in `unwanted` (M, D), or of a copy of it, (N,)."""
    rows = np.array(list(embeddings), np.float32).reshape(-1, unwanted.shape[1])
    cosines = rows @ unwanted.T
    return np.asarray((cosines >= _ONE_PICTURE).any(axis=1))


@dataclass
class Ranked:
    """The rows of a view that `where` means, in the order of a query, of which the `asked` best were `found`."""

    query: EmbeddedQuery
    view: View
    where: Where | None
    asked: int
    found: Rows

    def best(self, k: int) -> Rows:
        """The k best, fewer where there are no more. Looks again where more have to be known for that."""
        self._look(k)
        while len(self.query.unwanted):
            are_last = is_unwanted(
                self.view.embeddings_of([row for row, _ in self.found]), self.query.unwanted
            )
            count = int(are_last.sum())
            if len(self.found) - count >= k or len(self.found) < self.asked:
                return [self.found[i] for i in np.argsort(are_last, kind="stable")[:k].tolist()]
            self._look(k + count)
        return self.found[:k]

    def _look(self, k: int) -> None:
        if self.asked < k and len(self.found) == self.asked:
            [self.found] = self.view.nearest(self.query.vector[None], k, self.where)
            self.asked = k
