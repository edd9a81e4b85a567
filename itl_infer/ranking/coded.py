"""The best rows by codes first: those whose code score and its bound say that they may be, scored again from floats.

Each query has a line, and rows are candidates while they may reach it. The first line is a guess, from a sample of the
rows; it rises to whatever k rows are known to reach. Where in the end k rows have reached it, no row that was left out
is among the best, so the answer is that of `rank` without codes, to the last bit. Where fewer have, the guess was too
high, and floats answer that query.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_threads
from itl_infer.encoder.products import products_are_fast
from itl_infer.ranking.candidates import FEWEST_NUMBERS, Indices, keys_of
from itl_infer.ranking.codes import CodedQueries, Codes, CodesError
from itl_infer.ranking.lines import Lines, guessed_lines
from itl_infer.ranking.scan import Found, Scan, TooManyError

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
Mask: TypeAlias = "npt.NDArray[np.bool_] | None"

# Where codes are used, as measured by tests/benchmarks/ranking.py.
_FEWEST_FOR_ONE = 2**26  # numbers, for a lone query
_ROWS_FOR_EACH = 512  # of the k best
_FEWEST_AMONG = 1 / 4  # of the rows
_FEWEST_COLUMNS = 32
_WIDEST = 2**15  # numbers of a row, whose products fit into 32 bits
_LARGEST = 1e15  # number of a query, whose square is one

_STAGES = (16, 5, 1)  # one piece of so many is looked at before the lines are raised for the others
_MANY = 16  # times the k best of each query: so many candidates are thinned out before they are scored from floats
_SCORED = 2**9  # rows scored from floats at a time


def codes_pay(queries: Floats, codes: Codes, k: int, among: Mask = None) -> bool:
    """Whether the best k rows are found sooner by codes: by measure, and by what this CPU has (docs/exact_codes.md)."""
    rows = len(codes) if among is None else int(np.count_nonzero(among))
    return (
        codes.are_of_unit_rows
        and len(codes) * codes.dim >= (_FEWEST_FOR_ONE if len(queries) == 1 else FEWEST_NUMBERS)
        and k * _ROWS_FOR_EACH <= rows
        and rows >= _FEWEST_AMONG * len(codes)
        and _FEWEST_COLUMNS <= codes.dim <= _WIDEST
        and bool(np.isfinite(queries).all())
        and float(np.abs(queries).max(initial=0)) < _LARGEST
        and products_are_fast()
    )


def best_keys(
    queries: Floats, embeddings: Floats, codes: Codes, k: int, among: Mask = None
) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """The keys (Q, k) of the best rows, ascending, and for which queries they were found (Q,): floats answer others.

    Of (Q, D) finite queries and k <= N rows that are `among`, (N,). Raises CodesError where the codes are damaged or
    those of other rows.
    """
    search = _Search(np.ascontiguousarray(queries), embeddings, codes, k, among)
    try:
        return search.best_keys()
    except TooManyError:
        return np.empty((len(queries), k), np.uint64), np.zeros(len(queries), np.bool_)


class _Search:
    """One block of queries over all rows."""

    def __init__(self, queries: Floats, embeddings: Floats, codes: Codes, k: int, among: Mask) -> None:
        self._queries, self._embeddings, self._codes = queries, embeddings, codes
        self._k, self._among = k, among
        self._coded = CodedQueries.of(queries)

    def best_keys(self) -> tuple[Keys, npt.NDArray[np.bool_]]:
        """As of the function. Raises TooManyError where the codes tell too little."""
        lines = Lines(self._coded, guessed_lines(self._coded, self._codes, self._k, self._among))
        scan = Scan(self._coded, self._codes, self._k, self._among)
        pieces = scan.pieces()
        found = Found.none()
        for share in _STAGES if len(pieces) > 2 * _STAGES[0] else (1,):
            found = Found.of([found, *scan.look(pieces[::share], lines)])
            del pieces[::share]
            if pieces or len(found.row) > _MANY * max(_SCORED, self._k * len(self._queries)):
                found, lines = self._raised(found, lines)
        scan.require_checksums()
        self._settle(found, np.flatnonzero(found.bound))
        return self._best(found, lines)

    def _best(self, found: Found, lines: Lines) -> tuple[Keys, npt.NDArray[np.bool_]]:
        """Of candidates with sure scores."""
        best = np.empty((len(self._queries), self._k), np.uint64)
        reached = found.score >= lines.values[found.query]
        were_right = np.bincount(found.query[reached], minlength=len(best)) >= self._k
        order = np.argsort(found.query, kind="stable")  # of 16 bits: by radix
        keys = keys_of(found.row[order].astype(np.int64), found.score[order])
        ends = np.bincount(found.query, minlength=len(best)).cumsum().tolist()
        for i, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if were_right[i]:
                best[i] = np.sort(keys[start:end])[: self._k]
        return best, were_right

    def _raised(self, found: Found, lines: Lines) -> tuple[Found, Lines]:
        """Score the k that look best from floats, raise the lines to the last of these, drop what reaches none."""
        counts = np.bincount(found.query, minlength=len(self._queries))
        full = np.flatnonzero(counts >= self._k)
        if not len(full):
            return found, lines
        starts = np.cumsum(counts) - counts
        best = found.best_first()[(starts[full][:, None] + np.arange(self._k)).reshape(-1)]
        self._settle(found, best[found.bound[best] > 0])
        values = lines.values.copy()
        values[full] = np.maximum(values[full], found.score[best].reshape(-1, self._k).min(axis=1))
        return found.pick(found.score + found.bound >= values[found.query]), Lines(self._coded, values)

    def _settle(self, found: Found, which: Indices) -> None:
        """Put in place of the code scores of some candidates those of floats, which are sure."""
        scores = np.empty(len(which), np.float32)

        def score(starts: Iterator[int]) -> None:
            for start in starts:
                some = slice(start, start + _SCORED)
                rows = np.take(self._embeddings, found.row[which[some]], axis=0, mode="clip")
                queries = np.take(self._queries, found.query[which[some]], axis=0, mode="clip")
                np.einsum("nd,nd->n", queries, rows, out=scores[some])

        in_threads(range(0, len(which), _SCORED), score)
        if not (np.abs(scores - found.score[which]) <= found.bound[which]).all():
            raise CodesError("codes are not those of these embeddings")
        found.score[which], found.bound[which] = scores, 0
