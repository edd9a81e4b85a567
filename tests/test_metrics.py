"""Recall, against a slow computation of its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itl_infer.metrics import (
    evaluate_retrieval,
    i2t_ranks,
    median_rank,
    recall_at_k,
    rsum,
    t2i_ranks,
)


def unit_rows(rng: np.random.Generator, count: int, width: int = 8) -> np.ndarray:
    rows = rng.normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(seed=st.integers(0, 2**32 - 1), pictures=st.integers(1, 12), most=st.integers(1, 4))
def test_ranks_are_those_of_the_definition(seed: int, pictures: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    owners = [i for i in range(pictures) for _ in range(rng.integers(1, most + 1))]
    images, texts = unit_rows(rng, pictures), unit_rows(rng, len(owners))
    if rng.random() < 0.3:
        images[rng.integers(pictures)] = images[0]  # a tie
    scores = texts @ images.T

    for caption, owner in enumerate(owners):
        better = sum(scores[caption, i] >= scores[caption, owner] for i in range(pictures) if i != owner)
        assert t2i_ranks(texts, images, owners)[caption] == better
    scores = images @ texts.T
    for picture in range(pictures):
        own = [caption for caption, owner in enumerate(owners) if owner == picture]
        best = max(scores[picture, caption] for caption in own)
        better = sum(scores[picture, c] >= best for c in range(len(owners)) if c not in own)
        assert i2t_ranks(texts, images, owners)[picture] == better


def test_a_perfect_model_scores_everything_and_a_collapsed_one_chance() -> None:
    images = np.eye(40, dtype=np.float32)
    owners = [i for i in range(40) for _ in range(5)]
    perfect = evaluate_retrieval(images[owners], images, owners)
    assert rsum(perfect) == 600
    assert perfect["t2i"]["median_rank"] == perfect["t2i"]["mean_rank"] == 1

    same = np.ones((40, 4), np.float32) / 2
    collapsed = evaluate_retrieval(same[owners], same, owners)
    assert rsum(collapsed) == 0  # ties count against the model: at most chance, 10 of 40
    assert collapsed["t2i"]["median_rank"] == 40


def test_many_rows_are_taken_in_blocks() -> None:
    rng = np.random.default_rng(0)
    images, owners = unit_rows(rng, 1500), np.repeat(np.arange(1500), 2).tolist()
    texts = unit_rows(rng, 3000)
    ranks = t2i_ranks(texts, images, owners)
    scores = texts @ images.T
    own = scores[np.arange(3000), owners]
    assert np.array_equal(ranks, (scores >= own[:, None]).sum(axis=1) - 1)
    assert 0.002 < recall_at_k(ranks, 10) < 0.02  # chance is 10 / 1500
    assert i2t_ranks(texts, images, owners).shape == (1500,)


def test_figures_by_hand() -> None:
    ranks = np.array([0, 0, 4, 9, 100])
    assert [recall_at_k(ranks, k) for k in (1, 5, 10)] == [0.4, 0.6, 0.8]
    assert median_rank(ranks) == 5
