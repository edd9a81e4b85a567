"""The rows that may be among the best, by products whose rounding errors are bounded, and their exact order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

FEWEST_NUMBERS = 2**23  # of N x D, from which on candidates are found sooner by codes (docs/exact_codes.md)

# Of two errors, for each column and unit of length. Higham, Accuracy and Stability of Numerical Algorithms, 3.1: D
# products and sums, each rounded to within 2^-24, are off by D * 2^-24 * |q| |x| at most; a little more for the
# score's own rounding.
_MARGIN = 2.1 * 2**-24
_BLOCK_SCORED = 2**11  # rows scored again at a time: 1 MiB at 128 columns
_SPARE = 64  # candidates more than what must be kept, for each query, before they are thinned out
_MANY_EQUAL = 2**12  # candidates too close to tell apart, from which on they are scored at once


def margins(queries: Floats) -> Floats:
    """For each of (Q, D) queries, by how much two of its products with unit rows may stand in the wrong order."""
    lengths: Floats = np.sqrt(np.einsum("qd,qd->q", queries, queries))
    return np.float32(_MARGIN * (queries.shape[1] + 2)) * lengths


class Candidates:
    """Rows that may be among the k best of each query, as far as is known from products seen so far.

    A product p of a true score s has |p - s| <= error, in whatever order it is summed. k rows have scores of at
    least (k-th best product) - error, so that one whose product is more than 2 errors below the k-th best is
    not among the k best: that line is the threshold of its query, and only rises.
    """

    def __init__(self, queries: Floats, embeddings: Floats, k: int) -> None:
        self._queries, self._embeddings, self._k = queries, embeddings, k
        self._margins = margins(queries)
        self._thresholds = np.full(len(queries), -np.inf, np.float32)
        self._has_line = False
        # Of each candidate: query, row, product. The first part is in order of query, what is new behind it.
        self._parts: list[tuple[npt.NDArray[np.uint16], Indices, Floats]] = []
        self._room = (self._k + _SPARE) * len(queries)

    def offer(self, products: Floats, rows: int | Indices) -> None:
        """Take in those of the (Q, n) products that pass the thresholds: with these rows, or those from one on."""
        n = products.shape[1]
        if not self._has_line and n > self._k:
            self._thresholds = below_kth_best(products, self._k) - self._margins
            self._has_line = True
        passing = np.flatnonzero(products >= self._thresholds[:, None])
        query, row = np.divmod(passing, n)
        row = row + rows if isinstance(rows, int) else rows[row]
        self._parts.append((query.astype(np.uint16), row, products.reshape(-1)[passing]))
        self._room -= len(passing)
        if self._room < 0:
            self._thin_out()

    def best_keys(self) -> npt.NDArray[np.uint64]:
        """The keys (Q, k) of the best rows, ascending. ValueError where NaN left fewer than k."""
        query, row, _ = self._gather()
        keys = self._score(query, row)
        best = np.empty((len(self._queries), self._k), np.uint64)
        for i, group in enumerate(self._groups(query)):
            if len(keys[group]) < self._k:
                raise ValueError("queries or embeddings hold NaN")
            best[i] = np.sort(keys[group])[: self._k]
        return best

    def _gather(self) -> tuple[npt.NDArray[np.uint16], Indices, Floats]:
        """All candidates, in order of query."""
        if len(self._parts) == 1:
            return self._parts[0]
        query, row, product = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.argsort(query, kind="stable")
        return query[order], row[order], product[order]

    def _groups(self, query: npt.NDArray[np.uint16]) -> list[slice]:
        """Where the candidates of each query are."""
        ends = np.searchsorted(query, np.arange(len(self._queries)), side="right").tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def _thin_out(self) -> None:
        """Raise the thresholds, and drop what no longer passes."""
        query, row, product = self._gather()
        kept = []
        for i, group in enumerate(self._groups(query)):
            of_query = product[group]
            if len(of_query) > self._k:
                place = len(of_query) - self._k
                self._thresholds[i] = np.partition(of_query, place)[place] - self._margins[i]
                self._has_line = True
            passing = np.flatnonzero(of_query >= self._thresholds[i]) + group.start
            if len(passing) > 2 * self._k + _MANY_EQUAL:  # many of nearly one score, as of copies
                best = np.argsort(self._score(query[passing], row[passing]))[: self._k]
                passing = passing[best]
            kept.append(passing)
        keep = np.concatenate(kept)
        self._parts = [(query[keep], row[keep], product[keep])]
        self._room = len(keep) + _SPARE * len(self._queries)

    def _score(self, query: npt.NDArray[np.uint16], row: Indices) -> npt.NDArray[np.uint64]:
        """The keys (n,) of some candidates, from scores that depend on nothing but query and row."""
        scores = np.empty(len(row), np.float32)
        buffers = np.empty((2, min(_BLOCK_SCORED, len(row)), self._queries.shape[1]), np.float32)
        for start in range(0, len(row), _BLOCK_SCORED):
            block = slice(start, start + _BLOCK_SCORED)
            x, y = buffers[:, : len(scores[block])]
            np.take(self._queries, query[block], axis=0, out=x, mode="clip")  # "raise" would copy once more
            np.take(self._embeddings, row[block], axis=0, out=y, mode="clip")
            np.einsum("nd,nd->n", x, y, out=scores[block])
        return keys_of(row, scores)


def below_kth_best(products: Floats, k: int) -> Floats:
    """A line (Q,) that at least k of each row of (Q, n) products reach, and few more; n > k.

    The k-th best of the maxima of disjoint groups is such a line, and found far sooner than that of all.
    """
    size = max(1, products.shape[1] // (4 * k + 128))
    groups = products.shape[1] // size
    maxima = products[:, : groups * size].reshape(len(products), size, groups).max(axis=1)
    return np.partition(maxima, groups - k, axis=1)[:, groups - k]


# A key is 64 bits whose order is that of results: the higher score first, of equal ones the lower row. Its
# upper half is the score, with the bits of a float32 turned so that they ascend while the score descends.


def keys_of(rows: Indices, scores: Floats) -> npt.NDArray[np.uint64]:
    return descending(scores).astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64)


def descending(scores: Floats) -> npt.NDArray[np.uint32]:
    """Numbers that ascend while the scores descend."""
    bits = (scores + np.float32(0)).view(np.uint32)  # one zero: -0 + 0 = 0
    return np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))


def scores_of(keys: npt.NDArray[np.uint64]) -> Floats:
    descending = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(descending >> 31, descending, ~descending & np.uint32(0x7FFFFFFF))
    return bits.astype(np.uint32).view(np.float32)


def rows_of(keys: npt.NDArray[np.uint64]) -> Indices:
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def order_of(keys: npt.NDArray[np.uint64]) -> Indices:
    """Where the keys (n,) stand in order; they are below 2^40, and n is 2^24 at most.

    As np.argsort, in little more than half of its time: numbers are sorted with their places in them.
    """
    keys = keys << np.uint64(24) | np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(2**24 - 1)).astype(np.int64)
