"""How long ranking takes, beside a bare product and beside FAISS."""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np

from itl_infer.ranking import rank
from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import samples

DIM = 128
ROWS = (10_000, 100_000, 1_000_000)
TOPS = (10, 1000)
BATCH = 256


def unit_rows(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def tables(_: Ground) -> Iterator[Table]:
    single = Table(
        "One query, ms; the last column is FAISS' scan of half-precision rows, which is not exact",
        ("rows", "k", "`X @ q`", "rank", "FAISS", "rank / `X @ q`", "FAISS / rank", "FAISS fp16"),
    )
    batches = Table(f"{BATCH} queries at once, ms", ("rows", "k", "rank", "FAISS", "FAISS / rank"))
    queries = unit_rows(BATCH, seed=1)
    for n in ROWS:
        embeddings = unit_rows(n, seed=0)
        flat = faiss.IndexFlatIP(DIM)
        flat.add(embeddings)
        half = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        half.train(embeddings[:1])
        half.add(embeddings)
        for k in TOPS:
            product, ours, theirs, halved = samples(
                lambda x=embeddings, q=queries[0]: x @ q,
                lambda x=embeddings, q=queries[:1], k=k: rank(q, x, k),
                lambda index=flat, q=queries[:1], k=k: index.search(q, k),
                lambda index=half, q=queries[:1], k=k: index.search(q, k),
            )
            times = map(spread, (product, ours, theirs, ours / product))
            single.add(f"{n:,}", str(k), *times, spread(theirs / ours, 1), spread(halved))
            ours, theirs = samples(
                lambda x=embeddings, k=k: rank(queries, x, k),
                lambda index=flat, k=k: index.search(queries, k),
            )
            batches.add(f"{n:,}", str(k), spread(ours, 0), spread(theirs, 0), spread(theirs / ours, 1))
    yield single
    yield batches
