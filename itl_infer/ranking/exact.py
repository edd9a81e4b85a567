"""Exact cosine top-k on numpy: blocked products, a rising threshold, and an order that no block decides.

Float32 products pick candidates, with a margin wider than their rounding errors; the candidates are scored
again, each on its own and always in one order of summation. So for unit rows the result is a function of a
query, the embeddings and k alone: on one machine a query has the same indices in the same order, and the same
scores to the last bit, alone or among ten thousand others and wherever blocks begin. Another machine, whose
processor sums in another order, may differ in the last bits of a score (within 1e-6), and so in the order of
pictures that are that close.

A lone query over few rows goes a shorter way to the same (`_rank_one`), which saves 0.1 ms of overhead: more than
half of the time over 1,000 rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from itl_infer.arguments import require_instance, require_whole, wrong
from itl_infer.ranking.candidates import (
    Candidates,
    Floats,
    Indices,
    below_kth_best,
    margins,
    rows_of,
    scores_of,
)
from itl_infer.vectors import as_rows

if TYPE_CHECKING:
    from itl_infer.ranking.codes import Codes

_BLOCK_QUERIES = 256
_BLOCK_ROWS = 2**16  # at most
_BLOCK_PRODUCTS = 3 * 2**20  # at a time: 12 MiB, which stay in the cache that the cores share
_COPYING = 8  # times what a product with a row takes, for one that is copied before
_BLOCK_CANDIDATES = 2**24  # kept at a time: the k best of each query, and some more


def rank(
    queries: Floats,
    embeddings: Floats,
    k: int,
    *,
    among: npt.NDArray[np.bool_] | None = None,
    codes: Codes | None = None,
) -> tuple[Indices, Floats]:
    """The k best rows for each query: indices (Q, k) int64 and scores (Q, k) float32, best first.

    `queries` (Q, D) and `embeddings` (N, D) are float32 with unit rows, so that a score is a cosine. k is cut
    to N; equal scores stand in order of index. `among` (N,) says which rows count, all of them where it is not given:
    k is cut to their number, and they have the scores that they have among all. `codes` are those of `embeddings`
    (`quantize_rows`): the result is the same, and found sooner. Uses less than 200 MB above its inputs
    and its result, more only where k is in the hundred thousands. Raises ValueError for k < 1, for shapes that do not
    fit, and for NaN.
    """
    queries, embeddings = as_rows("queries", queries), as_rows("embeddings", embeddings)
    if queries.shape[1] != embeddings.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} columns, embeddings {embeddings.shape[1]}")
    k = require_whole("k", k, 1)
    if among is not None and not isinstance(among, np.ndarray):
        raise wrong("among", among, "an array, or None")
    if among is not None and (among.dtype != np.bool_ or among.shape != embeddings.shape[:1]):
        raise ValueError(f"among is {among.dtype} {among.shape}, expected bool ({len(embeddings)},)")
    if codes is not None:
        from itl_infer.ranking.codes import Codes

        require_instance("codes", codes, Codes, "codes, as quantize_rows() gives them")
    if codes is not None and (len(codes), codes.dim) != embeddings.shape:
        raise ValueError(
            f"codes are those of {len(codes)} rows of {codes.dim}, embeddings have shape {embeddings.shape}"
        )
    k = min(k, len(embeddings) if among is None else int(np.count_nonzero(among)))
    if codes is not None:
        # Imported here, as a lone query over few rows does without.
        from itl_infer.ranking.coded import best_keys, codes_pay

        if not (k and codes_pay(queries, codes, k, among)):
            codes = None
    if codes is None and len(queries) == 1 and 0 < len(embeddings) <= _BLOCK_ROWS and k:
        return _rank_one(queries[0], embeddings, k, among)
    keys = np.empty((len(queries), k), np.uint64)
    step = max(1, min(_BLOCK_QUERIES, _BLOCK_CANDIDATES // (2 * k + 1)))
    for start in range(0, len(queries) if k else 0, step):
        some = queries[start : start + step]
        if codes is None:
            keys[start : start + step] = _best_keys(some, embeddings, k, among)
            continue
        best, were_found = best_keys(some, embeddings, codes, k, among)
        if not were_found.all():
            best[~were_found] = _best_keys(some[~were_found], embeddings, k, among)
        keys[start : start + step] = best
    return rows_of(keys), scores_of(keys)


def _rank_one(
    query: Floats, embeddings: Floats, k: int, among: npt.NDArray[np.bool_] | None
) -> tuple[Indices, Floats]:
    """What `rank` gives for a lone query (D,) and so few rows that its overhead would outweigh their product."""
    chosen = None if among is None else np.flatnonzero(among)
    products = embeddings @ query if chosen is None else _products(query[None], embeddings, chosen)[0]
    if k < len(products):
        line = below_kth_best(products[None], k)[0] - margins(query[None])[0]
        rows = (products >= line).nonzero()[0]
        if len(rows) < k:
            raise ValueError("queries or embeddings hold NaN")
    else:
        rows = np.arange(k)
    if chosen is not None:
        rows = chosen[rows]
    scores = np.einsum("nd,d->n", embeddings[rows], query)
    order = np.argsort(-scores, kind="stable")[:k]
    best = scores[order]
    if math.isnan(best[-1]):  # which stands behind all numbers
        raise ValueError("queries or embeddings hold NaN")
    return rows[order][None], best[None]


def _best_keys(
    queries: Floats, embeddings: Floats, k: int, among: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.uint64]:
    """The keys (Q, k) of the best rows, ascending."""
    candidates = Candidates(queries, embeddings, k)
    step = max(1, min(_BLOCK_ROWS, _BLOCK_PRODUCTS // len(queries)))
    for start in range(0, len(embeddings), step):
        rows = embeddings[start : start + step]
        chosen = None if among is None else np.flatnonzero(among[start : start + step])
        if chosen is None or len(chosen) == len(rows):
            candidates.offer(_all_products(queries, rows), start)
        elif len(chosen):
            candidates.offer(_products(queries, rows, chosen), chosen + start)
    return candidates.best_keys()


def _products(queries: Floats, rows: Floats, chosen: Indices) -> Floats:
    """Products (Q, n) with some of the rows, at whichever is less work: copying these first, or leaving others out."""
    if len(chosen) * _COPYING < len(rows):
        return _all_products(queries, rows[chosen])
    return np.take(_all_products(queries, rows), chosen, axis=1)


def _all_products(queries: Floats, rows: Floats) -> Floats:
    # A lone query is a matrix-vector product, which is done as fast as memory is read.
    return (rows @ queries[0])[None] if len(queries) == 1 else queries @ rows.T
