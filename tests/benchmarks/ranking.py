"""How long ranking takes, from floats and from codes, beside a bare product and beside FAISS."""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np

from itl_infer.ranking import quantize_rows, rank
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


def near_copies(n: int, of: np.ndarray, noise: float = 0.02) -> np.ndarray:
    """Rows (n, D) near some embeddings, as of collections in which most pictures resemble others."""
    rng = np.random.default_rng(2)
    rows = noise * rng.standard_normal((n, of.shape[1]), dtype=np.float32)
    rows += of[rng.integers(0, len(of), n)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def tables(ground: Ground) -> Iterator[Table]:
    yield from tables_of_floats()
    normal, queries = unit_rows(ROWS[-1], seed=0), unit_rows(BATCH, seed=1)
    yield table_of_codes("random unit rows", normal, queries)
    del normal
    photos = ground.starter.embed_images(ground.photos)
    words = ground.starter.words
    texts = ground.starter.embed_texts(list(words[:: len(words) // BATCH][:BATCH]))
    yield table_of_codes("near copies of photographs", near_copies(ROWS[-1], photos), texts)


def table_of_codes(kind: str, embeddings: np.ndarray, queries: np.ndarray) -> Table:
    """Ranking by codes, as ratios of times that were taken in turns."""
    codes = quantize_rows(embeddings)
    flat, eighth, half = (
        faiss.IndexFlatIP(DIM),
        faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT),
        faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT),
    )
    for index in (flat, eighth, half):
        index.train(embeddings[:100_000])
        index.add(embeddings)
    table = Table(
        f"By codes, {len(embeddings):,} {kind}; codes take {codes.nbytes / 1e6:.0f} MB (SQ8 and fp16 are not exact)",
        (
            *("queries", "k", "codes, ms", "codes / `X @ q`", "codes / floats"),
            *("codes / FAISS flat", "codes / FAISS SQ8", "codes / FAISS fp16"),
        ),
    )
    for batch in (1, 16, BATCH):
        q = queries[:batch]
        for k in (10, 100, 1000):
            for ours, floats in zip(rank(q, embeddings, k, codes=codes), rank(q, embeddings, k), strict=True):
                assert (ours == floats).all()
            coded, product, floats, *others = samples(
                lambda q=q, k=k: rank(q, embeddings, k, codes=codes),
                lambda q=q: embeddings @ q[0],
                lambda q=q, k=k: rank(q, embeddings, k),
                *(lambda index=index, q=q, k=k: index.search(q, k) for index in (flat, eighth, half)),
                rounds=3 if batch == BATCH else 5,  # FAISS takes seconds
            )
            ratios = [spread(coded / other) for other in (product, floats, *others)]
            table.add(str(batch), str(k), spread(coded), *ratios)
    return table


def tables_of_floats() -> Iterator[Table]:
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
