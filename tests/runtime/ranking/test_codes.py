"""Ranking by codes: the answers of floats to the last bit, and the bound that this stands on."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import itl_infer
from itl_infer.encoder.products import Products, products_are_fast
from itl_infer.ranking import CodesError, coded, quantize_rows, rank, scan
from itl_infer.ranking.codes import BLOCK, GROUP, CodeBlock, CodedQueries, Codes, checksum, quantized
from itl_infer.ranking.lines import guessed_lines
from tests.runtime.ranking.test_ranking import unit_rows


@pytest.fixture(autouse=True)
def _by_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are used for the fewest rows, and on CPUs where they are not fast, too."""
    for name, value in (
        ("FEWEST_NUMBERS", 0),
        ("_FEWEST_FOR_ONE", 0),
        ("_ROWS_FOR_EACH", 1),
    ):
        monkeypatch.setattr(coded, name, value)
    monkeypatch.setattr(scan, "_MOST_CANDIDATES", 1)
    if not products_are_fast():
        pytest.skip("this CPU has no instructions for products of bytes, and codes are not read on it")


def assert_same(queries: np.ndarray, embeddings: np.ndarray, k: int, codes: Codes | None = None) -> None:
    """As without codes, to the last bit."""
    codes = codes or quantize_rows(embeddings)
    expected = rank(queries, embeddings, k)
    if coded.codes_pay(queries, codes, min(k, len(embeddings))):  # found by codes alone
        assert coded.best_keys(queries[:256], embeddings, codes, min(k, len(embeddings)))[1].all()
    for one, other in zip(rank(queries, embeddings, k, codes=codes), expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n", [32, 100, 5000, 70_001])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_answers_are_those_of_floats(n: int, k: int) -> None:
    embeddings, codes = unit_rows(n), quantize_rows(unit_rows(n))
    for batch in (1, 5):
        assert_same(unit_rows(batch, seed=1), embeddings, k, codes)


def test_many_queries() -> None:
    assert_same(unit_rows(300, seed=1), unit_rows(40_000), 10)


rows_of_every_kind = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "n": st.integers(1, 400),
        "dim": st.sampled_from([32, 33, 64, 128, 200]),
        "kind": st.sampled_from(["unit", "colliding", "tiny", "huge", "zeros", "sparse", "mixed"]),
    }
)


def rows_of(seed: int, n: int, dim: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = unit_rows(n, dim, seed)
    if kind == "colliding":
        rows = unit_rows(4, dim, seed)[rng.integers(0, 4, n)]
        rows[rng.random(n) < 0.5, 0] *= np.float32(1 + 1e-6)
    elif kind == "tiny":
        rows *= np.float32(10.0) ** rng.integers(-44, 1, (n, 1)).astype(np.float32)
    elif kind == "huge":
        rows *= np.float32(10.0) ** rng.integers(0, 18, (n, 1)).astype(np.float32)
    elif kind == "zeros":
        rows[rng.random(n) < 0.7] = 0
    elif kind == "sparse":
        rows[rng.random((n, dim)) < 0.9] = 0
    elif kind == "mixed":
        rows *= rng.random((n, 1), np.float32) ** 8
    return rows


@settings(max_examples=120, deadline=None)
@given(
    given=rows_of_every_kind, k=st.integers(1, 400), opened=st.integers(1, 9), products=st.integers(32, 9000)
)
def test_rows_of_every_kind(given: dict, k: int, opened: int, products: int) -> None:
    """Equal ones, zeros, tiny and huge ones, in pieces of every size."""
    embeddings = rows_of(**given)
    queries = np.concatenate([unit_rows(3, given["dim"], given["seed"] + 1), embeddings[:2]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_OPENED", opened)
        patch.setattr(scan, "_PRODUCTS", products)
        assert_same(queries, embeddings, k)


@settings(max_examples=100, deadline=None)
@given(given=rows_of_every_kind)
def test_no_score_is_farther_off_than_the_bound(given: dict) -> None:
    """|score - code score| <= |e| |s c| + (|q| |r| and what float32 rounds off), for every row and query."""
    rows = rows_of(**given)
    queries = np.concatenate([unit_rows(5, given["dim"], given["seed"] + 1), rows[:3]])
    if np.abs(rows).max() > 1e15:
        return  # codes are not used
    codes, scales, lengths, errors = quantized(rows)
    of_queries = CodedQueries.of(queries)
    products = (codes.astype(np.int64) - 128) @ of_queries.codes.astype(np.int64)
    by_row = [
        np.repeat(each.astype(np.float64), GROUP)[: len(rows), None] for each in (scales, lengths, errors)
    ]
    code_scores = products[: len(rows)] * by_row[0] * of_queries.scales.astype(np.float64)
    bounds = of_queries.errors * by_row[1] + of_queries.lengths * by_row[2] + 2.0**-110
    scores = np.array([np.einsum("nd,d->n", rows, query) for query in queries], np.float64).T
    assert (np.abs(scores - code_scores) <= bounds).all()


def rows_on_the_bound(query: np.ndarray, n: int) -> np.ndarray:
    """Rows whose residual lies as the query does, or against it: as far from their code score as may be."""
    rows = unit_rows(n, len(query), seed=7)
    codes = quantized(rows)
    scales = np.repeat(codes.scales, GROUP)[:n, None]
    numbers = codes.codes[:n].astype(np.float32) - 128
    signs = np.where(np.arange(n) % 2, 1, -1)[:, None]
    return ((numbers + 0.49 * np.sign(query) * signs) * scales).astype(np.float32)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_rows_that_sit_on_the_bound(k: int) -> None:
    query = unit_rows(1, seed=3)
    rows = rows_on_the_bound(query[0], 6000)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert_same(query, rows, k)
    nearly = np.repeat(query, 3000, axis=0) + rows[:3000] * np.float32(1e-3)
    assert_same(query, nearly / np.linalg.norm(nearly, axis=1, keepdims=True), k)


def test_rows_in_rising_order() -> None:
    """The worst case for lines that rise: every piece is better than the one before."""
    rows, query = unit_rows(50_000, 32), unit_rows(1, 32, seed=1)
    assert_same(np.repeat(query, 3, axis=0), rows[np.argsort(rows @ query[0])], 10)


def test_equal_rows_stand_in_order_wherever_they_are() -> None:
    rows = unit_rows(70_000, 32)
    copies = [69_999, 5, BLOCK, BLOCK - 1, 40_000]
    rows[copies] = rows[5]
    indices, _ = rank(rows[5:6], rows, 5, codes=quantize_rows(rows))
    assert indices[0].tolist() == sorted(copies)


@pytest.mark.parametrize("too_high", [1e-3, 0.1, 2])
def test_a_guess_that_was_too_high_is_seen(monkeypatch: pytest.MonkeyPatch, too_high: float) -> None:
    """Of some queries no line is right, of others it is: floats answer the former alone."""
    rows, queries = unit_rows(20_000), unit_rows(9, seed=1)
    expected, scores = rank(queries, rows, 10)
    lines = scores[:, -1].copy()
    lines[::2] += np.float32(too_high)
    monkeypatch.setattr(coded, "guessed_lines", lambda *_: lines)
    monkeypatch.setattr(coded, "_STAGES", (1,))
    _, were_found = coded.best_keys(queries, rows, quantize_rows(rows), 10)
    assert were_found.tolist() == [number % 2 == 1 for number in range(9)]
    found, of_found = rank(queries, rows, 10, codes=quantize_rows(rows))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(of_found, scores)


@pytest.mark.parametrize("batch", [1, 200])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_guesses_are_reached_and_not_far_below(batch: int, k: int) -> None:
    rows, queries = unit_rows(50_000), unit_rows(batch, seed=1)
    lines = lines_of(queries, rows, k)
    scores = np.sort(queries @ rows.T, axis=1)
    assert (scores[:, -k] >= lines).all()
    assert (lines >= scores[:, -(12 * k + 4000 // (1 + batch // 100))]).all()


def lines_of(queries: np.ndarray, rows: np.ndarray, k: int, among: np.ndarray | None = None) -> np.ndarray:
    return guessed_lines(CodedQueries.of(queries), quantize_rows(rows), k, among)


def test_a_guess_among_some_is_of_these() -> None:
    rows, queries = unit_rows(50_000), unit_rows(20, seed=1)
    among = (rows @ queries[0]) < 0.1
    scores = np.sort(queries @ rows[among].T, axis=1)
    assert (scores[:, -10] >= lines_of(queries, rows, 10, among)).all()
    assert (lines_of(queries, rows, 10, among)[0] < 0.1) & (lines_of(queries, rows, 10)[0] > 0.1)


def test_copies_reach_the_guess() -> None:
    """Though the codes of some have higher scores than these have."""
    rows = unit_rows(40_000, seed=2)
    rows[np.random.default_rng(3).permutation(40_000)[:2000]] = rows[7]
    query = rows[7:8] + unit_rows(1, seed=9)
    assert_same(query / np.linalg.norm(query), rows, 10)


def test_too_many_candidates_are_left_to_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_MOST_CANDIDATES", 1 / 32)
    rows = np.repeat(unit_rows(1, 32), 20_000, axis=0)
    queries, codes = unit_rows(4, 32, seed=1), quantize_rows(rows)
    assert not coded.best_keys(queries, rows, codes, 3)[1].any()
    indices, _ = rank(queries, rows, 3, codes=codes)
    assert (indices == [0, 1, 2]).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_rows_without_a_length_are_refused(wrong: float) -> None:
    rows = unit_rows(100)
    rows[70, 3] = wrong
    with pytest.raises(ValueError, match="embeddings hold NaN or infinity"):
        quantize_rows(rows)


def test_queries_of_nan_are_refused_as_without_codes() -> None:
    rows = unit_rows(100)
    with pytest.raises(ValueError, match="NaN"):
        rank(unit_rows(2) * np.nan, rows, 3, codes=quantize_rows(rows))


def test_codes_of_other_rows_are_refused() -> None:
    rows, queries = unit_rows(1000), unit_rows(3, seed=2)
    with pytest.raises(
        ValueError, match=r"codes are those of 1000 rows of 128, embeddings have shape \(999, 128\)"
    ):
        rank(queries, rows[:-1], 3, codes=quantize_rows(rows))
    with pytest.raises(CodesError, match="codes are not those of these embeddings"):
        rank(queries, unit_rows(1000, seed=5), 3, codes=quantize_rows(rows))


def test_shapes_that_cannot_be_coded() -> None:
    with pytest.raises(ValueError, match=r"embeddings have shape \(128,\), expected \(rows, columns\)"):
        itl_infer.quantize_rows(unit_rows(1)[0])
    assert len(itl_infer.quantize_rows(np.empty((0, 128), np.float32))) == 0


def test_codes_take_a_quarter() -> None:
    rows = unit_rows(BLOCK + 1000)
    assert quantize_rows(rows).nbytes <= 0.27 * rows.nbytes


def with_checksums(rows: np.ndarray) -> list[CodeBlock]:
    blocks = quantize_rows(rows).blocks
    return [dataclasses.replace(block, checksum=checksum(block.quantized.codes)) for block in blocks]


@pytest.mark.parametrize("batch", [1, 40])
def test_a_block_is_compared_with_its_checksum_when_it_is_first_read(batch: int) -> None:
    rows, queries = unit_rows(BLOCK + 5000), unit_rows(batch, seed=1)
    codes = Codes(with_checksums(rows), 128)
    assert_same(queries, rows, 10, codes)
    assert not codes.unread
    rng = np.random.default_rng(0)
    for _ in range(5):
        blocks = with_checksums(rows)
        damaged = blocks[int(rng.integers(2))].quantized.codes.reshape(-1)
        damaged[rng.integers(len(damaged))] ^= np.uint8(1 << rng.integers(8))
        with pytest.raises(CodesError, match="do not match their checksum"):
            rank(queries, rows, 10, codes=Codes(blocks, 128))


def test_two_searches_may_read_a_block_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other is done with a block of which this one has read a part."""
    rows, queries = unit_rows(BLOCK + 5000, 32), unit_rows(40, 32, seed=1)
    codes, look = Codes(with_checksums(rows), 32), scan.Scan._open

    def meanwhile(*args):
        opened = look(*args)
        codes.unread.clear()
        return opened

    monkeypatch.setattr(scan.Scan, "_open", meanwhile)
    assert_same(queries, rows, 10, codes)


@pytest.mark.parametrize(("rows", "queries"), [(GROUP, 1), (96, 5), (4096, 257)])
def test_products_are_those_of_whole_numbers(rows: int, queries: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (rows, 128), np.uint8)
    factors = rng.integers(-127, 128, (128, queries), np.int8)
    found, maxima = Products(factors, rows, GROUP).of(codes)
    expected = (codes.astype(np.int64) - 128) @ factors.astype(np.int64)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(maxima, expected.reshape(-1, GROUP, queries).max(axis=1))


OLDER = """if True:
    import numpy as np
    import itl_infer
    from itl_infer.encoder.products import products_are_fast
    from itl_infer.ranking import coded
    assert not products_are_fast()
    coded.FEWEST_NUMBERS = 0
    rows = np.random.default_rng(0).standard_normal((3000, 64), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = itl_infer.rank(rows[:3], rows, 5, codes=itl_infer.quantize_rows(rows))
    for one, other in zip(found, itl_infer.rank(rows[:3], rows, 5), strict=True):
        assert (one == other).all()
"""


@pytest.mark.skipif(
    not shutil.which("qemu-x86_64"), reason="emulates an x64 CPU without VNNI: apt install qemu-user"
)
def test_an_older_cpu_reads_floats() -> None:
    subprocess.run(["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", OLDER], check=True)


@settings(max_examples=40, deadline=None)
@given(given=rows_of_every_kind, share=st.sampled_from([0.3, 0.6, 0.99]), k=st.integers(1, 50))
def test_some_of_the_rows_alone(given: dict, share: float, k: int) -> None:
    rows = rows_of(**given)
    among = np.random.default_rng(given["seed"]).random(len(rows)) < share
    queries = unit_rows(3, given["dim"], given["seed"] + 1)
    expected = rank(queries, rows, k, among=among)
    found = rank(queries, rows, k, among=among, codes=quantize_rows(rows))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
