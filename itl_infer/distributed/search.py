"""Exact search over Parquet shards on a Ray cluster: the best of each group of shards, merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.bundle import Bundle, load_bundle
from itl_infer.distributed.cluster import connected, map_numbers
from itl_infer.distributed.shards import MadeWith, find_shards, read_embeddings, read_paths
from itl_infer.errors import ClusterError, ImageError, QueryError
from itl_infer.query import EmbeddedQuery, Query
from itl_infer.search import Answer, Found

_SHARDS_AT_ONCE = 16
_ROW_BITS = 32  # of a picture's number over all shards: the rest is the number of its shard


def search(
    queries: Sequence[str | Query],
    shards: str,
    *,
    k: int = 10,
    bundle: Bundle | None = None,
    address: str | None = None,
    cpus: float = 1,
) -> list[Answer | QueryError | ImageError]:
    """For each query the `k` best pictures of the shards in a folder, or its error.

    Order and scores are those of `Searcher` over the same pictures in the same order. Raises ClusterError.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    bundle = bundle or load_bundle()
    embedded: list[EmbeddedQuery | QueryError | ImageError] = []
    for query in queries:
        try:
            embedded.append((Query(query) if isinstance(query, str) else query).embed(bundle))
        except (QueryError, ImageError) as error:
            embedded.append(error)
    vectors = np.array([one.vector for one in embedded if isinstance(one, EmbeddedQuery)], np.float32)
    system, files = find_shards(shards)
    best = _Best(len(vectors), k)
    made_with = MadeWith(bundle.name, bundle.fingerprint, bundle.embed_dim)
    settings = {"shards": shards, "files": files, "vectors": vectors, "k": k, "bundle": made_with}
    pictures = 0
    if len(vectors):
        with connected(address):
            for row in map_numbers(_Ranker, settings, list(range(len(files))), cpus, _SHARDS_AT_ONCE):
                if row["stopped"]:
                    raise ClusterError(row["stopped"])
                best.add(np.asarray(row["ids"], np.int64), np.asarray(row["scores"], np.float32))
                pictures += row["pictures"]
    winners = {int(shard) for shard in np.unique(best.ids >> _ROW_BITS) if shard >= 0}
    paths = {shard: read_paths(system, files[shard]) for shard in winners}
    answers = zip(best.ids.tolist(), best.scores.tolist(), strict=True)
    return [
        _answer(one, *next(answers), pictures, paths) if isinstance(one, EmbeddedQuery) else one
        for one in embedded
    ]


def _answer(
    embedded: EmbeddedQuery, ids: list[int], scores: list[float], pictures: int, paths: dict[int, list[str]]
) -> Answer:
    found = [(number, score) for number, score in zip(ids, scores, strict=True) if number >= 0]
    return Answer(
        embedded,
        pictures,
        tuple(
            Found(rank, score, paths[number >> _ROW_BITS][number & (2**_ROW_BITS - 1)], number)
            for rank, (number, score) in enumerate(found, start=1)
        ),
    )


class _Best:
    """The k best pictures of each query so far: by score, and of equal ones by number."""

    def __init__(self, queries: int, k: int) -> None:
        self.ids: npt.NDArray[np.int64] = np.full((queries, k), -1)
        self.scores: npt.NDArray[np.float32] = np.full((queries, k), -np.inf, np.float32)
        self._k = k

    def add(self, ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> None:
        """Of other pictures, for each query: numbers and scores, (queries, any)."""
        queries = len(self.ids)
        ids = np.concatenate([self.ids, ids.reshape(queries, -1)], axis=1)
        scores = np.concatenate([self.scores, scores.reshape(queries, -1)], axis=1)
        order = np.lexsort((ids, -scores))[:, : self._k]
        self.ids = np.take_along_axis(ids, order, axis=1)
        self.scores = np.take_along_axis(scores, order, axis=1)


class _Ranker:
    """Ranks the pictures of some shards."""

    def __init__(
        self, shards: str, files: list[str], vectors: npt.NDArray[np.float32], k: int, bundle: MadeWith
    ) -> None:
        self._system, _ = find_shards(shards)
        self._files, self._vectors, self._k = files, vectors, k
        self._bundle = bundle

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
        ids: list[npt.NDArray[np.int64]] = []
        embeddings: list[npt.NDArray[np.float32]] = []
        stopped = ""
        try:
            for number in sorted(batch["number"].tolist()):
                rows, found = read_embeddings(self._system, self._files[number], self._bundle)
                ids.append((number << _ROW_BITS) + rows)
                embeddings.append(found)
        except ClusterError as error:
            stopped = str(error)
        numbers = np.concatenate(ids) if ids else np.empty(0, np.int64)
        if stopped or not len(numbers):
            return {"ids": [[]], "scores": [[]], "pictures": [0], "stopped": [stopped]}
        places, scores = ranking.rank(self._vectors, np.concatenate(embeddings), self._k)
        return {
            "ids": [numbers[places].reshape(-1)],
            "scores": [scores.reshape(-1)],
            "pictures": [len(numbers)],
            "stopped": [""],
        }
