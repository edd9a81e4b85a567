"""A collection as a store: opened for one bundle, its nearest rows found by Milvus and scored again exactly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from itl_infer import ranking
from itl_infer.errors import ClusterError, IndexStoreError, QueryError
from itl_infer.milvus.address import Address
from itl_infer.milvus.client import SECONDS, Connection
from itl_infer.milvus.engine import METRIC, MOST_ROWS, Engine
from itl_infer.milvus.rows import DIGEST, EMBEDDING, KEY, KEY_LENGTH, LONGEST_PATH, PATH, text_to_path
from itl_infer.store import Origin

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle

Floats = npt.NDArray[np.float32]

BUNDLE_NAME, FINGERPRINT = (
    "itl_infer.bundle_name",
    "itl_infer.bundle_fingerprint",
)  # properties of a collection
_SPARE_ROWS = 16  # asked for beyond what is wanted: Milvus' order may differ by a rounding
_CLEARLY_LESS = 1e-5  # so much below the last that is wanted, nothing can have been missed
_BYTES_AT_ONCE = 2**25  # of rows in one answer; Milvus refuses to send 100 MB
_COUNT_SECONDS = 5.0  # that a count of rows is good for
_LOOK_SECONDS = 0.2  # between looks at whether something is done
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
        if k < 1:
            raise ValueError(f"k is {k}, expected 1 or more")
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

    def __len__(self) -> int:
        return len(self._collection)

    def nearest(self, vectors: Floats, k: int) -> list[list[tuple[int, float]]]:
        """The `k` best rows for each vector, as `Collection.nearest` finds them."""
        found = self._collection.nearest(vectors, k)
        for hits in found:
            self._found.update((number, (path, embedding)) for number, _, path, embedding in hits)
        return [[(number, score) for number, score, _, _ in hits] for hits in found]

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


def create_collection(connection: Connection, origin: Origin) -> None:
    """Make the collection of an address where it is not there."""
    name, types = connection.address.name, connection.types.DataType
    if connection.call("has_collection", name):
        return
    schema = connection.types.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(KEY, types.VARCHAR, is_primary=True, max_length=KEY_LENGTH)
    schema.add_field(PATH, types.VARCHAR, max_length=LONGEST_PATH)
    schema.add_field(DIGEST, types.INT64)
    schema.add_field(EMBEDDING, types.FLOAT_VECTOR, dim=origin.embed_dim)
    connection.call(
        "create_collection",
        name,
        schema=schema,
        properties={BUNDLE_NAME: origin.bundle_name, FINGERPRINT: origin.fingerprint},
        consistency_level="Bounded",
    )


def read_origin(connection: Connection) -> Origin:
    """What a collection was made with. IndexStoreError where it is missing, or not one that `push` made."""
    address = connection.address
    if not connection.call("has_collection", address.name):
        raise IndexStoreError(
            f"{address}: no such collection: itl-infer push INDEX --to {address.place} --collection {address.name}"
        )
    found = connection.call("describe_collection", address.name)
    properties = found.get("properties", {})
    widths = [field["params"].get("dim") for field in found["fields"] if field["name"] == EMBEDDING]
    if FINGERPRINT not in properties or not widths:
        raise IndexStoreError(f"{address}: not made by itl-infer push: push into a collection of its own")
    return Origin(properties.get(BUNDLE_NAME, ""), properties[FINGERPRINT], int(widths[0]))


def require_same_origin(address: Address, there: Origin, given: Origin) -> None:
    """IndexStoreError where the rows of a collection were made with another bundle, or are of another width."""
    if there.fingerprint != given.fingerprint:
        raise IndexStoreError(
            f"{address}: made with bundle {there.bundle_name or 'unknown'!r} ({there.fingerprint[:12]}), not with"
            f" {given.bundle_name or 'unknown'!r} ({given.fingerprint[:12]}): give that one with --bundle, or push into"
            " another collection"
        )
    if there.embed_dim != given.embed_dim:
        raise IndexStoreError(
            f"{address}: its embeddings have {there.embed_dim} numbers, expected {given.embed_dim}: push into another"
            " collection"
        )


def engine_of(connection: Connection) -> Engine | None:
    """The index that a collection has."""
    name = connection.address.name
    if not connection.call("list_indexes", name, field_name=EMBEDDING):
        return None
    return Engine.from_description(connection.call("describe_index", name, EMBEDDING))


def build(connection: Connection, engine: Engine) -> None:
    """Give a collection its index, in place of another one, which is built again where Milvus refuses this one."""
    before = engine_of(connection)
    try:
        _replace_index(connection, before, engine)
    except ClusterError:
        with contextlib.suppress(ClusterError):  # the first says more
            _replace_index(connection, engine_of(connection), before)
        raise


def load(connection: Connection, *, wait: bool = False) -> None:
    """Have the rows in Milvus' memory, where queries are answered from; however long that takes, if told to `wait`."""
    name, until = connection.address.name, time.monotonic() + connection.seconds
    if connection.call("get_load_state", name)["state"].name == "NotLoad":
        connection.call("load_collection", name, _async=True)
    while (found := connection.call("get_load_state", name))["state"].name != "Loaded":
        if not wait and time.monotonic() > until:
            raise ClusterError(
                f"{connection.address}: Milvus is loading it, {found.get('progress', 0)} % so far: try again in a while"
            )
        time.sleep(_LOOK_SECONDS)


def _replace_index(connection: Connection, before: Engine | None, engine: Engine | None) -> None:
    name = connection.address.name
    if before is not None:
        connection.call("release_collection", name)
        connection.call("drop_index", name, EMBEDDING)
    if engine is None:
        return
    params = connection.types.MilvusClient.prepare_index_params()
    params.add_index(
        EMBEDDING,
        index_name=EMBEDDING,
        index_type=engine.index_type,
        metric_type=METRIC,
        params={"params": dict(engine.params)},  # so written, Milvus Lite heeds them too
    )
    connection.call("create_index", name, params, sync=False)
    load(connection, wait=True)


def _require_engine(connection: Connection) -> Engine:
    engine, address = engine_of(connection), connection.address
    if engine is None:
        raise IndexStoreError(
            f"{address}: has no index yet, as its push was interrupted: run it again, itl-infer push INDEX --to"
            f" {address.place} --collection {address.name}"
        )
    return engine
