"""Exact cosine top-k on numpy: blocked products, a rising threshold, an order that no block decides.

What is guaranteed, for unit rows: the result is a function of one query, the embeddings and k alone. However
the work is cut into blocks and batches, a query gives the same indices in the same order and the same scores
to the last bit, alone or among ten thousand others. Float32 products only pick candidates, with a margin
wider than their rounding error; candidates are scored again in float64, in one order of summation, and sorted
by the score as returned (float32), equal scores by the lower index.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_BLOCK_SCORES = 2**20  # scores computed at a time: 4 MiB, near enough to the cores to be read again
_BLOCK_QUERIES = 256
_BLOCK_RESCORED = 2**13  # rows scored again at a time: 8 MiB of float64 at 128 columns
_SPARE_CANDIDATES = 64  # how far a query's candidates may outgrow what must be kept, on average


def rank(queries: Floats, embeddings: Floats, k: int) -> tuple[Indices, Floats]:
    """The k best rows for each query: indices (Q, k) int64 and scores (Q, k) float32, best first.

    `queries` (Q, D) and `embeddings` (N, D) are float32 with unit rows, so that a score is a cosine. k is cut
    to N; equal scores are in order of index. Memory above the inputs and the result stays under about 100 MB
    (more only where k is in the hundred thousands). Raises ValueError for k < 1 or shapes that do not fit.
    """
    queries, embeddings = _as_rows(queries, "queries"), _as_rows(embeddings, "embeddings")
    if queries.shape[1] != embeddings.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} columns, embeddings {embeddings.shape[1]}")
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    k = min(k, len(embeddings))
    indices = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    if k == 0:
        return indices, scores
    step = max(1, min(_BLOCK_QUERIES, 2**21 // k))
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        _rank_block(queries[block], embeddings, indices[block], scores[block])
    return indices, scores


def _as_rows(array: Floats, name: str) -> Floats:
    array = np.asarray(array, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"{name} have shape {array.shape}, expected (rows, columns)")
    return array


def _rank_block(queries: Floats, embeddings: Floats, indices: Indices, scores: Floats) -> None:
    """Fill (Q, k) `indices` and `scores` for a few queries."""
    k = indices.shape[1]
    candidates = _Candidates(queries, embeddings, k)
    step = max(_BLOCK_SCORES // len(queries), 1)
    for start in range(0, len(embeddings), step):
        rows = embeddings[start : start + step]
        # (Q, n): a matrix-vector product for a lone query, which reads memory faster than a matrix product
        products = (rows @ queries[0])[None] if len(queries) == 1 else queries @ rows.T
        candidates.offer(products, start)
    for i in range(len(queries)):
        rows_of_query = candidates.rows_of(i)
        exact = _exact_scores(queries[i], embeddings, rows_of_query)
        best = np.lexsort((rows_of_query, -exact))[:k]
        indices[i], scores[i] = rows_of_query[best], exact[best]


class _Candidates:
    """Rows that may still be among the k best of each query, given what has been seen of their products.

    A product p of a true score s has |p - s| <= error, whatever the order of summation. So k rows have true
    scores of at least (k-th best product) - error, and a row whose product lies more than 2 error below the
    k-th best cannot be among the k best: `thresholds` is that line, and only rises.
    """

    def __init__(self, queries: Floats, embeddings: Floats, k: int) -> None:
        self._queries, self._embeddings, self._k = queries, embeddings, k
        # Unit roundoff 2^-24, for each of D products and sums, and for the final rounding to float32.
        norms = np.linalg.norm(queries, axis=1).astype(np.float32)  # (Q,)
        self._margins = np.float32(2 * (queries.shape[1] + 2) * 2.0**-24 * 1.01) * norms
        self._thresholds = np.full(len(queries), -np.inf, np.float32)
        # One entry per candidate, grouped by query after each `_thin_out`.
        self._query = np.empty(0, np.int64)
        self._row = np.empty(0, np.int64)
        self._product = np.empty(0, np.float32)
        self._new: list[tuple[Indices, Indices, Floats]] = []
        self._room = 0  # how many more may be taken in before thinning out

    def offer(self, products: Floats, first_row: int) -> None:
        """Take in what passes the thresholds of (Q, n) `products` with the rows from `first_row` on."""
        hit = np.flatnonzero(products.max(axis=1) >= self._thresholds)
        if not len(hit):
            return
        passing = products[hit] >= self._thresholds[hit, None]
        query, row = np.nonzero(passing)
        self._new.append((hit[query], row + first_row, products[hit[query], row]))
        self._room -= len(row)
        if self._room < 0:
            self._thin_out()

    def rows_of(self, query: int) -> Indices:
        if self._new:
            self._thin_out()
        start, stop = np.searchsorted(self._query, [query, query + 1])
        return self._row[start:stop]

    def _thin_out(self) -> None:
        query = np.concatenate([self._query, *(new[0] for new in self._new)])
        row = np.concatenate([self._row, *(new[1] for new in self._new)])
        product = np.concatenate([self._product, *(new[2] for new in self._new)])
        self._new = []
        order = np.lexsort((row, -product, query))
        query, row, product = query[order], row[order], product[order]
        starts = np.searchsorted(query, np.arange(len(self._queries)))
        kth = starts + self._k - 1
        full = kth < np.append(starts[1:], len(query))
        self._thresholds[full] = product[kth[full]] - self._margins[full]
        keep = product >= self._thresholds[query]
        self._query, self._row, self._product = query[keep], row[keep], product[keep]
        self._room = len(self._row) + _SPARE_CANDIDATES * len(self._queries)


def _exact_scores(query: Floats, embeddings: Floats, rows: Indices) -> Floats:
    """Cosines (n,) with the given rows, each summed in float64 in the same order whatever n is."""
    exact = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK_RESCORED):
        block = slice(start, start + _BLOCK_RESCORED)
        exact[block] = np.multiply(embeddings[rows[block]], query, dtype=np.float64).sum(axis=1)
    return exact
