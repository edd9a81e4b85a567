"""A collection as a store: opened for one bundle, its nearest rows found by Milvus and scored again exactly."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.arguments import require_whole
from itl_infer.errors import ClusterError, IndexStoreError, QueryError
from itl_infer.milvus.address import Address
from itl_infer.milvus.client import SECONDS, Connection
from itl_infer.milvus.engine import METRIC, MOST_ROWS
from itl_infer.milvus.rows import EMBEDDING, KEY_LENGTH, PATH, text_to_path
from itl_infer.milvus.setup import _require_engine, load, read_origin, require_same_origin
from itl_infer.store import Origin
from itl_infer.teaching import NO_NAMES
from itl_infer.where import require_where

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.where import Where

Floats = npt.NDArray[np.float32]

_SPARE_ROWS = 16  # asked for beyond what is wanted: Milvus' order may differ by a rounding
_CLEARLY_LESS = 1e-5  # so much below the last that is wanted, nothing can have been missed
_BYTES_AT_ONCE = 2**25  # of rows in one answer; Milvus refuses to send 100 MB
_COUNT_SECONDS = 5.0  # that a count of rows is good for
_KNOWN_ROWS = 2**14  # whose paths are remembered


class Collection:
    """A collection of Milvus to search; a `store.Store`. Open it with `Collection.open`, and close it."""

    def __init__(self, connection: Connection, bundle: Bundle | None = None) -> None:
        """Raises IndexStoreError, ClusterError."""
        self._connection, self._bundle = connection, bundle
        self.address = connection.address
        self.origin = read_origin(connection)
        self.embed_dim = self.origin.embed_dim
        if bundle is not None:
            given = Origin(bundle.name, bundle.fingerprint, bundle.embed_dim)
            require_same_origin(self.address, self.origin, given)
        self.engine = _require_engine(connection)
        load(connection)
        self._paths: dict[int, str] = {}
        self._rows, self._counted = self.count(), time.monotonic()

    @classmethod
    def open(
        cls, address: str | Address, bundle: Bundle | None = None, *, seconds: float = SECONDS
    ) -> Collection:
        """Open the collection at an address, "milvus:URI#NAME", to search it; no call takes longer than `seconds`.

        Raises ClusterError where Milvus does not answer, and IndexStoreError for a collection that is missing, is
        not one that `push` made, or was made with another bundle.
        """
        address = Address.parse(address) if isinstance(address, str) else address
        connection = Connection(address, seconds=seconds)
        try:
            return cls(connection, bundle)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """How many rows it had a few seconds ago."""
        return self._rows

    @property
    def snapshot(self) -> CollectionView:
        """Its rows as they are when asked for: Milvus keeps no state for its readers."""
        return CollectionView(self)

    def require_bundle(self) -> Bundle:
        """The bundle; IndexStoreError where the collection was opened without one."""
        if self._bundle is None:
            raise IndexStoreError(
                f"{self.address}: opened without a bundle: Collection.open(address, load_bundle())"
            )
        return self._bundle

    def follow(self) -> None:
        """Count the rows again, now and then; what is searched is always what is there."""
        if time.monotonic() - self._counted > _COUNT_SECONDS:
            self._counted = time.monotonic()
            try:
                self._rows = self.count()
            except ClusterError:
                return  # a query will say so

    def count(self) -> int:
        """How many rows it has now."""
        [row] = self._connection.call(
            "query", self.address.name, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(row["count(*)"])

    def read_all(self, fields: list[str]) -> Iterator[list[dict[str, Any]]]:
        """These fields of every row, in order of key, which is by lot; as dictionaries, blocks of them."""
        batch_rows = max(1, min(MOST_ROWS, _BYTES_AT_ONCE // self._row_bytes))
        return self._connection.read_all(fields, batch_rows)

    def nearest(self, vectors: Floats, k: int) -> list[list[tuple[int, float, str, Floats]]]:
        """For each of (Q, D) unit vectors its `k` best rows: number, cosine, path, embedding (D,); best first.

        As good as Milvus' index finds them, the cosines exact: those of the stored float32 numbers. Equal ones stand
        in order of path. Raises QueryError for more than Milvus gives.
        """
        k = require_whole("k", k, 1)
        if k > MOST_ROWS:
            raise QueryError(f"{k} pictures: Milvus gives at most {MOST_ROWS} for a query: ask for fewer")
        results: list[list[tuple[int, float, str, Floats]]] = [[] for _ in vectors]
        pending = list(range(len(vectors)))
        asked = min(MOST_ROWS, (2 * k if self.engine.is_quantized else k) + _SPARE_ROWS)
        while pending:
            unsettled = []
            for place, hits in zip(pending, self._search(vectors[pending], asked), strict=True):
                paths, keys, embeddings = hits
                best, scores = ranking.rank(vectors[place][None], embeddings, max(1, len(paths)))
                ranked = list(zip(best[0].tolist(), scores[0].tolist(), strict=True))
                results[place] = [(keys[i], score, paths[i], embeddings[i]) for i, score in ranked[:k]]
                is_settled = len(paths) < asked or ranked[-1][1] < ranked[k - 1][1] - _CLEARLY_LESS
                if not is_settled and asked < MOST_ROWS:
                    unsettled.append(place)
            pending, asked = unsettled, min(MOST_ROWS, 4 * asked)
        for found in results:
            self._remember((number, path) for number, _, path, _ in found)
        return results

    def _search(self, vectors: Floats, rows: int) -> Iterator[tuple[list[str], list[int], Floats]]:
        """For each vector the rows that Milvus gives, in order of path: paths, numbers, embeddings (n, D)."""
        step = max(1, _BYTES_AT_ONCE // (rows * self._row_bytes))
        params = self.engine.search_params(rows, self.address.search)
        for start in range(0, len(vectors), step):
            found = self._connection.call(
                "search",
                self.address.name,
                data=list(vectors[start : start + step]),
                anns_field=EMBEDDING,
                limit=rows,
                output_fields=[PATH, EMBEDDING],
                search_params={"metric_type": METRIC, "params": params},
            )
            for hits in found:
                entities = sorted(
                    (text_to_path(hit["entity"][PATH]), hit["id"], hit["entity"][EMBEDDING]) for hit in hits
                )
                embeddings = np.array([embedding for _, _, embedding in entities], np.float32)
                yield (
                    [path for path, _, _ in entities],
                    [int(key, 16) for _, key, _ in entities],
                    embeddings.reshape(-1, self.embed_dim),
                )

    def path_of(self, number: int) -> str:
        """The path of the row with this number. LookupError where there is none."""
        if number not in self._paths:
            rows = self._connection.call(
                "query", self.address.name, ids=[f"{number:0{KEY_LENGTH}x}"], output_fields=[PATH]
            )
            if not rows:
                raise LookupError(number)
            self._remember([(number, text_to_path(rows[0][PATH]))])
        return self._paths[number]

    def _remember(self, paths: Iterable[tuple[int, str]]) -> None:
        """A number is made of its path, so that what is remembered stays true."""
        known = dict(paths)
        self._paths = {**self._paths, **known} if len(self._paths) < _KNOWN_ROWS else known

    @property
    def _row_bytes(self) -> int:
        return 4 * self.embed_dim + 256


class CollectionView:
    """A `store.View` of a collection: what the queries of one call have found so far."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._found: dict[int, tuple[str, Floats]] = {}
        self.names = NO_NAMES  # Milvus keeps none: a searcher is given those of an index
        self.moments = None  # of rows that are elsewhere

    def __len__(self) -> int:
        return len(self._collection)

    def nearest(self, vectors: Floats, k: int, where: Where | None = None) -> list[list[tuple[int, float]]]:
        """The `k` best rows for each vector, as `Collection.nearest` finds them. QueryError for a filter."""
        _refuse(where)
        found = self._collection.nearest(vectors, k)
        for hits in found:
            self._found.update((number, (path, embedding)) for number, _, path, embedding in hits)
        return [[(number, score) for number, score, _, _ in hits] for hits in found]

    def count(self, where: Where | None = None) -> int:
        """How many rows it had a few seconds ago. QueryError for a filter."""
        _refuse(where)
        return len(self)

    def facts_of(self, row: int) -> None:
        """Nothing: `push` sends paths and embeddings."""

    def embeddings_of(self, rows: Sequence[int]) -> list[Floats]:
        """(D,) for each of some rows that were found."""
        return [self._found[row][1] for row in rows]

    def path_of(self, row: int) -> str:
        """The path of a row. LookupError where there is none."""
        return self._found[row][0] if row in self._found else self._collection.path_of(row)

    def whole(self, wanted_for: str) -> NoReturn:
        """Never: QueryError."""
        raise QueryError(
            f"{wanted_for} looks at the score of every picture, which Milvus does not give: use min_score"
            " (--min-score) instead, or an index on this machine (-d FOLDER)"
        )


def _refuse(where: Where | None) -> None:
    require_where(where)
    if where:
        raise QueryError(
            "a collection of Milvus has paths and embeddings alone, and cannot be filtered: search an index on this"
            " machine (-d FOLDER)"
        )
