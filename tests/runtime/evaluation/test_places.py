"""Places of right pictures and the figures over them, against their definitions; chance, against all orders."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer.evaluation import metrics
from itl_infer.evaluation.places import (
    LABELS,
    average_precision,
    chance_of_places,
    format_places,
    measure_places,
    places_of_right,
    query_figures,
)


def rows_of(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def rights(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row) for row in rows]


def as_lists(places: list[np.ndarray]) -> list[list[int]]:
    return [found.tolist() for found in places]


PICTURES = rows_of([1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1])  # with (1, 0) they score 1, 0.8, 0.6 and 0


def test_places_by_hand() -> None:
    texts = rows_of([1, 0], [0, 1], [1, 0])
    found = places_of_right(texts, PICTURES, rights([0, 2], [0, 1], [3]))
    assert as_lists(found) == [[1, 3], [3, 4], [4]]
    assert [average_precision(places) for places in found] == [(1 + 2 / 3) / 2, (1 / 3 + 2 / 4) / 2, 1 / 4]
    figures = query_figures([*found, None])
    assert figures[:, 1].tolist() == [1 / 2, 0, 0, 0]  # R-precision: of the first two, and of the first one
    assert figures[:, 2] == pytest.approx([0.2, 0.2, 0.1, 0])  # four pictures, and still over ten
    assert figures[:, 3].tolist() == [1, 0, 0, 0]
    assert figures[:, 4].tolist() == [1, 1, 1, 0]


def test_ties_count_against_the_model() -> None:
    same = rows_of(*[[1, 0]] * 5)
    found = places_of_right(rows_of([1, 0], [0, 1]), same, rights([0, 1], [4]))
    assert as_lists(found) == [
        [4, 5],
        [5],
    ]  # behind all three wrong ones; right ones do not stand in each other's way
    mixed = rows_of([1, 0], [0.6, 0.8], [0.6, 0.8], [0.6, 0.8])
    assert as_lists(places_of_right(rows_of([1, 0]), mixed, rights([0, 2]))) == [[1, 4]]


def test_nan_counts_against_the_model() -> None:
    pictures = PICTURES.copy()
    pictures[0] = np.nan
    assert as_lists(places_of_right(rows_of([1, 0]), pictures, rights([0, 1]))) == [[1, 4]]
    assert as_lists(places_of_right(rows_of([1, 0]), pictures, rights([1]))) == [[2]]
    assert as_lists(places_of_right(rows_of([np.nan, 0]), PICTURES, rights([0]))) == [[4]]


def test_no_queries_and_one_picture() -> None:
    assert places_of_right(np.empty((0, 2), np.float32), PICTURES, []) == []
    assert as_lists(places_of_right(rows_of([0, 1]), PICTURES[:1], rights([0]))) == [[1]]
    assert average_precision(np.array([], np.int64)) == 0
    assert chance_of_places(np.array([1]), 1)[0].tolist() == [1, 1, 0.1, 1, 1]


@pytest.mark.parametrize("block", [1, 5, 2**22])
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), pictures=st.integers(1, 9), queries=st.integers(1, 6))
def test_places_are_those_of_the_definition(block: int, seed: int, pictures: int, queries: int) -> None:
    """Each place by counting, in exact arithmetic; some pictures are there twice."""
    rng = np.random.default_rng(seed)
    images, texts = rng.normal(size=(pictures, 3)), rng.normal(size=(queries, 3))
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    texts = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)
    images[rng.integers(pictures)] = images[0]
    right = [rng.choice(pictures, size=rng.integers(1, pictures + 1), replace=False) for _ in range(queries)]
    expected = []
    for text, rows in zip(texts, right, strict=True):
        scores = [
            sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(text, i, strict=True)) for i in images
        ]
        best_first = sorted((scores[row] for row in rows), reverse=True)
        wrong = [scores[row] for row in range(pictures) if row not in rows]
        expected.append(
            [m + sum(other >= score for other in wrong) for m, score in enumerate(best_first, start=1)]
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK", block)
        found = places_of_right(texts, images, right)
    assert as_lists(found) == expected

    order = rng.permutation(pictures)  # where pictures stand makes no difference
    moved = places_of_right(texts, images[order], [np.flatnonzero(np.isin(order, rows)) for rows in right])
    assert as_lists(moved) == expected
    figures = query_figures(found)
    assert ((figures >= 0) & (figures <= 1)).all()
    assert (figures[:, 3] <= figures[:, 4]).all()  # R@1, R@10
    assert ((figures[:, 0] == 1) == (figures[:, 1] == 1)).all()  # all right ones first, or not


@pytest.mark.parametrize(
    ("pictures", "right"),
    [(1, 1), (2, 1), (5, 1), (5, 3), (5, 5), (6, 2), (7, 4), (12, 1), (12, 3), (13, 11)],
)
def test_chance_is_the_mean_over_all_orders(pictures: int, right: int) -> None:
    orders = [np.array(places) for places in itertools.combinations(range(1, pictures + 1), right)]
    assert chance_of_places(np.array([right]), pictures)[0] == pytest.approx(
        query_figures(orders).mean(axis=0)
    )


def test_means_are_over_all_queries_and_those_that_cannot_be_asked_are_misses() -> None:
    places = [np.array([1, 2]), None, np.array([4]), None]
    figures = measure_places(places, np.array([2, 1, 1, 3]), 4)
    assert {name: figures[name] for name in LABELS} == {
        "mean_average_precision": round((1 + 1 / 4) / 4, 4),
        "r_precision": 0.25,
        "precision_at_10": round((0.2 + 0.1) / 4, 4),
        "recall_at_1": 0.25,
        "recall_at_10": 0.5,
    }
    lot = chance_of_places(np.array([2, 1, 1, 3]), 4).mean(axis=0)
    assert [*figures["chance"].values()] == pytest.approx(lot, abs=1e-6)
    for name in LABELS:
        low, high = figures["confidence_95"][name]
        assert low <= figures[name] <= high
    assert figures == measure_places(places, np.array([2, 1, 1, 3]), 4)  # the same each time


def test_all_unknown() -> None:
    figures = measure_places([None, None], np.array([1, 1]), 2)
    assert [figures[name] for name in LABELS] == [0] * 5
    assert figures["confidence_95"]["mean_average_precision"] == [0, 0]


def test_intervals_narrow_with_more_queries() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for queries in (20, 500):
        places = [np.sort(rng.choice(50, 3, replace=False)) + 1 for _ in range(queries)]
        low, high = measure_places(places, np.full(queries, 3), 50)["confidence_95"]["mean_average_precision"]
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_the_table_is_in_per_cent() -> None:
    figures = measure_places([np.array([1]), np.array([2])], np.array([1, 1]), 4)
    head, found, lot = format_places(figures).splitlines()
    assert head.split() == ["mAP", "R-precision", "P@10", "R@1", "R@10"]
    assert found.startswith("name to pictures   75.0 [50.0, 100.0]   50.0 [0.0, 100.0]")
    assert lot.split() == ["by", "chance", "52.1", "25.0", "10.0", "25.0", "100.0"]
