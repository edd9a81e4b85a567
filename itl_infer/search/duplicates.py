"""Pictures that are nearly the same, folded under the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from itl_infer.store import View
    from itl_infer.where import Where


Rows = list[tuple[int, float]]  # rows of a store with their scores, best first

NEAR_DUPLICATE = 0.98  # a cosine that copies of one picture have, at half the size or a low JPEG quality


def fold(
    vector: npt.NDArray[np.float32],
    best: Rows,
    view: View,
    k: int,
    threshold: float,
    where: Where | None = None,
) -> list[Rows]:
    """The k best pictures of which no two are near-duplicates, each followed by its near-duplicates.

    In order of score, each picture joins the first better one whose cosine with it reaches the threshold;
    looks at ever more of the best that `where` means, until there are k groups and one picture that would begin one.
    """
    asked = k
    while True:
        groups: list[Rows] = []
        leaders = np.empty((min(k, len(best)), len(vector)), np.float32)
        embeddings = view.embeddings_of([row for row, _ in best])
        for (row, score), embedding in zip(best, embeddings, strict=True):
            near = np.flatnonzero(leaders[: len(groups)] @ embedding >= threshold)
            if len(near):
                groups[near[0]].append((row, score))
            elif len(groups) == k:
                return groups
            else:
                leaders[len(groups)] = embedding
                groups.append([(row, score)])
        if len(best) < asked or len(best) == len(view):
            return groups
        asked = 4 * len(best)
        [best] = view.nearest(vector[None], asked, where)
