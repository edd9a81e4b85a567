"""Rows as codes of 8 bits, with a bound on how far a score by codes may be from the score itself.

A group of rows shares a scale s: of a row x the code c has whole numbers of -127 to 127, and x = s c + r. So has a
query q = t d + e. Then q.x = s t d.c + e.(s c) + q.r, where d.c is a product of whole numbers, exact, and by Cauchy and
Schwarz the rest is at most |e| |s c| + |q| |r|. What is kept of a group is s, and the largest |s c| and |r| of its
rows, the latter with what float32 may round off a score. docs/exact_codes.md derives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_order_ahead
from itl_infer.cpus import usable_cpus
from itl_infer.vectors import as_rows

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

GROUP = 32  # rows of one scale
BLOCK = 2**15  # rows of one checksum
ZERO = 128  # what a code of 0 is kept as
LARGEST = 127

_STEP = 2**11  # rows quantised at a time: 1 MiB at 128 columns
_SMALLEST_SCALE = 1e-18  # products of two stay normal numbers
_ROUNDED_OFF = 1 + 2.0**-12  # of a length that is summed in float32
_UNDERFLOW = 2.0**-62  # of each number of a row whose square may have vanished


class CodesError(ValueError):
    """Codes that are damaged, or those of other rows: a ranking by them would be wrong."""


class Quantized(NamedTuple):
    """Some rows as codes."""

    codes: Bytes  # (n, D), n a multiple of `GROUP`: rows of zeros at the end
    scales: Floats  # (n / GROUP,)
    lengths: Floats  # at least |s c| of each row of the group
    errors: Floats  # at least |r|, and what float32 rounds off a score, for a query of unit length


@dataclass(frozen=True)
class CodeBlock:
    """The codes of up to `BLOCK` rows, from `first` on; those behind the last are looked at for the checksum alone."""

    first: int
    rows: int
    quantized: Quantized
    checksum: int | None = None  # of codes that are yet to be read

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.quantized)


class Codes:
    """The codes of N rows of D numbers, by which `rank` finds the best of them without reading all.

    Made by `quantize_rows`, and read from a file by an index: then a checksum of each block is compared when the block
    is first read.
    """

    def __init__(self, blocks: Sequence[CodeBlock], dim: int) -> None:
        self.blocks = blocks  # in order of rows, without gaps
        self.dim = dim
        self.unread = {number for number, block in enumerate(blocks) if block.checksum is not None}
        bounds = [np.stack(block.quantized[1:]) for block in blocks]
        # Of each group its scale, lengths and errors, (3, groups); row n is in group n / GROUP.
        self.bounds: Floats = np.concatenate([np.empty((3, 0), np.float32), *bounds], axis=1)
        self.are_of_unit_rows = float(self.bounds[1].max(initial=0)) < _LONGEST

    def __len__(self) -> int:
        return sum(block.rows for block in self.blocks)

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum(block.nbytes for block in self.blocks)

    @cached_property
    def by_group(self) -> Floats:
        """1, the lengths and the errors of each group, over its scale: (groups, 3)."""
        scales, lengths, errors = self.bounds
        by_group: Floats = np.stack([np.ones_like(scales), lengths, errors], axis=1)
        by_group /= scales[:, None]
        return by_group

    def take(self, rows: npt.NDArray[np.int64]) -> Bytes:
        """The codes (n, D) of some rows, in ascending order, none of which is compared with a checksum."""
        ends = np.searchsorted(rows, [block.first + block.rows for block in self.blocks])
        parts = np.split(rows, ends[:-1])
        return np.concatenate(
            [
                block.quantized.codes[part - block.first]
                for block, part in zip(self.blocks, parts, strict=True)
            ]
        )


_LONGEST = 1.03  # of unit rows, as codes have them


def quantize_rows(images: Floats) -> Codes:
    """Codes of `images` (N, D) float32, for `rank(..., codes=)`: a quarter of the size, and the same answers.

    They stand for these rows alone: make them anew where a row changes. Raises ValueError for another shape, and for
    numbers that are not finite.
    """
    images = as_rows("embeddings", images)
    return Codes(list(quantized_blocks(images)), images.shape[1])


def quantized_blocks(rows: Floats) -> Iterator[CodeBlock]:
    """(N, D) rows as codes, block by block."""
    firsts, cpus = range(0, len(rows), BLOCK), usable_cpus()
    with ThreadPoolExecutor(cpus) as pool:
        ahead = in_order_ahead(pool, lambda first: quantized(rows[first : first + BLOCK]), firsts, 2 * cpus)
        for first, of_block in zip(firsts, ahead, strict=True):
            yield CodeBlock(first, min(BLOCK, len(rows) - first), of_block.result())


def quantized(rows: Floats) -> Quantized:
    """(n, D) rows as codes. ValueError for numbers that are not finite."""
    groups = -(-len(rows) // GROUP)
    codes = np.full((groups * GROUP, rows.shape[1]), ZERO, np.uint8)
    scales, lengths, errors = np.empty((3, groups), np.float32)
    for start in range(0, len(rows), _STEP):
        some = rows[start : start + _STEP]
        here = slice(start // GROUP, start // GROUP + -(-len(some) // GROUP))
        if len(some) % GROUP:
            some = np.concatenate([some, np.zeros((-len(some) % GROUP, rows.shape[1]), np.float32)])
        scales[here] = _scales(some)
        of_rows = np.repeat(scales[here], GROUP)
        codes[start : start + len(some)], long, far = coded(some, of_rows)
        lengths[here], errors[here] = (each.reshape(-1, GROUP).max(axis=1) for each in (long, far))
    return Quantized(codes, scales, lengths, errors)


def _scales(rows: Floats) -> Floats:
    """One for each group of rows."""
    flat = rows.reshape(-1, GROUP * rows.shape[1])
    largest = np.maximum(flat.max(axis=1, initial=0), -flat.min(axis=1, initial=0))
    if not np.isfinite(largest).all():
        raise ValueError("embeddings hold NaN or infinity")
    scales: Floats = np.maximum(largest / np.float32(LARGEST), np.float32(_SMALLEST_SCALE))
    return scales


def coded(rows: Floats, scales: Floats) -> tuple[Bytes, Floats, Floats]:
    """Codes (n, D) of rows at these scales (n,), and of each row the bounds that `Quantized` has of a group."""
    with np.errstate(over="ignore", invalid="ignore"):  # of rows so long that codes are not used at all
        numbers = np.clip(np.rint(rows / scales[:, None]), -LARGEST, LARGEST)
        lengths, errors = _bounds(rows, rows - numbers * scales[:, None])
        return (numbers + np.float32(ZERO)).astype(np.uint8), lengths, errors


def _bounds(rows: Floats, residuals: Floats) -> tuple[Floats, Floats]:
    """Of each row what |s c| is at most, and what |r| and the rounding of a score are together."""
    long, far = _lengths(rows), _lengths(residuals)
    # A score is off by (D + 2) 2^-24 |q| |x| at most (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), and
    # what is computed here of r by 3 roundings of its numbers.
    far += np.float32((1.1 * (rows.shape[1] + 2) + 8) * 2.0**-24) * long
    lengths = (long + far) * np.float32(1 + 2.0**-20)
    return np.where(np.isnan(lengths), np.float32(np.inf), lengths), far


def _lengths(rows: Floats) -> Floats:
    """At least those of the rows."""
    lengths: Floats = np.sqrt(np.einsum("nd,nd->n", rows, rows)) * np.float32(_ROUNDED_OFF)
    return lengths + np.float32(np.sqrt(rows.shape[1]) * _UNDERFLOW)


class CodedQueries(NamedTuple):
    """Queries as codes, one scale for each."""

    codes: npt.NDArray[np.int8]  # (D, Q)
    scales: Floats  # (Q,)
    lengths: Floats  # at least |q|
    errors: Floats  # at least |e|

    @classmethod
    def of(cls, queries: Floats) -> CodedQueries:
        """Of (Q, D) finite queries."""
        largest = np.abs(queries).max(axis=1, initial=0)
        scales = np.maximum(largest / np.float32(LARGEST), np.float32(_SMALLEST_SCALE))
        numbers = np.clip(np.rint(queries / scales[:, None]), -LARGEST, LARGEST)
        _, errors = _bounds(queries, queries - numbers * scales[:, None])
        return cls(np.ascontiguousarray(numbers.T.astype(np.int8)), scales, _lengths(queries), errors)


# A checksum that costs next to nothing where the codes are multiplied with queries anyway: one column more, of numbers
# that are never 0, gives a sum for each row, and these are summed with odd weights modulo 2^64. Any single change of a
# row changes its sum; of what else may happen to a file, one in 2^32 or fewer would go unseen.


@cache
def check_column(dim: int) -> npt.NDArray[np.int8]:
    """(D,) numbers of -64 to 64, never 0: small enough for every CPU's sums of products."""
    noise = np.frombuffer(hashlib.shake_128(b"codes of rows").digest(dim), np.uint8)
    column: npt.NDArray[np.int8] = ((noise % 64 + 1) * np.where(noise >= 128, -1, 1)).astype(np.int8)
    return column


@cache
def _weights() -> npt.NDArray[np.uint64]:
    places = np.arange(BLOCK, dtype=np.uint64)
    return places * np.uint64(0x9E3779B97F4A7C15) << np.uint64(1) | np.uint64(1)


def checksum_of_sums(sums: npt.NDArray[np.int32], start: int) -> int:
    """What the rows of a block from `start` on, with these products with `check_column`, add to its checksum."""
    wide = sums.astype(np.int64).view(np.uint64)
    return int((wide * _weights()[start : start + len(sums)]).sum())


def checksum(codes: Bytes, first: int = 0) -> int:
    """Of the codes of a block, or what those from `first` on add to it modulo 2^64; on any CPU."""
    column = check_column(codes.shape[1]).astype(np.float64)
    total = 0
    for start in range(0, len(codes), _STEP):
        numbers = codes[start : start + _STEP].astype(np.float64) - ZERO
        total += checksum_of_sums((numbers @ column).astype(np.int32), first + start)
    return total & (2**64 - 1)
