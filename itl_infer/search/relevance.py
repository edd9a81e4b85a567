"""Where the results of one query stop being relevant, by the distribution of its own scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FENCE = 1.5  # Tukey's
# Found on captioned pictures of a validation split; measured by `python -m tests.benchmarks.relevance`.
_SHARE_OF_BEST = 0.85


def relevant_from(scores: npt.NDArray[np.float32]) -> float:
    """The lowest score that stands out from all scores (N,) of a query over an index; above all if none does.

    A score stands out if it is an outlier among them, by Tukey's inner fence Q3 + 1.5 (Q3 - Q1) (Exploratory
    Data Analysis, 1977), and not far from the best, at least 85 % of it. The fence alone keeps what is merely
    of the same kind; the share alone would keep the best of an index that has nothing to offer.
    """
    if len(scores) == 0:
        return np.inf
    first, third = np.percentile(scores, [25, 75])
    return float(max(third + _FENCE * (third - first), _SHARE_OF_BEST * scores.max()))
