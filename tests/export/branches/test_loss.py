"""The losses, against their formulas written out."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.loss import collapsed_loss, softmax_loss, triplet_ranking_loss
from export.layers import l2_normalize


def test_loss_is_the_formula() -> None:
    torch.manual_seed(1)
    x, y = l2_normalize(torch.randn(7, 16)), l2_normalize(torch.randn(7, 16))
    margin, expected = 0.5, 0.0
    for i in range(7):
        for j in range(7):
            if j != i:
                own = float(x[i] @ y[i])
                expected += max(0, margin + float(x[i] @ y[j]) - own) + max(
                    0, margin + float(x[j] @ y[i]) - own
                )
    assert triplet_ranking_loss(x, y, margin).item() == pytest.approx(expected / 7, rel=1e-5)


def test_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert triplet_ranking_loss(x, x, 0.5).item() == 0  # the negative is a whole 1 away
    swapped = x.flip(0)
    assert triplet_ranking_loss(x, swapped, 0.5).item() == pytest.approx(2 * 1.5)


def test_equal_embeddings_give_the_collapsed_loss() -> None:
    same = torch.ones(64, 4) / 2
    assert triplet_ranking_loss(same, same, 0.5).item() == pytest.approx(collapsed_loss(64, 0.5))
    assert collapsed_loss(64, 0.5) == 63.0  # as in the original's published curve


def test_softmax_loss_by_hand() -> None:
    x, own = torch.eye(2), torch.eye(2, dtype=torch.bool)
    hit, miss = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))  # scores 1 and 0, temperature a half
    assert softmax_loss(x, x, 0.5, own).item() == pytest.approx(2 * hit)
    # The second text holds for both pictures: the first text costs `hit`, the second the mean of `hit` and `miss`.
    holds = torch.tensor([[True, True], [False, True]])
    expected = (hit + (hit + miss) / 2) / 2 + hit
    assert softmax_loss(x, x, 0.5, holds).item() == pytest.approx(expected)
    same = torch.ones(64, 4) / 2
    for holds in (torch.eye(64, dtype=torch.bool), torch.rand(64, 64) + torch.eye(64) > 0.5):
        loss = softmax_loss(same, same, 0.07, holds).item()
        assert loss == pytest.approx(collapsed_loss(64, 0.5, 0.07), rel=1e-4)
