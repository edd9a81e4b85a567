"""How long ranking takes, beside a bare product and beside FAISS: python -m tests.benchmarks.ranking

Prints a table in Markdown. Needs the extra `bench` (faiss-cpu), about 2 GB of memory, and a machine that has
nothing else to do. Times are the best of several runs, taken in turns so that a slow moment hits them all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import faiss
import numpy as np

from itl_infer.ranking import rank

DIM = 128
ROWS = (10_000, 100_000, 1_000_000)
TOPS = (10, 1000)
BATCH = 256
SECONDS = 6.0  # spent on one line of the table


def unit_rows(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def best_times(*works: Callable[[], object]) -> list[float]:
    """The shortest time in ms that each work took, in turns until the time is up."""
    times: list[list[float]] = [[] for _ in works]
    stop = time.perf_counter() + SECONDS
    while len(times[0]) < 3 or time.perf_counter() < stop:
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(1000 * (time.perf_counter() - start))
    return [min(taken) for taken in times]


def main() -> None:
    print(f"{os.cpu_count()} cores, numpy {np.__version__}, faiss {faiss.__version__}; milliseconds\n")
    print("| rows | k | `X @ q` | one query | / `X @ q` | FAISS | FAISS fp16 |", end="")
    print(f" {BATCH} queries | FAISS | FAISS / ours |\n|" + "---:|" * 10)
    queries = unit_rows(BATCH, seed=1)
    for n in ROWS:
        embeddings = unit_rows(n, seed=0)
        flat = faiss.IndexFlatIP(DIM)
        flat.add(embeddings)
        half = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        half.train(embeddings[:1])
        half.add(embeddings)
        for k in TOPS:
            one = queries[:1]
            product, ours, theirs, halved = best_times(
                lambda x=embeddings, q=one[0]: x @ q,
                lambda x=embeddings, q=one, k=k: rank(q, x, k),
                lambda index=flat, q=one, k=k: index.search(q, k),
                lambda index=half, q=one, k=k: index.search(q, k),
            )
            ours_all, theirs_all = best_times(
                lambda x=embeddings, k=k: rank(queries, x, k),
                lambda index=flat, k=k: index.search(queries, k),
            )
            print(
                f"| {n:,} | {k} | {product:.2f} | {ours:.2f} | {ours / product:.2f} | {theirs:.2f} | {halved:.2f}"
                f" | {ours_all:.0f} | {theirs_all:.0f} | {theirs_all / ours_all:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
