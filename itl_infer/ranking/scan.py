"""All rows as integer products of their codes with queries, and the candidates among them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_threads
from itl_infer.encoder.products import Products
from itl_infer.ranking.candidates import Indices, descending, order_of
from itl_infer.ranking.codes import (
    BLOCK,
    GROUP,
    CodedQueries,
    Codes,
    CodesError,
    check_column,
    checksum_of_sums,
)
from itl_infer.ranking.lines import Lines, bounds_of

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Mask: TypeAlias = "npt.NDArray[np.bool_] | None"

_PRODUCTS = 2**19  # at a time: 2 MiB of them for each thread, which stay in a cache
_OPENED = 2**12  # groups of products that a thread collects before it looks for candidates in them
_MOST_CANDIDATES = 1 / 32  # of all products: where there are more, the codes tell too little
_MOST_KEPT = 2**24  # candidates


class TooManyError(Exception):
    """More candidates than pay."""


class Piece(NamedTuple):
    """Some rows of a block, from the beginning of a group to the end of one."""

    number: int  # of the block
    start: int
    end: int


class Found(NamedTuple):
    """Candidates: of each its query, its row, its score by codes, and how far from that the score may be."""

    query: npt.NDArray[np.uint16]
    row: npt.NDArray[np.uint32]
    score: Floats
    bound: Floats

    @classmethod
    def none(cls) -> Found:
        return cls(np.empty(0, np.uint16), np.empty(0, np.uint32), *np.empty((2, 0), np.float32))

    @classmethod
    def of(cls, parts: Sequence[Found]) -> Found:
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def pick(self, which: Indices | npt.NDArray[np.bool_]) -> Found:
        return Found(self.query[which], self.row[which], self.score[which], self.bound[which])

    def best_first(self) -> Indices:
        """Where those of the first query are, then those of the next, each in order of score."""
        return order_of(self.query.astype(np.uint64) << np.uint64(32) | descending(self.score))


class _Opened(NamedTuple):
    """Groups of rows, some of which reach a line: of each its query, what reaches it, and the products of its rows."""

    group: Indices
    query: Indices
    lowest: Floats
    products: Integers  # (n, GROUP)


class Scan:
    """A look at all rows for a block of queries, by pieces; what is read for the first time is checked meanwhile."""

    def __init__(self, queries: CodedQueries, codes: Codes, k: int, among: Mask) -> None:
        self._queries, self._codes, self._among = queries, codes, among
        self._batch = queries.codes.shape[1]
        self._unread = frozenset(codes.unread)  # whatever another search reads meanwhile
        self._factors = queries.codes
        if self._unread:
            self._factors = np.concatenate([self._factors, check_column(codes.dim)[:, None]], axis=1)
        self._step = max(GROUP, min(BLOCK, _PRODUCTS // self._batch // GROUP * GROUP))
        self._idle: list[Products] = []  # buffers that no thread uses
        self._total = len(codes)
        self._left = max(4 * (k + 64) * self._batch, int(self._total * self._batch * _MOST_CANDIDATES))
        self._left = min(self._left, _MOST_KEPT)
        self._sums: dict[int, int] = {}
        self._lock = threading.Lock()

    def pieces(self) -> list[Piece]:
        """All rows."""
        return [
            Piece(number, start, min(start + self._step, len(block.quantized.codes)))
            for number, block in enumerate(self._codes.blocks)
            for start in range(0, len(block.quantized.codes), self._step)
        ]

    def look(self, pieces: Sequence[Piece], lines: Lines) -> list[Found]:
        """The candidates of some pieces. Raises TooManyError."""
        parts: list[Found] = []

        def look(shared: Iterator[Piece]) -> None:
            with self._lock:
                products = self._idle.pop() if self._idle else Products(self._factors, self._step, GROUP)
            opened: list[_Opened] = []
            waiting = 0
            for piece in shared:
                some = self._open(piece, products, lines)
                if some is not None:
                    opened.append(some)
                    waiting += len(some.group)
                if waiting >= _OPENED:
                    parts.append(self._candidates(opened))
                    opened, waiting = [], 0
            if opened:
                parts.append(self._candidates(opened))
            with self._lock:
                self._idle.append(products)

        in_threads(pieces, look)
        return parts

    def require_checksums(self) -> None:
        """Raises CodesError where a block that was read for the first time is not what was written."""
        for number, found in self._sums.items():
            if found & (2**64 - 1) != self._codes.blocks[number].checksum:
                raise CodesError(
                    f"codes of row {self._codes.blocks[number].first} and on do not match their checksum"
                )
        self._codes.unread.difference_update(self._sums)

    def _open(self, piece: Piece, products: Products, lines: Lines) -> _Opened | None:
        """The groups of a piece in which rows reach the lines."""
        block = self._codes.blocks[piece.number]
        of_rows, maxima = products.of(block.quantized.codes[piece.start : piece.end])
        if self._unread:
            if piece.number in self._unread:
                part = checksum_of_sums(of_rows[:, -1], piece.start)
                with self._lock:
                    self._sums[piece.number] = self._sums.get(piece.number, 0) + part
            maxima = maxima[:, :-1]
        first = (block.first + piece.start) // GROUP
        lowest = lines.lowest_products(self._codes.by_group[first : first + len(maxima)])
        passing = np.flatnonzero(maxima >= lowest)
        if not len(passing):
            return None
        group, query = np.divmod(passing, self._batch)
        of_groups = of_rows.reshape(len(maxima), GROUP, -1)[group, :, query]
        return _Opened(group + first, query, lowest.reshape(-1)[passing], of_groups)

    def _candidates(self, opened: list[_Opened]) -> Found:
        """The rows of groups that reach the lines."""
        group, query, lowest, products = map(np.concatenate, zip(*opened, strict=True))
        whole = np.ceil(np.clip(lowest, -(2.0**31), 2.0**31 - 128)).astype(np.int32)
        reaching = np.flatnonzero(products >= whole[:, None])
        which, place = np.divmod(reaching, GROUP)
        row = group[which] * GROUP + place
        counts = row < self._total  # and not what fills the last group
        if self._among is not None:
            counts[counts] = self._among[row[counts]]
        if not counts.all():
            reaching, which, row = reaching[counts], which[counts], row[counts]
        with self._lock:
            self._left -= len(row)
        if self._left < 0:
            raise TooManyError
        group, query = group[which], query[which]
        score = products.reshape(-1)[reaching] * (self._codes.bounds[0][group] * self._queries.scales[query])
        bound = bounds_of(self._queries, self._codes, query, group, score)
        return Found(query.astype(np.uint16), row.astype(np.uint32), score.astype(np.float32), bound)
