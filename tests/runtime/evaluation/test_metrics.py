"""Ranks, figures, chance and intervals, against slow computations of their definitions."""

from __future__ import annotations

import itertools
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itl_infer.evaluation import metrics
from itl_infer.evaluation.metrics import (
    RECALL_AT,
    chance,
    confidence_intervals,
    evaluate_retrieval,
    format_figures,
    measure_ranks,
    median_rank,
    recall_at_k,
    retrieval_ranks,
    rsum,
    summarize_ranks,
)


def unit_rows(rng: np.random.Generator, count: int, width: int = 8) -> np.ndarray:
    rows = rng.normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact_score(a: np.ndarray, b: np.ndarray) -> Fraction:
    """Without any rounding: float32 numbers are fractions."""
    return sum((Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True)), Fraction(0))


@pytest.mark.parametrize("block", [1, 7, 2**22])
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), pictures=st.integers(1, 8), most=st.integers(1, 4))
def test_figures_are_those_of_the_definitions(block: int, seed: int, pictures: int, most: int) -> None:
    """Each rank by counting, in exact arithmetic; pictures and captions that are twice there are ties."""
    rng = np.random.default_rng(seed)
    owners = rng.permutation([i for i in range(pictures) for _ in range(rng.integers(1, most + 1))]).tolist()
    images, texts = unit_rows(rng, pictures, 3), unit_rows(rng, len(owners), 3)
    if rng.random() < 0.5:
        images[rng.integers(pictures)] = images[0]
        texts[rng.integers(len(owners))] = texts[0]
    scores = [[exact_score(text, image) for image in images] for text in texts]

    t2i, i2t = [], []
    for caption, owner in enumerate(owners):
        others = [scores[caption][i] for i in range(pictures) if i != owner]
        t2i.append(sum(score >= scores[caption][owner] for score in others))
    for picture in range(pictures):
        best = max(scores[c][picture] for c, owner in enumerate(owners) if owner == picture)
        others = [scores[c][picture] for c, owner in enumerate(owners) if owner != picture]
        i2t.append(sum(score >= best for score in others))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK", block)
        found = retrieval_ranks(texts, images, owners)
    assert [ranks.tolist() for ranks in found] == [t2i, i2t]

    figures = measure_ranks(*found, owners)
    for way, ranks in (("t2i", t2i), ("i2t", i2t)):
        for k in RECALL_AT:
            share = sum(rank < k for rank in ranks) / len(ranks)
            assert figures[way][f"recall_at_{k}"] == pytest.approx(share, abs=1e-4)
        assert figures[way]["mean_rank"] == pytest.approx(statistics.mean(ranks) + 1, abs=0.01)
        assert figures[way]["median_rank"] == int(statistics.median(ranks)) + 1


def test_figures_by_hand() -> None:
    ranks = np.array([0, 0, 4, 9, 100])
    assert [recall_at_k(ranks, k) for k in (1, 5, 10)] == [0.4, 0.6, 0.8]
    assert median_rank(ranks) == 5


def test_a_perfect_model_scores_everything() -> None:
    images = np.eye(40, dtype=np.float32)
    owners = [i for i in range(40) for _ in range(5)]
    perfect = evaluate_retrieval(images[owners], images, owners)
    assert rsum(perfect) == 600
    assert perfect["t2i"]["median_rank"] == perfect["t2i"]["mean_rank"] == 1


# --- collapse and chance ------------------------------------------------------------------------------------


def test_a_collapsed_model_scores_chance_and_nothing_where_all_is_equal() -> None:
    """Ties count against it: equal embeddings are the worst, and what noise orders them in is chance."""
    owners = [i for i in range(400) for _ in range(5)]
    same = np.full((400, 16), 0.25, np.float32)
    equal = evaluate_retrieval(same[owners], same, owners)
    assert rsum(equal) == 0
    assert [equal[way]["median_rank"] for way in ("t2i", "i2t")] == [400, 1996]

    rng = np.random.default_rng(3)
    texts, images = (
        (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        for rows in (np.full((n, 16), 0.25) + rng.normal(0, 1e-4, (n, 16)) for n in (2000, 400))
    )
    noisy = measure_ranks(*retrieval_ranks(texts, images, owners), owners)
    for way in ("t2i", "i2t"):
        for name, lot in noisy["chance"][way].items():
            low, high = noisy["confidence_95"][way][name]
            slack = 2 * (high - low) + 0.005
            assert low - slack <= lot <= high + slack, (way, name)
    assert noisy["rsum"] < 3 * noisy["chance"]["rsum"] < 60


def test_what_is_not_a_number_counts_against_the_model() -> None:
    images, owners = np.eye(12, dtype=np.float32), list(range(12))
    broken = evaluate_retrieval(np.full((12, 12), np.nan, np.float32), images, owners)
    assert rsum(broken) == 0
    assert broken["i2t"]["mean_rank"] == broken["t2i"]["mean_rank"] == 12


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 1], [3, 1, 2], [1], [5], [2, 2]])
def test_chance_is_the_mean_over_all_orders(counts: list[int]) -> None:
    """Every order of the captions, or of the pictures, is as likely as any other."""
    owners = [i for i, count in enumerate(counts) for _ in range(count)]
    i2t = [
        min(place for place, owner in enumerate(order) if owner == picture)
        for order in itertools.permutations(owners)
        for picture in range(len(counts))
    ]
    t2i = [order.index(0) for order in itertools.permutations(range(len(counts)))]
    found = chance(np.array(counts))
    for way, ranks in (("i2t", i2t), ("t2i", t2i)):
        for k in RECALL_AT:
            share = sum(rank < k for rank in ranks) / len(ranks)
            assert found[way][f"recall_at_{k}"] == pytest.approx(share, abs=1e-6)
        assert found[way]["mean_rank"] == pytest.approx(statistics.mean(ranks) + 1, abs=0.006)
        assert found[way]["median_rank"] == statistics.median_low(ranks) + 1


def test_chance_of_the_usual_test_set() -> None:
    """1000 pictures with five captions: an own caption among the first ten is five times as likely as one in 5000."""
    figures = chance(np.full(1000, 5))
    assert figures["t2i"]["recall_at_10"] == 0.01
    assert figures["i2t"]["recall_at_10"] == pytest.approx(0.00996, abs=1e-5)
    assert (figures["t2i"]["median_rank"], figures["i2t"]["median_rank"]) == (500, 647)


# --- intervals ----------------------------------------------------------------------------------------------


def test_intervals_are_percentiles_over_resampled_pictures() -> None:
    rng = np.random.default_rng(5)
    owners = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    t2i, i2t = rng.geometric(0.2, len(owners)) - 1, rng.geometric(0.3, 30) - 1
    found = confidence_intervals(t2i, i2t, owners.tolist(), resamples=200, seed=9)

    rows, draws = [], np.random.default_rng(9)
    for _ in range(200):
        drawn = draws.integers(30, size=30)
        captions = np.concatenate([t2i[owners == picture] for picture in drawn])
        rows.append({"t2i": summarize_ranks(captions), "i2t": summarize_ranks(i2t[drawn])})
    for way, name in itertools.product(("t2i", "i2t"), rows[0]["t2i"]):
        expected = np.percentile([row[way][name] for row in rows], [2.5, 97.5])
        assert found[way][name] == pytest.approx(expected, abs=1 if name == "median_rank" else 0.011), (
            way,
            name,
        )
    assert found["rsum"] == pytest.approx(np.percentile([rsum(row) for row in rows], [2.5, 97.5]), abs=0.05)


def test_pictures_and_not_captions_are_resampled() -> None:
    """Where all captions of a picture stand or fall together, 20 of them are no more evidence than one."""
    found = np.arange(50) % 2
    once = confidence_intervals(99 * found, 99 * found, range(50))
    often = confidence_intervals(np.repeat(99 * found, 20), 99 * found, np.repeat(np.arange(50), 20).tolist())
    assert often == once
    low, high = once["t2i"]["recall_at_1"]
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 50**0.5, abs=0.03)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / 50**0.5, abs=0.03)


# --- shapes and print ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owners", "pictures"), [([0, 0], 2), ([0, 1, 2], 2), ([0, 1, 1], 2)])
def test_captions_that_do_not_cover_the_pictures_are_refused(owners: list[int], pictures: int) -> None:
    with pytest.raises(ValueError, match="do not give each of 2 pictures one"):
        retrieval_ranks(np.eye(2, dtype=np.float32), np.eye(pictures, dtype=np.float32), owners)


def test_the_table_has_every_figure_with_interval_and_chance() -> None:
    owners = [0, 0, 1, 2, 2]
    table = format_figures(measure_ranks(np.array([0, 2, 0, 1, 0]), np.array([0, 0, 3]), owners))
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["R@1", "R@5", "R@10", "median", "rank", "mean", "rank"]
    assert [" ".join(line[:3]) for line in lines[1:]] == [
        *("text to image", "by chance 33.3", "image to text", "by chance 33.3", "rsum 526.7 [450.0,"),
        "by chance 466.7",
    ]
    assert lines[1][3] == "60.0"
    assert lines[2][2:] == ["33.3", "100.0", "100.0", "2", "2.0"]
