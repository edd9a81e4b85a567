"""How well a name separates: each of its examples left out in turn, and looked for by what the others say."""

from __future__ import annotations

import numpy as np

from itl_infer.teaching.discriminant import Floats, direction
from itl_infer.teaching.taught import Taught

_MOST = 20  # examples that are left out, evenly chosen: more only take longer
_SAME = 1 - 1e-6  # a cosine of an example with itself


def separation(taught: Taught, rows: Floats) -> float | None:
    """The leave-one-out precision of a name among rows (N, D): the mean of 1 / place of each example left out.

    Its place is that among the rows that are no examples. None where there are not two examples.
    """
    wanted, unwanted = taught.rows_of(taught.wanted), taught.rows_of(taught.unwanted)
    if len(wanted) < 2:
        return None
    is_example = np.zeros(len(rows), bool)
    for example in np.concatenate([wanted, unwanted]):
        is_example |= rows @ example > _SAME
    left_out = np.unique(np.linspace(0, len(wanted) - 1, min(len(wanted), _MOST)).astype(int))
    precisions = []
    for number in left_out:
        found = direction(np.delete(wanted, number, axis=0), taught.among, unwanted)
        better = (rows @ found > wanted[number] @ found) & ~is_example
        precisions.append(1 / (1 + int(better.sum())))
    return float(np.mean(precisions))
