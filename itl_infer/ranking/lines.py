"""The score that each query looks for, as what a product of codes must reach; and a guess of it from a few rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_threads
from itl_infer.encoder.products import Products
from itl_infer.ranking.codes import GROUP, CodedQueries, Codes

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Mask: TypeAlias = "npt.NDArray[np.bool_] | None"

_SAMPLED = 8  # times the square root of the rows are drawn, for the ten best of many queries
_MANY = 16  # queries, for which it takes longer to multiply a sample than to copy it
_PRODUCTS = 2**19  # at a time
_USUAL_ERROR = np.float32(1 / 8)  # of a code score, in bounds, and not often more
_SLACK = np.float32(2.0**-18)  # wider than what float32 rounds off a bound
_SCORE_SLACK = np.float32(2.0**-20)  # or off a code score
_VANISHED = np.float32(2.0**-110)  # what products of tiny numbers may lose


class Lines:
    """A score for each query (Q,): who may reach it is looked at, and -inf where that is all rows."""

    def __init__(self, queries: CodedQueries, values: Floats) -> None:
        self.values = values
        lowest = values - _SCORE_SLACK * np.abs(values) - 2 * _VANISHED
        lowest[np.isneginf(values)] = -np.inf
        bounds = np.stack([lowest, -(1 + _SLACK) * queries.errors, -(1 + _SLACK) * queries.lengths])
        self._by_query: Floats = (bounds / queries.scales).astype(np.float32)

    def lowest_products(self, by_group: Floats) -> Floats:
        """From which product on (groups, Q) a row's score may reach the line; of (groups, 3) `Codes.by_group`."""
        lowest: Floats = by_group @ self._by_query
        return lowest


def bounds_of(
    queries: CodedQueries, codes: Codes, query: Indices, group: Indices, score: npt.NDArray[np.float64]
) -> Floats:
    """How far the scores (n,) of rows of some groups may be from these code scores."""
    _, lengths, errors = codes.bounds
    bound: Floats = (
        queries.errors[query] * lengths[group] + queries.lengths[query] * errors[group] + _VANISHED
    )
    bound *= 1 + _SLACK
    bound += (_SCORE_SLACK * np.abs(score)).astype(np.float32)
    return bound


def guessed_lines(queries: CodedQueries, codes: Codes, k: int, among: Mask) -> Floats:
    """Scores (Q,) that k of the rows reach, nearly always, and few more; -inf where there is nothing to go by.

    Of n rows that are drawn from N, k n / N of the k best are expected, and less than `_at_most` says. So where that
    many of the sample reach a score, k of all do.
    """
    batch = queries.codes.shape[1]
    total = len(codes) if among is None else int(np.count_nonzero(among))
    drawn = _drawn(total, k, batch) if among is None else np.flatnonzero(among)[_drawn(total, k, batch)]
    sets = len(drawn) // GROUP
    place = sets - _at_most(k * len(drawn) / total)
    if place < 0:
        return np.full(batch, -np.inf, np.float32)
    scales, lengths, errors = codes.bounds[:, drawn // GROUP]
    order = np.argsort(scales)[: sets * GROUP]  # rows of nearly one scale stand together
    maxima = _maxima(queries, codes.take(drawn)[order])
    maxima *= scales[order[::GROUP]][:, None]
    lines: Floats = np.partition(maxima, place, axis=0)[place] * queries.scales
    # Codes of equal rows may have higher scores than these have.
    lines -= _USUAL_ERROR * (queries.errors * lengths.mean() + queries.lengths * errors.mean())
    return lines


def _drawn(total: int, k: int, batch: int) -> Indices:
    """The numbers of some rows, one from each of as many stretches."""
    # What it takes to look at the sample, and at the more candidates the smaller it is, is least near here.
    wanted = _SAMPLED * math.sqrt(total * min(1, max(2, batch) / _MANY)) * max(1, k / 10) ** (1 / 3)
    apart = max(8, int(total / wanted))
    starts = np.arange(0, total - apart + 1, apart)
    return starts + np.random.default_rng(0).integers(0, apart, len(starts))


def _at_most(expected: float) -> int:
    """More than there are of what is drawn by chance, but once in some 10,000 times (Poisson)."""
    return math.ceil(expected + 3.5 * math.sqrt(expected) + 3)


def _maxima(queries: CodedQueries, codes: npt.NDArray[np.uint8]) -> Floats:
    """The largest product (sets, Q) of each set of `GROUP` rows."""
    maxima = np.empty((len(codes) // GROUP, queries.codes.shape[1]), np.float32)
    step = max(GROUP, _PRODUCTS // queries.codes.shape[1] // GROUP * GROUP)

    def find(starts: Iterator[int]) -> None:
        products = Products(queries.codes, step, GROUP)
        for start in starts:
            _, found = products.of(codes[start : start + step])
            maxima[start // GROUP : start // GROUP + len(found)] = found

    in_threads(range(0, len(codes), step), find)
    return maxima
