"""A collection in a file of Milvus Lite beside an index of the same rows: filling it, asking it, what it misses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from itl_infer import milvus
from itl_infer.bundle import Bundle
from itl_infer.index import Index, Picture
from itl_infer.search import Searcher
from itl_infer.search.query import EmbeddedQuery, Query
from itl_infer.store import Store
from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import ROUNDS, runs, sample

ROWS, BATCH, K = 10_000, 256, 10
ENGINES = ("FLAT", "HNSW", "IVF_FLAT")


def write_captions(path: Path, bundle: Bundle, rows: int) -> Index:
    """An index of captions of three words as the bundle embeds them, in place of pictures: no two are the same."""
    index = Index.open(path, bundle)
    with index.writing() as writer:
        root = writer.add_root(path.parent / "nowhere")
        drawn = np.random.default_rng(0).choice(bundle.words, (rows, 3))
        for i, embedding in enumerate(bundle.embed_texts([" ".join(words) for words in drawn])):
            writer.add(Picture(root.id, b"%05d.jpg" % i, 1, 1, b"%016d" % i), embedding)
        writer.commit()
    return index


def tables(ground: Ground) -> Iterator[Table]:
    bundle = ground.starter
    index = write_captions(ground.folder / "photos.itl", bundle, ROWS)
    drawn = np.random.default_rng(1).choice(bundle.words, (BATCH, 2))
    queries = [Query(" ".join(words)).embed(bundle) for words in drawn]
    vectors = np.array([query.vector for query in queries])
    table = Table(
        f"{ROWS:,} rows in an index and in Milvus Lite, k {K}",
        (
            *("store", "push, rows/s", "again, rows/s", "one query, ms", f"each of {BATCH}, ms"),
            *(f"recall@{K}", "at worst"),
        ),
    )
    addresses = [f"milvus:{ground.folder}/{name.lower()}.db#photos" for name in ENGINES]
    pushed, again, checks = [], [], []
    for name, address in zip(ENGINES, addresses, strict=True):
        pushed.append(milvus.push(index.path, address, index_type=name).pictures_per_second)
        again.append([milvus.push(index.path, address).pictures_per_second for _ in range(3)])
    with contextlib.ExitStack() as stack:
        collections = [stack.enter_context(milvus.Collection.open(address, bundle)) for address in addresses]
        checks = [milvus.check_collection(one, queries=vectors, k=K) for one in collections]
        single, many = _times([index, *collections], queries)
    table.add("index", "-", "-", spread(single[0]), spread(many[0], 3), 1.0, 1.0)
    for i, name in enumerate(ENGINES):
        table.add(
            f"Milvus Lite, {name}",
            f"{pushed[i]:,.0f}",
            str(spread(again[i], 0)),
            spread(single[i + 1]),
            spread(many[i + 1], 3),
            checks[i].recall,
            checks[i].worst,
        )
    yield table

    query = ["-m", "itl_infer", "query", "surfer in a wave", "--format", "json", "-d"]
    table = Table(
        f"`itl-infer query` over {ROWS:,} rows, whole process", ("store", "s", "CPU, s", "peak, MB")
    )
    stores = {"index": str(index.path), "Milvus Lite, FLAT": addresses[0]}
    for name, done in zip(stores, runs(*([*query, store] for store in stores.values())), strict=True):
        table.add(
            name,
            spread([one.seconds for one in done]),
            spread([one.cpu_seconds for one in done]),
            float(max(one.peak_mb for one in done)),
        )
    yield table


def _times(stores: list[Store], queries: list[EmbeddedQuery]) -> tuple[np.ndarray, np.ndarray]:
    """(stores, rounds) in ms, of a lone query and of each of many: taken in turns."""
    searchers = [Searcher(store, k=K) for store in stores]
    for searcher in searchers:
        searcher.answer_many(queries)  # loads what is loaded once
    single, many = [], []
    for _ in range(ROUNDS):
        single.append([sample(lambda s=searcher: s.answer(queries[0])) for searcher in searchers])
        many.append([sample(lambda s=searcher: s.answer_many(queries)) / BATCH for searcher in searchers])
    return np.array(single).T, np.array(many).T
