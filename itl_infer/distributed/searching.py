"""Exact search over Parquet shards on a Ray cluster: the best of each group of shards, merged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.bundle import Bundle, load_bundle
from itl_infer.distributed.cluster import connected, map_numbers, require_cluster
from itl_infer.distributed.plan import find_plan
from itl_infer.distributed.source import Location, absolute
from itl_infer.encoder import products_are_fast
from itl_infer.errors import ClusterError, ImageError, QueryError
from itl_infer.parquet.files import find_filesystem, shown
from itl_infer.parquet.shards import Shard, read_embeddings, read_paths, require_shards
from itl_infer.ranking.candidates import FEWEST_NUMBERS
from itl_infer.search import Answer, Found
from itl_infer.search.query import EmbeddedQuery, Query, embed_each
from itl_infer.store import Origin
from itl_infer.teaching import NO_NAMES, Names

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_GROUP_BYTES = 2**26  # of shards, which a worker ranks at a time
_ROW_BITS = 32  # of a picture's number over all shards: the rest is the number of its shard
_READERS = 8
_MANY_QUERIES = 256  # from which on it pays to make codes of the pictures of a group first

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


def search(
    queries: Sequence[str | Query],
    shards: Location,
    *,
    k: int = 10,
    min_score: float | None = None,
    bundle: Bundle | None = None,
    address: str | None = None,
    cpus: float = 1,
    names: Names = NO_NAMES,
) -> list[Answer | QueryError | ImageError]:
    """For each query the `k` best pictures of the shards in a folder (path or URI), or its error.

    Order and scores are those of `rank` over all pictures in the order of the shards: of equal scores the first one
    stands first. Every call reads all shards, so that many queries at once cost little more than one. `shards` must
    be a folder that every node sees, or a URI; `address`, `cpus` and what a node needs are as for `embed`. A `Found`
    has as its `row` the number of the shard times 2^32, and the row in it. `names` may stand in the texts: those of an
    index, as shards have none. Pictures that a query is unlike stand where their scores put them.

    Raises ClusterError, also where the shards are not all there or another bundle made them.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    require_cluster(address)
    bundle = bundle or load_bundle()
    shards = absolute(shards)
    system, found = _find_shards(shards)
    embedded = embed_each(queries, bundle, names)
    vectors = np.array([one.vector for one in embedded if isinstance(one, EmbeddedQuery)], np.float32)
    best = _Best(len(vectors), k)
    if len(vectors):
        groups = list(_groups(found))
        origin = Origin(bundle.name, bundle.fingerprint, bundle.embed_dim)
        settings = {"shards": shards, "groups": groups, "vectors": vectors, "k": k, "origin": origin}
        with connected(address):
            for of_group in map_numbers(_Ranker, settings, list(range(len(groups))), cpus):
                best.add(of_group)
    paths = _paths(system, found, best.ids)
    rows = zip(best.ids.tolist(), best.scores.tolist(), strict=True)
    return [
        _answer(one, *next(rows), best.pictures, paths, min_score) if isinstance(one, EmbeddedQuery) else one
        for one in embedded
    ]


def _find_shards(location: str) -> tuple[FileSystem, list[Shard]]:
    """The shards of a folder, in order. Raises ClusterError unless they are all there."""
    system, folder = find_filesystem(location)
    shards = require_shards(system, folder, location)
    plan = find_plan(system, folder)
    if plan and (missing := set(range(len(plan.pieces))).difference(shard.number for shard in shards)):
        raise ClusterError(
            f"{shown(location)}: {len(missing)} of {len(plan.pieces)} shards are not there yet: run the same"
            " `itl-infer embed-images` again to finish them"
        )
    return system, shards


def _groups(shards: list[Shard]) -> Iterator[list[Shard]]:
    """Shards that stand together, and can be held in memory together."""
    group: list[Shard] = []
    for shard in shards:
        if group and sum(one.bytes for one in group) + shard.bytes > _GROUP_BYTES:
            yield group
            group = []
        group.append(shard)
    if group:
        yield group


def _paths(system: FileSystem, shards: list[Shard], ids: Numbers) -> dict[int, str]:
    """The paths of pictures, by their numbers; a few shards at a time in memory."""
    wanted: defaultdict[int, list[int]] = defaultdict(list)
    for number in np.unique(ids[ids >= 0]).tolist():
        wanted[number >> _ROW_BITS].append(number)

    def read(shard: Shard) -> dict[int, str]:
        paths = read_paths(system, shard.path)
        return {number: paths[number & (2**_ROW_BITS - 1)] for number in wanted[shard.number]}

    found: dict[int, str] = {}
    with ThreadPoolExecutor(_READERS) as readers:
        for paths in readers.map(read, [shard for shard in shards if shard.number in wanted]):
            found |= paths
    return found


def _answer(
    embedded: EmbeddedQuery,
    ids: list[int],
    scores: list[float],
    pictures: int,
    paths: dict[int, str],
    min_score: float | None,
) -> Answer:
    lowest = -np.inf if min_score is None else min_score
    found = [
        (number, score) for number, score in zip(ids, scores, strict=True) if number >= 0 and score >= lowest
    ]
    results = (
        Found(rank, score, paths[number], number) for rank, (number, score) in enumerate(found, start=1)
    )
    return Answer(embedded, pictures, tuple(results))


class _BestOfGroup(NamedTuple):
    """The best pictures of some shards for Q queries."""

    ids: Numbers  # (Q, up to k)
    scores: Floats
    pictures: int  # that were ranked


class _Best:
    """The k best pictures of each query so far: by score, and of equal ones by number; -1 stands for none."""

    def __init__(self, queries: int, k: int) -> None:
        self.ids: Numbers = np.full((queries, k), -1)
        self.scores: Floats = np.full((queries, k), -np.inf, np.float32)
        self.pictures = 0

    def add(self, group: _BestOfGroup) -> None:
        """Take in the best of other pictures."""
        ids = np.concatenate([self.ids, group.ids], axis=1)
        scores = np.concatenate([self.scores, group.scores], axis=1)
        order = np.lexsort((ids, -scores))[:, : self.ids.shape[1]]
        self.ids = np.take_along_axis(ids, order, axis=1)
        self.scores = np.take_along_axis(scores, order, axis=1)
        self.pictures += group.pictures


class _Ranker:
    """Ranks the pictures of groups of shards."""

    def __init__(
        self, shards: str, groups: list[list[Shard]], vectors: Floats, k: int, origin: Origin
    ) -> None:
        self._system, _ = find_filesystem(shards)
        self._groups, self._vectors, self._k, self._origin = groups, vectors, k, origin

    def __call__(self, number: int) -> _BestOfGroup:
        ids: list[Numbers] = []
        embeddings: list[Floats] = []
        for shard in self._groups[number]:
            rows, found = read_embeddings(self._system, shard.path, self._origin)
            ids.append((shard.number << _ROW_BITS) + rows)
            embeddings.append(found)
        all_ids, pictures = np.concatenate(ids), np.concatenate(embeddings)
        rows, scores = ranking.rank(self._vectors, pictures, self._k, codes=self._codes_of(pictures))
        return _BestOfGroup(all_ids[rows], scores, len(all_ids))

    def _codes_of(self, pictures: Floats) -> ranking.Codes | None:
        """Where it takes less time to make them and to look for the best by them than it takes without."""
        if len(self._vectors) < _MANY_QUERIES or pictures.size < FEWEST_NUMBERS or not products_are_fast():
            return None
        return ranking.quantize_rows(pictures)
