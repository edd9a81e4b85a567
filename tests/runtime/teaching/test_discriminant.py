"""The formula, on rows that can be worked out by hand, and on whatever else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import itl_infer
from itl_infer.teaching import Moments, mark


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def some_rows(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def test_what_all_rows_share_and_how_they_vary_says_nothing() -> None:
    """The class differs from the rest by little in a quiet dimension, and by more, by chance, in a loud one."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.full(400, 5.0), rng.normal(0, 2, 400), rng.normal(0, 0.1, 400)])
    rows[:40, 2] += 0.6
    rows = unit(rows)
    by_mean = rows[:5].mean(axis=0)
    found = itl_infer.teach(rows[:5], rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-6)
    right = [set(np.argsort(-rows @ vector)[:40].tolist()) & set(range(40)) for vector in (by_mean, found)]
    assert len(right[1]) > 30 > len(right[0])


def test_counter_examples_push_away() -> None:
    rows = some_rows(300)
    alone = itl_infer.teach(rows[:3], rows)
    against = itl_infer.teach(rows[:3], rows, rows[3:5])
    assert (rows[3:5] @ against < rows[3:5] @ alone).all()


@pytest.mark.parametrize("count", [0, 1, 19])
def test_few_rows_give_the_mean_of_the_examples(count: int) -> None:
    positives = some_rows(3)
    found = itl_infer.teach(positives, some_rows(count, seed=1))
    np.testing.assert_allclose(found, unit(positives.mean(axis=0)), atol=1e-6)


def test_rows_that_are_equal_and_examples_that_are_all_rows_give_no_nan() -> None:
    equal = np.repeat(some_rows(1), 50, axis=0)
    np.testing.assert_allclose(itl_infer.teach(equal[:2], equal), equal[0], atol=1e-6)
    rows = some_rows(50)
    np.testing.assert_allclose(np.linalg.norm(itl_infer.teach(rows, rows)), 1, atol=1e-6)
    opposite = np.stack([rows[0], -rows[0]])
    assert np.isfinite(itl_infer.teach(opposite, opposite)).all()


def test_moments_are_those_of_float64_whatever_the_blocks() -> None:
    rows = some_rows(5000, 24)
    found = Moments.of(rows)
    np.testing.assert_allclose(found.mean, rows.astype(np.float64).mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T.astype(np.float64), bias=True), atol=1e-14)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 60), st.integers(0, 3), st.integers(2, 20), st.integers(0, 1000))
def test_it_is_always_a_unit_row(positives: int, among: int, negatives: int, width: int, seed: int) -> None:
    rows = some_rows(positives + among + negatives, width, seed)
    found = itl_infer.teach(rows[:positives], rows, rows[positives : positives + negatives])
    assert found.shape == (width,)
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-5)


def test_wrong_rows_are_refused() -> None:
    rows = some_rows(30)
    with pytest.raises(ValueError, match="no positives"):
        itl_infer.teach(rows[:0], rows)
    with pytest.raises(ValueError, match="expected"):
        itl_infer.teach(rows[0], rows)
    with pytest.raises(ValueError, match="columns"):
        itl_infer.teach(rows[:2, :5], rows)
    with pytest.raises(ValueError, match="NaN"):
        itl_infer.teach(rows[:2] * np.float32(np.nan), rows)


def scores_of(rows: np.ndarray, rest: np.ndarray, like: np.ndarray, unlike: np.ndarray) -> np.ndarray:
    """What marks add to the scores of all rows, in standard deviations of those of the rest."""
    row, weight = mark(rest, like, unlike, Moments.of(rows))
    return weight * rows.astype(np.float64) @ row / (rows @ rest).std()


def test_a_mark_moves_its_picture_most_and_others_as_they_are_like_it() -> None:
    rows = some_rows(400)
    rest = unit(rows[0] + rows[1])
    wanted = scores_of(rows, rest, rows[7:8], rows[:0])
    wanted -= wanted.mean()
    assert wanted.argmax() == 7
    assert np.corrcoef(wanted, rows @ rows[7])[0, 1] > 0.9
    unwanted = scores_of(rows, rest, rows[:0], rows[1:2])
    assert unwanted.argmin() == 1
    both = scores_of(rows, rest, rows[7:8], rows[1:2])
    assert both[7] - both.mean() > 1
    assert both[1] < wanted[1] - 0.1


def test_what_is_unwanted_and_was_never_shown_changes_nothing() -> None:
    rows = some_rows(400)
    last = int((rows @ rows[0]).argmin())
    assert mark(rows[0], rows[:0], rows[last : last + 1], Moments.of(rows))[1] == 0


def test_the_change_is_that_of_the_process() -> None:
    """The same posterior from the other side: as a regression of all directions, whose prior is the kernel."""
    rng = np.random.default_rng(0)
    rows = unit(rng.standard_normal((300, 6)) * [3, 2, 1, 1, 0.5, 0.2] + [1, 0, 0, 0, 0, 2])
    rest, like, unlike = rows[3], rows[[5, 8]], rows[[3, 4]]
    moments = Moments.of(rows)
    spread, variance = moments.spread_of(rest), np.trace(moments.covariance) / 6
    white = np.linalg.inv(moments.covariance + 0.05 * variance * np.eye(6))
    kernel = (
        white / np.trace(white @ moments.covariance) + 0.5 * np.eye(6) / np.trace(moments.covariance)
    ) / 1.5
    seen = np.concatenate([like, unlike]) - moments.mean
    scores = seen @ rest / spread
    missing = np.concatenate([10 - scores[:2], np.minimum(1 - scores[2:], 0)])
    expected = np.linalg.solve(np.linalg.inv(kernel) + seen.T @ seen / 2, seen.T @ missing / 2) * spread
    row, weight = mark(rest, like, unlike, moments)
    np.testing.assert_allclose(row * weight, expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 60), st.booleans(), st.booleans(), st.integers(0, 99)
)
def test_marks_are_always_a_unit_row(
    like: int, unlike: int, among: int, has_rest: bool, are_equal: bool, seed: int
) -> None:
    """Also where one picture is marked both ways, or twice, and where all rows are equal."""
    rows = some_rows(among + 6, 8, seed)
    rows = np.repeat(rows[:1], len(rows), axis=0) if are_equal else rows
    like += not like + unlike
    row, weight = mark(
        rows[5] if has_rest else None, rows[:like], rows[1 : 1 + unlike], Moments.of(rows[:among])
    )
    assert (row.shape, row.dtype) == ((8,), np.float32)
    np.testing.assert_allclose(np.linalg.norm(row), 1, atol=1e-5)
    assert np.isfinite(weight)
    assert has_rest or weight == 1


def test_marks_that_are_nan_are_refused() -> None:
    rows = some_rows(30)
    with pytest.raises(ValueError, match="NaN"):
        mark(rows[0], rows[:2] * np.float32(np.nan), rows[:0], Moments.of(rows))
