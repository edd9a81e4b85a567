"""From a few examples to a direction: Fisher's discriminant, with the covariance of all rows for that of the class.

What examples share with everything else, such as daylight or the look of a camera, is no sign of what they show. So
the mean of the examples, less that of all rows, is divided by how rows vary anyway: w = (S + lambda I)^-1 (m - mu)
(Fisher 1936; Hariharan, Malik and Ramanan 2012, "Discriminative decorrelation"). Where classes are loose, such as all
pictures with grass in them, m - mu itself ranks better, so half as much of that is added, by the spread of scores over
all rows. It ranks by a dot product. What was tried: docs/quality.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itl_infer.vectors import as_rows

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FEWEST_ROWS = 20  # of which a covariance says anything; with fewer, examples are only averaged
_REGULARISATION = 0.05  # lambda, as a share of the mean variance of a dimension
_UNDIVIDED = 0.5  # how much the difference of means itself counts beside the discriminant
_AGAINST = 0.3  # how far the mean of counter-examples takes the place of that of all rows
_MARKED = 0.5  # of the spread of a query's scores, what marked pictures add to it
_MARKED_AGAINST = 0.2  # where all of them are unlike what is wanted
_BLOCK_ROWS = 2**11  # 2 MiB at 128 columns in float64, which stay in the cache of a core
_NOTHING = 1e-6  # a difference of means that is shorter has no direction worth the name


@dataclass(frozen=True, eq=False)
class Moments:
    """How many rows there are, their mean (D,) and their covariance (D, D), in float64."""

    count: int
    mean: Doubles
    covariance: Doubles

    @classmethod
    def of(cls, rows: Floats) -> Moments:
        """The moments of rows (N, D), summed in float64 from the first product on, in blocks."""
        count, width = rows.shape
        total, products = np.zeros(width), np.zeros((width, width))
        block = np.empty((min(_BLOCK_ROWS, count), width))
        for start in range(0, count, _BLOCK_ROWS):
            some = rows[start : start + _BLOCK_ROWS]
            doubles = block[: len(some)]
            doubles[...] = some
            total += doubles.sum(axis=0)
            products += doubles.T @ doubles
        mean = total / max(1, count)
        return cls(count, mean, products / max(1, count) - np.outer(mean, mean))

    @classmethod
    def none(cls, width: int) -> Moments:
        """Those of no rows at all."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    def spread_of(self, vector: Floats | Doubles) -> float:
        """The standard deviation that the products of all rows with a vector (D,) have."""
        doubles = vector.astype(np.float64)
        return math.sqrt(max(0.0, float(doubles @ self.covariance @ doubles)))


def teach(positives: Floats, among: Floats, negatives: Floats | None = None) -> Floats:
    """The direction of what `positives` show, a unit row (D,) float32: of rows, those with the largest product show it.

    `positives` (P, D) are unit rows of examples, `negatives` (M, D) of what looks like it and is not, and `among`
    (N, D) are the rows that are to be ranked, from which it is to be told apart. With fewer than 20 of these, or where
    they do not differ, it is the direction of the mean of the examples. Raises ValueError for no example, for shapes
    that do not fit, and for NaN.
    """
    positives, among = as_rows("positives", positives), as_rows("among", among)
    negatives = among[:0] if negatives is None else as_rows("negatives", negatives)
    if not positives.shape[1] == among.shape[1] == negatives.shape[1]:
        raise ValueError(
            f"positives have {positives.shape[1]} columns, among {among.shape[1]}, negatives {negatives.shape[1]}"
        )
    return direction(positives, Moments.of(among), negatives)


def direction(positives: Floats, among: Moments, negatives: Floats) -> Floats:
    """`teach`, with rows (M, D) of counter-examples or none, where the moments of all rows are known."""
    if len(positives) == 0:
        raise ValueError("no positives: give one example or more")
    wanted = positives.mean(axis=0, dtype=np.float64)
    against = among.mean
    if len(negatives):
        unwanted = negatives.mean(axis=0, dtype=np.float64)
        against = unwanted if among.count < FEWEST_ROWS else against + _AGAINST * (unwanted - against)
    variance = float(np.trace(among.covariance)) / len(wanted)
    difference = wanted - against
    spread = among.spread_of(difference)
    if among.count < FEWEST_ROWS or variance <= _NOTHING**2 or spread <= _NOTHING * np.sqrt(variance):
        found = wanted - _AGAINST * against if len(negatives) else wanted
    else:
        regular = among.covariance + _REGULARISATION * variance * np.eye(len(wanted))
        whitened = np.linalg.solve(regular, difference)
        found = whitened / among.spread_of(whitened) + _UNDIVIDED * difference / spread
    length = np.linalg.norm(found)
    if not np.isfinite(length):
        raise ValueError("positives, among or negatives hold NaN")
    unit: Floats = (found / length if length > _NOTHING else _first_axis(len(wanted))).astype(np.float32)
    return unit


def mark(rest: Floats | None, like: Floats, unlike: Floats, among: Moments) -> tuple[Floats, float]:
    """What marked pictures have in common, a unit row (D,), and its weight beside the `rest` of a query (D,).

    `like` (P, D) and `unlike` (M, D) are unit rows, of which one may be missing. The weight gives its scores a share of
    the spread that those of the rest have; it is 1 where there is no rest.
    """
    row = direction(like, among, unlike) if len(like) else -direction(unlike, among, like)
    if rest is None:
        return row, 1.0
    of_rest, of_row = among.spread_of(rest), among.spread_of(row)
    share = _MARKED if len(like) else _MARKED_AGAINST
    return row, share * of_rest / of_row if of_rest > 0 and of_row > 0 else share


def _first_axis(width: int) -> Doubles:
    """Any direction: for examples that are opposite to each other."""
    axis: Doubles = np.eye(width)[0]
    return axis
