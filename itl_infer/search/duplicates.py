"""Pictures that are nearly the same, folded under the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from itl_infer.search.ranked import Ranked, Rows

NEAR_DUPLICATE = 0.98  # a cosine that copies of one picture have, at half the size or a low JPEG quality


def fold(ranked: Ranked, k: int, threshold: float) -> list[Rows]:
    """The k best pictures of which no two are near-duplicates, each followed by its near-duplicates.

    In order, each picture joins the first better one whose cosine with it reaches the threshold; looks at ever more
    of the best, until there are k groups and one picture that would begin one.
    """
    asked, view = k, ranked.view
    while True:
        best = ranked.best(asked)
        groups: list[Rows] = []
        leaders = np.empty((min(k, len(best)), len(ranked.query.vector)), np.float32)
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
