"""How much of the exact ranking the index of a collection finds, and whether it is in step with an index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.errors import ClusterError
from itl_infer.milvus.collection import Collection
from itl_infer.milvus.rows import DIGEST, EMBEDDING, KEY, digest_of, key_of
from itl_infer.milvus.setup import require_same_origin
from itl_infer.milvus.sources import Source, open_source

Floats = npt.NDArray[np.float32]

DEFAULT_SAMPLE = 100
_BLOCK_ROWS = 2**13
_EQUAL = 1e-6  # scores that differ by no more are as good as each other


@dataclass(frozen=True)
class Difference:
    """How a collection differs from a source, in pictures."""

    source: str
    pictures: int  # of the source
    missing: int  # of these in the collection
    changed: int  # there, with another embedding
    more: int  # in the collection only

    @property
    def is_none(self) -> bool:
        """Whether the collection has all that the source has, as it has it."""
        return not (self.missing or self.changed)


@dataclass(frozen=True)
class Check:
    """What was found of a collection."""

    pictures: int
    bundle_name: str
    fingerprint: str
    index: str  # of Milvus, with its parameters
    recall: float  # the share of the k best, of all queries together, that Milvus gives
    worst: float  # of a single query
    k: int
    queries: int
    are_pictures: bool  # the queries are rows of the collection, each of which looks for others
    against: Difference | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        against = None
        if self.against is not None:
            against = {name: getattr(self.against, name) for name in Difference.__dataclass_fields__}
        return {
            "pictures": self.pictures,
            "bundle": {"name": self.bundle_name, "fingerprint": self.fingerprint},
            "index": self.index,
            "recall": round(self.recall, 6),
            "worst_recall": round(self.worst, 6),
            "k": self.k,
            "queries": self.queries,
            "queries_are_pictures": self.are_pictures,
            **({"against": against} if against else {}),
        }


def check_collection(
    collection: Collection,
    *,
    queries: Floats | None = None,
    k: int = 10,
    sample: int = DEFAULT_SAMPLE,
    against: str | os.PathLike[str] | None = None,
) -> Check:
    """Compare what Milvus finds with the exact ranking, of all rows of the collection or of a source in step with it.

    `queries` are unit vectors (Q, D). Without, `sample` rows of the collection, taken by lot, are queries, and each
    looks for others than itself: that asks the index what it was built for. Where several rows are as good as the
    k-th, each counts. Without `against` every row of the collection is read, else its keys only.
    Raises ClusterError for an empty collection, and IndexStoreError where `against` was made with another bundle.
    """
    if k < 1 or sample < 1:
        raise ValueError(f"k is {k} and sample {sample}, expected 1 or more")
    rows = collection.count()
    if rows == 0:
        raise ClusterError(f"{collection.address}: holds no pictures: itl-infer push fills it")
    source = difference = None
    if against is not None:
        source = open_source(against)
        require_same_origin(collection.address, collection.origin, source.origin)
        difference = _compare(collection, source)
    own: list[int] = []
    if queries is None:
        own, queries = _take_rows(collection, sample)
    k = min(k, rows - bool(own)) or 1
    wanted = _best_scores(queries, _blocks(collection, source), k + bool(own))
    if own:  # the best of all is the row itself, or a copy that is as good
        wanted = wanted[:, 1:]
    shares = np.empty(len(queries))
    for i, hits in enumerate(collection.nearest(queries, k + bool(own))):
        scores = np.array([score for number, score, _, _ in hits if not own or number != own[i]][:k])
        expected = wanted[i][wanted[i] > -np.inf]
        found = np.count_nonzero(scores >= expected[-1] - _EQUAL) if len(expected) else 0
        shares[i] = min(found, len(expected)) / len(expected) if len(expected) else 1.0
    return Check(
        rows,
        collection.origin.bundle_name,
        collection.origin.fingerprint,
        str(collection.engine),
        float(shares.mean()),
        float(shares.min()),
        k,
        len(queries),
        bool(own),
        difference,
    )


def _take_rows(collection: Collection, sample: int) -> tuple[list[int], Floats]:
    """Numbers and embeddings of some rows. Their keys are hashes: the first of them are a sample by lot."""
    numbers: list[int] = []
    embeddings: list[Any] = []
    for block in collection.read_all([KEY, EMBEDDING]):
        for row in block[: sample - len(numbers)]:
            numbers.append(int(row[KEY], 16))
            embeddings.append(row[EMBEDDING])
        if len(numbers) == sample:
            break
    return numbers, np.array(embeddings, np.float32)


def _blocks(collection: Collection, source: Source | None) -> Iterator[Floats]:
    """All embeddings, (n, D) at a time."""
    if source is not None:
        yield from (embeddings for _, embeddings in source.blocks(_BLOCK_ROWS))
    else:
        for block in collection.read_all([EMBEDDING]):
            yield np.array([row[EMBEDDING] for row in block], np.float32)


def _best_scores(queries: Floats, blocks: Iterator[Floats], k: int) -> Floats:
    """The k best scores (Q, k) for each query over all blocks, best first; -inf where there are fewer."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    for embeddings in blocks:
        _, scores = ranking.rank(queries, embeddings, k)
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :k]
    return best


def _compare(collection: Collection, source: Source) -> Difference:
    there = {
        bytes.fromhex(row[KEY]): row[DIGEST] for block in collection.read_all([KEY, DIGEST]) for row in block
    }
    pictures = missing = changed = common = 0
    for paths, embeddings in source.blocks(_BLOCK_ROWS):
        pictures += len(paths)
        for path, embedding in zip(paths, embeddings, strict=True):
            digest = there.get(bytes.fromhex(key_of(path)))
            missing += digest is None
            common += digest is not None
            changed += digest is not None and digest != digest_of(embedding)
    return Difference(source.name, pictures, missing, changed, len(there) - common)
