"""Exact top-k: the order, its independence of blocks and batches, and its use of memory."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer.ranking import candidates, exact, rank


def unit_rows(n: int, dim: int = 128, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def colliding_rows(n: int, seed: int) -> np.ndarray:
    """Unit rows of which many are equal, and many nearly so."""
    rng = np.random.default_rng(seed)
    rows = unit_rows(8, 16, seed)[rng.integers(0, 8, n)]
    rows[rng.random(n) < 0.3, 3] *= np.float32(1 + 1e-6)
    return rows


def assert_exact(queries: np.ndarray, embeddings: np.ndarray, k: int) -> None:
    """Against the definition: scores in float64, sorted by those that `rank` gives and then by index."""
    indices, scores = rank(queries, embeddings, k)
    k = min(k, len(embeddings))
    assert (indices.shape, indices.dtype) == ((len(queries), k), np.int64)
    assert (scores.shape, scores.dtype) == ((len(queries), k), np.float32)
    true = queries.astype(np.float64) @ embeddings.astype(np.float64).T
    for row_indices, row_scores, row_true in zip(indices, scores, true, strict=True):
        assert len(set(row_indices.tolist())) == k
        np.testing.assert_allclose(row_scores, row_true[row_indices], rtol=0, atol=1e-6)
        np.testing.assert_allclose(row_scores, -np.sort(-row_true)[:k], rtol=0, atol=1e-6)
        order = np.lexsort((row_indices, -row_scores))
        assert (order == np.arange(k)).all()  # falling scores, rising indices where they are equal


@pytest.mark.parametrize("n", [1, 2, 10, 1000, 70_000])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_best_are_found(n: int, k: int) -> None:
    assert_exact(unit_rows(5, seed=1), unit_rows(n), k)
    assert_exact(unit_rows(1, seed=2), unit_rows(n), k)


def test_by_hand() -> None:
    embeddings = np.array([[0, 1], [1, 0], [0.6, 0.8], [1, 0], [-1, 0]], np.float32)
    indices, scores = rank(np.array([[1, 0], [0, 1]], np.float32), embeddings, 5)
    assert indices.tolist() == [[1, 3, 2, 0, 4], [0, 2, 1, 3, 4]]
    np.testing.assert_array_equal(scores, np.array([[1, 1, 0.6, 0, -1], [1, 0.8, 0, 0, 0]], np.float32))


@pytest.mark.parametrize(("queries", "rows"), [(0, 5), (3, 0), (0, 0)])
def test_nothing_gives_nothing(queries: int, rows: int) -> None:
    indices, scores = rank(unit_rows(queries), unit_rows(rows), 4)
    assert indices.shape == scores.shape == (queries, min(4, rows))


@pytest.mark.parametrize(
    ("queries", "embeddings", "k", "message"),
    [
        (unit_rows(1), unit_rows(3), 0, "k is 0, expected 1 or more"),
        (unit_rows(1), unit_rows(3), -1, "k is -1"),
        (unit_rows(1)[0], unit_rows(3), 1, r"queries have shape \(128,\), expected \(rows, columns\)"),
        (unit_rows(1), unit_rows(3)[0], 1, "embeddings have shape"),
        (unit_rows(1, 4), unit_rows(3), 1, "queries have 4 columns, embeddings 128"),
        (unit_rows(1) * np.nan, unit_rows(3), 1, "NaN"),
    ],
)
def test_what_cannot_be_ranked(queries: np.ndarray, embeddings: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank(queries, embeddings, k)


def test_inputs_are_left_alone() -> None:
    queries, embeddings = unit_rows(3), unit_rows(50)
    embeddings.flags.writeable = queries.flags.writeable = False
    rank(queries, embeddings, 5)
    rank(queries[::-1], embeddings[::2], 5)  # nor need they be contiguous


def test_equal_rows_stand_in_order_wherever_they_are() -> None:
    embeddings = unit_rows(200_000, 16)
    copies = [199_999, 5, 70_000, 131_072, 65_535, 65_536]
    embeddings[copies] = embeddings[5]
    for batch in (1, 7, 300):
        indices, scores = rank(np.repeat(embeddings[5:6], batch, axis=0), embeddings, 6)
        assert (indices == sorted(copies)).all()
        assert (scores == scores[0, 0]).all()


def test_a_query_alone_is_as_in_a_batch_to_the_last_bit() -> None:
    queries, embeddings = unit_rows(600, seed=1), unit_rows(20_000)
    indices, scores = rank(queries, embeddings, 20)
    for batch in (1, 2, 3, 100):
        for start in range(0, 600, max(batch, 23)):
            some_indices, some_scores = rank(queries[start : start + batch], embeddings, 20)
            np.testing.assert_array_equal(some_indices, indices[start : start + batch])
            np.testing.assert_array_equal(some_scores, scores[start : start + batch])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 300),
    k=st.integers(1, 300),
    batch=st.integers(1, 40),
    rows=st.integers(1, 64),
    spare=st.integers(0, 20),
)
def test_blocks_and_batches_change_nothing(
    seed: int, n: int, k: int, batch: int, rows: int, spare: int
) -> None:
    """Blocks of every size, over rows of which many are equal or nearly so."""
    embeddings, queries = colliding_rows(n, seed), colliding_rows(40, seed + 1)
    expected = rank(queries, embeddings, k)
    assert_exact(queries, embeddings, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BLOCK_QUERIES", batch)
        patch.setattr(exact, "_BLOCK_ROWS", rows)
        patch.setattr(candidates, "_SPARE", spare)
        patch.setattr(candidates, "_MANY_EQUAL", spare)
        patch.setattr(candidates, "_BLOCK_SCORED", 1 + spare)
        for one, other in zip(expected, rank(queries, embeddings, k), strict=True):
            np.testing.assert_array_equal(one, other)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 300),
    k=st.integers(1, 300),
    share=st.floats(0, 1),
    rows=st.integers(1, 64),
    queries=st.integers(1, 5),
)
def test_some_rows_alone_are_as_among_all(
    seed: int, n: int, k: int, share: float, rows: int, queries: int
) -> None:
    """What all rows in order give, without the others; to the last bit, wherever blocks begin."""
    embeddings, asked = colliding_rows(n, seed), colliding_rows(queries, seed + 1)
    among = np.random.default_rng(seed).random(n) < share
    ordered, scored = rank(asked, embeddings, n)
    for blocks in (exact._BLOCK_ROWS, rows):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact, "_BLOCK_ROWS", blocks)
            indices, scores = rank(asked, embeddings, k, among=among)
        assert indices.shape == scores.shape == (queries, min(k, among.sum()))
        for q in range(queries):
            kept = among[ordered[q]]
            np.testing.assert_array_equal(indices[q], ordered[q][kept][:k])
            np.testing.assert_array_equal(scores[q], scored[q][kept][:k])


def test_few_rows_of_many() -> None:
    embeddings, queries = unit_rows(200_000, 16), unit_rows(3, 16, seed=1)
    for chosen in (slice(150_000, 150_003), slice(None, None, 3), slice(70_000, None)):
        among = np.zeros(len(embeddings), bool)
        among[chosen] = True
        indices, scores = rank(queries, embeddings, 10, among=among)
        expected, expected_scores = rank(queries, embeddings[chosen], 10)
        np.testing.assert_array_equal(indices, np.arange(len(embeddings))[chosen][expected])
        np.testing.assert_array_equal(scores, expected_scores)


def test_which_rows_count_is_said_of_each() -> None:
    with pytest.raises(ValueError, match=r"among is bool \(2,\), expected bool \(3,\)"):
        rank(unit_rows(1), unit_rows(3), 1, among=np.ones(2, bool))


def test_scores_in_rising_order() -> None:
    """The worst case for a threshold that rises: every block is better than the one before."""
    rows = unit_rows(100_000, 16)
    query = unit_rows(1, 16, seed=1)
    rows = rows[np.argsort(rows @ query[0])]
    assert_exact(np.repeat(query, 3, axis=0), rows, 10)


def test_memory_is_bounded() -> None:
    """500 queries over 200,000 rows would be 400 MB of products; and rows may all be equal."""
    queries = unit_rows(500, 16, seed=1)
    for embeddings in (unit_rows(200_000, 16), np.repeat(unit_rows(1, 16), 20_000, axis=0)):
        tracemalloc.start()
        rank(queries, embeddings, 100)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 200e6


def test_threads_do_not_meet() -> None:
    queries, embeddings = unit_rows(50, seed=1), unit_rows(5000)
    expected, found = rank(queries, embeddings, 10), []
    threads = [threading.Thread(target=lambda: found.append(rank(queries, embeddings, 10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all((a == b).all() for result in found for a, b in zip(result, expected, strict=True))
