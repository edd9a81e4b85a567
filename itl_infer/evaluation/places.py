"""How well queries find all the pictures that they mean: places of the right ones, figures over them, and chance.

As for captions, ties count against the model: a wrong picture that scores as high as a right one stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from itl_infer.evaluation.metrics import (
    RESAMPLES,
    TIE,
    Doubles,
    Figures,
    Floats,
    middle_95,
    score_blocks,
)
from itl_infer.evaluation.tables import align, cell, percent

FIRST = 10  # pictures that people look at
LABELS = {
    "mean_average_precision": "mAP",
    "r_precision": "R-precision",
    "precision_at_10": "P@10",
    "recall_at_1": "R@1",
    "recall_at_10": "R@10",
}
"""The figures of `measure_places`, in the order of the columns of `query_figures`, and what tables call them."""

Places = npt.NDArray[np.int64]
"""Of a query the places of the right pictures in the answer, from 1 and rising."""


def places_of_right(
    text_embeddings: Floats, image_embeddings: Floats, right: Sequence[npt.NDArray[np.int64]]
) -> list[Places]:
    """For each of Q queries the places, (R,), of its R right pictures, each among all.

    `text_embeddings` (Q, D) and `image_embeddings` (N, D) unit rows; `right[i]` are the rows of the pictures that
    query i means. The m-th right picture stands at m plus the number of wrong ones that do not score less. A score
    that is NaN counts against the model.
    """
    images = image_embeddings.astype(np.float64)
    places: list[Places] = []
    for block in score_blocks(len(right), len(images)):
        scores = text_embeddings[block].astype(np.float64) @ images.T
        for row, rows in zip(scores, right[block], strict=True):
            is_right = np.zeros(len(images), dtype=bool)
            is_right[rows] = True
            best_first = -np.sort(-np.where(np.isnan(row), -np.inf, row)[is_right])
            wrong = np.sort(np.where(np.isnan(row), np.inf, row)[~is_right])
            before = len(wrong) - np.searchsorted(wrong, best_first - TIE)
            places.append(np.arange(1, len(best_first) + 1) + before)
    return places


def average_precision(places: Places) -> float:
    """Mean over the right pictures of the share of right ones down to each; 0 where there are none."""
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0


def query_figures(places: Sequence[Places | None]) -> Doubles:
    """(Q, 5): for each query its average precision, R-precision, precision at 10, and whether R@1 and R@10 count it.

    Of R right pictures, R-precision is the share that is among the first R, and precision at 10 the number among the
    first 10, over 10 (Manning, Raghavan, Schütze 2008, Introduction to Information Retrieval, 8.4). R@k is 1 where one
    is among the first k. None, a query that cannot be asked, has 0 in all.
    """
    rows = np.zeros((len(places), len(LABELS)))
    for row, found in zip(rows, places, strict=True):
        if found is not None:
            row[:] = (
                average_precision(found),
                (found <= len(found)).mean(),
                (found <= FIRST).sum() / FIRST,
                found[0] <= 1,
                found[0] <= FIRST,
            )
    return rows


def chance_of_places(counts: npt.NDArray[np.int64], pictures: int) -> Doubles:
    """(Q, 5): what `query_figures` are on average over all orders of N `pictures`, R = `counts[i]` of them right.

    Each place holds a right picture with probability R/N, which is R-precision, and 10 R/N over 10, or N over 10 if
    that is less, precision at 10. None is among the first k with probability C(N - R, k) / C(N, k), and R@k 1 less
    that. The average precision is (H + (R - 1) / (N - 1) (N - H)) / N, H the sum of 1/i for i from 1 to N
    (Bestgen 2015, Prague Bulletin of Mathematical Linguistics 103, 131-138).
    """
    n = pictures
    share = counts / n
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    missed = np.ones((FIRST + 1, len(counts)))  # [k]: that none is among the first k
    for k in range(1, FIRST + 1):
        missed[k] = missed[k - 1] * np.maximum(n - counts - (k - 1), 0) / max(n - (k - 1), 1)
    average = (harmonic + (counts - 1) / max(n - 1, 1) * (n - harmonic)) / n
    return np.stack([average, share, share * min(FIRST, n) / FIRST, 1 - missed[1], 1 - missed[FIRST]], axis=1)


def measure_places(places: Sequence[Places | None], counts: npt.NDArray[np.int64], pictures: int) -> Figures:
    """The means of `query_figures`, by the keys of `LABELS`; "chance" and "confidence_95" hold the same keys.

    `counts` (Q,) are the right pictures of each query, of all `pictures`; chance is that of all queries, those that
    cannot be asked too. The intervals are those that 95 % of resampled sets of queries give: the percentile bootstrap
    of `metrics.confidence_intervals`, with as many queries as there are, drawn with replacement.
    """
    rows = query_figures(places)
    rng = np.random.default_rng(0)
    drawn = np.stack([rows[rng.integers(len(rows), size=len(rows))].mean(axis=0) for _ in range(RESAMPLES)])
    lot = chance_of_places(counts, pictures).mean(axis=0)
    return {
        **{name: round(float(mean), 4) for name, mean in zip(LABELS, rows.mean(axis=0), strict=True)},
        "chance": {name: round(float(mean), 6) for name, mean in zip(LABELS, lot, strict=True)},
        "confidence_95": {name: middle_95(column, 4) for name, column in zip(LABELS, drawn.T, strict=True)},
    }


def format_places(figures: Figures) -> str:
    """A table of what `measure_places` found, in per cent: 95 % intervals in brackets, chance below."""
    sure, lot = figures["confidence_95"], figures["chance"]
    return align(
        [
            ["", *LABELS.values()],
            ["name to pictures", *(cell(percent, figures[name], sure[name]) for name in LABELS)],
            ["  by chance", *(cell(percent, lot[name]) for name in LABELS)],
        ]
    )
