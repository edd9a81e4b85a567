"""The losses, against their formulas written out."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.layers import l2_normalize
from export.loss import collapsed_loss, finding_loss, naming_loss, softmax_loss, triplet_ranking_loss


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


def test_pairs_that_show_the_same_are_no_negatives() -> None:
    x = torch.eye(3)
    y = x[[1, 0, 2]]  # the first two are swapped: each is nearest to the other's text
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    # Scores are 1 for a swapped pair, else 0: such a negative costs 1.5, the third item 0.5, for each of the two.
    assert triplet_ranking_loss(x, y, 0.5).item() == pytest.approx(2 * (2 * 1.5 + 2 * 0.5) / 3)
    assert triplet_ranking_loss(x, y, 0.5, same).item() == pytest.approx(2 * (2 * 0.5) / 3)
    third = math.log(1 + 2 * math.exp(-2))
    to_pictures = (2 * (math.log(2 + math.exp(2)) - 1) + third) / 3
    to_texts = (2 * math.log(2) + third) / 3  # own text against the third alone
    assert softmax_loss(x, y, 0.5, same, same).item() == pytest.approx(to_pictures + to_texts)


def test_naming_loss_by_hand() -> None:
    images, texts = torch.eye(3)[:2], torch.eye(3)
    own = torch.tensor([0, 2])  # the second picture is nearest to the text of another class
    none = torch.zeros(2, 3, dtype=torch.bool)
    right = math.log(1 + 2 * math.exp(-2))  # scores 1, 0 and 0, temperature a half
    assert naming_loss(images, texts, 0.5, own, none).item() == pytest.approx((right + right + 2) / 2)
    # That text holds for it as well, and its own in any case: one text is left to be told apart.
    holds = torch.tensor([[True, False, False], [False, True, True]])
    expected = (right + math.log(2)) / 2
    assert naming_loss(images, texts, 0.5, own, holds).item() == pytest.approx(expected)


def test_finding_loss_by_hand() -> None:
    images, texts = torch.eye(3), torch.eye(3)[[0, 0, 1]]
    # At a temperature of a half, pictures have the scores 2, 0, 0 with the first two texts, 0, 2, 0 with the third.
    right = torch.tensor([[True, False, False], [True, True, False], [False, False, False]])
    whole = math.log(2 + math.exp(2))
    # The first finds one of its two right pictures, which is enough; the second the wrong one; the third has none.
    expected = (whole - math.log(1 + math.exp(2)) + whole) / 2
    assert finding_loss(images, texts, 0.5, right).item() == pytest.approx(expected)
    assert finding_loss(images, texts, 0.5, right[2:].expand(3, 3)).item() == 0
