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
_WANTED, _UNWANTED = 10.0, 1.0  # standard deviations above the mean score, at which marked pictures are seen
_NOISE = 2.0  # variance with which they are seen there, in that of a row
_AVERAGED = 0.5  # the weight of the mean of marked pictures, where there is no covariance
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
    """What marked pictures change in a query, a unit row (D,), and its weight beside the `rest` of it, a unit row (D,).

    `like` (P, D) and `unlike` (M, D) are unit rows, of which one may be missing. Scores are taken for a Gaussian
    process whose mean are those of the rest, and whose covariance is the kernel of the discriminant: pictures that are
    alike, apart from what all share, change alike. What was marked is seen, with noise, at a score far above all, or at
    one that nothing is shown for. Without a rest it is the direction of what they show, of weight 1.
    """
    spread = 0.0 if rest is None else among.spread_of(rest)
    variance = float(np.trace(among.covariance)) / max(1, len(among.mean))
    if rest is None or among.count < FEWEST_ROWS or spread <= _NOTHING * math.sqrt(max(0.0, variance)):
        row = direction(like, among, unlike) if len(like) else -direction(unlike, among, like)
        return row, 1.0 if rest is None else _AVERAGED
    marked = np.concatenate([like, unlike]).astype(np.float64) - among.mean
    scores = marked @ rest.astype(np.float64) / spread  # in standard deviations of all
    higher = np.maximum(_WANTED - scores[: len(like)], 0)
    lower = np.minimum(_UNWANTED - scores[len(like) :], 0)
    changes = marked @ _kernel(among, variance)
    seen = changes @ marked.T + _NOISE * np.eye(len(marked))
    change = spread * np.linalg.solve(seen, np.concatenate([higher, lower])) @ changes
    length = float(np.linalg.norm(change))
    if not math.isfinite(length):
        raise ValueError("like, unlike or among hold NaN")
    unit = change / length if length > _NOTHING * spread else _first_axis(len(change))
    return unit.astype(np.float32), length


def _kernel(among: Moments, variance: float) -> Doubles:
    """What two rows, less the mean of all, have in common, (D, D): 1 on average for a row and itself."""
    width = len(among.mean)
    whitened = np.linalg.inv(among.covariance + _REGULARISATION * variance * np.eye(width))
    whitened = whitened / np.sum(whitened * among.covariance)
    kernel: Doubles = (whitened + _UNDIVIDED * np.eye(width) / (width * variance)) / (1 + _UNDIVIDED)
    return kernel


def _first_axis(width: int) -> Doubles:
    """Any direction: for examples that are opposite to each other."""
    axis: Doubles = np.eye(width)[0]
    return axis
