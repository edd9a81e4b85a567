"""A collection made, indexed and loaded; and what it says it was made with."""

from __future__ import annotations

import contextlib
import time

from itl_infer.errors import ClusterError, IndexStoreError
from itl_infer.milvus.address import Address
from itl_infer.milvus.client import Connection
from itl_infer.milvus.engine import METRIC, Engine
from itl_infer.milvus.rows import DIGEST, EMBEDDING, KEY, KEY_LENGTH, LONGEST_PATH, PATH
from itl_infer.store import Origin

# Properties of a collection.
BUNDLE_NAME, FINGERPRINT = "itl_infer.bundle_name", "itl_infer.bundle_fingerprint"
_LOOK_SECONDS = 0.2  # between looks at whether something is done


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
