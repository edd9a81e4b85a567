"""Groups of the same picture in an index: as it was, scaled down, cropped a little, made grey, or compressed again.

Two pictures count as one where their perceptual hashes are near, and their embeddings as near as that asks for: each
alone would take one picture in thousands for another. Every picture is compared, none is left to chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.arguments import require_instance
from itl_infer.index import Index
from itl_infer.index.facts import KNOWN
from itl_infer.index.upkeep import sizes_of
from itl_infer.search.answer import facts_as_json
from itl_infer.where import require_where

if TYPE_CHECKING:
    from itl_infer.image import Facts
    from itl_infer.where import Where

# Measured by `python -m tests.benchmarks.duplicates`.
MOST_BITS = 13  # of 64, in which hashes of one picture may differ
_LEAST_COSINE = 0.4  # of equal hashes: what greyness does to an embedding
_COSINE_PER_BIT = 0.035  # more, for each bit that differs

_BLOCK = 1024  # pictures sorted into groups at a time
_TILE = 64, 4096  # hashes compared with hashes at a time: 2 MiB, which stays in a core's cache

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Same:
    """A picture of a group."""

    path: str
    bytes: int  # of its file, when it was embedded
    facts: Facts
    score: float = 1.0  # cosine with the first of the group
    bits: int = 0  # in which its perceptual hash differs from that one's, of 64

    def to_json(self) -> dict[str, Any]:
        """The picture as an object for `json`."""
        facts = facts_as_json(self.facts)
        return {
            "path": self.path,
            "bytes": self.bytes,
            **facts,
            "score": round(self.score, 6),
            "bits": self.bits,
        }


@dataclass(frozen=True)
class Duplicates:
    """What `find_duplicates` found."""

    groups: tuple[
        tuple[Same, ...], ...
    ]  # the best of each first: of the most pixels, then of the largest file
    pictures: int  # that were compared
    without_hash: int  # that were not, as an earlier version embedded them

    def to_json(self) -> dict[str, Any]:
        """The groups as an object for `json`."""
        return {
            "pictures": self.pictures,
            "without_hash": self.without_hash,
            "groups": [{"pictures": [same.to_json() for same in group]} for group in self.groups],
        }


def find_duplicates(index: Index, *, where: Where | None = None) -> Duplicates:
    """The groups of two or more that show the same picture, of all in an index or of those that `where` means.

    Best first, each picture joins the first better one that it is the same as, so that everything in a group is the
    same as its first. Two pictures are the same where their perceptual hashes differ in at most `MOST_BITS` bits, and
    the cosine of their embeddings is at least 0.4 and 0.035 more for each of these. Every picture is compared with
    every first, none is left to chance: 100,000 take seconds, a million some minutes. Changes nothing, and reads no
    file but the index. Raises IndexStoreError.
    """
    require_instance("index", index, Index, "an index, as Index.open() gives it")
    require_where(where)
    sizes = sizes_of(index)
    view = index.snapshot
    records, among = view.facts.records, view.among(where)
    asked = np.ones(len(view), bool) if among is None else among
    has_hash = (records["flags"] & KNOWN > 0) & (records["width"] > 0)
    rows = np.flatnonzero(asked & has_hash)
    pixels = records["width"][rows].astype(np.int64) * records["height"][rows]
    rows = rows[np.lexsort((rows, -sizes[rows], -pixels))]
    groups: dict[int, list[Same]] = {}

    def same(place: int, score: float = 1.0, bits: int = 0) -> Same:
        row = int(rows[place])
        return Same(view.path_of(row), int(sizes[row]), view.facts_of(row), score, bits)

    for place, first, score, bits in _copies(
        np.ascontiguousarray(records["phash"][rows]), view.embeddings, rows
    ):
        groups.setdefault(first, [same(first)]).append(same(place, score, bits))
    found = tuple(tuple(group) for _, group in sorted(groups.items()))
    return Duplicates(found, len(rows), int(np.count_nonzero(asked & ~has_hash)))


class _Pair(NamedTuple):
    """Two places of one picture, of which the second is the better one."""

    place: int
    first: int
    score: float
    bits: int


def _copies(hashes: Hashes, embeddings: Floats, rows: Rows) -> Iterator[_Pair]:
    """Each picture that is the same as a better one, with the first such. The best picture has place 0."""
    firsts = np.empty(len(hashes), np.int64)  # places of those that joined none, so far
    count = 0
    for start in range(0, len(hashes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(hashes)))
        joined: set[int] = set()
        # With those of before first, so that of many copies few are left to be compared with each other.
        for others in (firsts[:count], None):
            left = _without(block, joined)
            pairs: dict[int, list[_Pair]] = {}
            for pair in _pairs(hashes, embeddings, rows, left, left if others is None else others):
                pairs.setdefault(pair.place, []).append(pair)
            for place in sorted(pairs):
                first = min((pair for pair in pairs[place] if pair.first not in joined), default=None)
                if first is not None:
                    joined.add(place)
                    yield first
        new = _without(block, joined)
        firsts[count : count + len(new)] = new
        count += len(new)


def _without(block: Rows, joined: set[int]) -> Rows:
    return np.array([place for place in block.tolist() if place not in joined], np.int64)


def _pairs(hashes: Hashes, embeddings: Floats, rows: Rows, block: Rows, others: Rows) -> Iterator[_Pair]:
    """The pairs of one picture among places and better ones."""
    of_block, of_others = hashes[block], hashes[others]
    for left, right, bits in _near(of_block, of_others):
        place, other = block[left], others[right]
        is_better = other < place
        place, other, bits = place[is_better], other[is_better], bits[is_better]
        scores = np.einsum("nd,nd->n", embeddings[rows[place]], embeddings[rows[other]])
        is_same = scores >= _LEAST_COSINE + _COSINE_PER_BIT * bits
        columns = (place, other, scores, bits)
        yield from map(_Pair, *(column[is_same].tolist() for column in columns))


def _near(some: Hashes, others: Hashes) -> Iterator[tuple[Rows, Rows, npt.NDArray[np.uint8]]]:
    """Which of (n,) hashes differ from which of (m,) in few bits, a tile at a time: places in both, and how many."""
    tall, wide = _TILE
    for left in range(0, len(some), tall):
        column = some[left : left + tall, None]
        for right in range(0, len(others), wide):
            bits = count_bits(column ^ others[right : right + wide])
            near = np.flatnonzero(bits <= MOST_BITS)
            if len(near):
                i, j = np.divmod(near, bits.shape[1])
                yield i + left, j + right, bits.reshape(-1)[near]


def count_bits(words: Hashes) -> npt.NDArray[np.uint8]:
    """How many bits are set in each."""
    if hasattr(np, "bitwise_count"):
        counts: npt.NDArray[np.uint8] = np.bitwise_count(words)
        return counts
    parts = words[..., None].view(np.uint16)  # numpy before 2.0
    summed: npt.NDArray[np.uint8] = _bits_of_16()[parts].sum(axis=-1, dtype=np.uint8)
    return summed


@cache
def _bits_of_16() -> npt.NDArray[np.uint8]:
    return np.array([number.bit_count() for number in range(2**16)], np.uint8)
