"""How long ranking takes, beside a bare product and beside FAISS."""

from __future__ import annotations

import faiss
import numpy as np

from itl_infer.ranking import rank
from tests.benchmarks.timing import samples, spread

DIM = 128
ROWS = (10_000, 100_000, 1_000_000)
TOPS = (10, 1000)
BATCH = 256


def unit_rows(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> None:
    print("One query; the last column is FAISS' scan of half-precision rows, which is not exact:\n")
    print(
        "| rows | k | `X @ q` | rank | FAISS | rank / `X @ q` | FAISS / rank | FAISS fp16 |\n|" + "---:|" * 8
    )
    queries = unit_rows(BATCH, seed=1)
    batches = []
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
            print(
                f"| {n:,} | {k} | {spread(product)} | {spread(ours)} | {spread(theirs)}"
                f" | {spread(ours / product)} | {spread(theirs / ours, 1)} | {spread(halved)} |",
                flush=True,
            )
            ours, theirs = samples(
                lambda x=embeddings, k=k: rank(queries, x, k),
                lambda index=flat, k=k: index.search(queries, k),
            )
            batches.append(
                f"| {n:,} | {k} | {spread(ours, 0)} | {spread(theirs, 0)} | {spread(theirs / ours, 1)} |"
            )
    print(f"\n{BATCH} queries at once:\n\n| rows | k | rank | FAISS | FAISS / rank |\n|" + "---:|" * 5)
    print("\n".join(batches))
