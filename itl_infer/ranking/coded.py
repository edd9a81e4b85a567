"""The best rows by codes first: those whose code score and its bound say that they may be, scored again from floats.

All rows are looked at, as integer products with the codes; a line that k rows are known to reach rises meanwhile, and a
row stays a candidate while its code score and the bound together reach it. So the answer is that of `rank` without
codes, to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_threads
from itl_infer.encoder.products import Products, products_are_fast
from itl_infer.ranking.candidates import FEWEST_NUMBERS, Indices, keys_of
from itl_infer.ranking.codes import (
    BLOCK,
    GROUP,
    CodeBlock,
    CodedQueries,
    Codes,
    CodesError,
    check_column,
    checksum_of_sums,
)

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
Mask: TypeAlias = "npt.NDArray[np.bool_] | None"

# Where codes are used, as measured by tests/benchmarks/ranking.py.
_FEWEST_FOR_FEW = 2**24  # numbers, for few queries
_FEW = 16
_ROWS_FOR_EACH = 1024  # of the k best
_FEWEST_AMONG = 1 / 4  # of the rows
_FEWEST_COLUMNS = 32
_WIDEST = 2**15  # numbers of a row, whose products fit into 32 bits
_LARGEST = 1e15  # number of a query, whose square is one

_PRODUCTS = 2**19  # at a time: 2 MiB of them stay in the cache of a core
_SAMPLED = 128  # groups that the first line is drawn from, and four for each of the k best
_SHARES = (16, 5, 1)  # one piece of so many is looked at before the lines are raised for the others
_CHUNKS = 32  # of the sample at most, from all over the rows: each costs some time of its own
_SPARE = 64  # candidates more than what must be kept, for each query, before they are thinned out
_SCORED = 2**11  # rows scored from floats at a time
_MOST_CANDIDATES = 1 / 32  # of all products: where there are more, the codes tell too little
_SLACK = np.float32(2.0**-18)  # wider than what float32 rounds off a bound
_SCORE_SLACK = np.float32(2.0**-20)  # or off a code score
_VANISHED = np.float32(2.0**-110)  # what products of tiny numbers may lose
_ignoring = partial(np.errstate, over="ignore", invalid="ignore")  # lines of -inf


def codes_pay(queries: Floats, codes: Codes, k: int, among: Mask = None) -> bool:
    """Whether the best k rows are found sooner by codes: by measure, and by what this CPU has (docs/exact_codes.md)."""
    rows = len(codes) if among is None else int(np.count_nonzero(among))
    return (
        codes.are_of_unit_rows
        and len(codes) * codes.dim >= (FEWEST_NUMBERS if len(queries) >= _FEW else _FEWEST_FOR_FEW)
        and k * _ROWS_FOR_EACH <= rows
        and rows >= _FEWEST_AMONG * len(codes)
        and _FEWEST_COLUMNS <= codes.dim <= _WIDEST
        and bool(np.isfinite(queries).all())
        and float(np.abs(queries).max(initial=0)) < _LARGEST
        and products_are_fast()
    )


def best_keys(queries: Floats, embeddings: Floats, codes: Codes, k: int, among: Mask = None) -> Keys | None:
    """The keys (Q, k) of the best rows, ascending; None where the codes leave too many rows to look at.

    Of (Q, D) finite queries and k <= N rows that are `among`, (N,). Raises CodesError where the codes are damaged or
    those of other rows.
    """
    try:
        search = _Search(queries, embeddings, codes, k, among)
        search.sample()
        search.scan()
        return search.best_keys()
    except _TooManyError:
        return None


class _TooManyError(Exception):
    """More candidates than pay."""


class _Piece(NamedTuple):
    """Some rows of a block, from the beginning of a group to the end of one."""

    number: int  # of the block
    block: CodeBlock
    start: int
    end: int

    @property
    def first(self) -> int:
        """The number of its first row among all."""
        return self.block.first + self.start


class _Found(NamedTuple):
    """Candidates: of each its query, its row, its score by codes, and how far from that the score may be."""

    query: npt.NDArray[np.uint16]
    row: npt.NDArray[np.uint32]
    score: Floats
    bound: Floats

    def pick(self, which: Indices | npt.NDArray[np.bool_]) -> _Found:
        return _Found(self.query[which], self.row[which], self.score[which], self.bound[which])

    def of_queries(self, queries: int) -> list[Indices]:
        """Where those of each query are."""
        order = np.argsort(self.query, kind="stable")  # of 16 bits: by radix
        return np.split(order, np.searchsorted(self.query[order], np.arange(1, queries)))


class _Search:
    """One block of queries over all rows."""

    def __init__(self, queries: Floats, embeddings: Floats, codes: Codes, k: int, among: Mask) -> None:
        self._queries, self._embeddings, self._codes = np.ascontiguousarray(queries), embeddings, codes
        self._k, self._among = k, among
        self._coded = CodedQueries.of(queries)
        self._raise_lines(np.full(len(queries), -np.inf, np.float32))
        self._step = max(GROUP, min(BLOCK, _PRODUCTS // len(queries) // GROUP * GROUP))
        self._parts: list[_Found] = []
        self._spare = (k + _SPARE) * len(queries)
        self._room = self._spare
        self._left = max(4 * self._spare, int(len(embeddings) * len(queries) * _MOST_CANDIDATES))
        self._sums: dict[int, int] = {}
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Draw the first line from some groups all over the rows, where they are few of all."""
        groups = -(-len(self._codes) // GROUP)
        wanted = _SAMPLED + 4 * self._k
        if groups < 4 * wanted:
            return
        chunks = min(_CHUNKS, 4 + len(self._queries) // 4)
        apart, size = groups // chunks * GROUP, -(-wanted // chunks) * GROUP
        pieces = []
        for number, block in enumerate(self._codes.blocks):
            for start in range(-block.first % apart, len(block.quantized.codes), apart):
                pieces += self._pieces(number, start, start + size, self._step)
        self._draw_lines(np.concatenate(in_threads(pieces, self._sampler, within=_ignoring)))

    def scan(self) -> None:
        """Look at all rows. Raises CodesError where a block is not what was written, and _TooManyError."""
        pieces = [
            piece
            for number in range(len(self._codes.blocks))
            for piece in self._pieces(number, 0, BLOCK, self._step)
        ]
        if not self._has_lines:  # no sample: the first piece draws the line for the others
            self._scanner()(pieces.pop(0))
        for share in _SHARES if len(pieces) > 2 * _SHARES[0] else (1,):
            in_threads(pieces[::share], self._scanner, within=_ignoring)
            del pieces[::share]
            if pieces and self._parts:
                self._thin_out()
        for number, found in self._sums.items():
            if found & (2**64 - 1) != self._codes.blocks[number].checksum:
                raise CodesError(
                    f"codes of row {self._codes.blocks[number].first} and on do not match their checksum"
                )
        self._codes.unread.difference_update(self._sums)

    def best_keys(self) -> Keys:
        """The keys (Q, k) of the best."""
        found = self._thin_out()
        found = self._settle(found, np.flatnonzero(found.bound))
        keys = keys_of(found.row.astype(np.int64), found.score)
        best = np.empty((len(self._queries), self._k), np.uint64)
        for i, places in enumerate(found.of_queries(len(best))):
            if len(places) < self._k:
                raise CodesError("codes leave fewer rows than there are: they are those of other rows")
            best[i] = np.sort(keys[places])[: self._k]
        return best

    def _pieces(self, number: int, start: int, end: int, step: int) -> list[_Piece]:
        """The rows of a block from `start` to `end`, as far as it has them."""
        block = self._codes.blocks[number]
        end = min(end, len(block.quantized.codes))
        return [_Piece(number, block, at, min(at + step, end)) for at in range(start, end, step)]

    # What a thread does with each piece that it takes.

    def _sampler(self) -> Callable[[_Piece], Floats]:
        products = Products(self._coded.codes, self._step, GROUP)

        def lowest_maxima(piece: _Piece) -> Floats:
            found, maxima = products.of(piece.block.quantized.codes[piece.start : piece.end])
            return self._lowest(piece, found, maxima)

        return lowest_maxima

    def _scanner(self) -> Callable[[_Piece], None]:
        queries = self._coded.codes
        plain = Products(queries, self._step, GROUP)
        if self._codes.unread:
            column = check_column(self._codes.dim)[:, None]
            checking = Products(np.concatenate([queries, column], axis=1), self._step, GROUP)

        def scan(piece: _Piece) -> None:
            codes = piece.block.quantized.codes[piece.start : piece.end]
            if piece.number not in self._codes.unread:
                self._look(piece, *plain.of(codes))
                return
            products, maxima = checking.of(codes)
            part = checksum_of_sums(products[:, -1], piece.start)
            with self._lock:
                self._sums[piece.number] = self._sums.get(piece.number, 0) + part
            self._look(piece, products[:, :-1], maxima[:, :-1])

        return scan

    def _look(self, piece: _Piece, products: Products_, maxima: Floats) -> None:
        """Take in the candidates of a piece."""
        if not self._has_lines and len(maxima) >= 4 * self._k:
            self._draw_lines(self._lowest(piece, products, maxima))
        lowest = self._thresholds(piece)
        passing = np.flatnonzero(maxima >= lowest)
        if not len(passing):
            return
        group, query = np.divmod(passing, maxima.shape[1])
        of_groups = products.reshape(len(maxima), GROUP, -1)[group, :, query]
        which, place = (of_groups >= lowest[group, query][:, None]).nonzero()
        row = piece.first + group[which] * GROUP + place
        counts = row < piece.block.first + piece.block.rows  # and not what fills the last group
        if self._among is not None:
            counts[counts] = self._among[row[counts]]
        if not counts.all():
            which, place, row = which[counts], place[counts], row[counts]
        group, query = group[which], query[which]
        score = self._scores(piece, of_groups[which, place], group, query)
        found = _Found(query.astype(np.uint16), row.astype(np.uint32), *score)
        with self._lock:
            self._take_in(found)

    def _lowest(self, piece: _Piece, products: Products_, maxima: Floats) -> Floats:
        """Scores (groups, Q) that the best row of each group has at least; -inf where none counts."""
        groups = len(maxima)
        rows = np.arange(piece.first, piece.first + len(products))
        counts = rows < piece.block.first + piece.block.rows
        if self._among is not None:
            counts[counts] = self._among[rows[counts]]
        if not counts.all():
            floats = np.where(counts[:, None], products.astype(np.float32), np.float32(-np.inf))
            maxima = floats.reshape(groups, GROUP, -1).max(axis=1)
        group, query = np.ogrid[:groups, : maxima.shape[1]]
        score, bound = self._scores(piece, maxima, group, query)
        return score - bound

    def _scores(
        self, piece: _Piece, products: Products_ | Floats, group: Indices, query: Indices
    ) -> tuple[Floats, Floats]:
        """Scores by codes, and how far the true ones may be from them."""
        coded, of = self._coded, piece.block.quantized
        group = group + piece.start // GROUP
        score = products * (of.scales[group] * coded.scales[query])
        bound = coded.errors[query] * of.lengths[group] + coded.lengths[query] * of.errors[group] + _VANISHED
        bound *= 1 + _SLACK
        bound += _SCORE_SLACK * np.abs(score)
        return score.astype(np.float32), bound.astype(np.float32)

    def _thresholds(self, piece: _Piece) -> Floats:
        """The product (groups, Q) from which on a row's score may reach the line."""
        of_block = piece.block.by_group
        thresholds: Floats = of_block[piece.start // GROUP : piece.end // GROUP] @ self._by_query
        return thresholds

    def _raise_lines(self, lines: Floats) -> None:
        coded = self._coded
        self._lines, self._has_lines = lines, bool(np.isfinite(lines).all())
        lowest = lines - _SCORE_SLACK * np.abs(lines) - 2 * _VANISHED
        lowest[np.isneginf(lines)] = -np.inf
        bounds = np.stack([lowest, -(1 + _SLACK) * coded.errors, -(1 + _SLACK) * coded.lengths])
        self._by_query = (bounds / coded.scales).astype(np.float32)

    def _draw_lines(self, lowest: Floats) -> None:
        """Raise the lines to the k-th best of scores (n, Q) that as many rows are known to reach."""
        if len(lowest) >= self._k:
            place = len(lowest) - self._k
            with self._lock:
                self._raise_lines(np.maximum(self._lines, np.partition(lowest, place, axis=0)[place]))

    def _take_in(self, found: _Found) -> None:
        self._parts.append(found)
        self._room -= len(found.row)
        self._left -= len(found.row)
        if self._left < 0:
            raise _TooManyError
        if self._room < 0:
            self._thin_out()

    def _thin_out(self) -> _Found:
        """Score the k that look best from floats, raise the lines to the last of these, drop what reaches none."""
        if not self._parts:
            raise CodesError("codes leave no rows: they are those of other rows")
        found = _Found(*map(np.concatenate, zip(*self._parts, strict=True)))
        k = self._k
        best = {
            i: places[np.argpartition(-found.score[places], k - 1)[:k]] if len(places) > k else places
            for i, places in enumerate(found.of_queries(len(self._queries)))
            if len(places) >= k
        }
        if best:
            queries, places = list(best), np.concatenate(list(best.values()))
            found = self._settle(found, places[found.bound[places] > 0])
            lines = self._lines.copy()
            lines[queries] = np.maximum(lines[queries], found.score[places].reshape(-1, k).min(axis=1))
            self._raise_lines(lines)
            found = found.pick(found.score + found.bound >= self._lines[found.query])
        self._parts = [found]
        self._room = len(found.row) + self._spare
        return found

    def _settle(self, found: _Found, which: Indices) -> _Found:
        """Put in place of the code scores of some candidates those of floats, which are sure."""
        scores = np.empty(len(which), np.float32)

        def score(start: int) -> None:
            some = slice(start, start + _SCORED)
            rows = np.take(self._embeddings, found.row[which[some]], axis=0, mode="clip")
            queries = np.take(self._queries, found.query[which[some]], axis=0, mode="clip")
            np.einsum("nd,nd->n", queries, rows, out=scores[some])

        in_threads(range(0, len(which), _SCORED), lambda: score)
        if not (np.abs(scores - found.score[which]) <= found.bound[which]).all():
            raise CodesError("codes are not those of these embeddings")
        found.score[which], found.bound[which] = scores, 0
        return found


Products_: TypeAlias = npt.NDArray[np.int32]
